"""The letters that are shipped: the files of their README, and what `tools/letters.py` draws."""

import re
from pathlib import Path

import numpy as np
import pytest

from helpers.idx import read_idx

FOLDER = Path(__file__).resolve().parents[1] / "letters_data"
ROWS = re.findall(r"\| `(\S+\.gz)` \|.*\| `([0-9a-f]{64})` \|", (FOLDER / "README.md").read_text())


@pytest.mark.parametrize(("name", "sha256"), ROWS, ids=lambda value: value[:20])
def test_the_files_are_those_of_the_readme(name, sha256):
    read_idx(FOLDER / name, sha256)


def test_every_file_is_in_the_readme():
    assert {name for name, _ in ROWS} == {path.name for path in FOLDER.glob("*.gz")}


def test_a_letter_is_prepared_as_a_digit_of_mnist_is():
    """In a box of 20 pixels, by its centre of mass in 28, with about as much ink as a digit."""
    images = read_idx(FOLDER / "train-images-idx3-ubyte.gz").astype(float)
    ink = images.sum((1, 2))
    rows, columns = np.indices((28, 28))
    for where in (rows, columns):
        middle = (images * where).sum((1, 2)) / ink
        assert np.abs(middle - 13.5).max() <= 4.5 and np.abs(middle - 13.5).mean() < 0.5
        reach = np.array([np.ptp(where[image > 0]) + 1 for image in images])
        assert reach.max() <= 20
    assert 0.10 < ink.mean() / 255 / 784 < 0.17
