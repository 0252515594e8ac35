"""Hover over the latent plane and see the digit under the pointer, decoded live."""

import threading
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
from helpers.cells import close_on_rerun, forget
from helpers.export import page
from helpers.messages import FAR, LAYERS, answer
from helpers.palette import PALETTE
from helpers.space import LatentSpace
from helpers.still import still

# One script, made by writing one file after the other: anywidget loads one file a widget, and this needs no bundler.
SCRIPTS = ("link.js", "dom.js", "preview.js", "plane.js", "layers.js", "pins.js", "readout.js", "pad.js", "explorer.js")


def script():
    """Return the explorer's JavaScript: it defines `widget`, and exports nothing yet."""
    return "\n".join((Path(__file__).parent / name).read_text("utf-8") for name in SCRIPTS)


class Drawn(anywidget.AnyWidget):
    """A widget that the explorer's script and style sheet draw."""

    # Traits with defaults, not paths: anywidget would connect a file to every widget made from it, and keep them all.
    _esm = Unicode().tag(sync=True)
    _css = Unicode().tag(sync=True)

    @default("_esm")
    def _module(self):
        return script() + "\nexport default widget;\n"

    @default("_css")
    def _style(self):
        return Path(__file__).with_suffix(".css").read_text("utf-8")


class Moving:
    """A trait that one thread at a time sets: `z` and `xy` follow each other, and both change or none does."""

    def set(self, explorer, value):
        with explorer.moving:
            super().set(explorer, value)


class Code(Moving, TraitType):
    """A code: a sequence, array or tensor of finite numbers, kept as a tuple of floats."""

    def validate(self, explorer, value):
        try:
            z = tuple(float(number) for number in value)
        except (TypeError, ValueError, OverflowError):
            z = ()
        if len(z) != explorer.space.dimension or not all(abs(number) <= FAR for number in z):  # false for NaN too
            raise TraitError(f"z must be {explorer.space.dimension} numbers within {FAR:g}, not {value!r}")
        return z


class Place(Moving, Tuple):
    """A place on the plane, two floats."""


class LatentExplorer(Drawn):
    """Show a latent space as a plane, and decode the place under the pointer.

    `model` encodes and decodes as those of helpers.models do, `x`, (n, 1, 28, 28), and `y`, (n,), are the images whose
    codes are drawn, `classifier` maps images to logits. A model of more than two latent dimensions is shown on the
    PCA plane of its codes, or on a map of them made elsewhere, `places`, (n, 2), such as UMAP's or t-SNE's.

    `explorer.z`, a tuple of floats, is the code on screen; set it to go there, observe it to follow the pointer.
    `explorer.history`, (pins, latent_dim), holds the codes that were pinned. `explorer.space` answers for any place.
    `explorer.close()` frees the networks and images; so does running its cell again, once that has made another.
    """

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
    instant = Bool(True, help="Blend tiles while Python decodes; False shows exact frames only.").tag(sync=True)
    smooth = Bool(False, help="Blur the digit's pixels into each other.").tag(sync=True)
    # The browser says where it is with every question; an echo would arrive late and pull the ring back.
    xy = Place(Float(), Float(), default_value=(0.0, 0.0)).tag(sync=True, echo_update=False)
    pins = List(Tuple(Float(), Float()), help="Pinned places, x and y each.").tag(sync=True, echo_update=False)
    layers = List(Enum(LAYERS), ["points"], help=f"What the plane shows, some of {LAYERS}.").tag(
        sync=True, echo_update=False
    )
    z = Code(help="The code on screen.")
    # Both are pairs that are swapped as one, and read once: another thread may answer a question meanwhile.
    _lifted = (None, None)  # the last place that was lifted, and its code: one question asks for it three times
    _off_plane = (None, None)  # (xy, z) when Python went to a code that no place on the plane stands for exactly
    _space = None

    def __init__(self, model, x, y, classifier=None, places=None, **traits):
        self._space = space = LatentSpace(model, x, y, classifier, places)
        self._repr = f"LatentExplorer({type(model).__name__}, {len(x):,} images)"
        self.moving = threading.RLock()
        super().__init__(
            **chart(space),
            plane=space.map.name,
            classes=classifier is not None,
            prior=space.has_prior,
            **traits,
        )
        self.z  # noqa: B018 - its default, now: made at the first look, it could overtake a move
        self.on_msg(answer)
        # ipykernel 7.4 hands a widget's messages to the shell that last wrote to it: the main one, which cannot answer
        # while a cell trains. These may go to the one that the browser named, which is idle. There is no public way:
        # the comm asks this method of its own alone. A test fails on the day it is not needed, or not asked, any more.
        self.comm._reply_subshell_for = lambda data, named: named
        self.comm.on_close(lambda message: self.close())  # the browser has dropped it: nobody can ask any more
        close_on_rerun(self)

    @property
    def space(self):
        """The `LatentSpace` behind the plane. Raises RuntimeError when the explorer is closed."""
        if self._space is None:
            raise RuntimeError("this explorer is closed: make another")
        return self._space

    def close(self):
        """Remove the explorer and its panels from the screen, and let go of networks, images and codes."""
        if self.comm is not None:
            super().close()
            self._space = None
            forget(self)

    def set_state(self, state):
        """Take over what the browser has set."""
        with self.moving:  # notifications are held back meanwhile, and that is not made for two threads
            super().set_state(state)

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
            xy = tuple(self.space.map.place(self._tensor(self.z))[0].clamp(-FAR, FAR).tolist())
            self._off_plane = (xy, self.z)
            self.xy = xy

    @observe("xy")
    def _xy_moved(self, change):
        self.z = self.code(self.xy)

    def code(self, xy):
        """Return the code, a tuple of floats, that stands for a place on the plane."""
        xy = tuple(xy)
        for place, z in (self._off_plane, self._lifted):
            if place == xy:
                return z
        z = tuple(self.space.map.lift(self._tensor(xy))[0].tolist())
        self._lifted = xy, z
        return z

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
        Path(path).write_text(page(self, script()), "utf-8")

    def _tensor(self, numbers):
        return torch.tensor([numbers], dtype=torch.float64)

    def __repr__(self):
        return self._repr

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        # What a saved notebook, GitHub and nbconvert show, where no kernel answers.
        data["image/png"] = still(self, "plane", "readout")
        return data, metadata
