"""A small family of figure verbs. Each draws one figure, shows it, and returns None."""

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from helpers.checks import check_codes, check_digits
from helpers.labels import place_labels
from helpers.palette import PALETTE

INK = "#222222"
TRAIN, VALID = "#9a9a9a", "#0a5fa5"


def style():
    """Set the look of every figure: dark digits on white, no boxes, titles on the left that state the finding."""
    plt.rcParams.update(
        {
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "image.cmap": "gray_r",
            "image.interpolation": "nearest",
            "axes.titlelocation": "left",
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "axes.titlepad": 10,
            "axes.labelsize": 10,
            "axes.edgecolor": "#999999",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=PALETTE),
            "axes.grid": False,
            "text.color": INK,
            "axes.labelcolor": INK,
            "xtick.color": "#555555",
            "ytick.color": "#555555",
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.linewidth": 2,
            "lines.solid_capstyle": "round",
        }
    )


def show_images(images, title="", captions=None, columns=10, size=0.85, row_labels=None, save=None, cmap=None):
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
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    for axis in axes.flat:
        axis.set_axis_off()
    for i, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        axis.imshow(image[0].numpy(), cmap=cmap, vmin=0, vmax=1)
        if captions is not None:
            axis.set_title(captions[i], fontsize=8, fontweight="normal", loc="center", pad=2)
    for axis, label in zip(axes[:, 0], row_labels or [], strict=False):
        axis.text(-0.12, 0.5, label, transform=axis.transAxes, ha="right", va="center", fontsize=9)
    _finish(figure, title, save)


def show_sheet(images, columns, title="", size=7.0, names=None, save=None):
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


def show_history(history, names=("loss",), title="", labels=None):
    """Plot the training and the validation curve of each name in a history of `fit`, one panel a name."""
    labels = labels or names
    if len(labels) != len(names):
        raise ValueError(f"labels must name each of the {len(names)} panels, got {len(labels)}")
    if missing := [name for name in names if f"train_{name}" not in history]:
        raise ValueError(f"history has no {', '.join(missing)}: give it to `fit` in `metrics`")
    figure, axes = plt.subplots(1, len(names), figsize=(4.6 * len(names), 3.1), squeeze=False)
    for axis, name, label in zip(axes[0], names, labels, strict=True):
        for part, colour in (("train", TRAIN), ("valid", VALID)):
            values = history[f"{part}_{name}"]
            axis.plot(range(1, len(values) + 1), values, color=colour, marker="o", markersize=3, label=part)
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend()
    _finish(figure, title)


def show_latent(codes, y, title="", axis=None, names=("$z_1$", "$z_2$"), size=4):
    """Scatter two-dimensional codes, (n, 2), coloured by digit y, (n,), each digit's numeral near its median.

    Draws into `axis` and leaves showing to the caller when one is given.
    """
    codes, y = torch.as_tensor(codes).detach().cpu(), torch.as_tensor(y).cpu()
    if codes.dim() != 2 or codes.shape[1] != 2 or len(codes) != len(y):
        raise ValueError(f"codes must be (n, 2) and y (n,), got {tuple(codes.shape)} and {tuple(y.shape)}")
    check_codes("codes", codes)
    check_digits("y", y)
    figure = None
    if axis is None:
        figure, axis = plt.subplots(figsize=(6.4, 6))
    colours = [PALETTE[digit] for digit in y.tolist()]
    axis.scatter(codes[:, 0], codes[:, 1], s=size, c=colours, alpha=0.6, linewidths=0, rasterized=True)
    inches = axis.get_window_extent().size / axis.figure.dpi
    room = 0.36 * float(((codes.amax(0) - codes.amin(0)).numpy() / inches).max())  # a numeral's width, in codes
    for digit, place in zip(*place_labels(codes, y, room), strict=True):
        axis.text(
            *place, str(digit), fontsize=13, fontweight="bold", ha="center", va="center", color=PALETTE[digit],
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": "white", "edgecolor": PALETTE[digit], "alpha": 0.92},
        )  # fmt: skip
    axis.set(xlabel=names[0], ylabel=names[1])
    axis.set_aspect("equal", adjustable="datalim")
    if figure:
        _finish(figure, title)
    else:
        axis.set_title(title)


def add_thumbnails(axis, codes, images, count=200, width=0.3):
    """Draw images, (n, 1, h, w) in [0, 1], at their places on a map, codes (n, 2), where there is room.

    The axis must show the map already. Images are tried in order and skipped where one drawn before, or a numeral of
    `show_latent`, would be covered; at most `count`, each `width` inches wide.
    """
    images, codes, figure = _drawable(images), torch.as_tensor(codes).detach().cpu(), axis.figure
    check_codes("codes", codes, 2)
    if len(images) != len(codes):
        raise ValueError(f"images must be one for each of the {len(codes)} codes, got {len(images)}")
    figure.draw_without_rendering()  # only now the layout is final, and with it what an inch is
    places = torch.as_tensor(axis.transData.transform(codes.numpy())) / figure.dpi
    taken = [axis.transData.transform(text.get_position()) / figure.dpi for text in axis.texts]
    taken = torch.as_tensor(np.array(taken).reshape(-1, 2))
    for place, code, image in zip(places, codes.tolist(), images, strict=True):
        if len(taken) and (taken - place).abs().amax(1).min() < 1.5 * width:
            continue
        taken = torch.cat([taken, place[None]])
        zoom = 72 * width / image.shape[-1]
        picture = OffsetImage(image[0].numpy(), zoom=zoom, cmap="gray_r", norm=plt.Normalize(0, 1))
        axis.add_artist(AnnotationBbox(picture, code, pad=0.1, bboxprops={"edgecolor": "#bbbbbb", "linewidth": 0.5}))
        if len(axis.artists) >= count:
            break


def show_confusion(matrix, title=""):
    """Show a confusion matrix, (classes, classes) counts with the true class in the rows; only errors are coloured."""
    matrix = torch.as_tensor(matrix)
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ValueError(f"matrix must be square, (classes, classes), got {tuple(matrix.shape)}")
    if matrix.is_floating_point() or matrix.min() < 0:  # shares would all be written as 0
        raise ValueError(f"matrix must hold counts, whole numbers from 0, got {matrix.dtype} from {matrix.min():.3g}")
    errors = matrix.float().masked_fill((matrix == 0) | torch.eye(len(matrix), dtype=torch.bool), math.nan)  # not drawn
    figure, axis = plt.subplots(figsize=(5.6, 5.2))
    axis.imshow(errors.numpy(), cmap="Reds", vmin=0, vmax=max(1.0, 1.4 * float(errors.nan_to_num(0).max())))
    for row in range(len(matrix)):
        for column in range(len(matrix)):
            count = int(matrix[row, column])
            if count:
                axis.text(
                    column, row, count, ha="center", va="center", fontsize=9,
                    color="#777777" if row == column else INK,
                    fontweight="normal" if row == column else "bold",
                )  # fmt: skip
    axis.set(xticks=range(len(matrix)), yticks=range(len(matrix)), xlabel="predicted digit", ylabel="true digit")
    axis.set_xticks([i - 0.5 for i in range(len(matrix) + 1)], minor=True)
    axis.set_yticks([i - 0.5 for i in range(len(matrix) + 1)], minor=True)
    axis.grid(which="minor", color="#eeeeee")
    axis.tick_params(which="both", length=0)
    axis.spines[:].set_visible(False)
    _finish(figure, title)


def _drawable(images):
    """Return images, (n, 1, h, w), as floats in [0, 1] on the CPU; bytes would be drawn black, and NaN not at all."""
    images = torch.as_tensor(images).detach().cpu()
    if images.dim() != 4 or images.shape[1] != 1 or not len(images):
        raise ValueError(f"images must have shape (n, 1, h, w) with n >= 1, got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(f"images must be floats in [0, 1], got {images.dtype}")
    if not images.isfinite().all():
        raise ValueError(f"images must be finite, got {images[~images.isfinite()][0]:.3g}")
    return images.float().clamp(0, 1)


def _finish(figure, title, save=None):
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    if save:
        Path(save).parent.mkdir(parents=True, exist_ok=True)
        # without the name of the software the same picture is the same bytes
        figure.savefig(save, dpi=150, bbox_inches="tight", pad_inches=0.1, metadata={"Software": None})
    plt.show()
    plt.close(figure)
