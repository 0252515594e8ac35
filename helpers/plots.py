"""A small family of figure verbs. Each draws one figure, shows it, and returns None."""

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from IPython.display import Markdown, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from helpers.checks import check_classes, check_codes

# A colour for each class, the same in every figure and in the explorer. Searched for, not picked by eye: the two
# closest are 0.15 apart in OKLab for full colour vision and 0.09 under simulated protanopia, deuteranopia and
# tritanopia (Machado et al. 2009); for matplotlib's default ten that is 0.11 and 0.007. Every one stands out from white
# and from near-black paper, and digits that look alike (4 and 9, 3 and 8) have colours far apart.
PALETTE = (
    "#26bebb", "#296f5b", "#c05896", "#268bd9", "#7451b4", "#a44800", "#7d9122", "#b59cfe", "#d8a605", "#ff7a85",
)  # fmt: skip
INK, GREY, BLUE = "#222222", "#9a9a9a", "#0a5fa5"


def style() -> None:
    """Set the look of every figure: dark images on white, no boxes, titles on the left that state the finding."""
    plt.rc("figure", dpi=100, facecolor="white")
    plt.rc("figure.constrained_layout", use=True)
    plt.rc("image", cmap="gray_r", interpolation="nearest")
    plt.rc("axes", titlelocation="left", titlesize=12, titleweight="bold", titlepad=10, labelsize=10, grid=False)
    plt.rc("axes", edgecolor="#999999", labelcolor=INK, prop_cycle=plt.cycler(color=PALETTE))
    plt.rc("axes.spines", top=False, right=False)
    plt.rc("text", color=INK)
    plt.rc("xtick", color="#555555", labelsize=9)
    plt.rc("ytick", color="#555555", labelsize=9)
    plt.rc("legend", frameon=False, fontsize=9)
    plt.rc("lines", linewidth=2, solid_capstyle="round")


def show_source(*objects: Any) -> None:
    """Display the source of functions or classes as highlighted code: lesson and helper cannot drift apart."""
    code = "\n\n".join(inspect.getsource(each).rstrip() for each in objects)
    display(Markdown(f"```python\n{code}\n```"))


def show_images(
    images: Tensor,
    title: str = "",
    captions: Sequence | None = None,
    columns: int = 10,
    size: float = 0.85,
    row_labels: Sequence[str] | None = None,
    save: str | Path | None = None,
    cmap: str | None = None,
) -> None:
    """Show images, (n, 1, h, w) in [0, 1], in rows of `columns`, dark on white, each under its caption if given.

    `size` is an image's width in inches; `row_labels` names the rows; `save` also writes the figure to that path;
    `cmap` is another of matplotlib's colour maps. Values outside [0, 1] are clipped.
    """
    images = _drawable(images)
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    if captions is not None and len(captions) != len(images):
        raise ValueError(f"captions must name each of the {len(images)} images, got {len(captions)}")
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    if row_labels is not None and len(row_labels) != rows:
        raise ValueError(f"row_labels must name each of the {rows} rows, got {len(row_labels)}")
    lines = 0 if captions is None else 1 + max(str(caption).count("\n") for caption in captions)
    height = rows * (size + 0.17 * lines) + (0.45 if title else 0)
    label_width = 0.085 * max(map(len, row_labels)) if row_labels else 0
    figure, axes = plt.subplots(rows, columns, figsize=(columns * size + label_width, height), squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    for axis in axes.flat:
        axis.set_axis_off()
    for i, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        axis.imshow(image[0].numpy(), cmap=cmap, vmin=0, vmax=1)
        if captions is not None:
            axis.set_title(captions[i], fontsize=8, fontweight="normal", loc="center", pad=2)
    for axis, label in zip(axes[:, 0], row_labels or [], strict=False):
        axis.text(-0.12, 0.5, label, transform=axis.transAxes, ha="right", va="center", fontsize=9)
    _finish(figure, title, save)


def show_sheet(
    images: Tensor,
    columns: int,
    title: str = "",
    size: float = 7.0,
    names: tuple[str, str] | None = None,
    save: str | Path | None = None,
) -> None:
    """Show images, (n, 1, h, w) in [0, 1], edge to edge as one picture: for hundreds of them, where rows would be slow.

    `size` is about the width in inches: every pixel becomes a square of whole screen pixels, which keeps strokes even.
    `names` labels the two directions, `save` also writes the figure to that path.
    """
    images = _drawable(images)
    if columns < 1 or len(images) % columns:
        raise ValueError(f"columns must be positive and images full rows of {columns}, got {tuple(images.shape)}")
    n, _, height, width = images.shape
    rows = n // columns
    sheet = images.view(rows, columns, height, width).transpose(1, 2).reshape(rows * height, columns * width)
    sheet = (31 * sheet).round() / 31  # greys the eye cannot tell apart would double the size of the notebook
    dpi = plt.rcParams["figure.dpi"]
    inches = max(1, round(size * dpi / sheet.shape[1])) / dpi  # a pixel's side
    with plt.rc_context({"figure.constrained_layout.use": False}):  # it would shrink the pixels to make room
        figure = plt.figure(figsize=(inches * sheet.shape[1], inches * sheet.shape[0]))
        axis = figure.add_axes((0, 0, 1, 1))  # what stands outside it is kept by the tight box of notebook and file
        axis.imshow(sheet.numpy(), vmin=0, vmax=1, interpolation="antialiased")
        axis.set(xticks=[], yticks=[], title=title)
        axis.spines[:].set_visible(False)
        if names:
            axis.set(xlabel=names[0], ylabel=names[1])
        _finish(figure, "", save)


def show_history(
    history: Mapping, names: Sequence[str] = ("loss",), title: str = "", labels: Sequence[str] | None = None
) -> None:
    """Plot the training and the validation curve of each name in a history of `fit`, one panel for each."""
    labels = labels or names
    if len(labels) != len(names):
        raise ValueError(f"labels must name each of the {len(names)} panels, got {len(labels)}")
    if missing := [name for name in names if f"train_{name}" not in history]:
        raise ValueError(f"history has no {', '.join(missing)}: give it to `fit` in `metrics`")
    figure, axes = plt.subplots(1, len(names), figsize=(4.6 * len(names), 3.1), squeeze=False)
    for axis, name, label in zip(axes[0], names, labels, strict=True):
        for part, colour in (("train", GREY), ("valid", BLUE)):
            values = history[f"{part}_{name}"]
            axis.plot(range(1, len(values) + 1), values, color=colour, marker="o", markersize=3, label=part)
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend()
    _finish(figure, title)


def show_latent(
    codes: Tensor,
    y: Tensor,
    title: str = "",
    axis: Axes | None = None,
    names: tuple[str, str] = ("$z_1$", "$z_2$"),
    size: float = 4,
    classes: Sequence[str] | None = None,
) -> None:
    """Scatter two-dimensional codes, (n, 2), coloured by class y, (n,), each class's name near its median.

    The names are those of `classes`, by default the numerals of the labels. Draws into `axis` and leaves showing to the
    caller when one is given.
    """
    codes, y = torch.as_tensor(codes).detach().cpu(), torch.as_tensor(y).cpu()
    if codes.dim() != 2 or codes.shape[1] != 2 or len(codes) != len(y):
        raise ValueError(f"codes must be (n, 2) and y (n,), got {tuple(codes.shape)} and {tuple(y.shape)}")
    check_codes("codes", codes)
    check_classes("y", y, min(len(PALETTE), len(classes or PALETTE)))
    figure = None
    if axis is None:
        figure, axis = plt.subplots(figsize=(6.4, 6))
    colours = [PALETTE[each] for each in y.tolist()]
    axis.scatter(codes[:, 0], codes[:, 1], s=size, c=colours, alpha=0.6, linewidths=0, rasterized=True)
    window = axis.get_window_extent()
    inches = torch.tensor([window.width, window.height], dtype=torch.float64) / axis.figure.dpi
    room = (0.6 if classes else 0.36) * ((codes.amax(0) - codes.amin(0)) / inches).max().item()  # a label, in codes
    shown, places = place_labels(codes, y, room)
    box, points = ("round,pad=0.2", 9) if classes else ("circle,pad=0.25", 13)
    for each, (left, up) in zip(shown, places.tolist(), strict=True):
        name, colour = classes[each] if classes else str(each), PALETTE[each]
        axis.text(
            left, up, name, fontsize=points, fontweight="bold", ha="center", va="center", color=colour,
            bbox={"boxstyle": box, "facecolor": "white", "edgecolor": colour, "alpha": 0.92},
        )  # fmt: skip
    axis.set(xlabel=names[0], ylabel=names[1])
    axis.set_aspect("equal", adjustable="datalim")
    if figure:
        _finish(figure, title)
    else:
        axis.set_title(title)


def place_labels(codes: Tensor, y: Tensor, room: float) -> tuple[list[int], Tensor]:
    """Return each class in y, (n,), and a place for its label, (classes, 2), at the median of its codes, (n, 2).

    Labels closer than `room`, in units of the codes, are pushed apart. Raises ValueError for codes that are empty, not
    finite, or not as many as labels.
    """
    check_codes("codes", codes, 2)
    if y.shape != codes.shape[:1]:
        raise ValueError(f"y must have shape ({len(codes)},), one label for each code, got {tuple(y.shape)}")
    classes = y.unique().tolist()
    places = torch.stack([codes[y == each].median(0).values for each in classes])  # (classes, 2)
    for _ in range(50):
        away = places[:, None] - places  # (classes, classes, 2)
        distance = away.norm(dim=2, keepdim=True).clamp(min=1e-6)
        places = places + 0.5 * (away / distance * (room - distance).clamp(min=0)).sum(1)
    return classes, places


def _drawable(images: Tensor) -> Tensor:
    """Return images, (n, 1, h, w), as floats in [0, 1] on the CPU; bytes would be drawn black, and NaN not at all."""
    images = torch.as_tensor(images).detach().cpu()
    if images.dim() != 4 or images.shape[1] != 1 or not len(images):
        raise ValueError(f"images must have shape (n, 1, h, w) with n >= 1, got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(f"images must be floats in [0, 1], got {images.dtype}")
    if not images.isfinite().all():
        raise ValueError(f"images must be finite, got {images[~images.isfinite()][0]:.3g}")
    return images.float().clamp(0, 1)


def _finish(figure: Figure, title: str, save: str | Path | None = None) -> None:
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    if save:
        Path(save).parent.mkdir(parents=True, exist_ok=True)
        # without the name of the software the same picture is the same bytes
        figure.savefig(save, dpi=150, bbox_inches="tight", pad_inches=0.1, metadata={"Software": None})
    plt.show()
    plt.close(figure)
