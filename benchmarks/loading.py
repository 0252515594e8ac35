"""How fast do images reach the network? Ours against a `DataLoader`, and all of MNIST from its files."""

import torch
from measure import Row, in_turn, show
from textbook import Digits
from torch.utils.data import DataLoader

from helpers.data import load_mnist
from helpers.training import pick_device

BATCH = 128


def rows():
    device = pick_device()
    train = load_mnist(device).train
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(Digits(), batch_size=BATCH, shuffle=True)

    def ours():
        assert sum(len(x) for x, _ in train.batches(BATCH, generator)) == len(train)

    def textbook():
        assert sum(len(x.to(device)) for x, _ in loader) == len(train)

    fast, slow = in_turn(ours, textbook)
    yield Row(
        "shuffled pass over the training images: textbook / ours",
        f"{slow / fast:.0f}x ({slow:.2f} s / {fast:.3f} s)",
        ">= 50x",
    )
    (read,) = in_turn(lambda: load_mnist(device), rounds=5)
    yield Row("read and verify MNIST, from .gz to the device", f"{read:.2f} s", "<= 0.6 s")


if __name__ == "__main__":
    show(rows())
