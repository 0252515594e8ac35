"""Read CIFAR-10 from its real files, the binary version: a byte of label, then 32 x 32 pixels of red, green, blue."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pooch
import torch

from helpers.data import Split, Splits, find_folder, to_images

# The digest that several libraries pin (MLDatasets.jl, torchvision-ruby); the archive's own page has an MD5,
# c32a1d4ab5d03f1284b67883e8d87530.
ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PER_FILE = 10_000  # images
VALID = 5_000  # images at the end of the training files that are held out


class CifarError(ValueError):
    """A file that is not good CIFAR-10; the message names the file, what was expected and what was found."""


class ColourSplit(Split):
    """Hold colour images `x`, (n, 3, 32, 32) float32 in [0, 1], and their labels `y`, (n,) int64, on one device."""

    shape: ClassVar[tuple[int, ...]] = (3, 32, 32)


def read_cifar10(path: str | Path, images: int = PER_FILE, device: torch.device | str | None = None) -> ColourSplit:
    """Return the images and labels of one file of CIFAR-10's binary version, such as data_batch_1.bin.

    `images` is how many it must hold. Raises CifarError for a file of another size, cut short or too long, and for
    labels above 9: the format has no header that could tell.

    Format: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
    """
    path, record = Path(path), 1 + 3 * 32 * 32
    try:
        found = path.stat().st_size
        if found != images * record:  # before reading: whatever it is, it need not fit in memory
            expected = f"{images * record} bytes, {images} images of {record}"
            raise CifarError(f"{path}: expected {expected}, found {found}")
        records = np.fromfile(path, np.uint8).reshape(images, record)
    except OSError as problem:
        raise CifarError(f"{path}: expected a readable file, found {problem.strerror}") from problem
    labels = records[:, 0]
    if len(labels) and labels.max() >= len(CLASSES):
        bad = int((labels >= len(CLASSES)).argmax())
        raise CifarError(f"{path}: expected labels from 0 to 9, found {labels[bad]} at image {bad}")
    pixels = to_images(records[:, 1:].reshape(-1, 3, 32, 32), device)
    return ColourSplit(pixels, torch.from_numpy(labels).long().to(device))


def load_cifar10(device: torch.device | str | None = None, directory: str | Path | None = None) -> Splits:
    """Return CIFAR-10 as 45,000 train, 5,000 valid and 10,000 test images on `device` (the CPU by default).

    Its six files are looked for in `directory`, by default the folder cifar_data that `find_folder` finds with
    CIFAR_DIR. If one is missing, the archive (170 MB) is downloaded, verified by its SHA-256 and unpacked there. Raises
    FileNotFoundError, saying which files to put where, when it cannot be.
    """
    folder = Path(directory).expanduser() if directory else find_folder("CIFAR_DIR", "cifar_data")
    missing = [name for name in FILES if not (folder / name).exists()]
    if missing:
        _download(folder, missing)
    *parts, test = (read_cifar10(folder / name, PER_FILE, device) for name in FILES)
    x, y = torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts])
    return Splits(ColourSplit(x[:-VALID], y[:-VALID]), ColourSplit(x[-VALID:], y[-VALID:]), test)


def _download(folder: Path, missing: list[str]) -> None:
    """Fetch and verify the archive, and move the files that are missing into place, each all at once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unpack = pooch.Untar([f"cifar-10-batches-bin/{name}" for name in missing], extract_dir=".")
        unpacked = pooch.retrieve(ARCHIVE, f"sha256:{SHA256}", path=folder, processor=unpack, progressbar=True)
        for name in unpacked:
            Path(name).replace(folder / Path(name).name)
    except (OSError, ValueError) as problem:  # ValueError: not the digest
        raise FileNotFoundError(
            f"CIFAR-10 is incomplete and could not be downloaded. Put {', '.join(missing)}, from {ARCHIVE}, into "
            f"{folder}, or set CIFAR_DIR to a folder that has them. {problem}"
        ) from problem
