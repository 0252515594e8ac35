"""CIFAR-10's binary files become images, or an error names the file: here a small one in the same format."""

import hashlib
import tarfile

import numpy as np
import pytest
import torch

from helpers import cifar
from helpers.cifar import CifarError, ColourSplit, load_cifar10, read_cifar10
from helpers.data import Split
from helpers.losses import squared_error
from helpers.training import fit

IMAGES, RECORD = 12, 3073


def content(seed=0, images=IMAGES):
    """Return labels, pixels and the bytes of a file of the format."""
    rng = np.random.default_rng(seed)
    labels, pixels = rng.integers(0, 10, images, "u1"), rng.integers(0, 256, (images, 3, 32, 32), "u1")
    return (
        labels,
        pixels,
        b"".join(bytes([label]) + image.tobytes() for label, image in zip(labels, pixels, strict=True)),
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "PER_FILE", IMAGES)
    monkeypatch.setattr(cifar, "VALID", 5)
    for seed, name in enumerate(cifar.FILES):
        (tmp_path / name).write_bytes(content(seed)[2])
    return tmp_path


def test_a_record_is_a_label_and_three_planes_row_by_row(tmp_path):
    labels, pixels, file = content()
    (tmp_path / "data_batch_1.bin").write_bytes(file)
    split = read_cifar10(tmp_path / "data_batch_1.bin", IMAGES)
    assert split.y.tolist() == labels.tolist() and split.y.dtype == torch.int64
    assert split.x.shape == (IMAGES, 3, 32, 32)
    assert np.array_equal(split.x.numpy(), (pixels / 255).astype(np.float32))
    assert file[RECORD + 1 + 1024 + 33] == pixels[1, 1, 1, 1]  # the second image's green, second row and column


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda file: file[:-1], f"{IMAGES * RECORD} bytes, 12 images of 3073, found {IMAGES * RECORD - 1}"),
        (lambda file: file[:-RECORD], f"found {(IMAGES - 1) * RECORD}"),
        (lambda file: file + b"x", f"found {IMAGES * RECORD + 1}"),
        (lambda file: b"", "found 0"),
        (lambda file: file[:RECORD] + b"\x0a" + file[RECORD + 1 :], "labels from 0 to 9, found 10 at image 1"),
        (lambda file: file[:5] + file[6:] + b"\xff", "labels from 0 to 9, found .* at image"),  # a byte lost on the way
    ],
)
def test_damage_is_named(tmp_path, damage, says):
    path = tmp_path / "test_batch.bin"
    path.write_bytes(damage(content()[2]))
    with pytest.raises(CifarError, match=f"^{path}: expected .*{says}"):
        read_cifar10(path, IMAGES)


def test_a_folder_is_named(tmp_path):
    with pytest.raises(CifarError, match=f"^{tmp_path}: expected"):
        read_cifar10(tmp_path)


def test_six_files_become_three_splits(folder):
    train, valid, test = load_cifar10(directory=folder)
    assert [len(split) for split in (train, valid, test)] == [5 * IMAGES - 5, 5, IMAGES]
    assert test.y.tolist() == content(5)[0].tolist()
    assert valid.y.tolist() == content(4)[0].tolist()[-5:]
    assert isinstance(train[:3], ColourSplit)


def test_the_variable_moves_the_folder(folder, monkeypatch):
    monkeypatch.setenv("CIFAR_DIR", str(folder))
    assert len(load_cifar10().test) == IMAGES


def serve(folder, monkeypatch, sha256=None):
    """Make an archive of the folder's files the one that would be downloaded, and remove the files."""
    archive = folder / "mirror.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in cifar.FILES:
            tar.add(folder / name, f"cifar-10-batches-bin/{name}")
            (folder / name).unlink()
    monkeypatch.setattr(cifar, "SHA256", sha256 or hashlib.sha256(archive.read_bytes()).hexdigest())

    def retrieve(url, known_hash, path, processor, progressbar):
        """Do what pooch does after a download."""
        if known_hash != f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}":
            raise ValueError("SHA256 hash does not match")
        return processor(str(archive), "download", None)

    monkeypatch.setattr(cifar.pooch, "retrieve", retrieve)


def test_what_is_missing_is_unpacked_from_the_archive(folder, monkeypatch):
    serve(folder, monkeypatch)
    assert len(load_cifar10(directory=folder).train) == 5 * IMAGES - 5
    assert set(cifar.FILES) <= {path.name for path in folder.iterdir()}


def test_another_archive_is_refused(folder, monkeypatch):
    serve(folder, monkeypatch, "0" * 64)
    with pytest.raises(FileNotFoundError, match=rf"CIFAR-10 is incomplete .* into {folder}, or set CIFAR_DIR .* match"):
        load_cifar10(directory=folder)
    assert not (folder / "test_batch.bin").exists()


def test_grey_splits_and_colour_splits_do_not_mix():
    x, y = torch.rand(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"x must be float32 of shape \(n, 1, 28, 28\)"):
        Split(x, y)
    with pytest.raises(ValueError, match=r"x must be float32 of shape \(n, 3, 32, 32\)"):
        ColourSplit(torch.rand(4, 1, 28, 28), y)
    with pytest.raises(ValueError, match=r"x must be in \[0, 1\]"):
        ColourSplit(x * 2, y)


def test_a_network_of_three_channels_learns_from_them(folder):
    train, valid, _ = load_cifar10(directory=folder)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.Sigmoid())
    history = fit(network, squared_error, train, valid, epochs=2, lr=1e-2, batch_size=8)
    assert len(history["valid_loss"]) == 2
