"""How well can one network read in ten minutes of training? `python benchmarks/best_classifier.py --epochs 20`

Not part of `make bench`. Wider layers than the series' judge, a small random affine map of every image on the device,
an average of the weights, one cycle. Settings are chosen by what it prints of valid; test is for the last look.
"""

import argparse
import math

import torch
import torch.nn.functional as F
from measure import Row, show

from helpers.checkpoints import load_or_train
from helpers.data import load_mnist
from helpers.losses import accuracy, cross_entropy
from helpers.models import Judge
from helpers.training import evaluate, pick_device, seed_everything


def random_affine(x, pixels=2.0, degrees=10.0, scale=0.1, shear=0.1):
    """Turn, scale, shear and shift each image a little, each by its own draw: (n, 1, 28, 28) -> the same."""

    def draw(reach):
        return (2 * torch.rand(len(x), device=x.device) - 1) * reach

    angle, size, lean = draw(math.radians(degrees)), 1 + draw(scale), draw(shear)
    cos, sin = angle.cos() / size, angle.sin() / size
    rows = [cos, lean - sin, draw(pixels / 14), sin, cos, draw(pixels / 14)]  # 14 pixels are 1 in the grid's units
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), x.shape, align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def rows(epochs):
    mnist = load_mnist(pick_device())
    seed_everything(0)
    recipe = {"epochs": epochs, "lr": 1e-2, "batch_size": 128, "weight_decay": 0.01, "ema": 0.999}
    model, history = load_or_train(
        "best", Judge(channels=(32, 64, 128)), cross_entropy, mnist.train, mnist.valid,
        augment=random_affine, metrics=(accuracy,), **recipe,
    )  # fmt: skip
    took = f"{sum(history['seconds']):.0f} s of training"
    yield Row("valid", f"{history['valid_accuracy'][-1]:.2%}, {took}", "chosen here")
    yield Row("test", f"{evaluate(model, {'accuracy': accuracy}, mnist.test)['accuracy']:.2%}", ">= 99.70% in 600 s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    show(rows(parser.parse_args().epochs))
