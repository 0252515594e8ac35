"""Drawings of networks, in one style: boxes for what flows, arrows for the way it takes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt

from helpers.plots import BLUE, GREY, INK

# What a box is, by its outline and fill: data that is given or made, a layer with parameters, a code,
# a random draw, a loss. The same in every notebook.
KINDS = {
    "data": {"boxstyle": "square,pad=0.5", "edgecolor": GREY, "facecolor": "#f4f4f4"},
    "layer": {"boxstyle": "round,pad=0.5", "edgecolor": BLUE, "facecolor": "#e6f0f9"},
    "code": {"boxstyle": "round,pad=0.5", "edgecolor": "#a44800", "facecolor": "#fbeee2"},
    "noise": {"boxstyle": "circle,pad=0.4", "edgecolor": "#a44800", "facecolor": "white", "linestyle": "--"},
    "loss": {"boxstyle": "round,pad=0.5", "edgecolor": "#c05896", "facecolor": "#faeaf2"},
}


def show_schematic(
    boxes: Mapping[str, tuple[float, float, str, str]],
    arrows: Sequence[tuple],
    size: tuple[float, float] = (11, 2.4),
    title: str = "",
) -> None:
    """Draw boxes, {name: (x, y, text, kind)}, and arrows, (from, to) or (from, to, text), on a sheet of `size` inches.

    x and y are inches from the lower left; kinds are those of KINDS. An arrow whose text begins with "∂" is a gradient:
    it is dashed, and bends so that it can run back beside the way forward. Raises ValueError for a kind or a name that
    is not there.
    """
    for name, (*_, kind) in boxes.items():
        if kind not in KINDS:
            raise ValueError(f"box {name!r} must be of a kind of {', '.join(KINDS)}, got {kind!r}")
    if lost := {name for arrow in arrows for name in arrow[:2]} - set(boxes):
        raise ValueError(f"arrows must join boxes, got {', '.join(sorted(lost))}")
    figure, axis = plt.subplots(figsize=size)
    figure.set_layout_engine("none")
    axis.set(position=(0, 0, 1, 1), xlim=(0, size[0]), ylim=(0, size[1]))
    axis.set_axis_off()
    axis.text(0.1, size[1] - 0.12, title, size=12, weight="bold", va="top")
    drawn = {
        name: axis.text(x, y, text, ha="center", va="center", size=10, linespacing=1.35, bbox=KINDS[kind])
        for name, (x, y, text, kind) in boxes.items()
    }
    figure.draw_without_rendering()  # only now the boxes know how large their text is
    for start, end, *text in arrows:
        gradient = bool(text) and text[0].startswith("∂")
        colour = "#c05896" if gradient else INK
        (x0, y0), (x1, y1) = drawn[start].get_position(), drawn[end].get_position()
        line = {
            "arrowstyle": "-|>", "color": colour, "linestyle": "--" if gradient else "-", "shrinkA": 3, "shrinkB": 3,
            "patchA": drawn[start].get_bbox_patch(), "patchB": drawn[end].get_bbox_patch(),
            "connectionstyle": f"arc3,rad={0.35 if gradient else 0}",
        }  # fmt: skip
        axis.annotate("", (x1, y1), (x0, y0), arrowprops=line)
        if text:
            bend = 0.175 if gradient else 0  # half of the bend: where an arc has its middle
            middle = (x0 + x1) / 2 + bend * (y1 - y0), (y0 + y1) / 2 - bend * (x1 - x0)
            axis.text(*middle, text[0], ha="center", va="center", size=9, color=colour, bbox={"fc": "white", "lw": 0})
    plt.show()
