"""A run is repeated by the recipe in its checkpoint, and its row is kept."""

import json

import pytest
import torch

from helpers import repeat as repeats
from helpers.augment import random_shift
from helpers.checkpoints import load_or_train
from helpers.data import Mnist, Split
from helpers.losses import accuracy, cross_entropy
from helpers.models import CNN


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    def digits(n):
        return Split(torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(n)), torch.arange(n) % 10)

    mnist = Mnist(digits(60), digits(20), digits(30))
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(repeats, "TABLE", tmp_path / "repeats.json")
    monkeypatch.setattr(repeats, "load_mnist", lambda device: mnist)
    torch.manual_seed(0)
    settings = {"epochs": 2, "lr": 1e-2, "batch_size": 20, "augment": random_shift, "metrics": (accuracy,)}
    load_or_train("tiny", CNN(channels=(2, 3), hidden=4), cross_entropy, mnist.train, mnist.valid, **settings)


def test_the_same_seed_repeats_the_shipped_training_and_another_does_not():
    shipped = torch.load(repeats.TABLE.parent / "tiny.pt", weights_only=True)["history"]
    same, other = repeats.repeat("tiny", seed=0), repeats.repeat("tiny", seed=1)
    assert same["history"]["valid_loss"] == shipped["valid_loss"] != other["history"]["valid_loss"]
    assert 0 <= same["test_accuracy"] <= 1 and same["test_loss"] > 0 and same["seconds"] > 0


def test_a_change_reaches_the_model():
    row = repeats.repeat("tiny", hidden=8)
    assert row["hidden"] == 8 and row["parameters"] > repeats.repeat("tiny")["parameters"]


def test_a_change_reaches_the_training():
    row = repeats.repeat("tiny", epochs=1)
    assert row["epochs"] == 1 and len(row["history"]["valid_loss"]) == 1


def test_stored_rows_are_found_again_and_replaced_by_name():
    repeats.store([{"name": "a", "seed": 0}, {"name": "a", "seed": 1}], "a")
    repeats.store([{"name": "b", "seed": 0}], "b")
    repeats.store([{"name": "a", "seed": 5}], "a")
    assert repeats.read_repeats("a") == [{"name": "a", "seed": 5}]
    assert repeats.read_repeats("b", seed=0) == [{"name": "b", "seed": 0}]
    with pytest.raises(ValueError, match="no row of b"):
        repeats.read_repeats("b", seed=9)
    assert len(json.loads(repeats.TABLE.read_text())) == 2


def test_an_unplanned_name_is_refused():
    with pytest.raises(SystemExit, match="no runs are planned for x"):
        repeats.main(["x"])
