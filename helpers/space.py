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
    like: torch.Tensor  # (n, 784) uint8, that image


class LatentSpace:
    """Hold eval() copies of a model and a classifier, and the codes and places of the images `x`, `y`.

    Copies, and a lock: questions arrive on another thread while a cell trains the very same model.
    `places`, (n, 2), is a map of the codes made elsewhere; without it, codes of more than two dimensions lie on
    their PCA plane. Networks, images and codes are on the model's device, the map on the CPU. On CUDA, answers have a
    stream of high priority to themselves, or they would queue behind the batches of a cell that trains.
    """

    def __init__(self, model, x, y, classifier=None, places=None):
        if x.ndim != 4 or not len(x) or y.shape != x.shape[:1]:
            raise ValueError(f"x must be (n, 1, 28, 28) and y (n,), got {tuple(x.shape)} and {tuple(y.shape)}")
        check_digits("y", y)
        self.device = next(model.parameters()).device
        if classifier and (theirs := next(classifier.parameters()).device) != self.device:
            raise ValueError(f"classifier must be on {self.device}, like the model, got {theirs}")
        self.model, self.classifier = (copy.deepcopy(net).eval() if net else None for net in (model, classifier))
        self.lock = threading.Lock()
        self.x, self.y = x.to(self.device), y.cpu()
        with torch.inference_mode():
            self.codes = encode(self.model, self.x).float()  # (n, d)
            if classifier and (logits := self.classifier(self.x[:1])).shape != (1, 10):
                raise ValueError(f"classifier must give ten logits an image, got {tuple(logits.shape)} for one")
            self.has_prior = isinstance(self.model.encode(self.x[:1]), tuple)
            self.map = self._map(places)
            self.places = self.map.place(self.codes) if places is None else self.map.places  # (n, 2)
            self.places = self.places.to(self.device)
            self.reach = self._reach()
        self.stream = None
        if self.device.type == "cuda":
            self.stream = torch.cuda.Stream(self.device, priority=-1)
            self.stream.wait_stream(torch.cuda.current_stream(self.device))  # all of the above was queued there

    @property
    def dimension(self):
        return self.codes.shape[1]

    @torch.inference_mode()
    def survey(self, codes, places):
        """Return the `Sight`, on the CPU, of codes, (n, d), that stand for places, (n, 2)."""
        alone = len(codes) == 1 and self.device.type == "cpu"
        with one_thread() if alone else contextlib.nullcontext(), self._own_stream():
            codes, places = codes.to(self.device), places.to(self.device)
            parts = [self._survey(c, p) for c, p in zip(codes.split(64), places.split(64))]
            finite, *sight = to_host(*map(torch.cat, zip(*parts)))
        if not finite.all():
            raise ValueError("the model has no finite image there")
        return Sight(*sight)

    def _survey(self, codes, places):
        with self.lock:
            image = self.model.decode(codes)  # (n, 1, 28, 28)
            probs = self.classifier(image).softmax(1) if self.classifier else codes.new_zeros(len(codes), 10)
        prior = -0.5 * (codes.square() + math.log(2 * math.pi)).sum(1) if self.has_prior else codes[:, 0] * math.nan
        distance, nearest = distances(codes, self.codes).min(1)
        if self.places is not self.codes:
            distance = distances(places, self.places).amin(1)
        off = distance > self.reach
        facts = torch.cat([probs, prior[:, None], off[:, None]], 1)
        finite = image.flatten(1).isfinite().all(1)
        return finite, to_ink(image), facts.float(), nearest, to_ink(self.x[nearest])

    @torch.inference_mode()
    def read(self, strokes):
        """Prepare strokes, (h, w) in [0, 1], as MNIST prepared its digits, then classify, encode and reconstruct them.

        Returns None for an empty pad, else a dict: image, probs, place, ellipse of one standard deviation of q(z|x)
        (half axes and angle, None without a posterior), recon, and the nearest training images with their digits.
        """
        image = prepare(strokes)
        if image is None:
            return None
        with self._own_stream():
            image = image[None, None].to(self.device)
            with self.lock:
                code = self.model.encode(image)
                mu, logvar = code if self.has_prior else (code, torch.zeros_like(code))
                recon = self.model.decode(mu)
                probs = self.classifier(image).softmax(1) if self.classifier else mu.new_zeros(1, 10)
            nearest = distances(mu, self.codes).topk(min(6, len(self.codes)), largest=False).indices  # (1, 6)
            found = (mu, logvar.exp(), probs, nearest, to_ink(image), to_ink(recon), to_ink(self.x[nearest[0]])[None])
            mu, var, probs, nearest, ink, recon, likes = to_host(*found)
        return {
            "image": ink.numpy().tobytes(),
            "recon": recon.numpy().tobytes(),
            "probs": probs[0].tolist() if self.classifier else None,
            "place": self.map.place(mu)[0].tolist(),
            "ellipse": ellipse(self.map.spread(mu[0], var[0])) if self.has_prior else None,
            "nearest": [like.numpy().tobytes() for like in likes[0]],
            "digits": self.y[nearest[0]].tolist(),
        }

    def ink_of(self, index):
        """Return a training image as 784 bytes of ink."""
        return to_ink(self.x[index]).cpu().numpy().tobytes()

    def _own_stream(self):
        return torch.cuda.stream(self.stream) if self.stream else contextlib.nullcontext()

    def _map(self, places):
        codes = self.codes.cpu()
        if places is not None:
            places = torch.as_tensor(places, dtype=torch.float32, device="cpu")
            if places.shape != (len(self.x), 2) or not places.isfinite().all():
                raise ValueError(f"places must be ({len(self.x)}, 2) and finite, got {tuple(places.shape)}")
            return NeighbourMap(codes, places)
        return Itself() if self.dimension == 2 else PCAMap(codes)

    def _reach(self):
        """Return how far from the nearest training code a place may lie and still count as on the data: as far as all
        but one in two hundred training codes lie from theirs."""
        some = torch.linspace(0, len(self.places) - 1, min(1000, len(self.places))).long()
        sample = self.places[some.to(self.device)]
        nearest = [
            distances(part, self.places).topk(min(2, len(self.places)), largest=False) for part in sample.split(64)
        ]
        return torch.cat([found.values[:, -1] for found in nearest]).quantile(0.995)


_alone = threading.Lock()


@contextlib.contextmanager
def one_thread():
    """Compute on this thread alone: for one place, waiting for a second core costs more than it brings, above all
    while a cell trains on it.

    One at a time: torch starts every thread with the number set last, by whomever, and a second frame would take this
    one's 1 for the number to return to. A thread of another kind whose very first operation falls into the millisecond
    in here does keep the 1, until it calls torch.set_num_threads itself; torch has no number for one thread only.
    """
    with _alone:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def to_ink(images):
    """Return images in [0, 1], (n, 1, 28, 28), as ink, (n, 784) uint8, row by row."""
    return (images.flatten(-3) * 255).round().byte()


def to_host(*tensors):
    """Return tensors of n rows each on the CPU. They go as one: with every copy the host waits for the device."""
    rows = [tensor.contiguous().reshape(len(tensor), -1).view(torch.uint8) for tensor in tensors]
    packed = torch.cat(rows, 1).cpu()
    # Copied out, for a view of another type must start at a multiple of its size.
    parts = [
        part.clone(memory_format=torch.contiguous_format) for part in packed.split([row.shape[1] for row in rows], 1)
    ]
    return [part.view(tensor.dtype).reshape(tensor.shape) for tensor, part in zip(tensors, parts)]


def ellipse(covariance):
    """Return half axes, longest first, and angle in radians from the x axis of a (2, 2) covariance's ellipse."""
    values, vectors = torch.linalg.eigh(covariance)
    a, b = values.clamp(min=0).sqrt().flip(0).tolist()
    return [a, b, math.atan2(*vectors[:, 1].flip(0).tolist())]
