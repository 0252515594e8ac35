"""The other side of every ratio, written as the common tutorials write it.

A `Dataset` that makes a PIL image of every digit and transforms it, a `DataLoader` with its default settings, Adam at a
constant 1e-3, and `.item()` after every batch. `Digits`, `to_tensor` and `normalise` do what torchvision's MNIST,
ToTensor and Normalize do, step by step: torchvision itself cannot be installed beside this torch.
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from helpers.data import mnist_path
from helpers.idx import read_idx


class Digits(Dataset):
    """The images of the training file without the last 5,000, our validation images, or just these."""

    def __init__(self, valid=False, normalise=True):
        part = slice(-5000, None) if valid else slice(None, -5000)
        self.images = torch.from_numpy(read_idx(mnist_path("train-images-idx3-ubyte"))[part])
        self.labels = torch.from_numpy(read_idx(mnist_path("train-labels-idx1-ubyte"))[part])
        self.normalise = normalise

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = to_tensor(Image.fromarray(self.images[index].numpy(), mode="L"))
        return normalise(image) if self.normalise else image, int(self.labels[index])


def to_tensor(picture):
    image = torch.from_numpy(np.array(picture, np.uint8, copy=True))
    image = image.view(picture.size[1], picture.size[0], 1).permute(2, 0, 1).contiguous()
    return image.to(torch.float32).div(255)


def normalise(image, mean=(0.1307,), std=(0.3081,)):
    mean, std = torch.as_tensor(mean), torch.as_tensor(std)
    return image.clone().sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


def network():
    """Two convolutions, each with pooling, and two linear layers: 225,034 weights."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


def classify(x, y, model):
    return F.cross_entropy(model(x), y)


def negative_elbo(x, y, model):
    """The loss of PyTorch's VAE example: both terms summed over the batch; ours is their mean."""
    logits, mu, logvar = model(x)
    reconstruction = F.binary_cross_entropy(torch.sigmoid(logits), x, reduction="sum")
    return reconstruction - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())


def train_epoch(model, loader, optimiser, loss_of, device):
    model.train()
    running = 0.0
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        optimiser.zero_grad()
        loss = loss_of(x, y, model)
        loss.backward()
        optimiser.step()
        running += loss.item()
    return running


def accuracy(model, loader, device):
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x.to(device)).argmax(1) == y.to(device)).sum().item()
    return right / len(loader.dataset)


def train_to(target, device, seed, batch_size=64, most=15):
    """Train `network` until the validation accuracy reaches `target`; return whether it did in `most` epochs."""
    torch.manual_seed(seed)
    model = network().to(device)
    train = DataLoader(Digits(), batch_size=batch_size, shuffle=True)
    valid = DataLoader(Digits(valid=True), batch_size=1000)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(most):
        train_epoch(model, train, optimiser, classify, device)
        if accuracy(model, valid, device) >= target:
            return True
    return False
