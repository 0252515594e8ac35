"""The loop, the evaluation and the device, on problems small enough to check by hand."""

import io
import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import std

from helpers import training
from helpers.data import Split
from helpers.losses import accuracy, cross_entropy, negative_elbo, squared_error
from helpers.models import CNN, VAE, Judge
from helpers.training import evaluate, fit, pick_device, random_shift, seed_everything


def bars(n, seed=0):
    """Vertical bars are class 0, horizontal bars class 1: learnt in seconds."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 1, 28, 28, generator=generator) * 0.2
    y = torch.arange(n) % 2
    x[y == 0, :, :, 12:16] = 1
    x[y == 1, :, 12:16, :] = 1
    return Split(x, y)


class Constant(nn.Module):
    """Predict the same image for every input."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.full((1, 1, 28, 28), value))

    def forward(self, x):
        return self.value.expand_as(x)


def small_cnn():
    seed_everything(0)
    return CNN(channels=(4, 8), hidden=16)


@pytest.mark.slow
def test_fit_learns_and_reports_one_number_per_epoch():
    history = fit(
        small_cnn(), cross_entropy, bars(203), bars(60, 1), epochs=4, lr=1e-2, batch_size=50, metrics=(accuracy,)
    )
    names = ["train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "seconds"]
    assert list(history) == names and all(len(history[name]) == 4 for name in names)
    assert history["valid_accuracy"][-1] == 1 and history["valid_loss"][-1] < history["valid_loss"][0]


def test_a_metric_may_be_a_partial():
    history = fit(small_cnn(), cross_entropy, bars(20), bars(20), epochs=1, lr=1e-2, metrics=[partial(accuracy)])
    assert "valid_accuracy" in history


def test_a_seed_gives_the_same_training_twice_whatever_ran_before():
    runs = []
    for _ in range(2):
        model = small_cnn()
        torch.rand(7)  # moves the global generator
        runs.append(fit(model, cross_entropy, bars(100), bars(40, 1), epochs=2, lr=1e-2, augment=random_shift, seed=3))
    for history in runs:
        del history["seconds"]
    assert runs[0] == runs[1]


def test_the_average_of_the_weights_moves_slower_than_the_weights():
    start = small_cnn()
    plain, averaged = small_cnn(), small_cnn()
    settings = {"epochs": 1, "lr": 1e-2, "batch_size": 20}
    fit(plain, cross_entropy, bars(100), bars(40, 1), **settings)
    fit(averaged, cross_entropy, bars(100), bars(40, 1), **settings, ema=0.9)

    def distance(model):
        return sum((a - b).square().sum() for a, b in zip(model.parameters(), start.parameters()))

    assert 0 < distance(averaged) < distance(plain)


@pytest.mark.parametrize("quiet", ["", "1"])
def test_the_average_is_that_of_torch_whether_a_bar_is_drawn_or_not(quiet, monkeypatch):
    made = []

    class Noted(torch.optim.AdamW):  # after each step, the average takes note as torch's own does
        def __init__(self, parameters, **settings):
            super().__init__(parameters, **settings)
            made.append(AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True))

        def step(self):
            super().step()
            made[0].update_parameters(model)

    monkeypatch.setattr(training, "tqdm", lambda **settings: std.tqdm(**settings | {"disable": bool(quiet)}))
    monkeypatch.setattr(torch.optim, "AdamW", Noted)
    seed_everything(0)
    model = Judge(channels=(2, 3, 4))
    fit(model, cross_entropy, bars(100), bars(40, 1), epochs=2, lr=1e-2, batch_size=20, ema=0.8)
    wanted, found = made[0].module.state_dict(), model.state_dict()
    counts = {name for name in found if name.endswith("num_batches_tracked")}  # whole numbers have no average
    assert counts and all(found[name] == 10 for name in counts)
    assert all(torch.equal(found[name], wanted[name]) for name in found if name not in counts)


@pytest.mark.slow
def test_the_progress_bar_of_a_long_training_is_drawn_a_few_hundred_times(monkeypatch):
    drawn = []

    class Bar(std.tqdm):
        def __init__(self, **settings):
            super().__init__(mininterval=0, file=io.StringIO(), **settings)

        def display(self, *args, **kwargs):
            drawn.append(self.n)

    monkeypatch.setattr(training, "tqdm", Bar)
    fit(Constant(0.5), squared_error, bars(1000), bars(2), epochs=3, lr=1e-3, batch_size=1)
    assert drawn[-1] == 3000  # batches
    assert 100 < len(drawn) < 250


def test_fit_says_so_when_the_loss_explodes():
    def explode(model, x, y):
        return squared_error(model, x, y) * torch.tensor(float("inf"))

    with pytest.raises(FloatingPointError, match=r"epoch 1.*smaller lr than 0\.1"):
        fit(Constant(0.5), explode, bars(20), bars(20), epochs=1, lr=0.1)


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"lr": 0.0}, {"lr": -1.0}, {"batch_size": 0}, {"lr": math.nan}])
def test_fit_refuses_settings_out_of_range(bad):
    with pytest.raises(ValueError, match="must be positive"):
        fit(small_cnn(), cross_entropy, bars(20), bars(20), **({"epochs": 1, "lr": 0.1} | bad))


def test_fit_and_evaluate_refuse_an_empty_split():
    with pytest.raises(ValueError, match="train and valid"):
        fit(small_cnn(), cross_entropy, bars(20)[:0], bars(20), epochs=1, lr=0.1)
    with pytest.raises(ValueError, match="need images"):
        evaluate(small_cnn(), {"loss": cross_entropy}, bars(20)[:0])


def test_evaluate_weighs_an_odd_last_batch_by_its_size():
    split = bars(23)
    model = Constant(0.25)
    expected = (split.x - 0.25).square().sum((1, 2, 3)).mean().item()
    for batch_size in (1, 5, 10, 23, 1000):
        mean = evaluate(model, {"error": squared_error}, split, batch_size)["error"]
        assert mean == pytest.approx(expected, rel=1e-5)


def test_evaluate_is_repeatable_with_noise_and_leaves_everything_as_it_was():
    model = VAE(encoder=(16,), decoder=(16,)).train()
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    twice = [evaluate(model, {"nats": negative_elbo}, bars(30)) for _ in range(2)]
    assert twice[0] == twice[1]
    assert model.training and torch.equal(torch.random.get_rng_state(), state)


def test_evaluate_reads_in_eval_mode_and_leaves_a_frozen_layer_frozen():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Dropout(), nn.Linear(784, 10)).train()
    model[1].eval()  # frozen, as in fine-tuning
    modes = [layer.training for layer in model.modules()]
    one, other = (evaluate(model, {"nats": cross_entropy}, bars(30), size)["nats"] for size in (7, 30))
    assert one == pytest.approx(other, rel=1e-5)
    assert modes == [layer.training for layer in model.modules()]


def test_evaluate_puts_everything_back_when_a_measure_fails():
    def fail(model, x, y):
        raise KeyError("no such thing")

    model, state = VAE(encoder=(16,), decoder=(16,)).train(), torch.random.get_rng_state()
    with pytest.raises(KeyError):
        evaluate(model, {"nats": fail}, bars(30))
    assert model.training and torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(("major", "wanted"), [(7, False), (8, True)])
def test_a_gpu_computes_in_bfloat16_only_where_its_hardware_does_and_is_asked_itself(major, wanted, monkeypatch):
    """A V100 or T4 has compute capability 7.x and only emulates bfloat16; the other GPU of this machine has 8.0."""
    current = [0]

    class On:
        def __init__(self, device):
            self.index = device.index

        def __enter__(self):
            current.append(self.index)

        def __exit__(self, *error):
            current.pop()

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", On)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[-1])
    majors = {0: 15 - major, 1: major}
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(major=majors[index]))
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda index: True)  # emulated
    with training.autocast(torch.device("cuda", 1)):
        assert torch.is_autocast_enabled("cuda") == wanted


def test_the_device_can_be_named(monkeypatch):
    monkeypatch.setenv("DEVICE", "meta")
    assert pick_device().type == "meta"
    monkeypatch.delenv("DEVICE")
    assert pick_device() == (torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu"))


def test_a_shift_moves_the_ink_and_loses_none_away_from_the_border():
    x = torch.zeros(3, 1, 28, 28)
    x[:, :, 10:18, 10:18] = torch.rand(3, 1, 8, 8)
    torch.manual_seed(0)
    shifted = [random_shift(x) for _ in range(40)]
    assert all(moved.shape == x.shape for moved in shifted)
    assert all(torch.allclose(moved.sum(), x.sum()) for moved in shifted)
    assert len({tuple(moved[0, 0].nonzero()[0].tolist()) for moved in shifted}) > 10
