"""What can be said about a place in a latent space: the image there, what it looks like, and what it is worth."""

import contextlib
import copy
import math
import threading
from typing import NamedTuple

import torch

from helpers.checks import check_digits
from helpers.latent import encode
from helpers.maps import Itself, NeighbourMap, PCAMap, distances
from helpers.pad import prepare


class Sight(NamedTuple):
    """What is found at n places. `facts` holds, per place, the classifier's ten probabilities (zeros without one),
    the log density of the prior in nats (NaN without one), and 1 where the place is off the data, else 0."""

    ink: torch.Tensor  # (n, 784) uint8
    facts: torch.Tensor  # (n, 12) float32
    nearest: torch.Tensor  # (n,) index of the training image with the nearest code


class LatentSpace:
    """Hold eval() copies of a model and a classifier, and the codes and places of the images `x`, `y`.

    Copies, and a lock: questions arrive on another thread while a cell trains the very same model.
    `places`, (n, 2), is a map of the codes made elsewhere; without it, codes of more than two dimensions lie on
    their PCA plane.
    """

    def __init__(self, model, x, y, classifier=None, places=None):
        if x.ndim != 4 or not len(x) or y.shape != x.shape[:1]:
            raise ValueError(f"x must be (n, 1, 28, 28) and y (n,), got {tuple(x.shape)} and {tuple(y.shape)}")
        check_digits("y", y)
        self.model, self.classifier = (copy.deepcopy(net).eval() if net else None for net in (model, classifier))
        self.lock = threading.Lock()
        self.device = next(model.parameters()).device
        self.x, self.y = x, y.cpu()
        with torch.inference_mode():
            self.codes = encode(self.model, x.to(self.device)).float()  # (n, d)
            if classifier and (logits := self.classifier(x[:1].to(self.device))).shape != (1, 10):
                raise ValueError(f"classifier must give ten logits an image, got {tuple(logits.shape)} for one")
            self.has_prior = isinstance(self.model.encode(x[:1].to(self.device)), tuple)
            self.map = self._map(places)
            self.places = self.map.place(self.codes) if places is None else self.map.places  # (n, 2)
            self.reach = self._reach()

    @property
    def dimension(self):
        return self.codes.shape[1]

    @torch.inference_mode()
    def survey(self, codes, places):
        """Return the `Sight` of codes, (n, d), that stand for places, (n, 2)."""
        codes, places = codes.to(self.device), places.to(self.device)
        with one_thread() if len(codes) == 1 else contextlib.nullcontext():
            parts = [self._survey(c, p) for c, p in zip(codes.split(64), places.split(64))]
        return Sight(*(torch.cat(columns).cpu() for columns in zip(*parts)))

    def _survey(self, codes, places):
        with self.lock:
            image = self.model.decode(codes)  # (n, 1, 28, 28)
            probs = self.classifier(image).softmax(1) if self.classifier else codes.new_zeros(len(codes), 10)
        if not image.isfinite().all():
            raise ValueError("the model has no finite image there")
        prior = -0.5 * (codes.square() + math.log(2 * math.pi)).sum(1) if self.has_prior else codes[:, 0] * math.nan
        distance, nearest = distances(codes, self.codes).min(1)
        if self.places is not self.codes:
            distance = distances(places, self.places).amin(1)
        off = distance > self.reach
        facts = torch.cat([probs, prior[:, None], off[:, None]], 1)
        return (image.flatten(1) * 255).round().byte(), facts.float(), nearest

    @torch.inference_mode()
    def read(self, strokes):
        """Prepare strokes, (h, w) in [0, 1], as MNIST prepared its digits, then classify, encode and reconstruct them.

        Returns None for an empty pad, else a dict: image, probs, place, ellipse of one standard deviation of q(z|x)
        (half axes and angle, None without a posterior), recon, and the nearest training images with their digits.
        """
        image = prepare(strokes)
        if image is None:
            return None
        image = image[None, None].to(self.device)
        with self.lock:
            code = self.model.encode(image)
            mu, logvar = code if self.has_prior else (code, None)
            recon = self.model.decode(mu)
            probs = self.classifier(image).softmax(1)[0].tolist() if self.classifier else None
        nearest = distances(mu, self.codes)[0].topk(min(6, len(self.codes)), largest=False).indices.cpu()
        return {
            "image": to_ink(image),
            "recon": to_ink(recon),
            "probs": probs,
            "place": self.map.place(mu)[0].tolist(),
            "ellipse": None if logvar is None else ellipse(self.map.spread(mu[0], logvar[0].exp())),
            "nearest": [self.ink_of(i) for i in nearest],
            "digits": self.y[nearest].tolist(),
        }

    def ink_of(self, index):
        """Return a training image as 784 bytes of ink."""
        return to_ink(self.x[index])

    def _map(self, places):
        if places is not None:
            places = torch.as_tensor(places, dtype=torch.float32, device=self.device)
            if places.shape != (len(self.x), 2) or not places.isfinite().all():
                raise ValueError(f"places must be ({len(self.x)}, 2) and finite, got {tuple(places.shape)}")
            return NeighbourMap(self.codes, places)
        return Itself() if self.dimension == 2 else PCAMap(self.codes)

    def _reach(self):
        """Return how far from the nearest training code a place may lie and still count as on the data: as far as all
        but one in two hundred training codes lie from theirs."""
        sample = self.places[torch.linspace(0, len(self.places) - 1, min(1000, len(self.places))).long()]
        nearest = [
            distances(part, self.places).topk(min(2, len(self.places)), largest=False) for part in sample.split(64)
        ]
        return torch.cat([found.values[:, -1] for found in nearest]).quantile(0.995)


@contextlib.contextmanager
def one_thread():
    """Compute on this thread alone: for one place, waiting for a second core costs more than it brings, above all
    while a cell trains on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def to_ink(image):
    """Return an image in [0, 1] as 784 bytes of ink, row by row."""
    return (image.flatten() * 255).round().byte().cpu().numpy().tobytes()


def ellipse(covariance):
    """Return half axes, longest first, and angle in radians from the x axis of a (2, 2) covariance's ellipse."""
    values, vectors = torch.linalg.eigh(covariance.cpu())
    a, b = values.clamp(min=0).sqrt().flip(0).tolist()
    return [a, b, math.atan2(*vectors[:, 1].flip(0).tolist())]
