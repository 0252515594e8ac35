"""The model behind the plane: what it decodes at a place, what that is worth, and where a drawn digit lies."""

import contextlib
import copy
import math
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.checks import check_classes, check_images
from helpers.explorer.projections import project, spread

FAR = 1_000.0  # no code or place lies so far out; beyond it, a number is a mistake
DRAWN = 5_000  # points drawn; more only hide each other
BOX, SIDE = 20, 28  # pixels of a digit of MNIST, and of its image


class Prediction(NamedTuple):
    """What is found at n places, on the CPU.

    `facts` holds, per place, the classifier's ten probabilities (zeros without one, or where a place shows every
    class), the log density of the prior in nats (NaN without one), and 1 where the place is off the data, else 0.
    """

    pixels: Tensor  # (n, shown * 784) uint8
    facts: Tensor  # (n, 12) float32
    nearest: Tensor  # (n,) index of the training image with the nearest code
    neighbours: Tensor  # (n, 784) uint8, that image


class LatentSpace:
    """Hold eval() copies of a model and a classifier, and the codes and places of the images `x`, `y`.

    Copies, and a lock: questions arrive on another thread while a cell trains the very same model.
    A model that is told the class, with `classes`, encode(x, y) and decode(z, y), has styles for codes: a place shows
    every class in its style.
    `places`, (n, 2), is a map of the codes made elsewhere; without it, codes of more than two dimensions lie on
    their PCA plane. Networks, images and codes are on the model's device, the projection on the CPU. On CUDA, answers
    have a stream of high priority to themselves, or they would queue behind the batches of a cell that trains.
    Raises ValueError, naming the argument, for what does not fit.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        classifier: nn.Module | None = None,
        places: Tensor | None = None,
    ):
        if x.ndim != 4 or not len(x) or y.shape != x.shape[:1]:
            raise ValueError(f"x must be (n, 1, 28, 28) and y (n,), got {tuple(x.shape)} and {tuple(y.shape)}")
        check_images("x", x)
        check_classes("y", y)
        self.device = next(model.parameters()).device
        if classifier and (theirs := next(classifier.parameters()).device) != self.device:
            raise ValueError(f"classifier must be on {self.device}, like the model, got {theirs}")
        self.model: Any
        self.classifier: Any
        self.model, self.classifier = (copy.deepcopy(net).eval() if net else None for net in (model, classifier))
        self.shown: int = getattr(self.model, "classes", 1)  # images that a place stands for
        if self.shown not in (1, 10):
            raise ValueError(f"model must be told one of ten classes, got {self.shown}")
        self.lock = threading.Lock()
        self.x, self.y = x.to(self.device), y.cpu().long()
        with torch.inference_mode():
            batches = zip(self.x.split(1000), self.y.to(self.device).split(1000))
            self.codes = torch.cat([self._posterior(*batch)[0] for batch in batches]).float()  # (n, d)
            if self.classifier and (logits := self.classifier(self.x[:1])).shape != (1, 10):
                raise ValueError(f"classifier must give ten logits an image, got {tuple(logits.shape)} for one")
            self.has_prior = self._posterior(self.x[:1], self.y[:1].to(self.device))[1] is not None
            self.drawn = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:DRAWN]
            self.projection, self.places = project(self.codes, places, self.drawn)
            self.threshold = self._threshold()
        # Both are pairs that are swapped as one, and read once: another thread may answer a question meanwhile.
        self._anchor: tuple = (None, None)  # the last place of a code, which no place stands for exactly, and that code
        self._last: tuple = (None, None)  # the last place that was transformed, and its code: a question asks twice
        self.stream = None
        if self.device.type == "cuda":
            self.stream = torch.cuda.Stream(self.device, priority=-1)
            self.stream.wait_stream(torch.cuda.current_stream(self.device))  # all of the above was queued there

    @property
    def dimension(self) -> int:
        return self.codes.shape[1]

    def code(self, xy: Sequence[float]) -> tuple[float, ...]:
        """Return the code, latent_dim numbers, that stands for a place."""
        xy = tuple(xy)
        for place, z in (self._anchor, self._last):
            if place == xy:
                return z
        z = tuple(self.projection.inverse_transform(torch.tensor([xy], dtype=torch.float64))[0].tolist())
        self._last = xy, z
        return z

    def place(self, z: Sequence[float]) -> tuple[float, ...]:
        """Return the place of a code. From then on, until the next call, that place stands for this very code."""
        xy = tuple(self.projection.transform(torch.tensor([z], dtype=torch.float64))[0].clamp(-FAR, FAR).tolist())
        self._anchor = xy, tuple(z)
        return xy

    def query(self, places: Sequence[Sequence[float]]) -> Prediction:
        """Return what is found at places, n pairs of numbers. Raises ValueError where the image is not finite."""
        codes = torch.tensor([self.code(xy) for xy in places], dtype=torch.float32)
        return self.predict(codes, torch.tensor(places, dtype=torch.float32))

    @torch.inference_mode()
    def predict(self, codes: Tensor, places: Tensor) -> Prediction:
        """Return what is found at codes, (n, d), that stand for places, (n, 2). Raises ValueError as `query` does."""
        alone = len(codes) == 1 and self.device.type == "cpu"
        with one_thread() if alone else contextlib.nullcontext(), self._own_stream():
            codes, places = codes.to(self.device), places.to(self.device)
            parts = [self._predict(c, p) for c, p in zip(codes.split(64), places.split(64))]
            finite, *found = to_host(*map(torch.cat, zip(*parts)))
        if not finite.all():
            raise ValueError("the model has no finite image there")
        return Prediction(*found)

    def _predict(self, codes, places):
        with self.lock:
            images = self._decode(codes)
            reads = self.classifier and self.shown == 1
            probs = self.classifier(images).softmax(1) if reads else codes.new_zeros(len(codes), 10)
        prior = -0.5 * (codes.square() + math.log(2 * math.pi)).sum(1) if self.has_prior else codes[:, 0] * math.nan
        distance, nearest = distances(codes, self.codes).min(1)
        if self.places is not self.codes:
            distance = distances(places, self.places).amin(1)
        facts = torch.cat([probs, prior[:, None], (distance > self.threshold)[:, None]], 1)
        finite = images.flatten(1).isfinite().all(1)
        return finite, to_pixels(images), facts.float(), nearest, to_pixels(self.x[nearest])

    def _posterior(self, x, y):
        """Return mu and logvar of images, which must be told their classes y, or codes and None."""
        code = self.model.encode(x) if self.shown == 1 else self.model.encode(x, y)
        return code if isinstance(code, tuple) else (code, None)

    def _decode(self, codes):
        """Return the images of codes, (n, shown, 28, 28)."""
        if self.shown == 1:
            return self.model.decode(codes)
        y = torch.arange(self.shown, device=codes.device).repeat(len(codes))
        return self.model.decode(codes.repeat_interleave(self.shown, 0), y).view(-1, self.shown, SIDE, SIDE)

    @torch.inference_mode()
    def read(self, strokes: Tensor, label: int | None = None) -> dict[str, Any] | None:
        """Prepare strokes, (h, w) in [0, 1], as MNIST prepared its digits, then classify, encode and reconstruct them.

        A model that is told the class hears `label`, or what the classifier reads.
        Returns None for an empty pad, else a dict: image, probs, label, place, ellipse of one standard deviation of
        the posterior (half axes and angle, None without one), recon, and the nearest training images with their digits.
        """
        image = prepare(strokes)
        if image is None:
            return None
        with self._own_stream():
            image = image[None, None].to(self.device)
            with self.lock:
                probs = self.classifier(image).softmax(1) if self.classifier else image.new_zeros(1, 10)
                y = probs.argmax(1) if label is None else torch.tensor([label], device=self.device)
                mu, logvar = self._posterior(image, y)
                recon = self._decode(mu)
            nearest = distances(mu, self.codes).topk(min(6, len(self.codes)), largest=False).indices  # (1, 6)
            pixels = [to_pixels(images)[None] for images in (image[0], recon[0], self.x[nearest[0]])]
            var = torch.zeros_like(mu) if logvar is None else logvar.exp()
            mu, var, probs, y, nearest, image, recon, neighbours = to_host(mu, var, probs, y, nearest, *pixels)
        return {
            "image": image.numpy().tobytes(),
            "recon": recon.numpy().tobytes(),
            "probs": probs[0].tolist() if self.classifier else None,
            "label": y.item(),
            "place": self.projection.transform(mu)[0].tolist(),
            "ellipse": ellipse(spread(self.projection, mu[0], var[0])) if self.has_prior else None,
            "neighbours": [pixels.numpy().tobytes() for pixels in neighbours[0]],
            "digits": self.y[nearest[0]].tolist(),
        }

    def _own_stream(self):
        return torch.cuda.stream(self.stream) if self.stream else contextlib.nullcontext()

    def _threshold(self):
        """Return how far from the nearest training code a place may lie and still count as on the data: as far as all
        but one in two hundred training codes lie from theirs."""
        some = torch.linspace(0, len(self.places) - 1, min(1000, len(self.places))).long()
        parts = self.places[some.to(self.device)].split(64)
        near = [distances(part, self.places).topk(min(2, len(self.places)), largest=False).values for part in parts]
        return torch.cat(near)[:, -1].quantile(0.995)


def distances(queries: Tensor, keys: Tensor) -> Tensor:
    """Return the distances from queries, (n, d), to keys, (m, d): (n, m), so exact that the nearest is the nearest.

    By the difference of squares, cdist's own choice for many keys, a distance near zero is off by more than neighbours
    lie apart; and for one query that way takes four times as long.
    """
    return torch.cdist(queries, keys, compute_mode="donot_use_mm_for_euclid_dist")


def ellipse(covariance: Tensor) -> list[float]:
    """Return half axes, longest first, and angle in radians from the x axis of a (2, 2) covariance's ellipse."""
    values, vectors = torch.linalg.eigh(covariance)
    a, b = values.clamp(min=0).sqrt().flip(0).tolist()
    return [a, b, math.atan2(*vectors[:, 1].flip(0).tolist())]


def prepare(strokes: Tensor, faintest: float = 0.05) -> Tensor | None:
    """Crop strokes, (h, w) in [0, 1], fit them in a 20 x 20 box, and centre their mass on 28 x 28 pixels.

    This is how the digits of MNIST were prepared (LeCun et al. 1998, section III.A); a classifier trained on them
    expects it. Returns (28, 28) in [0, 1], or None when no stroke is darker than `faintest`.
    Raises ValueError for another shape, and for values that are not in [0, 1].
    """
    if strokes.dim() != 2 or not strokes.numel():
        raise ValueError(f"strokes must have shape (h, w), got {tuple(strokes.shape)}")
    low, high = (value.item() for value in strokes.aminmax())
    if not (low >= 0 and high <= 1):  # NaN is refused as well
        raise ValueError(f"strokes must be in [0, 1], got values from {low:.3g} to {high:.3g}")
    rows, columns = ((strokes > faintest).any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    if not rows:
        return None
    digit = strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(digit.shape)
    h, w = (max(1, round(side * scale)) for side in digit.shape)
    # antialias, or thin strokes lose pixels on the way down
    digit = F.interpolate(digit[None, None], (h, w), mode="bilinear", antialias=True)[0, 0].clamp(0, 1)
    # The centre of mass comes to 14, counting pixels from 0: digits of MNIST come back as they are.
    top, left = _start(digit.sum(1)), _start(digit.sum(0))
    image = strokes.new_zeros(SIDE, SIDE)
    image[top : top + h, left : left + w] = digit
    return image


def _start(mass):
    """Return where a line of pixels with this mass must start for its centre of mass to lie in the middle."""
    middle = float((mass * torch.arange(len(mass), device=mass.device)).sum() / mass.sum())
    start = math.floor(SIDE / 2 - middle + 0.499)  # rounded; half-way, where the last bit would decide, always down
    return min(max(start, 0), SIDE - len(mass))  # a long tail must still fit


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


def to_pixels(images: Tensor) -> Tensor:
    """Return images in [0, 1], (n, k, 28, 28), as grey levels, (n, k * 784) uint8, row by row."""
    return (images.flatten(-3) * 255).round().byte()


def to_host(*tensors: Tensor) -> list[Tensor]:
    """Return tensors of n rows each on the CPU. They go as one: with every copy the host waits for the device."""
    rows = [tensor.contiguous().reshape(len(tensor), -1).view(torch.uint8) for tensor in tensors]
    packed = torch.cat(rows, 1).cpu().split([row.shape[1] for row in rows], 1)
    # Copied out, for a view of another type must start at a multiple of its size.
    parts = [part.clone(memory_format=torch.contiguous_format) for part in packed]
    return [part.view(tensor.dtype).reshape(tensor.shape) for tensor, part in zip(tensors, parts)]
