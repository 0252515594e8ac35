"""Hover over the latent plane and see the digit under the pointer, decoded live."""

import copy
import threading
from pathlib import Path

import anywidget
import torch
from traitlets import Bool, Bytes, Float, List, TraitError, TraitType, Tuple, Unicode, default, observe

from helpers.latent import encode
from helpers.palette import PALETTE
from helpers.still import still

SCRIPTS = ("link.js", "plane.js", "readout.js", "explorer.js")
SHOWN = 5_000  # points drawn; more only hide each other
FAR = 1_000.0  # no code lies so far out; beyond it, a message is a mistake


class Code(TraitType):
    """A code: a sequence, array or tensor of finite numbers, kept as a tuple of floats."""

    def validate(self, explorer, value):
        try:
            z = tuple(float(number) for number in value)
        except (TypeError, ValueError, OverflowError):
            z = ()
        if len(z) != 2 or not all(abs(number) <= FAR for number in z):  # false for NaN too
            raise TraitError(f"z must be two numbers within {FAR:g}, not {value!r}")
        return z


class LatentExplorer(anywidget.AnyWidget):
    """Show a two-dimensional latent space as a plane, and decode the place under the pointer.

    `model` encodes and decodes as those of helpers.models do, `x`, (n, 1, 28, 28), and `y`, (n,), are the images whose
    codes are drawn, `classifier` maps images to logits. The explorer keeps copies of both networks as they are now: it
    never disturbs a model in training, and training never disturbs it.

    `explorer.z`, a tuple of floats, is the code on screen; set it to go there, observe it to follow the pointer.
    """

    _esm = Unicode().tag(sync=True)
    _css = Path(__file__).with_suffix(".css")

    points = Bytes().tag(sync=True)  # float32 (n, 2), little-endian
    digits = Bytes().tag(sync=True)  # uint8 (n,)
    centres = List().tag(sync=True)  # [digit, [x, y]], where its label stands
    bounds = List().tag(sync=True)  # [left, right, bottom, top]
    palette = List(PALETTE).tag(sync=True)
    prior = Bool(True).tag(sync=True)  # draw the circles of one, two and three standard deviations
    smooth = Bool(False, help="Blur the digit's pixels into each other.").tag(sync=True)
    # The browser says where it is with every question; an echo would arrive late and pull the ring back.
    xy = Tuple(Float(), Float(), default_value=(0.0, 0.0)).tag(sync=True, echo_update=False)
    z = Code((0.0, 0.0), help="The code on screen.")

    def __init__(self, model, x, y, classifier=None, **traits):
        if getattr(model, "latent_dim", 2) != 2:
            raise ValueError(f"LatentExplorer needs a model with two latent dimensions, not {model.latent_dim}")
        if x.ndim != 4 or not len(x) or y.shape != x.shape[:1]:
            raise ValueError(f"x must be (n, 1, 28, 28) and y (n,), got {tuple(x.shape)} and {tuple(y.shape)}")
        # eval() copies of our own, and a lock: questions arrive on another thread while a cell is running.
        self._model, self._classifier = (copy.deepcopy(net).eval() if net else None for net in (model, classifier))
        self._lock = threading.Lock()
        self._device = next(model.parameters()).device
        self._name, self._images = type(model).__name__, len(x)

        codes = encode(self._model, x.to(self._device)).float().cpu()
        order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(0))[:SHOWN]
        low, high = codes.quantile(0.002, 0), codes.quantile(0.998, 0)
        middle, reach = (low + high) / 2, 0.55 * float((high - low).max())
        super().__init__(
            points=codes[order].numpy().astype("<f4").tobytes(),
            digits=y.cpu()[order].byte().numpy().tobytes(),
            centres=_labels(codes, y.cpu(), room=0.11 * reach),
            bounds=[float(m + side * reach) for m in middle for side in (-1, 1)],
            **traits,
        )
        self.on_msg(self._answer)

    @default("_esm")
    def _script(self):
        return "\n".join((Path(__file__).parent / name).read_text("utf-8") for name in SCRIPTS)

    @observe("z")
    def _z_moved(self, change):
        self.xy = self.z

    @observe("xy")
    def _xy_moved(self, change):
        self.z = self.xy

    @torch.inference_mode()
    def look(self, z):
        """Decode one code: its image, 784 bytes of uint8 ink row by row, and the classifier's probabilities or None."""
        with self._lock:
            image = self._model.decode(torch.tensor([z], dtype=torch.float32, device=self._device))  # (1, 1, 28, 28)
            probs = self._classifier(image).softmax(1)[0].tolist() if self._classifier else None
        if not image.isfinite().all():
            raise ValueError(f"the model has no finite image at {z}")
        return (image * 255).round().byte().cpu().numpy().tobytes(), probs

    def _answer(self, _, question, buffers):
        """Reply to one message of the browser, whatever it holds: a view that waits must never wait in vain."""
        reply, pixels, xy = {}, [], None
        try:
            if not isinstance(question, dict):
                raise ValueError("a question must be an object")
            reply = {key: question[key] for key in ("page", "number", "asked") if _short(question.get(key))}
            xy = _position(question)
            ink, probs = self.look(xy)
            reply |= {"xy": xy, "probs": probs, "device": str(self._device)}
            pixels = [ink]
        except Exception as error:  # an exception in a callback is invisible, and the reader would see nothing at all
            reply |= {"error": str(error) or type(error).__name__}
        self.send(reply, pixels)
        if pixels:
            try:
                self.set_state({"xy": list(xy)})  # as a message from the browser, so that it is not sent back there
            except Exception:
                self.log.exception("an observer of the explorer failed")

    def __repr__(self):
        return f"LatentExplorer({self._name}, {self._images:,} images)"

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        # What a saved notebook, GitHub and nbconvert show, where no kernel answers.
        data["image/png"] = still(self.points, self.digits, self.centres, self.bounds, self.z, *self.look(self.z))
        return data, metadata


def _labels(codes, y, room):
    """Place a label at the median of every digit's codes, then push those apart that overlap."""
    digits = y.unique().tolist()
    places = torch.stack([codes[y == digit].median(0).values for digit in digits])  # (labels, 2)
    for _ in range(50):
        away = places[:, None] - places  # (labels, labels, 2)
        distance = away.norm(dim=2, keepdim=True).clamp(min=1e-6)
        places = places + 0.5 * (away / distance * (room - distance).clamp(min=0)).sum(1)
    return [[digit, place] for digit, place in zip(digits, places.tolist())]


def _short(value):
    return len(value) <= 64 if isinstance(value, str) else isinstance(value, int | float) and abs(value) < 2**53


def _position(question):
    xy = question.get("xy")
    numbers = isinstance(xy, list) and len(xy) == 2 and all(type(value) in (int, float) for value in xy)
    if question.get("kind") != "look" or not numbers or not all(abs(value) <= FAR for value in xy):
        raise ValueError(f"expected kind 'look' and xy, two numbers within {FAR:g}")
    return tuple(map(float, xy))
