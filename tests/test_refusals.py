"""What does not fit is refused at once, by a message that names the argument and what came."""

import inspect
import math
from functools import partial

import pytest
import torch

from helpers import augment, checkpoints, data, guidance, idx, labels, latent, likelihood, losses, repeat, training
from helpers.augment import random_shift
from helpers.checkpoints import load, load_or_train, read_recipe, save
from helpers.data import Split, load_mnist, mnist_path
from helpers.guidance import as_probabilities, guide, scout
from helpers.idx import read_idx
from helpers.labels import place_labels
from helpers.latent import decode, encode, interpolate, quantile_grid
from helpers.likelihood import log_likelihood
from helpers.losses import cross_entropy, kl_nats, reconstruction_nats, squared_error
from helpers.models import CAE, CNN, VAE
from helpers.pad import prepare
from helpers.repeat import read_repeats, sweep
from helpers.repeat import repeat as repeat_run
from helpers.training import evaluate, fit, pick_device

torch.manual_seed(0)
vae, cae, cnn = VAE(latent_dim=3, encoder=(8,), decoder=(8,)), CAE(3), CNN(channels=(2, 2), hidden=4)
plane = VAE(encoder=(8,), decoder=(8,))
x, y, z = torch.rand(6, 1, 28, 28), torch.arange(6), torch.randn(6, 3)
split, empty = Split(x, y), Split(x[:0], y[:0])
nan, inf = math.nan, math.inf

# What every function that takes images, or codes, must refuse; the function is given the bad argument.
IMAGES = {
    r"must have shape \(n, 1, 28, 28\).*got \(6, 28, 28\)": x[:, 0],
    r"must have shape .* with n >= 1, got \(0, 1, 28, 28\)": x[:0],
    r"got \(6, 3, 28, 28\)": x.expand(-1, 3, -1, -1),
    "must be floats .* got torch.uint8": (x * 255).byte(),
    r"in \[0, 1\], got values from 0.* to 255": x / x.max() * 255,
    r"in \[0, 1\], got values from -": x - 1,
    "got values from nan to nan": x.where(x < 0.9, nan),
    "must be on cpu.* got meta": x.to("meta"),
}
CODES = {
    r"must have shape \(n, 3\).* got \(6,\)": z[:, 0],
    r"must have shape .* with n >= 1, got \(0, 3\)": z[:0],
    r"must have shape \(n, 3\).* got \(6, 2\)": z[:, :2],
    "must be floats, got torch.int64": z.long(),
    "must be finite, got nan": z.where(z < 1, nan),
    "must be finite, got inf": z.where(z < 1, inf),
    "must be on cpu.* got meta": z.to("meta"),
}


def small():
    return CNN(channels=(2, 2), hidden=4)


def broken():
    model = small()
    model.head[1].bias.data.fill_(nan)
    return model


def refuse_fit(**changes):
    return partial(fit, small(), cross_entropy, split, split, **({"epochs": 1, "lr": 1e-3} | changes))


REFUSED = [
    *((partial(encode, vae, bad), f"x .*{says}") for says, bad in IMAGES.items()),
    *((partial(decode, cae, bad), f"z .*{says}") for says, bad in CODES.items()),
    *((partial(guide, vae, cnn, 3, bad), f"starts .*{says}") for says, bad in CODES.items()),
    *((partial(scout, vae, cnn, 3, bad[None]), f"starts .*{says}") for says, bad in CODES.items()),
    *((partial(log_likelihood, plane, bad), f"x .*{says}") for says, bad in IMAGES.items()),
    (partial(log_likelihood, vae, x), "model must have 2 latent dimensions .* got 3"),
    (partial(log_likelihood, plane, x, step=0), "0 < step < reach .* got 0"),
    (partial(place_labels, z[:, :2], y[:5], 1.0), r"y must have shape \(6,\).* got \(5,\)"),
    (partial(place_labels, z[:0, :2], y[:0], 1.0), r"codes must have .* n >= 1, got \(0, 2\)"),
    (partial(place_labels, z[:, :2] * nan, y, 1.0), "codes must be finite, got nan"),
    (partial(prepare, x[0]), r"strokes must have shape \(h, w\), got \(1, 28, 28\)"),
    (partial(prepare, x[0, 0] * 255), r"strokes must be in \[0, 1\], got values"),
    (partial(prepare, x[0, 0] * nan), "got values from nan"),
    (partial(as_probabilities, 11, z, vae, cnn), "digit 11 is not among the 10 classes"),
    (partial(as_probabilities, torch.full((10,), nan), z, vae, cnn), "target must be"),
    (partial(as_probabilities, torch.arange(4), z, vae, cnn), r"target must be .* 6 starts, got \(4, 10\)"),
    (partial(quantile_grid, 1), "side must be at least 2, got 1"),
    (partial(interpolate, z[0], z[0, :2], 5), r"a and b .*\(3,\) and \(2,\)"),
    (partial(interpolate, z[0], z[0] * nan, 5), "b must be finite, got nan"),
    (partial(interpolate, z[0].long(), z[0].long(), 5), "a must be floats, got torch.int64"),
    (partial(interpolate, z[0], z[1], 1), "steps .* got 1"),
    (partial(random_shift, x[0]), r"x must have .* got \(1, 28, 28\)"),
    (partial(random_shift, x, -1), "pixels be >= 0, got .* -1"),
    (partial(Split, x[:, 0], y), r"x must be .* \(6, 28, 28\)"),
    (partial(Split, x.double(), y), "x must be float32 .* torch.float64"),
    (partial(Split, x * 255, y), r"x must be in \[0, 1\], got values"),
    (partial(Split, x * nan, y), r"x must be in \[0, 1\], got values from nan"),
    (partial(Split, x, y[:5]), r"y must be int64 of shape \(6,\), not torch.int64 \(5,\)"),
    (partial(Split, x, y.float()), "y must be int64 .* torch.float32"),
    (partial(Split, x, y.to("meta")), "y must be on cpu.* not on meta"),
    (partial(split.batches, 0), "size >= 1 .* not size 0"),
    (partial(empty.batches, 5), "not empty"),
    (partial(load_mnist, "nonsense"), "nonsense"),
    (partial(mnist_path, "nonsense"), "name must be one of .* got 'nonsense'"),
    (partial(read_idx, "nowhere"), "nowhere: expected a readable IDX file"),
    (partial(cross_entropy, cnn, x, y + 5), "Target 10 is out of bounds"),
    (partial(squared_error, lambda x: x[:, 0], x, y), r"x and recon .* got \(6, 1, 28, 28\) and \(6, 28, 28\)"),
    (partial(reconstruction_nats, x[:1], x), r"logits and x must have one shape, got \(1, 1, 28, 28\)"),
    (partial(kl_nats, z, z[:1]), r"mu and logvar must have one shape, got \(6, 3\) and \(1, 3\)"),
    (partial(evaluate, cnn, {"loss": cross_entropy}, empty), "need images, .* got Split.0 images"),
    (partial(evaluate, cnn, {}, split), r"measures .* got .*\[\]"),
    (partial(evaluate, cnn, {"loss": cross_entropy}, split, 0), "batch_size >= 1, got .* 0"),
    (refuse_fit(epochs=0), "epochs, .* got 0"),
    (refuse_fit(lr=nan), "lr must be positive, got .* nan"),
    (refuse_fit(lr=-1.0), "lr must be positive, got .* -1.0"),
    (refuse_fit(batch_size=0), "batch_size .* got 1, 0"),
    (refuse_fit(betas=(0.9, 1.0)), "[Bb]eta.* 1.0"),
    (refuse_fit(weight_decay=-1.0), "weight_decay value: -1.0"),
    (refuse_fit(ema=1.0), "ema must be between 0 and 1, got 1.0"),
    (refuse_fit(ema=nan), "ema must be between 0 and 1, got nan"),
    (partial(fit, cnn, cross_entropy, empty, split, epochs=1, lr=1e-3), "must hold images, got 0 and 6"),
    (partial(fit, cnn, cross_entropy, split, empty, epochs=1, lr=1e-3), "must hold images, got 6 and 0"),
    (partial(load_or_train, "new", cnn, cross_entropy, split, split, epochs=0, lr=1e-3), "epochs, .* got 0"),
    (partial(save, "new", broken(), {}), r"new: weights must be finite .* head\.1\.bias"),
    (partial(load, "nowhere", CNN), r"nowhere\.pt: not found"),
    (partial(read_recipe, "nowhere"), r"nowhere\.pt: not found"),
    (partial(repeat_run, "nowhere"), r"nowhere\.pt: not found"),
    (partial(sweep, [{"name": "nowhere"}]), r"nowhere\.pt: not found"),
    (partial(read_repeats, "nowhere"), "no row of nowhere"),
]


@pytest.mark.parametrize(("call", "says"), REFUSED, ids=[f"{call.func.__name__}: {says}" for call, says in REFUSED])
def test_what_does_not_fit_is_refused_by_name(call, says, tmp_path, monkeypatch):
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(data, "MIRRORS", ())
    with pytest.raises((ValueError, IndexError, RuntimeError, KeyError, FileNotFoundError), match=says):
        call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["nonsense", "meta:x", "xpu:99"])
def test_a_device_that_is_not_there_is_named(monkeypatch, name):
    monkeypatch.setenv("DEVICE", name)
    with pytest.raises(ValueError, match=f"DEVICE must name a device of this machine, got '{name}'"):
        pick_device()


# Nothing a caller could get wrong, or inner functions that the callers above have checked.
FREE = {
    *(checkpoints.models_dir, training.pick_device, training.seed_everything, training.autocast),
    *(losses.accuracy, losses.negative_elbo, losses.reconstruction, losses.kl, guidance.objective, guidance.frozen),
    *(repeat.store, repeat.main, repeat.this_machine, repeat.cluster, likelihood.log_pixels, likelihood.grid),
}


MODULES = [augment, checkpoints, data, guidance, idx, labels, latent, likelihood, losses, repeat, training]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_function_is_in_the_table(module):
    functions = {
        function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and name[0] != "_"
    }
    tried = {inspect.unwrap(call.func) for call, _ in REFUSED if not inspect.ismethod(call.func)}
    assert not {function.__name__ for function in map(inspect.unwrap, functions - FREE)} - {f.__name__ for f in tried}
