"""A pointer that moves as a person's does, and the model under it: what is measured of the explorer and its rivals."""

import math
import time

SECONDS = 6
MODEL = """
import torch
from helpers.checkpoints import load
from helpers.data import load_mnist
from helpers.models import CNN, VAE
from helpers.training import pick_device

device = pick_device()
train = load_mnist(device).train
model, classifier = load("vae", VAE, device)[0], load("cnn_classifier", CNN, device)[0]
"""


def wander(page, box):
    """Move the pointer in loops for SECONDS, one step every 16 ms."""
    start, step = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        step += 1
        u, v = 0.5 + 0.3 * math.cos(step / 23), 0.5 + 0.3 * math.sin(step / 17)
        page.mouse.move(box["x"] + u * box["width"], box["y"] + v * box["height"])
        time.sleep(max(0, start + 0.016 * step - time.perf_counter()))


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")
