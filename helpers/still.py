"""The explorer as a picture, for places where nothing answers: a saved notebook, GitHub, nbconvert."""

import io

import numpy as np
from matplotlib.figure import Figure  # not pyplot: a callback must not touch its global state

from helpers.palette import PALETTE

INK, QUIET, LINE = "#222222", "#777777", "#dddddd"


def still(explorer, sight):
    """Draw an explorer's plane, the digit on screen and its class probabilities; return the bytes of a PNG."""
    points = np.frombuffer(explorer.points, "<f4").reshape(-1, 2)
    colours = [PALETTE[digit] for digit in np.frombuffer(explorer.digits, "u1")]
    probs = sight.facts[0, :10].tolist() if explorer.classes else None
    figure = Figure(figsize=(8, 5), dpi=100, facecolor="white", layout="none")  # whatever the notebook's style says
    plane = figure.add_axes((0.005, 0.008, 0.61, 0.984))
    plane.scatter(*points.T, s=5, c=colours, alpha=0.62, linewidths=0)
    for digit, (x, y) in explorer.centres:
        box = {"boxstyle": "circle,pad=0.3", "facecolor": "white", "edgecolor": PALETTE[digit], "alpha": 0.9}
        plane.text(x, y, digit, ha="center", va="center", color=PALETTE[digit], weight="bold", fontsize=9, bbox=box)
    plane.plot(
        *explorer.xy, "o", markersize=11, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.8, zorder=9
    )
    plane.set(xlim=explorer.bounds[:2], ylim=explorer.bounds[2:], xticks=[], yticks=[])

    digit = figure.add_axes((0.655, 0.42, 0.335, 0.335 * 8 / 5))
    digit.imshow(sight.ink.numpy().reshape(28, 28), cmap="gray_r", vmin=0, vmax=255)
    digit.set(xticks=[], yticks=[])
    place = ", ".join(f"{value:.2f}" for value in explorer.z[:4]) + (", ..." if len(explorer.z) > 4 else "")
    figure.text(0.655, 0.37, f"z = ({place})".replace("-", "\N{MINUS SIGN}"), color=INK, va="center")
    if probs:
        best = int(np.argmax(probs))
        figure.text(
            0.99, 0.37, f"{best}  \N{MIDDLE DOT}  {round(100 * probs[best])} %", color=INK, ha="right", va="center"
        )
        bars = figure.add_axes((0.655, 0.07, 0.335, 0.25))
        bars.bar(range(len(probs)), [1] * len(probs), color="#f2f2f2", width=0.84)
        bars.bar(range(len(probs)), probs, color=PALETTE, width=0.84)
        bars.set(ylim=(0, 1), yticks=[], xticks=range(len(probs)), xlim=(-0.45, len(probs) - 0.55))
        bars.tick_params(length=0, labelcolor=QUIET, labelsize=8)
        bars.spines[:].set_visible(False)
    for axis in (plane, digit):
        axis.spines[:].set(visible=True, color=LINE)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
