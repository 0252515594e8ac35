"""The parts of an explorer as widgets of their own, to be arranged in ipywidgets boxes.

    HBox([Plane(explorer), VBox([Readout(explorer), Pad(explorer)])])

They hold nothing but a reference: data and state stay in the explorer, and are sent to the browser once. They close
with it.
"""

from ipywidgets import widget_serialization
from traitlets import Instance, Unicode

from helpers.cells import forget
from helpers.explorer import Drawn, LatentExplorer
from helpers.still import still


class Panel(Drawn):
    """Show one part of an explorer."""

    part = Unicode().tag(sync=True)
    explorer = Instance(LatentExplorer, allow_none=True).tag(sync=True, **widget_serialization)

    def __init__(self, explorer):
        if explorer.comm is None:
            raise ValueError(f"explorer must be open, got the closed {explorer!r}")
        super().__init__(explorer=explorer)
        explorer.observe(self._explorer_closed, "comm")

    def _explorer_closed(self, change):
        self.close()

    def close(self):
        """Remove the panel from the screen, and let go of its explorer."""
        if self.comm is not None:
            super().close()
            self.explorer.unobserve(self._explorer_closed, "comm")
            self.explorer = None
            forget(self)

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
