"""Hover over the latent plane and see the digit under the pointer, decoded live."""

from pathlib import Path

import anywidget
import torch
from traitlets import (
    Bool,
    Bytes,
    Enum,
    Float,
    Int,
    List,
    TraitError,
    TraitType,
    Tuple,
    Unicode,
    default,
    observe,
    validate,
)

from helpers.atlas import TILES, chart
from helpers.export import page
from helpers.messages import FAR, answer
from helpers.palette import PALETTE
from helpers.space import LatentSpace
from helpers.still import still

# One script, made by writing one file after the other: anywidget loads one file a widget, and this needs no bundler.
SCRIPTS = ("link.js", "dom.js", "preview.js", "plane.js", "layers.js", "pins.js", "readout.js", "pad.js", "explorer.js")
LAYERS = ("points", "tiles", "regions", "entropy")


def script():
    """Return the explorer's JavaScript, one module."""
    return "\n".join((Path(__file__).parent / name).read_text("utf-8") for name in SCRIPTS)


class Code(TraitType):
    """A code: a sequence, array or tensor of finite numbers, kept as a tuple of floats."""

    def validate(self, explorer, value):
        try:
            z = tuple(float(number) for number in value)
        except (TypeError, ValueError, OverflowError):
            z = ()
        if len(z) != explorer.space.dimension or not all(abs(number) <= FAR for number in z):  # false for NaN too
            raise TraitError(f"z must be {explorer.space.dimension} numbers within {FAR:g}, not {value!r}")
        return z


class LatentExplorer(anywidget.AnyWidget):
    """Show a latent space as a plane, and decode the place under the pointer.

    `model` encodes and decodes as those of helpers.models do, `x`, (n, 1, 28, 28), and `y`, (n,), are the images whose
    codes are drawn, `classifier` maps images to logits. A model of more than two latent dimensions is shown on the
    PCA plane of its codes, or on a map of them made elsewhere, `places`, (n, 2), such as UMAP's or t-SNE's.

    `explorer.z`, a tuple of floats, is the code on screen; set it to go there, observe it to follow the pointer.
    `explorer.history`, (pins, latent_dim), holds the codes that were pinned. `explorer.space` answers for any place.
    """

    _esm = Unicode().tag(sync=True)
    _css = Path(__file__).with_suffix(".css")

    points = Bytes().tag(sync=True)  # float32 (n, 2), little-endian
    digits = Bytes().tag(sync=True)  # uint8 (n,)
    centres = List().tag(sync=True)  # [digit, [x, y]], where its label stands
    bounds = List().tag(sync=True)  # [left, right, bottom, top]
    tiles = Int(TILES).tag(sync=True)  # along each side of the three below, row by row from the top left
    atlas = Bytes().tag(sync=True)  # uint8 (tiles, tiles, 784), decoded at the middle of each tile
    facts = Bytes().tag(sync=True)  # float32 (tiles, tiles, 12), see space.Sight
    likes = Bytes().tag(sync=True)  # uint8 (tiles, tiles, 784), the nearest training images
    palette = List(PALETTE).tag(sync=True)
    plane = Unicode().tag(sync=True)  # what the two axes are: "z", "PCA" or "map"
    classes = Bool().tag(sync=True)  # is there a classifier?
    prior = Bool().tag(sync=True)  # is there a prior?
    layers = List(Enum(LAYERS), default_value=["points"], help=f"What the plane shows, some of {LAYERS}.").tag(
        sync=True
    )
    instant = Bool(True, help="Blend tiles while Python decodes; False shows exact frames only.").tag(sync=True)
    smooth = Bool(False, help="Blur the digit's pixels into each other.").tag(sync=True)
    # The browser says where it is with every question; an echo would arrive late and pull the ring back.
    xy = Tuple(Float(), Float(), default_value=(0.0, 0.0)).tag(sync=True, echo_update=False)
    pins = List(Tuple(Float(), Float()), help="Pinned places, x and y each.").tag(sync=True, echo_update=False)
    z = Code(help="The code on screen.")
    _lifted = (None, None)  # the last place that was lifted, and its code: one question asks for it three times
    _off_plane = None  # (xy, z) when Python went to a code that no place on the plane stands for exactly

    def __init__(self, model, x, y, classifier=None, places=None, **traits):
        self.space = space = LatentSpace(model, x, y, classifier, places)
        self._name = type(model).__name__
        super().__init__(
            **chart(space),
            plane=space.map.name,
            classes=classifier is not None,
            prior=space.has_prior,
            **traits,
        )
        self.on_msg(answer)
        # ipykernel >= 7.4 hands a widget's messages to the shell that last wrote to it: the main one, which cannot
        # answer while a cell trains. These may go to the one the browser named, that is idle.
        self.comm._reply_subshell_for = lambda data, named: named

    @default("_esm")
    def _script(self):
        return script()

    @default("z")
    def _start(self):
        return self.code(self.xy)

    @validate("xy", "pins")
    def _finite(self, proposal):
        places = [proposal["value"]] if proposal["trait"].name == "xy" else proposal["value"]
        if not all(abs(number) <= FAR for place in places for number in place):  # false for NaN too
            raise TraitError(f"{proposal['trait'].name} must be numbers within {FAR:g}, not {proposal['value']!r}")
        return proposal["value"]

    @observe("z")
    def _z_moved(self, change):
        if self.z != self.code(self.xy):
            xy = tuple(self.space.map.place(self._tensor(self.z))[0].tolist())
            self._off_plane = (xy, self.z)
            self.xy = xy

    @observe("xy")
    def _xy_moved(self, change):
        self.z = self.code(self.xy)

    def code(self, xy):
        """Return the code, a tuple of floats, that stands for a place on the plane."""
        xy = tuple(xy)
        if self._off_plane and self._off_plane[0] == xy:
            return self._off_plane[1]
        last = self._lifted  # once: another thread may answer a question meanwhile
        if last[0] != xy:
            self._lifted = last = xy, tuple(self.space.map.lift(self._tensor(xy))[0].tolist())
        return last[1]

    @property
    def history(self):
        """The codes of the pinned places, (pins, latent_dim), in the order they were pinned."""
        return torch.tensor([self.code(xy) for xy in self.pins]).reshape(-1, self.space.dimension)

    def look(self, places):
        """Return the `Sight` of places on the plane, (n, 2)."""
        codes = torch.tensor([self.code(xy) for xy in places], dtype=torch.float32)
        return self.space.survey(codes, torch.tensor(places, dtype=torch.float32))

    def save_html(self, path):
        """Write the explorer as one HTML file that needs neither Python nor a network; what it shows is the atlas."""
        Path(path).write_text(page(self), "utf-8")

    def _tensor(self, numbers):
        return torch.tensor([numbers], dtype=torch.float64)  # on the CPU: not every device has float64

    def __repr__(self):
        return f"LatentExplorer({self._name}, {len(self.space.x):,} images)"

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        # What a saved notebook, GitHub and nbconvert show, where no kernel answers.
        data["image/png"] = still(self, "plane", "readout")
        return data, metadata
