"""What leaves the explorer as it stands: its script and style, one HTML page with both, and a picture as PNG."""

import base64
import gzip
import io
import json
import re
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.figure import Figure  # not pyplot: a callback must not touch its global state

from helpers.plots import PALETTE

HERE = Path(__file__).parent

# The script

IMPORT = re.compile(r'^import \{([^}]*)\} from "([^"]*)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?:(default) |(?=(?:async )?(?:function|const|class) (\w+)))", re.MULTILINE)


def script(name: str) -> str:
    """Return the ES module `name` of js/ and all that it imports as the text of one module."""
    return link(HERE / "js" / name)


def style() -> str:
    """Return the style sheet."""
    return (HERE / "explorer.css").read_text("utf-8")


def link(entry: Path) -> str:
    """Return ES modules as the text of one, which exports what `entry` does: anywidget takes one text for a widget.

    Each becomes a function that runs once, after those it imports from, so that two may use one name. Raises ValueError
    for a circle, for what is not a file or is not exported there, and for other forms of import and export.
    """
    exports: dict[Path, dict[str, str]] = {}  # of the modules that are done, in their order: name -> name inside
    scopes: list[str] = []

    def visit(path: Path, way: tuple[Path, ...]):
        if path in way:
            raise ValueError(f"imports in a circle: {' -> '.join(each.name for each in (*way, path))}")
        if path in exports:
            return

        def bind(match):
            source = (path.parent / match[2]).resolve()
            if not match[2].startswith(("./", "../")) or not source.is_file():
                raise ValueError(f"{path.name} imports from {match[2]!r}, which is no file")
            visit(source, (*way, path))
            if unknown := {name.partition(" as ")[0].strip() for name in match[1].split(",")} - {"", *exports[source]}:
                raise ValueError(f"{path.name} imports {', '.join(sorted(unknown))}, not exported by {source.name}")
            return f"const {{{match[1].replace(' as ', ': ')}}} = $module{list(exports).index(source)};"

        text = IMPORT.sub(bind, path.read_text("utf-8"))
        names = {name or "default": name or "$default" for _, name in EXPORT.findall(text)}
        text = EXPORT.sub(lambda match: "const $default = " if match[1] else "", text)
        if other := re.search(r"^(import|export)\b.*", text, re.MULTILINE):
            raise ValueError(f"{path.name} has a form of import or export that is not linked: {other[0]}")
        found = ", ".join(f"{name}: {inside}" for name, inside in names.items())
        scopes.append(f"const $module{len(exports)} = (() => {{\n{text}\nreturn {{ {found} }};\n}})();\n")
        exports[path] = names

    visit(entry.resolve(), ())
    last, names = f"$module{len(exports) - 1}", exports[entry.resolve()]
    if names.pop("default", None):
        scopes.append(f"export default {last}.default;\n")
    if names:
        scopes.append(f"export const {{ {', '.join(names)} }} = {last};\n")
    return "".join(scopes)


# The page

RAW = ("points", "digits", "atlas", "facts", "neighbours", "codes")  # bytes as they are
PACKED = ("decoder", "classifier", "encoder", "images")  # compressed already
FIXED = ("centres", "bounds", "shown", "tiles", "names", "palette", "plane", "classes", "prior", "projection", "anchor")
MOVED = ("layers", "smooth", "xy", "pins", "text")


def page(explorer: Any) -> tuple[str, dict[str, int]]:
    """Return the HTML of an explorer as it is now, and the bytes of each part of it.

    It is the widget's own script, and the state that it would get from Python, the pad being part of it.
    """
    parts = [*explorer.parts, *(["pad"] if explorer.encoder and "pad" not in explorer.parts else [])]
    title, lead, width = PLANE if explorer.shown == 1 else STYLES
    return document(
        {"parts": parts} | {name: getattr(explorer, name) for name in FIXED + MOVED},
        raw={name: getattr(explorer, name) for name in RAW},
        packed={name: getattr(explorer, name) for name in PACKED},
        title=title,
        lead=lead,
        width=width,
        about=EXACT if explorer.decoder else BLENDED,
    )


def document(
    state: dict[str, Any], raw: dict[str, bytes], packed: dict[str, bytes], **texts: Any
) -> tuple[str, dict[str, int]]:
    """Return the HTML of a page with a state, and the bytes of each part of it; `raw` is what is worth compressing."""
    # Base 85: a sixteenth shorter than base 64, and nothing in it would end a string, or the element that holds it.
    coded = {name: base64.b85encode(content).decode() for name, content in packed.items()}
    small = {name: base64.b85encode(gzip.compress(content, 9, mtime=0)).decode() for name, content in raw.items()}
    text = Template((HERE / "js" / "page.html").read_text("utf-8")).substitute(
        texts,
        style=style(),
        script=script("page.js"),
        state=json.dumps(state).replace("<", "\\u003c"),
        packed=json.dumps({"raw": small, "packed": coded}),
    )
    sizes = {name: len(content) for name, content in (coded | small).items() if (packed | raw)[name]}
    return text, sizes | {"script, style and the rest": len(text.encode()) - sum(sizes.values())}


# Title, first paragraph, and the width of the page in pixels
PLANE = (
    "A latent plane",
    """Every place on the plane stands for a code, and the large image is what a neural network makes of that code. Move
the pointer, a finger or the arrow keys; click or press Enter to pin a place.""",
    780,
)
STYLES = (
    "A plane of handwriting",
    """Every place on the plane stands for a style, in which a neural network writes whichever digit it is told: all
ten, or the number that you type. Move the pointer, a finger or the arrow keys; click or press Enter to pin a place. Or
draw a digit below, and the network writes in your hand.""",
    940,
)
EXACT = """The networks came along, their weights rounded so far that no pixel differs by more than one of
255 grey levels. The nearest images are looked for among those that came along too, the first thousand of the points."""
BLENDED = """Its images are blended from those that were decoded when it was saved, for this page cannot run
the networks. Exact ones, and a pad that reads a digit of your own, need the notebook and its kernel."""


# The picture

INK, QUIET, LINE = "#222222", "#777777", "#dddddd"
SIZES = {"plane": (5, 5), "readout": (3, 5), "pad": (3, 3)}  # inches


def still(explorer: Any, *parts: str) -> bytes:
    """Draw parts of an explorer, "plane", "readout" or "pad", side by side; return the bytes of a PNG."""
    widths, heights = zip(*(SIZES[part] for part in parts))
    size = (sum(widths), max(heights))
    figure = Figure(figsize=size, dpi=100, facecolor="white")
    figure.set_layout_engine("none")  # whatever the notebook's style says
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
    for label, (x, y) in explorer.centres:
        name, colour = explorer.names[label], PALETTE[label]
        shape = "circle,pad=0.3" if len(name) < 3 else "round,pad=0.3,rounding_size=0.7"
        box = {"boxstyle": shape, "facecolor": "white", "edgecolor": colour, "alpha": 0.9}
        size = 9 if len(name) < 3 else 8
        plane.text(x, y, name, ha="center", va="center", color=colour, weight="bold", fontsize=size, bbox=box)
    plane.plot(
        *explorer.xy, "o", markersize=11, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.8, zorder=9
    )
    plane.set(xlim=explorer.bounds[:2], ylim=explorer.bounds[2:])


def _draw_readout(explorer, figure):
    seen = explorer.space.query([explorer.xy])
    digit = _axes(figure, (0.08, 0.42, 0.89, 0.89 * 3 / 5))
    rows = 1 if explorer.shown == 1 else 5
    grid = seen.pixels.numpy().reshape(rows, -1, 28, 28).swapaxes(1, 2).reshape(28 * rows, -1)
    digit.imshow(grid, cmap="gray_r", vmin=0, vmax=255)
    place = ", ".join(f"{value:.2f}" for value in explorer.z[:2]) + (", ..." if len(explorer.z) > 2 else "")
    figure.text(0.08, 0.37, f"z = ({place})".replace("-", "\N{MINUS SIGN}"), color=INK, va="center")
    if not explorer.classes or explorer.shown > 1:
        return
    probs = seen.facts[0, :10].tolist()
    best = int(np.argmax(probs))
    verdict = f"{explorer.names[best]}  \N{MIDDLE DOT}  {round(100 * probs[best])} %"
    figure.text(0.97, 0.37, verdict, color=INK, ha="right", va="center")
    words = max(map(len, explorer.names)) > 2  # they stand upright beneath the bars
    bars = _axes(figure, (0.08, 0.18, 0.89, 0.14) if words else (0.08, 0.07, 0.89, 0.25))
    bars.bar(range(len(probs)), [1] * len(probs), color="#f2f2f2", width=0.84)
    bars.bar(range(len(probs)), probs, color=PALETTE, width=0.84)
    bars.set_xticks(range(len(probs)), explorer.names, rotation=90 if words else 0)
    bars.set(ylim=(0, 1), xlim=(-0.45, len(probs) - 0.55))
    bars.tick_params(length=0, labelcolor=QUIET, labelsize=8)
    bars.spines[:].set_visible(False)


def _draw_pad(explorer, figure):
    pad = _axes(figure, (0.08, 0.08, 0.89, 0.89))
    pad.text(0.5, 0.5, "a pad to draw on:\nit needs a running kernel", color=QUIET, ha="center", va="center")


DRAW = {"plane": _draw_plane, "readout": _draw_readout, "pad": _draw_pad}


def _axes(figure, box):
    axes = figure.add_axes(box, xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=LINE)
    return axes
