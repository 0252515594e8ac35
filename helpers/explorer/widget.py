"""The explorer and its panels as widgets: what Python and the browser both know of them."""

import threading
import warnings
from pathlib import Path

import torch
from anywidget import AnyWidget
from ipywidgets import widget_serialization
from torch import nn
from traitlets import Any, Bool, Bytes, Enum, Instance, Int, List, TraitError, TraitType, Unicode, default, observe

from helpers.explorer.atlas import chart
from helpers.explorer.cells import close_on_rerun, forget
from helpers.explorer.protocol import LAYERS, LONGEST, answer, is_number
from helpers.explorer.space import FAR, LatentSpace
from helpers.explorer.static import page, script, still, style
from helpers.plots import PALETTE


class Drawn(AnyWidget):
    """A widget that the explorer's script and style sheet draw."""

    # Traits with defaults, not paths: anywidget would connect a file to every widget made from it, and keep them all.
    _esm = Unicode().tag(sync=True)
    _css = Unicode().tag(sync=True)
    parts = List(Unicode()).tag(sync=True)  # which of "plane", "readout" and "pad" it shows

    @default("_esm")
    def _script(self):
        return script("index.js")

    @default("_css")
    def _style(self):
        return style()

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        # What a saved notebook, GitHub and nbconvert show, where no kernel answers.
        data["image/png"] = still(getattr(self, "explorer", self), *self.parts)
        return data, metadata


class Coordinates(TraitType):
    """Finite numbers, a sequence, array or tensor, kept as a tuple of floats: a code as `z`, else a place.

    One thread at a time sets them: `z` and `xy` follow each other, and both change or none does.
    """

    def validate(self, explorer, value):
        size = explorer.space.dimension if self.name == "z" else 2
        try:
            numbers = tuple(float(number) for number in value)
        except (TypeError, ValueError, OverflowError):
            numbers = ()
        if len(numbers) != size or not all(abs(number) <= FAR for number in numbers):  # false for NaN too
            raise TraitError(f"{self.name or 'a place'} must be {size} numbers within {FAR:g}, got {value!r:.50}")
        return numbers

    def set(self, explorer, value):
        with explorer.moving:
            super().set(explorer, value)


class Number(TraitType):
    """A number of a few digits, as text, so that zeros may lead."""

    default_value = ""

    def validate(self, explorer, value):
        if not is_number(value):
            raise TraitError(f"{self.name} must be up to {LONGEST} digits, as a str, got {value!r:.50}")
        return value


class LatentExplorer(Drawn):
    """Show a latent space as a plane, and decode the place under the pointer.

    `model` encodes and decodes as those of helpers.models do, `x`, (n, 1, 28, 28), and `y`, (n,), are the images whose
    codes are drawn, `classifier` maps images to logits. A model of more than two latent dimensions is shown on the
    PCA plane of its codes, or on a map of them made elsewhere, `places`, (n, 2), such as UMAP's or t-SNE's.
    A conditional model, as helpers.models.ConditionalVAE, has a plane of styles: a place shows all ten digits in its
    hand, or the number `explorer.text`, and a digit drawn on the pad gives its own.

    `names` are those of the ten classes, where they are not digits: `names=FASHION.classes`.

    `explorer.z`, a tuple of floats, is the code on screen; set it to go there, observe it to follow the pointer.
    `explorer.history`, (pins, latent_dim), holds the codes that were pinned. `explorer.space` answers for any place.
    The page decodes by itself; `explorer.missing`, {part: reason}, says what it cannot run, where that is anything.
    `explorer.close()` frees the networks and images; so does running its cell again, once that has made another.
    """

    parts = List(Unicode(), ["plane", "readout"]).tag(sync=True)
    points = Bytes().tag(sync=True)  # float32 (n, 2), little-endian
    digits = Bytes().tag(sync=True)  # uint8 (n,)
    centres = List(Any()).tag(sync=True)  # [digit, [x, y]], where its label stands
    bounds = List(Any()).tag(sync=True)  # [left, right, bottom, top]
    shown = Int(1).tag(sync=True)  # images of a place: one, or of every class
    tiles = Int().tag(sync=True)  # along each side of the three below, row by row from the top left
    facts = Bytes().tag(sync=True)  # float32 (tiles, tiles, 12) at the middle of each tile, see space.Prediction
    # What the page computes with, see weights.py; empty where it cannot
    decoder = Bytes().tag(sync=True)
    classifier = Bytes().tag(sync=True)
    encoder = Bytes().tag(sync=True)
    projection = List(Any()).tag(sync=True)  # the mean and the two axes of a PCA plane
    codes = Bytes().tag(sync=True)  # float32 (held, latent_dim), of the first points; on a map of all of them
    images = Bytes().tag(sync=True)  # uint8 (held, 784), compressed
    anchor = List(Any()).tag(sync=True)  # a place, and the code set from Python that it stands for
    # and what it blends, where it cannot
    atlas = Bytes().tag(sync=True)  # uint8 (tiles, tiles, 784), decoded at the middle of each tile
    neighbours = Bytes().tag(sync=True)  # uint8 (tiles, tiles, 784), the training images with the nearest codes
    names = List(Unicode(), list("0123456789"), minlen=10, maxlen=10, help="Of the classes.").tag(sync=True)
    palette = List(Unicode(), list(PALETTE)).tag(sync=True)
    plane = Unicode().tag(sync=True)  # what the two axes are: "z", "PCA" or "map"
    classes = Bool().tag(sync=True)  # is there a classifier?
    prior = Bool().tag(sync=True)  # is there a prior?
    instant = Bool(True, help="Show what the page finds while Python decodes; False shows Python's frames only.").tag(
        sync=True
    )
    smooth = Bool(False, help="Blur the digit's pixels into each other.").tag(sync=True)
    # The browser says where it is with every question; an echo would arrive late and pull the ring back.
    xy = Coordinates((0.0, 0.0)).tag(sync=True, echo_update=False)
    pins = List(Coordinates(), help="Pinned places, x and y each.").tag(sync=True, echo_update=False)
    layers = List(Enum(LAYERS), ["points"], help=f"What the plane shows, some of {LAYERS}.").tag(
        sync=True, echo_update=False
    )
    text = Number(help="The number that is written, where a place shows every digit; all ten where it is empty.").tag(
        sync=True, echo_update=False
    )
    z = Coordinates(help="The code on screen.")
    _space = None

    def __init__(
        self,
        model: nn.Module,
        x: torch.Tensor,
        y: torch.Tensor,
        classifier: nn.Module | None = None,
        places: torch.Tensor | None = None,
        **traits,
    ):
        self._space = space = LatentSpace(model, x, y, classifier, places)
        self._repr = f"LatentExplorer({type(model).__name__}, {len(x):,} images)"
        self.moving = threading.RLock()
        found, self.missing = chart(space)
        if self.missing:
            parts = "; ".join(f"the {part} ({reason})" for part, reason in self.missing.items())
            warnings.warn(f"the browser needs Python, for it cannot run {parts}", stacklevel=2)
        about = {"plane": space.projection.name, "classes": classifier is not None, "prior": space.has_prior}
        super().__init__(**found | about | traits)
        self.z  # noqa: B018 - its default, now: made at the first look, it could overtake a move
        self.on_msg(self._answer)
        # ipykernel 7.4 hands a widget's messages to the shell that last wrote to it: the main one, which cannot answer
        # while a cell trains. These may go to the one that the browser named, which is idle. There is no public way:
        # the comm asks this method of its own alone. A test fails on the day it is not needed, or not asked, any more.
        self.comm._reply_subshell_for = lambda data, named: named
        self.comm.on_close(lambda message: self.close())  # the browser has dropped it: nobody can ask any more
        close_on_rerun(self)

    @property
    def space(self) -> LatentSpace:
        """The `LatentSpace` behind the plane. Raises RuntimeError when the explorer is closed."""
        if self._space is None:
            raise RuntimeError("this explorer is closed: make another")
        return self._space

    @property
    def history(self) -> torch.Tensor:
        """The codes of the pinned places, (pins, latent_dim), in the order they were pinned."""
        return torch.tensor([self.space.code(xy) for xy in self.pins]).reshape(-1, self.space.dimension)

    def save_html(self, path: str | Path) -> dict[str, int]:
        """Write the explorer as one HTML file that needs neither Python nor a network.

        Returns how many bytes each part of it takes, {part: bytes}: networks, training digits, the points and the rest.
        """
        text, parts = page(self)
        Path(path).write_text(text, "utf-8")
        return parts

    def close(self) -> None:
        """Remove the explorer and its panels from the screen, and free networks, images and codes."""
        if self.comm is not None:
            super().close()
            self._space = None
            forget(self)

    def set_state(self, sync_data):
        """Take over what the browser has set."""
        with self.moving:  # notifications are held back meanwhile, and that is not made for two threads
            super().set_state(sync_data)

    def _answer(self, _, question, buffers):
        if (space := self._space) is None:
            return  # closed meanwhile: nobody waits
        reply, pixels, state = answer(space, question, buffers)
        self.send(reply, pixels)
        try:
            self.set_state(state)  # as if the browser had set it, so that it is not sent back there
        except Exception:
            self.log.exception("an observer of the explorer failed")

    @default("z")
    def _start(self):
        return self.space.code(self.xy)

    @observe("z")
    def _z_moved(self, change):
        if self.z != self.space.code(self.xy):
            xy = self.space.place(self.z)
            self.anchor = [*xy, *self.z] if self.plane != "z" else []
            self.xy = xy

    @observe("xy")
    def _xy_moved(self, change):
        self.z = self.space.code(self.xy)

    def __repr__(self):
        return self._repr


class Panel(Drawn):
    """Show a part of an explorer, to be arranged in ipywidgets boxes: `HBox([Plane(explorer), Readout(explorer)])`.

    It holds nothing but a reference: data and state are the explorer's, and are sent to the browser once. It closes
    with its explorer. Raises ValueError for one that is closed.
    """

    explorer = Instance(LatentExplorer, allow_none=True).tag(sync=True, **widget_serialization)

    def __init__(self, explorer: LatentExplorer):
        if explorer.comm is None:
            raise ValueError(f"explorer must be open, got the closed {explorer!r}")
        super().__init__(explorer=explorer)
        explorer.observe(self._explorer_closed, "comm")

    def _explorer_closed(self, change):
        self.close()

    def close(self) -> None:
        """Remove the panel from the screen, and free its explorer."""
        if self.comm is not None and self.explorer is not None:
            super().close()
            self.explorer.unobserve(self._explorer_closed, "comm")
            self.explorer = None
            forget(self)

    def __repr__(self):
        return f"{type(self).__name__}({self.explorer!r})"


class Plane(Panel):
    """Show the plane of an explorer, its layers and its film strip."""

    parts = List(Unicode(), ["plane"]).tag(sync=True)


class Readout(Panel):
    """Show what an explorer finds under the pointer."""

    parts = List(Unicode(), ["readout"]).tag(sync=True)


class Pad(Panel):
    """Show a pad to draw a digit on, and what an explorer's model and classifier make of it."""

    parts = List(Unicode(), ["pad"]).tag(sync=True)
