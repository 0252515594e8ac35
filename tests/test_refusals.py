"""What does not fit is refused at once, by a message that names the argument and what came."""

import importlib
import inspect
import math
import pkgutil
from dataclasses import replace
from functools import partial

import matplotlib.pyplot as plt
import pytest
import torch

import helpers
from helpers import data
from helpers.checkpoints import load, load_or_train, read_recipe, save
from helpers.cifar import load_cifar10, read_cifar10
from helpers.data import MNIST, Posteriors, Split, dataset_path, load_dataset, load_mnist, mnist_path, to_images
from helpers.explorer.film import save_film
from helpers.explorer.space import LatentSpace, prepare
from helpers.flow import Flow, flow_matching, posteriors, transport
from helpers.guidance import as_probabilities, guide
from helpers.idx import read_idx
from helpers.latent import decode, encode, interpolate, quantile_grid
from helpers.losses import cross_entropy, kl_nats, reconstruction_nats, squared_error
from helpers.metrics import (
    density_coverage,
    effective_classes,
    features,
    fit_mixture,
    frechet_distance,
    knn_accuracy,
    log_likelihood,
    nearest,
    precision_recall,
    predict,
    sample_mixture,
    score_card,
    score_clusters,
    two_sample_accuracy,
    umap_plane,
)
from helpers.models import CAE, CNN, VAE, ConditionalVAE
from helpers.pictures import read_folder, read_pair
from helpers.plots import place_labels, show_history, show_images, show_latent, show_sheet
from helpers.recipes import describe
from helpers.schematics import show_schematic
from helpers.training import evaluate, fit, pick_device, random_shift
from helpers.writing import decode_digits, measure_hand, set_line, write

torch.manual_seed(0)
vae, cae, cnn = VAE(latent_dim=3, encoder=(8,), decoder=(8,)), CAE(3), CNN(channels=(2, 2), hidden=4)
plane = VAE(encoder=(8,), decoder=(8,))
x, y, z = torch.rand(6, 1, 28, 28), torch.arange(6), torch.randn(6, 3)
two = z[:, :2]
flow, pair = Flow(3, width=8, blocks=1), torch.randn(6, 2, 3)
split, empty = Split(x, y), Split(x[:0], y[:0])
hands = ConditionalVAE(3, channels=(2, 2, 2), hidden=4)
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
# The same for features of any size, and for what a figure clips to [0, 1].
FEATURES = {
    r"must have shape \(n, .\) with n >= 1, got \(6,\)": z[:, 0],
    r"must have shape .* with n >= 1, got \(0, 2\)": two[:0],
    "must be finite, got nan": two * nan,
}
PICTURES = {
    r"must have shape \(n, 1, h, w\) with n >= 1, got \(6, 28, 28\)": x[:, 0],
    r"must have shape .* with n >= 1, got \(0, 1, 28, 28\)": x[:0],
    r"must have shape .* got \(6, 3, 28, 28\)": x.expand(-1, 3, -1, -1),
    r"must be floats in \[0, 1\], got torch.uint8": (x * 255).byte(),
    "must be finite, got nan": x.where(x < 0.9, nan),
}
PAIRS = [
    *((function, "real", "fake") for function in (precision_recall, density_coverage, score_card)),
    *((function, "a", "b") for function in (two_sample_accuracy, nearest)),
]
CLASSES = {
    r"must have shape \(n,\) with n >= 1, got \(0,\)": y[:0],
    "must be whole numbers, got torch.float32": y.float(),
    "must be from 0 to 9, got values from 5 to 10": y + 5,
    "must be from 0 to 9, got values from -1 to 4": y - 1,
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
    (partial(guide, vae, cnn, 3, z, steps=0), "steps >= 1, .* got 0, "),
    (partial(guide, vae, cnn, 3, z, lr=0.0), "lr > 0 .* 0.0 and"),
    (partial(guide, vae, cnn, 3, z, lr=nan), "lr > 0 .* nan and"),
    (partial(guide, vae, cnn, 3, z, prior_weight=-1.0), "prior_weight >= 0, .* and -1.0"),
    (partial(guide, vae, cnn, 3, z, prior_weight=nan), "prior_weight >= 0, .* and nan"),
    *((partial(decode_digits, hands, bad, y), f"z .*{says}") for says, bad in CODES.items()),
    *((partial(decode_digits, hands, z[: len(bad)], bad), f"y {says}") for says, bad in CLASSES.items() if len(bad)),
    (partial(decode_digits, hands, z, y[:5]), "y must name a digit for each of 6 styles, got 5"),
    (partial(write, hands, 1.5, z[0]), "number must be a whole number or a text of digits, got 1.5"),
    (partial(write, hands, -7, z[0]), "number must be digits from 0 to 9 and blanks, got '-' in -7"),
    (partial(write, hands, "", z[0]), "number must hold a digit, got ''"),
    (partial(write, hands, "7" * 65, z[0]), "number must have at most 64 digits, got 65"),
    (partial(write, hands, 7, None), r"style must be a tensor of shape \(3,\), got None"),
    (partial(write, hands, 7, z), r"style must be a tensor of shape \(3,\), got \(6, 3\)"),
    (partial(write, hands, 7, z[0] * nan), "style must be finite, got nan"),
    (partial(write, hands, 7, z[0], jitter=-1.0), "jitter must be finite and at least 0, got -1.0"),
    *(
        (partial(set_line, bad, [1] * len(bad)), f"digits .*{says}")
        for says, bad in IMAGES.items()
        if bad.device == x.device
    ),
    (partial(set_line, x, [1] * 5), "gaps must be at least 1 before each of 6 digits, got"),
    (partial(set_line, x * 0, [1] * 6), r"digits must have ink, got none in \[0, 1"),
    *((partial(measure_hand, bad), f"images .*{says}") for says, bad in IMAGES.items() if bad.device == x.device),
    (partial(measure_hand, x * 0), "images must have ink, got 6 without"),
    (
        partial(save_film, "film.html", z, y, vae),
        r"way must be \(steps \+ 1, n, latent_dim\) and y \(n,\), got \(6, 3\)",
    ),
    (partial(save_film, "film.html", z[None].expand(2, -1, -1) * nan, y, vae), "way must be finite, got nan"),
    (
        partial(save_film, "film.html", z[None].expand(2, -1, -1), y * 0, vae),
        "y must hold three kinds of digits or more",
    ),
    *((partial(transport, flow, bad), f"noise .*{says}") for says, bad in CODES.items()),
    *((partial(transport, flow, z[: len(bad)], bad), f"y {says}") for says, bad in CLASSES.items() if len(bad)),
    (partial(transport, flow, z, y[:5]), "y must name a class for each of 6 rows of noise, got 5"),
    (partial(transport, flow, z, y.to("meta")), "y must be on cpu.* got meta"),
    (partial(transport, flow, z, y, steps=0), "steps >= 1, .* got 0, 'midpoint' and 1.0"),
    (partial(transport, flow, z, y, solver="heun"), "a solver among euler, midpoint .* 'heun'"),
    (partial(transport, flow, z, y, weight=nan), "a finite weight, .* and nan"),
    *(
        (partial(transport, flow, z, y, 2.0, between=bad), r"between must be two times, .* got \(")
        for bad in ((0.8, 0.4), (-0.1, 1.0), (0.0, 1.1), (nan, 1.0))
    ),
    (partial(posteriors, vae, empty), "split must hold images, got Split.0 images"),
    (partial(posteriors, cae, split), "model must answer with mu and logvar, got a CAE"),
    (partial(posteriors, VAE().to("meta"), split), "split must be on meta, .* got cpu"),
    (partial(flow_matching, flow, z, y), r"x must have shape \(n, 2, 3\), mu and logvar, got \(6, 3\)"),
    (partial(flow_matching, flow, pair, y, drop=1.5), "drop must be from 0 to 1, got 1.5"),
    (partial(Posteriors, z, y), r"x must be float32 of shape \(n, 2, latent_dim\), .* \(6, 3\)"),
    (partial(Posteriors, pair.double(), y), "x must be float32 .* torch.float64"),
    (partial(Posteriors, pair * nan, y), "x must be finite, got nan"),
    (partial(Posteriors, pair, y[:5]), r"y must be int64 of shape \(6,\), not torch.int64 \(5,\)"),
    *((partial(log_likelihood, plane, bad), f"x .*{says}") for says, bad in IMAGES.items()),
    (partial(log_likelihood, vae, x), "model must have 2 latent dimensions .* got 3"),
    (partial(log_likelihood, plane, x, step=0), "0 < step < reach .* got 0"),
    (partial(place_labels, two, y[:5], 1.0), r"y must have shape \(6,\).* got \(5,\)"),
    (partial(place_labels, two[:0], y[:0], 1.0), r"codes must have .* n >= 1, got \(0, 2\)"),
    (partial(place_labels, two * nan, y, 1.0), "codes must be finite, got nan"),
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
    (partial(dataset_path, MNIST, "nonsense"), "name must be one of .* got 'nonsense'"),
    (partial(load_dataset, MNIST, "nonsense"), "nonsense"),
    (partial(to_images, x.numpy()), r"array must be uint8 .* got float32 \(6, 1, 28, 28\)"),
    (partial(read_cifar10, "nowhere"), "nowhere: expected a readable file, found No such file"),
    (partial(load_cifar10, directory=__file__), "CIFAR-10 is incomplete .* data_batch_1.bin"),
    (partial(read_folder, "nowhere"), "nowhere: expected a folder of pictures, found nothing"),
    (partial(read_pair, "nowhere", "nowhere"), "nowhere: expected a readable IDX file"),
    (partial(read_idx, "nowhere"), "nowhere: expected a readable IDX file"),
    (partial(cross_entropy, cnn, x, y + 5), "Target 10 is out of bounds"),
    (partial(squared_error, lambda x: x[:, 0], x, y), r"x and recon .* got \(6, 1, 28, 28\) and \(6, 28, 28\)"),
    (partial(reconstruction_nats, x[:1], x), r"logits and x must have one shape, got \(1, 1, 28, 28\)"),
    (partial(kl_nats, z, z[:1]), r"mu and logvar must have one shape, got \(6, 3\) and \(1, 3\)"),
    (partial(evaluate, cnn, {"loss": cross_entropy}, empty), "need images, .* got Split.0 images"),
    (partial(evaluate, cnn, {}, split), r"metrics .* got .*\[\]"),
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
    (partial(describe, "augment", lambda x: x), "augment: the lambda .* cannot be told from another"),
    (partial(describe, "lr", z), "lr must be plain values, .* got a Tensor"),
    (partial(save, "new", broken(), {}), r"new: weights must be finite .* head\.1\.bias"),
    (partial(load, "nowhere", CNN), r"nowhere\.pt: not found"),
    (partial(read_recipe, "nowhere"), r"nowhere\.pt: not found"),
    *((partial(predict, cnn, bad), f"images .*{says}") for says, bad in IMAGES.items()),
    (partial(predict, cnn.head[-1], z[:0]), r"images must have .* n >= 1, got \(0, 3\)"),
    (partial(predict, cnn.head[-1], z * nan), "images must be finite, got nan"),
    *((partial(effective_classes, bad), f"y {says}") for says, bad in CLASSES.items()),
    *((partial(features, cnn, bad), f"x .*{says}") for says, bad in IMAGES.items()),
    (partial(sample_mixture, None, 0), "n must be at least 1, got 0"),
    *((partial(knn_accuracy, bad, y, k=1), f"^codes {says}") for says, bad in FEATURES.items()),
    *((partial(knn_accuracy, two, y, 1, (bad, y)), f"reference codes {says}") for says, bad in FEATURES.items()),
    (partial(knn_accuracy, two, y, 1, (z, y)), r"reference codes must have shape \(n, 2\) .* got \(6, 3\)"),
    (partial(knn_accuracy, two, y, 7, (two, y)), "reference must hold k = 7 codes, .* got 6"),
    (partial(knn_accuracy, two, y, 0, (two, y)), "k = 0 codes, and k be at least 1"),
    (partial(knn_accuracy, two, y, k=6), "codes must be more than k = 6, .* got 6"),
    (partial(knn_accuracy, two, y, k=0), "k = 0, and k at least 1"),
    (partial(knn_accuracy, two, y[:5], k=1), r"y must have shape \(6,\), .* got \(5,\)"),
    (partial(knn_accuracy, two, y * nan, k=1), "y must be finite"),
    *((partial(fit_mixture, bad), f"codes {says}") for says, bad in FEATURES.items()),
    (partial(fit_mixture, two, components=6), "codes must be more than components = 6 .* got 6"),
    (partial(fit_mixture, two, components=0), "components = 0 >= 1"),
    *((partial(frechet_distance, bad, two), f"^a {says}") for says, bad in FEATURES.items()),
    *((partial(frechet_distance, two, bad), f"^b {says}") for says, bad in FEATURES.items()),
    (partial(frechet_distance, two, z), r"a and b must be .* got \(6, 2\) and \(6, 3\)"),
    (partial(frechet_distance, two[:1], two), r"n, m >= 2, got \(1, 2\) and \(6, 2\)"),
    *(
        (partial(function, bad, two), f"^{first} {says}")
        for function, first, _ in PAIRS
        for says, bad in FEATURES.items()
    ),
    *(
        (partial(function, two, bad), f"^{last} {says}")
        for function, _, last in PAIRS
        for says, bad in FEATURES.items()
    ),
    *((partial(function, two, z), f"^{a} and {b} must be .* got .6, 2. and .6, 3.") for function, a, b in PAIRS),
    (partial(precision_recall, two, two[:3]), r"more than 3 each, got \(6, 2\) and \(3, 2\)"),
    (partial(precision_recall, two, two, k=0), "k must be at least 1, got 0"),
    (partial(density_coverage, two, two, k=6), "real and fake must be more than 6 each"),
    (partial(density_coverage, two, two, k=0), "k must be at least 1, got 0"),
    (partial(two_sample_accuracy, two, two), "a and b must be more than 20 each"),
    *((partial(umap_plane, bad, 2), f"codes {says}") for says, bad in FEATURES.items()),
    (partial(umap_plane, two, neighbours=6), "codes must be more than neighbours = 6 .* got 6"),
    (partial(umap_plane, two, neighbours=1), "neighbours = 1 >= 2"),
    (partial(score_clusters, y[:5], y), r"labels must have shape \(6,\), .* got \(5,\)"),
    (partial(score_clusters, y * nan, y), "labels must be finite"),
    (partial(score_clusters, y, 0 * y), r"y must hold two different classes at least, got \[0\]"),
    (partial(score_clusters, y[:0], y[:0]), r"y must hold two different classes at least, got \[\]"),
    *((partial(LatentSpace, plane, bad.cpu(), y), "x must") for says, bad in IMAGES.items() if "meta" not in says),
    (partial(LatentSpace, plane, x, y[:5]), r"x must be .* got \(6, 1, 28, 28\) and \(5,\)"),
    (partial(LatentSpace, plane, x, y - 1), "y must be from 0 to 9, got values from -1 to 4"),
    (partial(LatentSpace, plane, x, y, CNN((2, 2), 4, classes=12)), r"classifier must give ten .* got \(1, 12\)"),
    (partial(LatentSpace, plane, x, y, places=z), r"places must be \(6, 2\) and finite, got \(6, 3\)"),
    (partial(LatentSpace, plane, x, y, places=two * nan), "places must be .* finite"),
    (partial(LatentSpace(plane, x, y).predict, two * nan, two), "the model has no finite image there"),
    *((partial(show_images, bad), f"images {says}") for says, bad in PICTURES.items()),
    (partial(show_schematic, {"x": (1, 1, "x", "cloud")}, []), "box 'x' must be of a kind of data, "),
    (partial(show_schematic, {}, [("x", "z")]), "arrows must join boxes, got x, z"),
    (partial(show_images, x, columns=0), "columns must be at least 1, got 0"),
    (partial(show_images, x, captions=["a", "b"]), "captions must name each of the 6 images, got 2"),
    (partial(show_images, x, columns=3, row_labels=["a"]), "row_labels must name each of the 2 rows, got 1"),
    *((partial(show_sheet, bad, 1), f"images {says}") for says, bad in PICTURES.items()),
    (partial(show_sheet, x, columns=4), r"images full rows of 4, got \(6, 1, 28, 28\)"),
    (partial(show_sheet, x, columns=0), "columns must be positive .* of 0"),
    (partial(show_history, {"train_loss": [1]}, ("loss", "kl")), "history has no kl: give it to `fit` in `metrics`"),
    (partial(show_history, {"train_loss": [1]}, labels=["a", "b"]), "labels must name each of the 1 panels, got 2"),
    *((partial(show_latent, two[: len(bad)], bad), f"y {says}") for says, bad in CLASSES.items() if len(bad)),
    (partial(show_latent, two, y, classes=("a", "b")), "y must be from 0 to 1, got values from 0 to 5"),
    (partial(show_latent, two[:0], y[:0]), r"codes must have .* n >= 1, got \(0, 2\)"),
    (partial(show_latent, two * nan, y), "codes must be finite, got nan"),
    (partial(show_latent, two.long(), y), "codes must be floats, got torch.int64"),
    (partial(show_latent, z, y), r"codes must be \(n, 2\) and y \(n,\), got \(6, 3\) and \(6,\)"),
    (partial(show_latent, z[:, 0], y), r"codes must be \(n, 2\) and y \(n,\), got \(6,\) and \(6,\)"),
    (partial(show_latent, two, y[:5]), r"codes must be \(n, 2\) and y \(n,\), got \(6, 2\) and \(5,\)"),
]


@pytest.mark.parametrize(("call", "says"), REFUSED, ids=[f"{call.func.__name__}: {says}" for call, says in REFUSED])
def test_what_does_not_fit_is_refused_by_name(call, says, tmp_path, monkeypatch):
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(data, "MNIST", replace(data.MNIST, mirrors=()))
    with pytest.raises((ValueError, IndexError, RuntimeError, KeyError, FileNotFoundError), match=says):
        call()
    assert not list(tmp_path.iterdir()) and not plt.get_fignums()


@pytest.mark.parametrize("name", ["nonsense", "meta:x", "xpu:99"])
def test_a_device_that_is_not_there_is_named(monkeypatch, name):
    monkeypatch.setenv("DEVICE", name)
    with pytest.raises(ValueError, match=f"DEVICE must name a device of this machine, got '{name}'"):
        pick_device()


# Nothing a caller could get wrong, what checks for others, or inner functions that the callers above have checked.
FREE = {
    *("checkpoints.models_dir", "checks.check_codes"),
    *("checks.check_classes", "checks.check_device", "checks.check_images"),
    *("data.find_folder", "data.missing_files"),
    *("flow.euler", "flow.midpoint", "guidance.objective", "losses.accuracy", "losses.kl", "losses.negative_elbo"),
    *("losses.conditional_elbo", "losses.conditional_kl"),
    *("losses.reconstruction", "losses.weighted_elbo", "metrics.grid", "metrics.log_pixels", "recipes.fingerprint"),
    *("models.conv_bn_relu", "models.eval_mode", "models.mlp_layers", "models.normalise", "models.reparameterise"),
    *("plots.show_source", "plots.style", "recipes.describe_network", "recipes.differences"),
    *("training.autocast", "training.pick_device", "training.seed_everything"),
    *("explorer.atlas.chart", "explorer.cells.close_on_rerun", "explorer.cells.forget", "explorer.projections.project"),
    *(
        "explorer.film.best_sides",
        "explorer.projections.spread",
        "explorer.protocol.is_number",
        "explorer.static.document",
    ),
    *("explorer.protocol.answer", "explorer.space.distances", "explorer.space.ellipse", "explorer.space.one_thread"),
    *("explorer.space.to_host", "explorer.space.to_pixels", "explorer.static.link", "explorer.static.page"),
    *("explorer.static.script", "explorer.static.still", "explorer.static.style"),
    # test_explorer_net.py names what these refuse
    *("explorer.steps.fold", "explorer.steps.rows_of", "explorer.steps.step_of", "explorer.weights.carry"),
    "explorer.weights.pack",
}


def test_every_public_function_is_in_the_table():
    functions = {
        f"{module.name}.{name}".removeprefix("helpers.")
        for module in pkgutil.walk_packages(helpers.__path__, "helpers.")
        for name, function in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction)
        if function.__module__ == module.name and name[0] != "_"
    }
    tried = {f"{call.func.__module__}.{call.func.__name__}".removeprefix("helpers.") for call, _ in REFUSED}
    assert functions - tried == FREE
