"""A data set as three splits of tensors on the device: no per-image work, an index per batch."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pooch
import torch
from torch import Tensor
from tqdm.auto import tqdm

from helpers.checks import check_codes, check_images
from helpers.idx import IdxError, read_idx

# MNIST's: shape, and SHA-256 of the unpacked bytes, because the .gz copies in circulation are packed in different ways
FILES = {
    "train-images-idx3-ubyte": ((60_000, 28, 28), "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": ((60_000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": ((10_000, 28, 28), "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": ((10_000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}
TIMEOUT = 30  # seconds a mirror may be silent


@dataclass(frozen=True)
class Dataset:
    """Say where the four IDX files of a data set of 28 x 28 grey images are, and what is in them."""

    name: str
    files: dict[str, tuple[tuple[int, ...], str]]  # as FILES: train images and labels, then test
    classes: tuple[str, ...]  # the name of each label
    mean: float  # of all pixels of the training file
    std: float
    mirrors: tuple[str, ...]  # addresses that NAME.gz is appended to
    variable: str  # in the environment: names the folder of the files
    folder: str  # the folder without it, in the checkout or the user's cache
    package: str = ""  # of Debian and Ubuntu, with these files
    installed: str = ""  # the folder that the package puts them in
    valid: int = 5_000  # images at the end of the training file that are held out


MNIST = Dataset(
    name="MNIST",
    files=FILES,
    classes=tuple("0123456789"),
    mean=0.1307,
    std=0.3081,
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    variable="MNIST_DIR",
    folder="mnist_data",
)
# Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747; the digests are those of the files with the MD5 of its README.
FASHION = Dataset(
    name="Fashion-MNIST",
    files={
        "train-images-idx3-ubyte": (
            (60_000, 28, 28),
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        "train-labels-idx1-ubyte": ((60_000,), "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        "t10k-images-idx3-ubyte": (
            (10_000, 28, 28),
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        "t10k-labels-idx1-ubyte": ((10_000,), "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    },
    classes=("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    mean=0.2860,
    std=0.3530,
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    variable="FASHION_DIR",
    folder="fashion_data",
    package="dataset-fashion-mnist",
    installed="/usr/share/datasets/fashion-mnist",
)


@dataclass(frozen=True, eq=False)  # a split equals itself only: == on tensors has no single answer
class Split:
    """Hold images `x`, (n, 1, 28, 28) float32 in [0, 1], and their labels `y`, (n,) int64, on one device."""

    shape: ClassVar[tuple[int, ...]] = (1, 28, 28)  # of an image; a split of other images is a subclass

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        self._check_x()
        if self.y.shape != self.x.shape[:1] or self.y.dtype != torch.int64:
            raise ValueError(f"y must be int64 of shape ({len(self.x)},), not {self.y.dtype} {tuple(self.y.shape)}")
        if self.y.device != self.x.device:
            raise ValueError(f"y must be on {self.x.device}, where x is, not on {self.y.device}")

    def _check_x(self) -> None:
        if self.x.shape[1:] != self.shape or self.x.dtype != torch.float32:
            expected = f"(n, {', '.join(map(str, self.shape))})"
            raise ValueError(f"x must be float32 of shape {expected}, not {self.x.dtype} {tuple(self.x.shape)}")
        if len(self.x):  # an empty split is allowed; a function that cannot use one says so
            check_images("x", self.x, self.shape)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: slice | Tensor) -> "Split":
        """Return the part that a slice, an index tensor or a mask selects, as a `Split`."""
        if not isinstance(index, slice | torch.Tensor):
            raise TypeError(f"a Split takes a slice or a tensor, not {index!r}; for image i write split[i : i + 1]")
        return type(self)(self.x[index], self.y[index])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self):,} images)"

    def batches(self, size: int, generator: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over (x, y) batches of `size` images; the last one is smaller when `size` leaves a rest.

        With `generator`, on the CPU, every image comes once in random order, the same on every device; without it, in
        the order of the file.
        """
        if size < 1 or len(self) == 0:
            raise ValueError(f"batches need size >= 1 and a split that is not empty, not size {size} of {self}")
        if generator is None:
            return zip(self.x.split(size), self.y.split(size), strict=True)
        order = torch.randperm(len(self), generator=generator).to(self.x.device)
        return ((self.x[index], self.y[index]) for index in order.split(size))


@dataclass(frozen=True, eq=False, repr=False)
class Posteriors(Split):
    """Hold what an encoder says of images: `x`, (n, 2, latent_dim) float32, mu and logvar of each, and the labels `y`.

    `source` says in words which images and which encoder they come from: their last digits differ between processors.
    A part of them has none.
    """

    source: str | None = None

    def _check_x(self) -> None:
        if self.x.dim() != 3 or self.x.shape[1] != 2 or self.x.dtype != torch.float32:
            raise ValueError(f"x must be float32 of shape (n, 2, latent_dim), not {self.x.dtype} {tuple(self.x.shape)}")
        if len(self.x):
            check_codes("x", self.x.flatten(1))


class Splits(NamedTuple):
    """The three splits: fit on `train`, choose on `valid`, report on `test`."""

    train: Split
    valid: Split
    test: Split


def load_mnist(device: torch.device | str | None = None, directory: str | Path | None = None) -> Splits:
    """Return MNIST as 55,000 train, 5,000 valid and 10,000 test images on `device` (the CPU by default).

    The four files are found, or downloaded, as `load_dataset` says.

    valid is the end of the training file, not a random draw: neighbours in that file are often by the same
    hand (notebook 01 measures it), and a block keeps most writers on one side, as between train and test.
    """
    return load_dataset(MNIST, device, directory)


def load_dataset(
    dataset: Dataset, device: torch.device | str | None = None, directory: str | Path | None = None
) -> Splits:
    """Return a data set as three splits on `device` (the CPU by default); valid is the end of the training file.

    The four files are found, or downloaded, as `dataset_path` says. A file whose bytes are not those that the dataset
    names raises `IdxError` and is left as it is.
    """
    paths = {name: dataset_path(dataset, name, directory) for name in dataset.files}
    images, labels, test_images, test_labels = (_read(dataset, name, path, device) for name, path in paths.items())
    cut = len(images) - dataset.valid
    return Splits(
        train=Split(images[:cut], labels[:cut]),
        valid=Split(images[cut:], labels[cut:]),
        test=Split(test_images, test_labels),
    )


def mnist_path(name: str, directory: str | Path | None = None) -> Path:
    """Return the path of one of MNIST's files, found or downloaded as `dataset_path` says."""
    return dataset_path(MNIST, name, directory)


def dataset_path(dataset: Dataset, name: str, directory: str | Path | None = None) -> Path:
    """Return the path of one of a data set's files, downloaded first if it is missing.

    It is looked for under four spellings (-idx or .idx, with and without .gz) in `directory`: by default the folder
    that the dataset's variable names (MNIST_DIR, FASHION_DIR), else that of a package which is installed, else the
    dataset's folder as `find_folder` finds it. Raises FileNotFoundError, saying which files to put where, when no
    mirror can be reached.
    """
    if name not in dataset.files:
        raise ValueError(f"name must be one of {', '.join(dataset.files)}, got {name!r}")
    directory = _folder(dataset, directory)
    return _find(name, directory) or _download(dataset, name, directory)


def missing_files(dataset: Dataset, directory: str | Path | None = None) -> list[str]:
    """Return the names of a data set's files that are not on this machine; nothing is downloaded."""
    return [name for name in dataset.files if _find(name, _folder(dataset, directory)) is None]


def _folder(dataset: Dataset, directory: str | Path | None) -> Path:
    """Return the folder in which the files of a data set are, or belong."""
    if directory:
        return Path(directory).expanduser()
    if dataset.installed and not os.environ.get(dataset.variable) and Path(dataset.installed).is_dir():
        return Path(dataset.installed)
    return find_folder(dataset.variable, dataset.folder)


def find_folder(variable: str, name: str) -> Path:
    """Return the folder that an environment variable names, else folder `name` of the checkout, or of the user's cache.

    The cache is for a copy that was installed without a checkout.
    """
    if chosen := os.environ.get(variable):
        return Path(chosen).expanduser()
    beside = Path(__file__).resolve().parents[1] / name
    return beside if beside.is_dir() else pooch.os_cache("creating-new-numbers") / name


def _find(name: str, directory: Path) -> Path | None:
    """Return the path of a file under any of its four spellings, or None."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for path in (directory / spelling, directory / f"{spelling}.gz"):
            if os.path.lexists(path):  # a broken link counts: it must be reported, not replaced
                return path
    return None


def _read(dataset: Dataset, name: str, path: Path, device: torch.device | str | None) -> Tensor:
    """Read and verify one file: images become floats in [0, 1], labels int64."""
    shape, sha256 = dataset.files[name]
    try:
        array = read_idx(path, sha256)
    except IdxError as problem:
        raise IdxError(f"{problem}. Move the file away and run again to download a good copy.") from problem
    if array.dtype != "uint8" or array.shape != shape:
        raise IdxError(f"{path}: expected uint8 of shape {shape}, found {array.dtype} of shape {array.shape}")
    if len(shape) > 1:
        return to_images(array, device)
    if array.max() >= len(dataset.classes):
        raise IdxError(f"{path}: expected labels from 0 to {len(dataset.classes) - 1}, found {array.max()}")
    return torch.from_numpy(array).long().to(device)  # (n,)


def to_images(array: np.ndarray, device: torch.device | str | None = None) -> Tensor:
    """Return bytes, (n, h, w) or (n, channels, h, w), as images on `device`: float32 in [0, 1], (n, channels, h, w)."""
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        raise ValueError(f"array must be uint8 (n, h, w) or (n, channels, h, w), got {array.dtype} {array.shape}")
    pixels = torch.from_numpy(array if array.ndim == 4 else array[:, None])
    # Divided on the CPU: a GPU multiplies by 1 / 255 instead, and rounds every second grey level otherwise.
    return pixels.float().div_(255).to(device)


def _download(dataset: Dataset, name: str, directory: Path) -> Path:
    """Fetch a file from the first mirror that has it and return its path."""
    _remove_leftovers(directory)
    problems = []
    for mirror in dataset.mirrors:
        try:
            return _fetch(f"{mirror}{name}.gz", name, dataset.files[name][1], directory)
        except (OSError, IdxError) as problem:  # no network, no space, no permission, the wrong bytes
            problems.append(f"{mirror}{name}.gz: {problem}")
    missing = ", ".join(missing_files(dataset, directory))
    tried = "\nTried ".join(["", *problems])
    packaged = f", or `apt install {dataset.package}` (Debian, Ubuntu)" if dataset.package else ""
    raise FileNotFoundError(
        f"{dataset.name} is incomplete and could not be downloaded. Put {missing} (each with or without .gz) "
        f"into {directory}, or set {dataset.variable} to a folder that has them{packaged}.{tried}"
    )


def _fetch(url: str, name: str, sha256: str, directory: Path) -> Path:
    """Download one file, verify it, and only then move it into place."""
    directory.mkdir(parents=True, exist_ok=True)
    # a folder of its own on the same disk: the move is atomic, and two downloads at once cannot meet
    with (
        tempfile.TemporaryDirectory(dir=directory, prefix=".download-") as folder,
        tqdm(desc=name, unit="B", unit_scale=True, total=1) as bar,  # pooch sets the real total
    ):
        part = Path(folder) / f"{name}.gz"
        pooch.HTTPDownloader(progressbar=bar, timeout=TIMEOUT)(url, str(part), None)
        read_idx(part, sha256)
        return part.replace(directory / part.name)


def _remove_leftovers(directory: Path) -> None:
    """Remove what killed downloads left: one that still runs has written something since its timeout."""
    for folder in directory.glob(".download-*"):
        with contextlib.suppress(OSError):  # another process removes it as well
            written = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if time.time() - written > 2 * TIMEOUT:
                shutil.rmtree(folder)
