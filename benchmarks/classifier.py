"""How long does it take to read 99 of 100 validation digits? Ours against the textbook's network and loop."""

import statistics

import best_classifier
from measure import Row, in_turn, seconds, show
from textbook import train_to
from torch import nn

from helpers.checkpoints import load
from helpers.data import load_mnist
from helpers.losses import accuracy, cross_entropy
from helpers.models import CNN, normalise
from helpers.training import evaluate, fit, pick_device, random_shift, seed_everything

TARGET = 0.99
SEEDS = 5
RECIPE = {"epochs": 2, "lr": 1.5e-2, "batch_size": 384, "betas": (0.7, 0.9)}


class Quick(nn.Sequential):
    """A small network; its first convolution takes every second pixel, which leaves a quarter of the work behind it."""

    def __init__(self):
        super().__init__(
            *(nn.Conv2d(1, 16, 5, stride=2), nn.ReLU()),  # (n, 16, 12, 12)
            *(nn.Conv2d(16, 32, 3), nn.MaxPool2d(2), nn.ReLU()),  # (n, 32, 5, 5)
            *(nn.Flatten(), nn.Linear(800, 64), nn.ReLU(), nn.Linear(64, 10)),
        )

    def forward(self, x):
        return super().forward(normalise(x))


def rows():
    device = pick_device()
    mnist = load_mnist(device)

    def ours(seed, network=Quick, **recipe):
        seed_everything(seed)
        model = network()
        fit(model, cross_entropy, mnist.train, mnist.valid, seed=seed, **recipe)
        return evaluate(model, {"accuracy": accuracy}, mnist.valid)["accuracy"]

    ours(0, epochs=1, lr=1e-2, batch_size=5000)  # the first call loads kernels
    fast, slow, read = [], [], []
    for seed in range(SEEDS):
        time, valid = seconds(lambda seed=seed: ours(seed, **RECIPE))
        fast.append(time)
        read.append(valid)
        time, reached = seconds(lambda seed=seed: train_to(TARGET, device, seed))
        slow.append(time if reached else float("nan"))
    mean, other = statistics.mean(fast), statistics.mean(slow)
    yield Row(
        f"training to {TARGET:.0%} of valid, mean of {SEEDS} seeds",
        f"{mean:.1f} s; {sum(share >= TARGET for share in read)} of {SEEDS} reach it, the lowest {min(read):.2%}",
        "<= 6 s, on a GPU <= 1 s",
    )
    yield Row("the same: textbook / ours", f"{other / mean:.0f}x ({other:.0f} s / {mean:.1f} s)", ">= 20x")
    model, history = load("cnn_classifier", CNN, device)
    score = evaluate(model, {"accuracy": accuracy}, mnist.test)["accuracy"]
    yield Row(
        "the series' own classifier, shipped",
        f"{score:.2%} of test, {sum(history['seconds']):.0f} s",
        ">= 99.5% (mean of 3)",
    )
    yield from best_classifier.rows()
    if device.type == "cpu":
        yield Row("on a GPU: ten epochs of the shipped classifier", "no GPU here", "<= 5 s")
    else:
        recipe = {"epochs": 10, "lr": 5e-3, "batch_size": 256, "augment": random_shift}
        (ten,) = in_turn(lambda: ours(0, CNN, **recipe), rounds=1)
        yield Row("on a GPU: ten epochs of the shipped classifier", f"{ten:.1f} s", "<= 5 s")


if __name__ == "__main__":
    show(rows())
