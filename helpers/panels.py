"""The parts of an explorer as widgets of their own, to be arranged in ipywidgets boxes.

    HBox([Plane(explorer), VBox([Readout(explorer), Pad(explorer)])])

They hold nothing but a reference: data and state stay in the explorer, and are sent to the browser once.
"""

from pathlib import Path

import anywidget
from ipywidgets import widget_serialization
from traitlets import Instance, Unicode, default

from helpers.explorer import LatentExplorer, script
from helpers.still import still


class Panel(anywidget.AnyWidget):
    """Show one part of an explorer."""

    _esm = Unicode().tag(sync=True)
    _css = Path(__file__).with_name("explorer.css")

    part = Unicode().tag(sync=True)
    explorer = Instance(LatentExplorer).tag(sync=True, **widget_serialization)

    def __init__(self, explorer):
        super().__init__(explorer=explorer)

    @default("_esm")
    def _script(self):
        return script()

    def __repr__(self):
        return f"{type(self).__name__}({self.explorer!r})"

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        data["image/png"] = still(self.explorer, self.part)
        return data, metadata


class Plane(Panel):
    """Show the plane of an explorer, its layers and its film strip."""

    part = Unicode("plane").tag(sync=True)


class Readout(Panel):
    """Show what an explorer finds under the pointer."""

    part = Unicode("readout").tag(sync=True)


class Pad(Panel):
    """Show a pad to draw a digit on, and what an explorer's model and classifier make of it."""

    part = Unicode("pad").tag(sync=True)
