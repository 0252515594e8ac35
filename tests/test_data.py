"""A data set arrives whole and verified, or an error says which file to look at; no bad file is ever replaced."""

import gzip
import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import data
from helpers.data import FASHION, MNIST, Split, load_dataset, load_mnist, missing_files, mnist_path, to_images
from helpers.idx import IdxError

TRAIN, TEST, VALID = 40, 10, 7


@pytest.fixture
def contents(idx_bytes, monkeypatch):
    """Make a small MNIST the expected one and return its files' unpacked bytes by name."""
    rng = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte": rng.integers(0, 256, (TRAIN, 28, 28), "u1"),
        "train-labels-idx1-ubyte": rng.integers(0, 10, TRAIN, "u1"),
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (TEST, 28, 28), "u1"),
        "t10k-labels-idx1-ubyte": rng.integers(0, 10, TEST, "u1"),
    }
    contents = {name: idx_bytes(array) for name, array in arrays.items()}
    expect(monkeypatch, contents, {name: array.shape for name, array in arrays.items()})
    change(monkeypatch, valid=VALID, mirrors=("http://127.0.0.1:9/",))  # nobody answers there
    return contents


def expect(monkeypatch, contents, shapes):
    files = {name: (shapes[name], hashlib.sha256(contents[name]).hexdigest()) for name in contents}
    change(monkeypatch, files=files)


def change(monkeypatch, **fields):
    monkeypatch.setattr(data, "MNIST", replace(data.MNIST, **fields))


def fill(directory, contents):
    for name, content in contents.items():
        (directory / f"{name}.gz").write_bytes(gzip.compress(content))


@pytest.fixture
def mirror(contents, tmp_path, monkeypatch):
    """Serve `tmp_path`/mirror on 127.0.0.1, filled with the small MNIST, as the only mirror."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    fill(folder, contents)
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        change(monkeypatch, mirrors=(f"http://127.0.0.1:{server.server_port}/",))
        yield folder
        server.shutdown()


def test_the_shipped_files():
    mnist = load_mnist(torch.device("cpu"))
    assert [len(split) for split in mnist] == [55_000, 5_000, 10_000]
    for split in mnist:
        assert split.x.shape == (len(split), 1, 28, 28) and split.x.dtype == torch.float32
        assert split.x.min() == 0 and split.x.max() == 1
        assert split.y.dtype == torch.int64 and split.y.unique().tolist() == list(range(10))
    assert mnist.train.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.y[:5].tolist() == [7, 2, 1, 0, 4]
    assert mnist.train.x.mean() == pytest.approx(0.1307, abs=2e-4)


@pytest.mark.parametrize("dot", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_four_spellings(contents, tmp_path, dot, packed):
    for name, content in contents.items():
        name = name.replace("-idx", ".idx") if dot else name
        (tmp_path / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    mnist = load_mnist(directory=tmp_path)
    assert [len(split) for split in mnist] == [TRAIN - VALID, VALID, TEST]
    pixels = np.frombuffer(contents["train-images-idx3-ubyte"], "u1", offset=16).reshape(TRAIN, 1, 28, 28)
    assert torch.cat([mnist.train.x, mnist.valid.x]).numpy() == pytest.approx(pixels / 255)
    assert torch.equal(mnist.test.x, torch.from_numpy(grey(contents["t10k-images-idx3-ubyte"])))
    assert mnist.valid.y.tolist() == list(contents["train-labels-idx1-ubyte"][-VALID:])


def grey(content):
    """Return the images of an IDX file, each grey level rounded once: what every device must hold, bit for bit."""
    pixels = np.frombuffer(content, "u1", offset=16).reshape(-1, 1, 28, 28)
    return (pixels.astype(np.float64) / 255).astype(np.float32)


def test_mnist_dir_moves_the_folder(contents, tmp_path, monkeypatch):
    folder = tmp_path / "Ziffern äß 数字"
    folder.mkdir()
    fill(folder, contents)
    monkeypatch.setenv("MNIST_DIR", str(folder))
    assert len(load_mnist().test) == TEST


def test_without_a_variable_it_is_the_checkout_and_without_a_checkout_the_cache(tmp_path, monkeypatch):
    for variable in ("MNIST_DIR", "MODELS_DIR"):
        monkeypatch.delenv(variable, raising=False)
    assert mnist_path("t10k-labels-idx1-ubyte").parent == Path(__file__).resolve().parents[1] / "mnist_data"
    monkeypatch.setattr(data, "__file__", str(tmp_path / "site-packages" / "helpers" / "data.py"))
    for variable, name in (("MNIST_DIR", "mnist_data"), ("MODELS_DIR", "models")):
        found = data.find_folder(variable, name)
        assert found.name == name and found.parent.name == "creating-new-numbers" and tmp_path not in found.parents


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b""])
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_file_is_named_and_kept(mirror, contents, tmp_path, damage, packed):
    name = "train-labels-idx1-ubyte"
    damaged = damage(gzip.compress(contents[name]) if packed else contents[name])
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(damaged)
    with pytest.raises(IdxError, match=f"{path}: expected .*Move the file away and run again"):
        load_mnist(directory=tmp_path)
    assert path.read_bytes() == damaged
    path.unlink()  # what the message says to do
    assert len(load_mnist(directory=tmp_path).test) == TEST


def test_broken_link_is_named_and_kept(mirror, tmp_path):
    link = tmp_path / "t10k-labels-idx1-ubyte"
    link.symlink_to(tmp_path / "gone")
    with pytest.raises(IdxError, match=f"{link}: .*No such file"):
        load_mnist(directory=tmp_path)
    assert link.is_symlink()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1-ubyte", np.full(TRAIN, 10, "u1"), "labels from 0 to 9, found 10"),
        (
            "train-labels-idx1-ubyte",
            np.zeros(TRAIN - 1, "u1"),
            r"shape \(40,\), found uint8 of shape \(39,\)",
        ),
        ("t10k-labels-idx1-ubyte", np.full(TEST, -1, "i1"), "expected uint8 .*, found int8"),
        (
            "t10k-images-idx3-ubyte",
            np.zeros((TEST, 32, 32), "u1"),
            r"\(10, 28, 28\), found uint8 of shape \(10, 32, 32\)",
        ),
    ],
)
def test_content_that_is_not_mnist(contents, tmp_path, monkeypatch, idx_bytes, name, array, message):
    """Even if the digest were right: counts, sizes, types and labels are checked on their own."""
    contents[name] = idx_bytes(array)
    expect(monkeypatch, contents, {name: shape for name, (shape, _) in data.MNIST.files.items()})
    fill(tmp_path, contents)
    with pytest.raises(IdxError, match=message):
        load_mnist(directory=tmp_path)


def test_missing_files_are_downloaded_once(mirror, contents, tmp_path):
    folder = tmp_path / "new" / "folder"
    assert len(load_mnist(directory=folder).test) == TEST
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.gz" for name in contents)
    for path in mirror.iterdir():
        path.unlink()
    assert len(load_mnist(directory=folder).test) == TEST


def test_only_what_is_missing_is_downloaded(mirror, contents, tmp_path):
    fill(tmp_path, contents)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    before = (tmp_path / "t10k-images-idx3-ubyte.gz").stat()
    load_mnist(directory=tmp_path)
    after = (tmp_path / "t10k-images-idx3-ubyte.gz").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_second_mirror_helps_when_the_first_sends_something_else(mirror, tmp_path, monkeypatch):
    wrong = mirror / "login"
    wrong.mkdir()
    for name in data.MNIST.files:
        (wrong / f"{name}.gz").write_text("<!DOCTYPE html> please sign in")
    (mirror,) = data.MNIST.mirrors
    change(monkeypatch, mirrors=(f"{mirror}login/", f"{mirror}absent/", mirror))
    assert len(load_mnist(directory=tmp_path / "new").test) == TEST


def test_wrong_download_never_takes_its_place(mirror, tmp_path):
    (mirror / "t10k-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b half of a file")
    folder = tmp_path / "new"
    with pytest.raises(FileNotFoundError, match=r"Put t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte .* into"):
        load_mnist(directory=folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]


def test_two_downloads_at_once(mirror, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        for mnist in pool.map(lambda _: load_mnist(directory=tmp_path / "new"), range(2)):
            assert len(mnist.test) == TEST


def test_the_next_run_removes_what_a_killed_download_left(mirror, tmp_path):
    killed, running = tmp_path / ".download-killed", tmp_path / ".download-running"
    for folder in (killed, running):
        folder.mkdir()
        (folder / "train-images-idx3-ubyte.gz").write_bytes(b"half a file")
    for path in (*killed.iterdir(), killed):
        os.utime(path, (0, 0))
    load_mnist(directory=tmp_path)
    assert not killed.exists() and running.exists()


def test_a_read_only_folder_is_said_to_be_one(mirror, open_folder, unprivileged):
    open_folder.chmod(0o555)
    with unprivileged(), pytest.raises(FileNotFoundError, match=r"(?s)Put train-images.*Permission denied"):
        load_mnist(directory=open_folder)


def test_offline_says_which_files_to_put_where(contents, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load_mnist(directory=tmp_path)
    for part in (*contents, str(tmp_path), "MNIST_DIR", *data.MNIST.mirrors):
        assert part in str(error.value)


def test_folder_that_cannot_be_made(contents, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        load_mnist(directory=tmp_path / "file" / "folder")


def test_another_data_set_comes_the_same_way(mirror, contents, tmp_path, monkeypatch):
    """A description is all that differs: folder, digests, names of the classes."""
    other = replace(data.MNIST, name="Other", variable="OTHER_DIR", folder="other_data", valid=5)
    monkeypatch.setenv("OTHER_DIR", str(tmp_path / "other"))
    assert missing_files(other) == list(contents)
    splits = load_dataset(other)
    assert [len(split) for split in splits] == [TRAIN - 5, 5, TEST] and missing_files(other) == []
    assert torch.equal(splits.test.x, load_mnist(directory=tmp_path / "other").test.x)
    with pytest.raises(IdxError, match="labels from 0 to 2, found"):
        load_dataset(replace(other, classes=("a", "b", "c")))


def test_a_package_of_the_system_is_found_and_named(contents, tmp_path, monkeypatch):
    installed = tmp_path / "installed"
    other = replace(
        data.MNIST,
        name="Other",
        variable="OTHER_DIR",
        folder="other_data",
        package="dataset-other",
        installed=str(installed),
    )
    with pytest.raises(FileNotFoundError, match=r"Other is .* or set OTHER_DIR .* `apt install dataset-other`"):
        load_dataset(other, directory=tmp_path / "empty")
    installed.mkdir()
    fill(installed, contents)
    assert len(load_dataset(other).test) == TEST
    monkeypatch.setenv("OTHER_DIR", str(tmp_path / "empty"))  # what is named goes before what is installed
    assert missing_files(other) == list(contents)


@pytest.mark.parametrize("dataset", [MNIST, pytest.param(FASHION, marks=pytest.mark.slow)], ids=lambda each: each.name)
def test_what_a_description_says_of_its_pixels(dataset):
    if missing := missing_files(dataset):  # CI has them, see .ci/run
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{dataset.name} is not here: {', '.join(missing)}")
    train, valid, test = load_dataset(dataset)
    pixels = torch.cat([train.x, valid.x])
    assert pixels.mean() == pytest.approx(dataset.mean, abs=1e-4) and pixels.std() == pytest.approx(
        dataset.std, abs=1e-4
    )
    for split in (train, valid, test):
        assert split.y.unique().tolist() == list(range(len(dataset.classes)))


@pytest.mark.parametrize("shape", [(5, 4, 4), (5, 3, 4, 4)])
def test_bytes_become_images(shape):
    levels = np.random.default_rng(0).integers(0, 256, shape, "u1")
    images = to_images(levels)
    assert images.shape == (5, shape[1] if len(shape) == 4 else 1, 4, 4) and images.dtype == torch.float32
    assert np.array_equal(images.numpy().reshape(shape), (levels.astype(np.float64) / 255).astype(np.float32))


@pytest.fixture
def split():
    return Split(torch.rand(23, 1, 28, 28), torch.arange(23) % 10)


def test_split_takes_slices_indices_and_masks(split):
    assert len(split[5:9]) == 4 and split[5:9].x.equal(split.x[5:9])
    assert split[torch.tensor([3, 3, 1])].y.tolist() == [3, 3, 1]
    assert split[split.y == 2].y.tolist() == [2, 2, 2]
    assert len(split[:0]) == 0
    assert repr(split) == "Split(23 images)"


@pytest.mark.parametrize("index", [3, (0, 1), [1, 2], None, np.int64(3)])
def test_split_refuses_other_indices(split, index):
    with pytest.raises(TypeError, match=r"for image i write split\[i : i \+ 1\]"):
        split[index]


def test_split_cannot_be_unpacked_by_mistake(split):
    with pytest.raises(TypeError):
        _x, _y = split


@pytest.mark.parametrize(
    ("x", "y", "name"),
    [
        (torch.rand(4, 28, 28), torch.zeros(4, dtype=torch.int64), "x must"),
        (torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64), "x must"),
        (torch.rand(4, 1, 28, 28), torch.zeros(5, dtype=torch.int64), "y must"),
        (torch.rand(4, 1, 28, 28), torch.zeros(4), "y must"),
    ],
)
def test_split_refuses_what_the_models_do_not_take(x, y, name):
    with pytest.raises(ValueError, match=name):
        Split(x, y)


def test_batches_in_order(split):
    batches = list(split.batches(10))
    assert [len(y) for _, y in batches] == [10, 10, 3]
    assert torch.cat([x for x, _ in batches]).equal(split.x)
    assert torch.cat([y for _, y in batches]).equal(split.y)


def test_batches_shuffled(split):
    def epoch(generator):
        batches = list(split.batches(10, generator))
        assert [len(y) for _, y in batches] == [10, 10, 3]
        return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])

    x, y = epoch(torch.Generator().manual_seed(1))
    order = [int((split.x == image).flatten(1).all(1).nonzero()) for image in x]
    assert sorted(order) == list(range(23)) and order != list(range(23))
    assert y.tolist() == [order[i] % 10 for i in range(23)]  # labels travel with their images

    generator = torch.Generator().manual_seed(1)
    assert epoch(generator)[0].equal(x)  # the same seed, the same order
    assert not epoch(generator)[0].equal(x)  # the next epoch, another order


@pytest.mark.parametrize("size", [0, -1])
def test_batches_refuses_a_size_early(split, size):
    with pytest.raises(ValueError, match="size >= 1"):
        split.batches(size)


def test_batches_refuses_an_empty_split_early(split):
    with pytest.raises(ValueError, match="not empty"):
        split[:0].batches(10)


def test_a_split_equals_itself_and_can_be_asked_so():
    split = Split(torch.rand(3, 1, 28, 28), torch.arange(3))
    assert split == split and split != Split(split.x, split.y) and split in [split]
