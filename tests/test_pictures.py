"""A folder of pictures, or a pair of IDX files, becomes a split, or an error names the file."""

import gzip
import re

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.data import load_mnist
from helpers.explorer.space import LatentSpace, prepare
from helpers.idx import IdxError
from helpers.models import VAE
from helpers.pictures import PictureError, read_folder, read_pair


def picture(path, size=(28, 28), seed=0):
    """Write grey noise, size wide and high, and return its levels."""
    levels = np.random.default_rng(seed).integers(0, 256, size[::-1], "u1")
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(levels).save(path)
    return levels


def stroke(path, ink=0, paper=255, mode="L", size=(90, 60)):
    """Write a picture of one thick stroke."""
    levels = np.full(size[::-1], paper, "u1")
    levels[20:50, 40:48] = ink
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(levels).convert(mode).save(path)


def test_sub_folders_are_classes_and_pictures_are_left_alone(tmp_path):
    levels = [picture(tmp_path / name, seed=seed) for seed, name in enumerate(("a/1.png", "a/2.png", "b/1.png"))]
    (tmp_path / "a" / ".DS_Store").write_bytes(b"hidden")
    split, names = read_folder(tmp_path)
    assert names == ("a", "b") and split.y.tolist() == [0, 0, 1]
    assert np.array_equal(split.x[:, 0].numpy(), (np.stack(levels) / 255).astype(np.float32))


def test_a_folder_without_sub_folders_is_one_class(tmp_path):
    picture(tmp_path / "stars" / "1.bmp")
    split, names = read_folder(tmp_path / "stars")
    assert names == ("stars",) and split.y.tolist() == [0]


def test_prepared_as_mnist_was_whatever_the_paper(tmp_path):
    """Dark on white, white on black, on grey paper, in colour: the same stroke, in its box, by its centre of mass."""
    stroke(tmp_path / "1.png")
    stroke(tmp_path / "2.png", ink=255, paper=0)
    stroke(tmp_path / "3.png", ink=30, paper=180)
    stroke(tmp_path / "4.png", mode="RGB")
    split, _ = read_folder(tmp_path, prepare)
    for image in split.x[1:, 0]:
        assert torch.allclose(image, split.x[0, 0], atol=1e-6)
    rows, columns = (split.x[0, 0] > 0).any(1), (split.x[0, 0] > 0).any(0)
    assert rows.sum() == 20 and 5 <= columns.sum() <= 7
    assert rows.nonzero().flatten().tolist() == list(range(4, 24)) and split.x.max() == 1


def test_what_is_transparent_is_white_paper(tmp_path):
    levels = np.zeros((40, 40, 4), "u1")  # black, and nothing of it to be seen
    levels[10:30, 15:20, 3] = 255
    Image.fromarray(levels).save(tmp_path / "1.png")
    split, _ = read_folder(tmp_path, prepare)
    assert 0.05 < split.x.mean() < 0.3


def test_a_digit_of_mnist_saved_as_a_picture_comes_back(tmp_path):
    digit = load_mnist().test.x[:5, 0]
    for i, image in enumerate(digit):
        Image.fromarray((255 * image).round().byte().numpy()).save(tmp_path / f"{i}.png")
    assert torch.equal(read_folder(tmp_path)[0].x[:, 0], digit)
    assert (read_folder(tmp_path, prepare)[0].x[:, 0] - digit).abs().mean() < 0.02


def deep(path):
    Image.fromarray(np.full((28, 28), 40_000, np.uint16)).save(path)


REFUSED = {
    "expected 28 x 28 pixels, found 30 x 28; give `prepare`": lambda folder: picture(folder / "p.png", (30, 28)),
    "expected a picture, found none": lambda folder: (folder / "p.txt").write_text("a note"),
    "expected a picture, found .*truncated": lambda folder: cut(folder / "p.png"),
    "expected a picture, found a folder": lambda folder: picture(folder / "p" / "deeper.png"),
    "expected 256 levels of grey or colour, found mode I;16": lambda folder: deep(folder / "p.png"),
    "expected at most 16777216 pixels, found 5000 x 4000": lambda folder: picture(folder / "p.png", (5000, 4000)),
}


def cut(path):
    picture(path)
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(("says", "make"), REFUSED.items(), ids=REFUSED)
def test_what_does_not_fit_is_named(tmp_path, says, make):
    picture(tmp_path / "a" / "1.png")
    make(tmp_path / "a")
    with pytest.raises(PictureError, match=f"^{re.escape(str(tmp_path / 'a' / 'p'))}.*: {says}"):
        read_folder(tmp_path)


def test_a_blank_picture_is_named(tmp_path):
    Image.new("L", (50, 50), "white").save(tmp_path / "blank.png")
    with pytest.raises(PictureError, match=r"blank.png: expected something drawn, found a blank picture"):
        read_folder(tmp_path, prepare)


def test_folders_that_do_not_fit(tmp_path):
    with pytest.raises(PictureError, match="found an empty folder"):
        read_folder(tmp_path)
    with pytest.raises(PictureError, match="gone: expected a folder of pictures, found nothing"):
        read_folder(tmp_path / "gone")
    picture(tmp_path / "1.png")
    with pytest.raises(PictureError, match=r"1.png: expected a folder of pictures, found a file"):
        read_folder(tmp_path / "1.png")
    picture(tmp_path / "a" / "1.png")
    with pytest.raises(PictureError, match=r"expected pictures or folders of pictures, found both: 1.png, a"):
        read_folder(tmp_path)
    (tmp_path / "1.png").unlink()
    (tmp_path / "b").mkdir()
    with pytest.raises(PictureError, match="b: expected pictures, found an empty folder"):
        read_folder(tmp_path)


@pytest.fixture
def pair(tmp_path, idx_bytes):
    """Return the function that writes two arrays as IDX files."""

    def write(images, labels):
        paths = tmp_path / "images.gz", tmp_path / "labels.gz"
        for path, array in zip(paths, (images, labels), strict=True):
            path.write_bytes(gzip.compress(idx_bytes(array)))
        return paths

    return write


def test_a_pair_of_idx_files(pair):
    levels = np.random.default_rng(0).integers(0, 256, (7, 28, 28), "u1")
    split = read_pair(*pair(levels, np.arange(7, dtype="u1")))
    assert split.y.tolist() == list(range(7))
    assert np.array_equal(split.x[:, 0].numpy(), (levels / 255).astype(np.float32))


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (np.zeros((3, 32, 32), "u1"), np.zeros(3, "u1"), r"images.gz: .* \(n, 28, 28\), found uint8 .* \(3, 32, 32\)"),
        (np.zeros((0, 28, 28), "u1"), np.zeros(0, "u1"), r"images.gz: .* found uint8 of shape \(0, 28, 28\)"),
        (np.zeros((3, 28, 28), "f4"), np.zeros(3, "u1"), "images.gz: expected uint8 .* found float32"),
        (np.zeros((3, 28, 28), "u1"), np.zeros(4, "u1"), r"labels.gz: expected uint8 of shape \(3,\), found .* \(4,\)"),
        (np.zeros((3, 28, 28), "u1"), np.zeros(3, "i4"), "labels.gz: expected uint8 .* found int32"),
    ],
)
def test_two_files_that_are_no_pair(pair, images, labels, says):
    with pytest.raises(PictureError, match=says):
        read_pair(*pair(images, labels))


def test_a_damaged_file_of_a_pair(pair):
    images, labels = pair(np.zeros((3, 28, 28), "u1"), np.zeros(3, "u1"))
    images.write_bytes(b"no IDX")
    with pytest.raises(IdxError, match=re.escape(str(images))):
        read_pair(images, labels)


def test_the_explorer_takes_them(tmp_path):
    for seed in range(4):
        picture(tmp_path / f"{seed % 2}" / f"{seed}.png", seed=seed)
    split, _ = read_folder(tmp_path)
    assert LatentSpace(VAE(encoder=(8,), decoder=(8,)), split.x, split.y).codes.shape == (4, 2)
