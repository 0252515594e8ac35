"""The explorer as a picture, for places where nothing answers: a saved notebook, GitHub, nbconvert."""

import io

import numpy as np
from matplotlib.figure import Figure  # not pyplot: a callback must not touch its global state

from helpers.palette import PALETTE

INK, QUIET, LINE = "#222222", "#777777", "#dddddd"
SIZES = {"plane": (5, 5), "readout": (3, 5), "pad": (3, 3)}  # inches


def still(explorer, *parts):
    """Draw parts of an explorer, "plane", "readout" or "pad", side by side; return the bytes of a PNG."""
    widths, heights = zip(*(SIZES[part] for part in parts))
    size = (sum(widths), max(heights))
    figure = Figure(figsize=size, dpi=100, facecolor="white", layout="none")  # whatever the notebook's style says
    boxes = figure.subfigures(1, len(parts), squeeze=False, width_ratios=widths, wspace=0)
    for part, box in zip(parts, boxes.flat):
        DRAW[part](explorer, box)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_plane(explorer, figure):
    points = np.frombuffer(explorer.points, "<f4").reshape(-1, 2)
    colours = [PALETTE[digit] for digit in np.frombuffer(explorer.digits, "u1")]
    plane = _axes(figure, (0.008, 0.008, 0.984, 0.984))
    plane.scatter(*points.T, s=5, c=colours, alpha=0.62, linewidths=0)
    for digit, (x, y) in explorer.centres:
        box = {"boxstyle": "circle,pad=0.3", "facecolor": "white", "edgecolor": PALETTE[digit], "alpha": 0.9}
        plane.text(x, y, digit, ha="center", va="center", color=PALETTE[digit], weight="bold", fontsize=9, bbox=box)
    plane.plot(
        *explorer.xy, "o", markersize=11, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.8, zorder=9
    )
    plane.set(xlim=explorer.bounds[:2], ylim=explorer.bounds[2:])


def _draw_readout(explorer, figure):
    sight = explorer.look([explorer.xy])
    digit = _axes(figure, (0.08, 0.42, 0.89, 0.89 * 3 / 5))
    digit.imshow(sight.ink.numpy().reshape(28, 28), cmap="gray_r", vmin=0, vmax=255)
    place = ", ".join(f"{value:.2f}" for value in explorer.z[:2]) + (", ..." if len(explorer.z) > 2 else "")
    figure.text(0.08, 0.37, f"z = ({place})".replace("-", "\N{MINUS SIGN}"), color=INK, va="center")
    if not explorer.classes:
        return
    probs = sight.facts[0, :10].tolist()
    best = int(np.argmax(probs))
    verdict = f"{best}  \N{MIDDLE DOT}  {round(100 * probs[best])} %"
    figure.text(0.97, 0.37, verdict, color=INK, ha="right", va="center")
    bars = _axes(figure, (0.08, 0.07, 0.89, 0.25))
    bars.bar(range(len(probs)), [1] * len(probs), color="#f2f2f2", width=0.84)
    bars.bar(range(len(probs)), probs, color=PALETTE, width=0.84)
    bars.set(ylim=(0, 1), xticks=range(len(probs)), xlim=(-0.45, len(probs) - 0.55))
    bars.tick_params(length=0, labelcolor=QUIET, labelsize=8)
    bars.spines[:].set_visible(False)


def _draw_pad(explorer, figure):
    pad = _axes(figure, (0.08, 0.08, 0.89, 0.89))
    pad.text(0.5, 0.5, "a pad to draw a digit on:\nit needs a running kernel", color=QUIET, ha="center", va="center")


DRAW = {"plane": _draw_plane, "readout": _draw_readout, "pad": _draw_pad}


def _axes(figure, box):
    axes = figure.add_axes(box, xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=LINE)
    return axes
