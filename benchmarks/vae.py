"""What does an epoch of a VAE cost, ours against the textbook's loop, and how good is the shipped one?"""

import torch
from measure import Row, in_turn, show
from textbook import Digits, negative_elbo, train_epoch
from torch.utils.data import DataLoader

from helpers import losses
from helpers.checkpoints import load
from helpers.data import load_mnist
from helpers.metrics import log_likelihood
from helpers.models import VAE
from helpers.training import evaluate, fit, pick_device, seed_everything

EPOCHS = 3  # of the same network for both, two numbers a code, layers of 400
IMAGES = 500  # whose exact likelihood is computed


def rows():
    device = pick_device()
    mnist = load_mnist(device)
    loader = DataLoader(Digits(normalise=False), batch_size=128, shuffle=True)
    nats = {}

    def elbo(model, split):
        return evaluate(model, {"nats": losses.negative_elbo}, split)["nats"]

    def ours():
        seed_everything(0)
        model = VAE()
        fit(model, losses.negative_elbo, mnist.train, mnist.valid, epochs=EPOCHS, lr=4e-3, batch_size=256)
        nats["ours"] = elbo(model, mnist.valid)

    def textbook():
        seed_everything(0)
        model = VAE().to(device)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(EPOCHS):
            train_epoch(model, loader, optimiser, negative_elbo, device)
        nats["textbook"] = elbo(model, mnist.valid)

    fast, slow = in_turn(ours, textbook, rounds=2)
    yield Row(
        f"epoch of a VAE: textbook / ours, after {EPOCHS} {nats['textbook']:.0f} / {nats['ours']:.0f} nats on valid",
        f"{slow / fast:.1f}x ({slow / EPOCHS:.1f} s / {fast / EPOCHS:.1f} s)",
        ">= 3x, no more nats",
    )
    model, history = load("vae", VAE, device)
    yield Row(
        "-ELBO of the shipped 2-D VAE on test",
        f"{elbo(model, mnist.test):.1f} nats, {sum(history['seconds']):.0f} s of training",
        "<= 134 nats in 600 s",
    )
    some = mnist.test[:IMAGES]
    exact = -log_likelihood(model, some.x).mean().item()
    yield Row(
        f"-log p(x), exact, beside -ELBO, of the first {IMAGES}", f"{exact:.1f}, {elbo(model, some):.1f} nats", "stated"
    )


if __name__ == "__main__":
    show(rows())
