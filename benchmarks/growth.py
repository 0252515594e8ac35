"""How does time grow with the work? The exponent e of time ~ size^e; up to 1 is linear or better."""

import torch
from measure import Row, in_turn, show, slope

from helpers.checkpoints import load
from helpers.data import load_mnist
from helpers.guidance import guide
from helpers.latent import decode, encode, quantile_grid
from helpers.models import CNN, VAE
from helpers.training import pick_device

STEPS = 2  # of guidance: each costs the same


def growth(what, work, sizes):
    work(sizes[0])  # the first call loads kernels
    times = in_turn(*(lambda size=size: work(size) for size in sizes))
    ends = f"{1000 * times[0]:.3g} ms to {1000 * times[-1]:.3g} ms"
    return Row(f"time to {what}: exponent", f"{slope(sizes, times):.2f} ({ends})", "<= 1, linear")


def rows():
    device = pick_device()
    model, classifier = load("vae", VAE, device)[0], load("cnn_classifier", CNN, device)[0]
    mnist = load_mnist(device)
    x = torch.cat([mnist.train.x, mnist.valid.x])
    draws = torch.randn(10_000, 2, generator=torch.Generator().manual_seed(0)).to(device)

    def atlas(images):
        return decode(model, quantile_grid(round(images**0.5)).to(device))

    def guidance(n):
        return guide(model, classifier, 3, draws[:n], steps=STEPS)

    yield growth("decode the plane, 16 x 16 to 128 x 128", atlas, [side**2 for side in (16, 32, 64, 128)])
    yield growth("guide, 1 to 10,000 starts", guidance, [1, 10, 100, 1000, 10_000])
    yield growth("encode, 1,000 to 60,000 images", lambda n: encode(model, x[:n]), [1000, 4000, 15_000, 60_000])
    (frame,) = in_turn(lambda: decode(model, draws[:1]), rounds=200)
    yield Row("decode one frame", f"{1000 * frame:.2f} ms", "<= 0.3 ms on a GPU")


if __name__ == "__main__":
    show(rows())
