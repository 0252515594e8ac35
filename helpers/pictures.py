"""Pictures of one's own as a `Split`: a folder of image files, or a pair of IDX files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from helpers.data import Split, to_images
from helpers.idx import read_idx

MAX_PIXELS = 2**24  # of a picture; one that says it is larger is not unpacked
DEEP = ("I", "F", "I;16")  # Pillow's names of grey with more than 256 levels, which its conversion would clip


class PictureError(ValueError):
    """A picture or a folder that does not fit; the message names it, what was expected and what was found."""


def read_folder(
    folder: str | Path,
    prepare: Callable[[Tensor], Tensor | None] | None = None,
    device: torch.device | str | None = None,
) -> tuple[Split, tuple[str, ...]]:
    """Return the pictures of a folder as a split, and the names of its classes: those of its sub-folders, sorted.

    Pictures that lie in the folder itself are one class, of the folder's name. Hidden files are left out; order is that
    of the names. What is transparent counts as white.

    Without `prepare` a picture is left alone: it must be 28 x 28, its grey levels stay. With it, such as
    `helpers.explorer.space.prepare`, the paper is taken away first: the median of the border becomes 0 and the
    strongest stroke 1, dark on light or light on dark. `prepare` gets that, (h, w) in [0, 1], and answers (28, 28).

    Raises PictureError, naming the file: for what is no picture, another size, or blank, for an empty folder, and for
    pictures both beside and in sub-folders.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise PictureError(
            f"{folder}: expected a folder of pictures, found {'a file' if folder.exists() else 'nothing'}"
        )
    inside = _visible(folder)
    folders = [path for path in inside if path.is_dir()]
    if folders and len(folders) < len(inside):
        beside = next(path.name for path in inside if not path.is_dir())
        raise PictureError(
            f"{folder}: expected pictures or folders of pictures, found both: {beside}, {folders[0].name}"
        )
    images, labels = [], []
    for label, part in enumerate(folders or [folder]):
        paths = _visible(part)
        if not paths:
            raise PictureError(f"{part}: expected pictures, found an empty folder")
        images += [_picture(path, prepare) for path in paths]
        labels += [label] * len(paths)
    x = torch.stack(images)[:, None]  # (n, 1, 28, 28)
    names = tuple(path.name for path in folders or [folder.resolve()])
    return Split(x.to(device), torch.tensor(labels).to(device)), names


def read_pair(images: str | Path, labels: str | Path, device: torch.device | str | None = None) -> Split:
    """Return two IDX files, bytes of images, (n, 28, 28), and of labels, (n,), as a split.

    Raises IdxError for a file that is not good IDX, and PictureError for two that are not such a pair.
    """
    x, y = read_idx(images), read_idx(labels)
    if x.dtype != np.uint8 or x.shape[1:] != (28, 28) or not len(x):
        raise PictureError(f"{images}: expected uint8 of shape (n, 28, 28), found {x.dtype} of shape {x.shape}")
    if y.dtype != np.uint8 or y.shape != x.shape[:1]:
        raise PictureError(f"{labels}: expected uint8 of shape ({len(x)},), found {y.dtype} of shape {y.shape}")
    return Split(to_images(x, device), torch.from_numpy(y).long().to(device))


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _picture(path: Path, prepare: Callable[[Tensor], Tensor | None] | None) -> Tensor:
    """Return one picture, (28, 28) in [0, 1]."""
    grey = _grey(path)
    if prepare is None:
        if grey.shape != (28, 28):
            found = f"{grey.shape[1]} x {grey.shape[0]}; give `prepare` to fit it"
            raise PictureError(f"{path}: expected 28 x 28 pixels, found {found}")
        return torch.from_numpy(grey / np.float32(255))
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    paper = float(np.median(border))
    ink = np.clip(paper - grey if paper > 127 else grey - paper, 0, None)
    strokes = torch.from_numpy((ink / max(ink.max(), 1)).astype(np.float32))
    image = prepare(strokes)
    if image is None:
        raise PictureError(f"{path}: expected something drawn, found a blank picture")
    return image


def _grey(path: Path) -> np.ndarray:
    """Return the grey levels of a picture file, (h, w) float32 from 0 to 255, on white paper."""
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                found = f"{picture.width} x {picture.height}"
                raise PictureError(f"{path}: expected at most {MAX_PIXELS} pixels, found {found}")
            if picture.mode in DEEP or picture.mode.startswith("I;16"):
                raise PictureError(f"{path}: expected 256 levels of grey or colour, found mode {picture.mode}")
            colours = picture.convert("RGBA")
    except PictureError:
        raise
    except Exception as problem:  # a damaged file can raise almost anything
        what = "a folder" if path.is_dir() else "none" if isinstance(problem, UnidentifiedImageError) else problem
        raise PictureError(f"{path}: expected a picture, found {what}") from problem
    paper = Image.new("RGBA", colours.size, "white")
    return np.asarray(Image.alpha_composite(paper, colours).convert("L"), np.float32)
