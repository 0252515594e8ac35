"""How well can one network read in ten minutes of training? `python benchmarks/best_classifier.py`

Not part of `make bench`, which only loads its weights. Convolutions without padding, a random affine map of every image
on the device, an average of the weights, one cycle. Settings were chosen by what it prints of valid.
"""

import math

import torch
import torch.nn.functional as F
from measure import Row, show
from torch import nn

from helpers.checkpoints import load_or_train
from helpers.data import load_mnist
from helpers.losses import accuracy, cross_entropy
from helpers.models import conv_bn_relu, normalise
from helpers.training import evaluate, pick_device, seed_everything

RECIPE = {"epochs": 22, "lr": 1e-2, "batch_size": 128, "weight_decay": 0.01, "ema": 0.999}


class Unpadded(nn.Module):
    """Classify digits with five convolutions that neither pad nor pool (after An et al. 2020, arXiv:2008.10400).

    (n, 1, 28, 28) images in [0, 1] -> (n, 10) logits.
    """

    def __init__(self, channels=(32, 32, 64, 96, 128)):
        super().__init__()
        self.config = {"channels": tuple(channels)}
        a, b, c, d, e = channels
        self.layers = nn.Sequential(
            *conv_bn_relu(1, a, padding=0),  # (n, 32, 26, 26)
            *conv_bn_relu(a, b, stride=2, padding=0),  # (n, 32, 12, 12)
            *conv_bn_relu(b, c, padding=0),
            *conv_bn_relu(c, d, padding=0),
            *conv_bn_relu(d, e, padding=0),  # (n, 128, 6, 6)
            nn.Flatten(),
            nn.Linear(e * 6 * 6, 10),
        )

    def forward(self, x):
        return self.layers(normalise(x))


def random_affine(x, pixels=3.0, degrees=15.0, scale=0.15, shear=0.15):
    """Turn, scale, shear and shift each image a little, each by its own draw: (n, 1, 28, 28) -> the same."""

    def draw(reach):
        return (2 * torch.rand(len(x), device=x.device) - 1) * reach

    angle, size, lean = draw(math.radians(degrees)), 1 + draw(scale), draw(shear)
    cos, sin = angle.cos() / size, angle.sin() / size
    rows = [cos, lean - sin, draw(pixels / 14), sin, cos, draw(pixels / 14)]  # 14 pixels are 1 in the grid's units
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), x.shape, align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def rows():
    mnist = load_mnist(pick_device())
    seed_everything(0)
    model, history = load_or_train(
        "best_classifier", Unpadded(), cross_entropy, mnist.train, mnist.valid,
        augment=random_affine, metrics=(accuracy,), **RECIPE,
    )  # fmt: skip
    test = evaluate(model, {"accuracy": accuracy}, mnist.test)["accuracy"]
    yield Row(
        "best single classifier, chosen on valid",
        f"{test:.2%} of test ({history['valid_accuracy'][-1]:.2%} of valid), {sum(history['seconds']):.0f} s",
        ">= 99.70% in 600 s",
    )


if __name__ == "__main__":
    show(rows())
