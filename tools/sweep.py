"""Train the shipped models again from other seeds and sizes, to see how much of a result is luck.

`python tools/sweep.py [NAME ...]` makes the runs below, as many at once as there are GPUs, or without one cores, and
stores each as soon as it is done. `--scheduler tcp://HOST:8786` makes them on the Dask cluster of that scheduler
instead. Each run goes by the recipe in the model's checkpoint, so there is no second copy of any setting.
"""

import argparse
import inspect
import itertools
import json
import multiprocessing
import os
import pkgutil
import sys
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import joblib
import torch
from scipy.stats import spearmanr
from sklearn.cluster import HDBSCAN
from torch.optim import lr_scheduler
from tqdm.auto import tqdm

from helpers import models
from helpers.checkpoints import load, read_recipe
from helpers.data import load_mnist
from helpers.flow import Flow, posteriors, transport
from helpers.guidance import as_probabilities, guide, objective
from helpers.latent import decode, encode
from helpers.metrics import (
    features,
    fit_mixture,
    frechet_distance,
    knn_accuracy,
    precision_recall,
    predict,
    sample_mixture,
    score_card,
    score_clusters,
    two_sample_accuracy,
    umap_plane,
)
from helpers.recipes import describe
from helpers.training import evaluate, fit, pick_device, seed_everything
from helpers.writing import decode_digits, measure_hand

# Beside the shipped weights, wherever MODELS_DIR points: these rows take hours, and a notebook only reads them.
TABLE = Path(__file__).resolve().parents[1] / "models" / "repeats.json"
# what notebook 07 chose on valid, with the shipped weights
CODER, SHARPNESS = "residual_vae", 1.1
GUIDANCE: dict[str, Any] = {"weight": 1.5, "between": (0.5, 1.0), "steps": 4}
CANDIDATES = 32  # draws of the prior among which a walk of notebook 05 looks for its start
SHORT: dict[str, Any] = {"ema": 0.995}  # the average of few batches must forget the first ones sooner
# What each part of the classifier's recipe is worth: without shifts; without a schedule, at Adam's usual rate; with
# three epochs. (False and not None: None is what a run has that does not change a setting.)
ABLATIONS: list[dict[str, Any]] = [{"augment": False}, {"schedule": "constant", "lr": 1e-3}, {"epochs": 3}]
RUNS: list[dict[str, Any]] = [
    *({"name": name, "seed": seed} for name in ("cnn_classifier", "cae", "vae", "conv_vae") for seed in (0, 1, 2)),
    *({"name": "cnn_classifier", "seed": seed, **change} for change in ABLATIONS for seed in (0, 1, 2)),
    *({"name": "cae", "seed": 0, "latent_dim": size, "epochs": 4} for size in (2, 4, 8, 16, 32, 64)),
    # what lies between vae_textbook and vae: depth, activation, width, each for five epochs on its own schedule
    *(
        {"name": "vae_textbook", "seed": seed, "epochs": 5, "encoder": encoder, "decoder": decoder, "activation": act}
        for encoder, decoder, act in (
            ([400], [400], "ReLU"),
            ([400], [400], "SiLU"),
            ([512], [512], "SiLU"),
            ([1344], [1344], "SiLU"),  # as many parameters as `vae` has
            ([400] * 3, [400] * 4, "ReLU"),
            ([400] * 3, [400] * 4, "SiLU"),
            ([512] * 3, [512] * 4, "SiLU"),
        )
        for seed in (0, 1, 2)
    ),
    # an autoencoder with a flow over its codes; the same in short, with other weights of the KL and sizes of the code;
    # and a flow alone, over the codes of the same autoencoder and of another
    *({"name": "flow", "seed": seed} for seed in (0, 1, 2)),
    *({"name": "flow", "seed": 0, "short": True, "beta": beta, "latent_dim": 24} for beta in (0.1, 0.3, 1.0)),
    *({"name": "flow", "seed": 0, "short": True, "beta": 0.3, "latent_dim": size} for size in (16, 32)),
    *({"name": "flow", "seed": seed, "coder": coder} for seed, coder in ((1, CODER), (0, "conv_vae"))),
    # the weight of the KL of a conditional VAE, and whether it helps to let it grow over the first of four epochs
    *({"name": f"conditional_beta{beta}", "seed": seed} for beta in ("01", "1", "4") for seed in (0, 1, 2)),
    *({"name": "conditional_beta1", "seed": seed, "anneal": 430} for seed in (0, 1, 2)),
    # nothing is trained: the digits that notebook 05 draws by guidance, too slow for the score card of notebook 07
    {"name": "vae20", "seed": 0},
]

SMALLEST = 0.06  # the smallest cluster, as a share of all codes: a digit has about a tenth


def train_again(name, seed=0, **changes):
    """Fit the model stored as NAME.pt once more by its own recipe, from `seed`, with `changes` to config or settings.

    Its own seed without changes is the stored model itself. `schedule="constant"` keeps the learning rate at `lr`,
    `anneal=n` lets the weight of the KL grow over the first n batches.
    Returns one row: name, seed, the changes, test_NAME for the loss and each metric, without changes also the `scores`
    of a model that encodes and decodes, the number of parameters, the seconds spent in training and the whole history.
    """
    stored = read_recipe(name)
    mnist = load_mnist(pick_device())
    network = getattr(models, stored["model"])
    config = stored["config"] | {key: value for key, value in changes.items() if key in stored["config"]}
    settings = stored["recipe"] | {key: value for key, value in changes.items() if key not in config}
    del settings["model"]  # it is built from `config`
    for part in ("train", "valid"):
        if (data := describe(part, getattr(mnist, part))) != (was := settings.pop(part)):
            raise ValueError(f"{name}.pt was made from other images than MNIST's: {part} was {was}, is {data}")
    loss, augment = rebuild(settings.pop("loss")), settings["augment"]
    settings["metrics"] = [rebuild(metric) for metric in settings["metrics"]]
    settings["augment"] = augment and rebuild(augment)
    if not changes and seed == settings["seed"]:
        model, history = load(name, network, mnist.train.x.device)  # the stored model is this very run
    else:
        constant, batches = settings.pop("schedule", None) == "constant", settings.pop("anneal", None)
        trained = annealed(loss, batches) if batches else loss
        seed_everything(seed)
        model = network(**config)
        with constant_rate() if constant else nullcontext():
            history = fit(model, trained, mnist.train, mnist.valid, **settings | {"seed": seed})
    metrics = {"loss": loss} | {metric.__name__: metric for metric in settings["metrics"]}
    scored = {}
    if not changes and hasattr(model, "encode") and hasattr(model, "decode"):
        conditional = isinstance(model, models.ConditionalVAE)
        reader = ("judge", models.Judge) if conditional else ("cnn_classifier", models.CNN)
        classifier, _ = load(*reader, mnist.test.x.device)
        with joblib.parallel_config(backend="sequential"):  # this process is one part of a sweep already
            scored = (conditional_scores if conditional else scores)(model, mnist, classifier)
    return {
        "name": name,
        "seed": seed,
        **changes,
        **{f"test_{key}": value for key, value in evaluate(model, metrics, mnist.test).items()},
        **scored,
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "seconds": sum(history["seconds"]),
        "history": history,
    }


def constant_rate():
    """Let `fit` train without its schedule for as long as the returned context lasts: a cycle without a hill."""
    flat = partial(lr_scheduler.OneCycleLR, div_factor=1.0, final_div_factor=1.0)
    return patch.object(lr_scheduler, "OneCycleLR", flat)


def annealed(loss, batches):
    """Return a loss of a conditional VAE whose `beta` grows from 0 to 1 over the first batches of training."""
    done = itertools.count()

    def growing(model, x, y):
        return loss(model, x, y, beta=min(1.0, next(done) / batches)) if model.training else loss(model, x, y)

    return growing


def rebuild(description):
    """Return the function, or the `functools.partial` of one, that `describe` described.

    Raises ImportError, AttributeError or ValueError when no module holds it (any more).
    """
    found = pkgutil.resolve_name(description["function"])
    if describe("", found) == description:
        return found
    settings = {
        key: rebuild(value) if isinstance(value, dict) and "function" in value else value
        for key, value in description["settings"].items()
    }
    bound = inspect.BoundArguments(inspect.signature(found), settings)
    again = partial(found, *bound.args, **bound.kwargs)
    again.__name__ = found.__name__  # type: ignore[attr-defined] # metrics are named by it
    return again


def scores(model, mnist, classifier, seed=0):
    """Return what can be compared between models that `encode` and `decode`, measured on the test images.

    - `mse`: squared reconstruction error, mean per pixel in [-1, 1], 4 times the value in [0, 1]; a VAE decodes mu.
    - `neighbours`: share of test codes whose digit wins the vote of the 10 nearest of all training codes.
    - `ari`, `noise`: HDBSCAN's clusters on the UMAP plane of the test codes, as `score_clusters` scores them.
    - `frechet`: distance of as many samples as test images to as many training images, on the features of `classifier`.

    A VAE samples its prior; a plain autoencoder has none and samples the Gaussian fitted to its training codes. One
    seed gives one result on one machine; UMAP, and with it `ari` and `noise`, may differ on another.
    """
    train, _, test = mnist
    reference = features(classifier, train.x[: len(test)])  # first: refuse what does not fit before the long part
    train_codes, test_codes = encode(model, train.x), encode(model, test.x)
    recon, drawn = decode(model, test_codes), decode(model, sample(model, train_codes, len(test), seed))
    hdbscan = HDBSCAN(round(SMALLEST * len(test)), min_samples=5, cluster_selection_method="leaf", copy=True)
    clusters = score_clusters(hdbscan.fit_predict(umap_plane(test_codes, seed=seed)), test.y)
    return {
        "mse": 4 * (recon - test.x).square().mean().item(),
        "neighbours": knn_accuracy(test_codes, test.y, reference=(train_codes, train.y)),
        "ari": clusters["ari"],
        "noise": clusters["noise"],
        "frechet": frechet_distance(features(classifier, drawn), reference),
    }


def generator_again(name="flow", seed=0, coder=None, short=False, beta=None, latent_dim=None):
    """Fit an autoencoder, stored as CODER.pt, and a flow over its codes once more by their recipes, from `seed`.

    Their own seed without changes are the stored two. With `coder` the flow alone is fitted, over the codes of the
    autoencoder stored by that name. `short` is a training on 20,000 images, judged on valid: to choose from; `beta` and
    `latent_dim` change the autoencoder's loss and the code.
    Returns one row as `train_again` does, with `generator_scores` and the last history of both.
    """
    mnist = load_mnist(pick_device())
    device = mnist.train.x.device
    train, judged = (mnist.train[:20_000], mnist.valid) if short else (mnist.train, mnist.test)
    own = seed == read_recipe(name)["recipe"]["seed"] and not short
    if own or coder:
        vae, history = load(coder or CODER, getattr(models, read_recipe(coder or CODER)["model"]), device)
    else:
        settings = SHORT | {"epochs": 5} if short else {}
        vae, history = refit(CODER, seed, train, mnist.valid, settings, latent_dim=latent_dim, beta=beta)
    if own and not coder:
        flow, flow_history = load(name, Flow, device)
    else:
        settings = SHORT | {"epochs": 20} if short else {}
        said, said_valid = (posteriors(vae, split) for split in (train, mnist.valid))
        flow, flow_history = refit(name, seed, said, said_valid, settings, latent_dim=vae.latent_dim)
    changes = {"coder": coder, "short": short, "beta": beta, "latent_dim": latent_dim}
    with joblib.parallel_config(backend="sequential"):
        scored = generator_scores(vae, flow, judged, mnist.train, seed)
    if short:  # guidance was chosen for another flow
        scored = {key: value for key, value in scored.items() if not key.startswith("guided_")}
    return {
        "name": name,
        "seed": seed,
        **{key: value for key, value in changes.items() if value},
        **scored,
        "parameters": sum(weights.numel() for part in (vae, flow) for weights in part.parameters()),
        "seconds": sum(history["seconds"] + flow_history["seconds"]),
        "history": history,
        "flow_history": flow_history,
    }


def refit(name, seed, train, valid, settings, latent_dim=None, beta=None):
    """Return the network of NAME.pt, fitted on these data by its own recipe with changes, and its history."""
    stored = read_recipe(name)
    recipe = {key: value for key, value in stored["recipe"].items() if key not in ("model", "train", "valid")}
    recipe |= {"seed": seed, "metrics": [rebuild(metric) for metric in recipe["metrics"]]} | settings
    loss = rebuild(recipe.pop("loss"))
    config = stored["config"] | ({"latent_dim": latent_dim} if latent_dim else {})
    seed_everything(seed)
    model = pkgutil.resolve_name(stored["recipe"]["model"]["class"])(**config)
    history = fit(model, partial(loss, beta=beta) if beta else loss, train, valid, **recipe)
    return model, history


def generator_scores(vae, flow, split, train, seed=0):
    """Return what can be compared between generators, measured against `split`, as many draws as it has images.

    - `frechet`: distance to 10,000 training images on the features of the classifier, of draws of the flow without
      guidance; `guided_frechet` with it, `rebuilt_frechet` of the split's own codes, `prior_frechet` of N(0, I),
      `gaussians_frechet` of ten Gaussians, one a digit, fitted to the codes of 20,000 training images.
    - `asked`, `guided_asked`: the share that the judge reads as asked.
    - `recall`, `guided_recall`: on 5,000 images of the split; `guided_told`: held-out accuracy of a two-sample
      classifier there.
    """
    device = split.x.device
    classifier, judge = load("cnn_classifier", models.CNN, device)[0], load("judge", models.Judge, device)[0]
    reference = features(classifier, train.x[:10_000])
    seen = features(classifier, split.x[:: len(split) // 5_000])
    noise = torch.randn(len(split), flow.latent_dim, generator=torch.Generator().manual_seed(100 + seed)).to(device)
    asked = torch.arange(len(split), device=device) % 10
    seed_everything(seed)
    said = posteriors(vae, train[:20_000])
    known = models.reparameterise(*said.x.unbind(1))
    by_digit = [sample_mixture(fit_mixture(known[said.y == digit]), len(split) // 10, seed) for digit in range(10)]
    codes = {
        "gaussians": torch.cat(by_digit).to(device),
        "rebuilt": models.reparameterise(*posteriors(vae, split).x.unbind(1)),
        "prior": noise,
        "plain": transport(flow, noise, asked, steps=GUIDANCE["steps"])[0],
        "guided": transport(flow, noise, asked, **GUIDANCE)[0],
    }
    row = {}
    for name, z in codes.items():
        images = draw(vae, z)
        found, prefix = features(classifier, images), "" if name == "plain" else f"{name}_"
        row[f"{prefix}frechet"] = frechet_distance(found, reference)
        if name in ("plain", "guided"):
            row[f"{prefix}asked"] = (predict(judge, images)[0] == asked).double().mean().item()
            row[f"{prefix}recall"] = precision_recall(seen, found[: len(seen)])[1]
    row["guided_told"] = two_sample_accuracy(found[: len(seen)], seen)
    return row


def guided_digits(name="vae20", seed=0):
    """Draw 5,000 digits from the VAE stored as NAME.pt as notebook 05 does, and score them as notebook 07 does.

    Each is a walk of `guide` with its own settings, towards one digit, from the draw of the prior that the classifier
    finds closest to it.
    Returns one row: name, seed, and the measures against 5,000 test images.
    """
    test = load_mnist(pick_device()).test
    device = test.x.device
    vae, classifier = load(name, models.VAE, device)[0], load("cnn_classifier", models.CNN, device)[0]
    seen_test = features(classifier, test.x[::2])
    asked, images = torch.arange(len(seen_test), device=device) % 10, []
    generator = torch.Generator().manual_seed(seed)
    for wish in asked.split(1000):
        candidates = torch.randn(CANDIDATES, len(wish), vae.latent_dim, generator=generator).to(device)
        p = as_probabilities(wish, candidates[0], vae, classifier)
        with torch.no_grad():
            surprise = torch.stack([objective(vae, classifier, p, z, prior_weight=0) for z in candidates])
        best = candidates[surprise.argmin(0), torch.arange(len(wish), device=device)]
        images.append(decode(vae, guide(vae, classifier, wish, best)[0]))
    drawn = torch.cat(images)
    seen, (digits, confidence) = features(classifier, drawn), predict(load("judge", models.Judge, device)[0], drawn)
    return {
        "name": name,
        "seed": seed,
        **score_card(seen_test, seen),
        "sure": (confidence >= 0.9).double().mean().item(),
        "asked": (digits == asked).double().mean().item(),
    }


@torch.inference_mode()
def draw(vae, z):
    """Return images, (n, 1, 28, 28), of codes, with logits made surer as in notebook 07."""
    return torch.cat([torch.sigmoid(SHARPNESS * vae.decode_logits(part)) for part in z.split(1000)])


@torch.inference_mode()
def conditional_scores(model, mnist, judge, seed=0):
    """Return what can be compared between conditional VAEs, measured on the test images.

    - `neighbours`: share of test codes whose digit wins the vote of the 10 nearest of all training codes; with style
      apart from the digit it is a tenth.
    - `slant`: rank correlation between the slants of test digits and of the next digit (0 after 9) in their style.
    - `asked`: share of draws from the prior, as many as test images, that `judge` reads as asked.
    """
    train, _, test = mnist
    train_codes, test_codes = (
        torch.cat([model.encode(x, y)[0] for x, y in split.batches(1000)]) for split in (train, test)
    )
    moved = decode_digits(model, test_codes, (test.y + 1) % model.classes)
    slants = (measure_hand(images)[:, 0].cpu() for images in (test.x, moved))
    noise = torch.randn(len(test), model.latent_dim, generator=torch.Generator().manual_seed(seed))
    drawn = decode_digits(model, noise.to(test.x.device), test.y)
    return {
        "neighbours": knn_accuracy(test_codes, test.y, reference=(train_codes, train.y)),
        "slant": spearmanr(*slants).statistic.item(),
        "asked": (predict(judge, drawn)[0] == test.y).float().mean().item(),
    }


def sample(model, train_codes, n, seed=0):
    """Draw n codes, (n, latent_dim), where a model's codes should be: N(0, I) for a VAE, else their Gaussian."""
    if not isinstance(model, models.VariationalAutoencoder):
        return sample_mixture(fit_mixture(train_codes), n, seed).to(train_codes.device)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, model.latent_dim, generator=generator).to(train_codes.device)


def sweep(runs, scheduler=None):
    """Make the runs in parallel and store each row as soon as it is done.

    Without `scheduler` the runs share this machine, see `this_machine`; with the address of a Dask scheduler
    they go to its workers, and what a worker had begun when it died is begun again by another.
    """
    for run in runs:
        read_recipe(run["name"])  # raises for a missing checkpoint now, not in an hour
    with cluster(scheduler) if scheduler else this_machine():
        # all runs are dispatched at once, so that a worker that joins a cluster later finds something to do
        parallel = joblib.Parallel(return_as="generator_unordered", pre_dispatch="all", batch_size=1)
        again = {"flow": generator_again, "vae20": guided_digits}
        rows = parallel(joblib.delayed(again.get(run["name"], train_again))(**run) for run in runs)
        for row in tqdm(rows, total=len(runs), unit="run"):
            store(row)


def this_machine():
    """Spread joblib's work over the GPUs, one process each, or the one that DEVICE names; without a GPU over the cores.

    On cores joblib gives each process its share of the threads.
    """
    os.environ["TQDM_DISABLE"] = "1"  # for the processes to come: their bars would overwrite each other
    device = pick_device()
    if device.type == "cpu":
        return joblib.parallel_config(backend="loky", n_jobs=-1)
    count = torch.accelerator.device_count() if device.index is None else 1  # no index: DEVICE names none of them
    return joblib.parallel_config(backend="loky", n_jobs=count, initializer=_take_gpu, initargs=(count,))


def _take_gpu(count):
    """Make one of several GPUs current in this process, so that pick_device finds it: the next for each process."""
    number = int(multiprocessing.current_process().name.rpartition("-")[2])  # loky counts: LokyProcess-1 ...
    if count > 1:
        torch.accelerator.set_device_index((number - 1) % count)


@contextmanager
def cluster(scheduler):
    """Spread joblib's work over the workers of a Dask scheduler."""
    from distributed import Client  # imported here: one machine needs none of it

    with Client(scheduler) as client, joblib.parallel_config(backend="dask"):
        threads = client.nthreads()
        if max(threads.values(), default=1) > 1:  # two runs in one process would draw from one random generator
            sys.exit(f"start every worker with `dask worker {scheduler} --nthreads 1`: got {threads}")
        yield


def store(row):
    """Put a row into the table, in the order of RUNS; rows of runs that are no longer in RUNS are removed."""
    rows = json.loads(TABLE.read_text()) if TABLE.exists() else []
    found = {_identity(each): each for each in [*rows, row]}
    rows = [found[_identity(run)] for run in RUNS if _identity(run) in found]
    beside = TABLE.with_suffix(".tmp")
    beside.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    os.replace(beside, TABLE)


def _identity(run):
    """Return what identifies a run or its row: the value of every setting that some run changes."""
    return tuple(json.dumps(run.get(key)) for key in sorted({key for run in RUNS for key in run}))


def main(arguments=None):
    """Make the runs of the names given, of all by default."""
    names = dict.fromkeys(str(run["name"]) for run in RUNS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"the models (default: all of {', '.join(names)})")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, tcp://HOST:8786 (default: here)")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names):
        parser.error(f"no runs are planned for {', '.join(sorted(unknown))}, only for {', '.join(names)}")
    sweep([run for run in RUNS if run["name"] in (options.names or names)], options.scheduler)


if __name__ == "__main__":
    main()
