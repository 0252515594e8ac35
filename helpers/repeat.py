"""Train the shipped models again from other seeds and sizes, to see how much of a result is luck.

`python -m helpers.repeat [NAME ...]` makes the runs below and stores them. Each goes by the recipe in the model's
checkpoint, so there is no second copy of any setting.
"""

import json
import os
import sys
from pathlib import Path

from helpers import augment, losses, models
from helpers.checkpoints import read_recipe
from helpers.data import load_mnist
from helpers.training import evaluate, fit, pick_device, seed_everything

# Beside the shipped weights, wherever MODELS_DIR points: these rows take hours, and a notebook only reads them.
TABLE = Path(__file__).parents[1] / "models" / "repeats.json"
RUNS = {
    "cnn_classifier": [{"seed": seed} for seed in (0, 1, 2)],
    "cae": [{"latent_dim": size, "epochs": 4} for size in (2, 4, 8, 16, 32, 64)],
}


def repeat(name, seed=0, **changes):
    """Fit the model stored as NAME.pt once more by its own recipe, from `seed`, with `changes` to its config
    or to the settings of `fit`.

    Returns one row: name, seed, the changes, test_NAME for the loss and each metric, the whole history, the number of
    parameters and the seconds spent in training.
    """
    stored = read_recipe(name)
    mnist = load_mnist(pick_device())
    seed_everything(seed)
    config = stored["config"] | {key: value for key, value in changes.items() if key in stored["config"]}
    model = getattr(models, stored["model"])(**config)
    settings = stored["recipe"] | {key: value for key, value in changes.items() if key not in config}
    loss = getattr(losses, settings.pop("loss"))
    settings["metrics"] = [getattr(losses, metric) for metric in settings.get("metrics", ())]
    settings["augment"] = settings.get("augment") and getattr(augment, settings["augment"])
    history = fit(model, loss, mnist.train, mnist.valid, **settings | {"seed": seed})
    measures = {"loss": loss} | {metric.__name__: metric for metric in settings["metrics"]}
    return {
        "name": name,
        "seed": seed,
        **changes,
        **{f"test_{key}": value for key, value in evaluate(model, measures, mnist.test).items()},
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "seconds": sum(history["seconds"]),
        "history": history,
    }


def read_repeats(name, **wanted):
    """Return the stored rows of NAME whose values match `wanted`, as `repeat` made them.

    Raises ValueError when there is none.
    """
    rows = [row for row in json.loads(TABLE.read_text()) if row["name"] == name]
    rows = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    if not rows:
        raise ValueError(f"{TABLE.name} holds no row of {name} with {wanted}: run `make retrain`")
    return rows


def store(rows, name):
    """Replace the stored rows of NAME."""
    others = [row for row in json.loads(TABLE.read_text()) if row["name"] != name] if TABLE.exists() else []
    beside = TABLE.with_suffix(".tmp")
    beside.write_text("[\n" + ",\n".join(json.dumps(row) for row in others + rows) + "\n]\n")
    os.replace(beside, TABLE)


def main(names):
    """Make the runs of the names given, of all by default, and store each name's rows as soon as they are done."""
    if unknown := set(names) - set(RUNS):
        sys.exit(f"no runs are planned for {', '.join(sorted(unknown))}, only for {', '.join(RUNS)}")
    for name in names or RUNS:
        store([repeat(name, **changes) for changes in RUNS[name]], name)


if __name__ == "__main__":
    main(sys.argv[1:])
