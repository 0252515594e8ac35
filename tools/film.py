"""Film how the plane of notebook 03 comes to be, docs/learning.webp: train its VAE again and draw it on the way.

python tools/film.py
python tools/film.py flow    # docs/flow.webp: noise on its way to digits, by the flow of notebook 07
"""

import io
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from PIL import Image
from tqdm.auto import tqdm

from helpers.checkpoints import load, read_recipe
from helpers.data import load_mnist
from helpers.explorer.film import best_sides
from helpers.flow import Flow, transport
from helpers.latent import decode, encode
from helpers.losses import negative_elbo
from helpers.models import VAE, ResidualVAE
from helpers.plots import BLUE, GREY, INK, PALETTE, style
from helpers.training import evaluate, fit, pick_device, seed_everything

ROOT = Path(__file__).resolve().parents[1]
SIDE, REACH, DOTS = 15, 3.0, 2000  # decoded places across the plane, how far they reach, test images drawn as dots
SIZE, FINE = (8.6, 5.6), 100  # of a picture, in inches and pixels per inch
SHOWN, FIRST, LAST = 220, 1500, 4000  # ms that a picture is shown, and the first and the last one
SOON = (0, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 320)  # batches before which the first pictures are taken


def moments(epochs, batches):
    """Return after how many training batches pictures are taken: often at first, and where the plane opens."""
    opens = [round(batches * (1.5 + tenth / 10)) for tenth in range(11)]
    halves = [round(batches * half / 2) for half in (2, *range(6, 11))]
    return sorted({*SOON, *opens, *halves, *range(6 * batches, epochs * batches, batches)})


def plane():
    """Return the places that are decoded, (SIDE^2, 2), row by row from the top left."""
    line = torch.linspace(-REACH, REACH, SIDE)
    up, right = torch.meshgrid(line.flip(0), line, indexing="ij")
    return torch.stack([right.flatten(), up.flatten()], 1)


@torch.inference_mode()
def look(model, mnist, batch):
    """Return what one picture shows: the batch, the loss on validation images, codes, and the decoded plane."""
    device = mnist.test.x.device
    with torch.autocast(device.type, enabled=False):
        nats = evaluate(model, {"loss": negative_elbo}, mnist.valid)["loss"]
        codes = encode(model, mnist.test.x[:DOTS]).cpu()
        tiles = decode(model, plane().to(device)).cpu()
    return batch, nats, codes, tiles.view(SIDE, SIDE, 28, 28).transpose(1, 2).reshape(28 * SIDE, 28 * SIDE)


def train():
    """Train the VAE of notebook 03 by the recipe in its checkpoint; return the test labels and all looks at it."""
    stored, mnist = read_recipe("vae"), load_mnist(pick_device())
    settings = {key: stored["recipe"][key] for key in ("epochs", "lr", "batch_size", "betas", "weight_decay", "seed")}
    wanted = moments(settings["epochs"], -(-len(mnist.train) // settings["batch_size"]))
    seed_everything(settings["seed"])
    model, looks, seen = VAE(**stored["config"]), [], 0

    def filmed(model, x, y):
        nonlocal seen
        if model.training:
            if seen in wanted:
                looks.append(look(model, mnist, seen))
            seen += 1
        return negative_elbo(model, x, y)

    fit(model, filmed, mnist.train, mnist.valid, **settings)
    looks.append(look(model, mnist, seen))
    return mnist.test.y[:DOTS].cpu(), looks, seen // settings["epochs"]


def draw(y, looks, number, batches):
    """Draw one picture: the decoded plane, the codes on it, and how far the loss has come."""
    batch, nats, codes, tiles = looks[number]
    edge = REACH * SIDE / (SIDE - 1)  # tiles are drawn around their places
    figure = plt.figure(figsize=SIZE, dpi=FINE)
    figure.set_layout_engine("none")
    window = {"aspect": "equal", "xlim": (-edge, edge), "ylim": (-edge, edge), "xlabel": "$z_1$"}
    left, right = (figure.add_axes((x, 0.235, 0.425, 0.425 * SIZE[0] / SIZE[1]), **window) for x in (0.055, 0.53))
    left.set_ylabel("$z_2$", labelpad=-4)
    left.imshow(tiles, extent=(-edge, edge, -edge, edge), vmin=0, vmax=1, interpolation="antialiased")
    left.set_title("what the decoder draws", fontsize=10, fontweight="normal", pad=5)
    right.set_title("where the encoder puts test digits", fontsize=10, fontweight="normal", pad=5)
    right.scatter(*codes.T, s=7, c=[PALETTE[digit] for digit in y.tolist()], linewidths=0)
    for radius in (1, 2, 3):
        right.add_patch(plt.Circle((0, 0), radius, fill=False, color=INK, linewidth=0.6, alpha=0.5))
    for digit in y.unique().tolist():
        colour = PALETTE[digit]
        right.text(
            1.04,
            0.95 - 0.1 * digit,
            digit,
            fontsize=13,
            color=colour,
            weight="bold",
            transform=right.transAxes,
            va="top",
        )
    figure.text(0.055, 0.948, f"epoch {batch / batches:5.2f}", fontsize=14, weight="bold")
    figure.text(0.26, 0.948, f"after {batch:,} batches", fontsize=11)
    figure.text(0.985, 0.948, f"{nats:.0f} nats a digit", fontsize=14, weight="bold", ha="right")
    curve = figure.add_axes((0.055, 0.085, 0.93, 0.075))
    times, values = [each[0] for each in looks], [min(each[1], 230) for each in looks]
    curve.plot(range(len(looks)), values, color=GREY, linewidth=1)
    curve.plot(range(number + 1), values[: number + 1], color=BLUE, linewidth=2)
    curve.plot(number, values[number], "o", color=BLUE, markersize=6)
    marks = [
        i for i, (a, b) in enumerate(pairwise([-1, *times])) if any(a < e * batches <= b for e in (0, 1, 2, 5, 10))
    ]
    curve.set(xlim=(-0.5, len(looks) - 0.5), ylim=(125, 235), yticks=(130, 230), xticks=[*marks, len(looks) - 1])
    curve.set_xlabel("epoch", labelpad=0)
    curve.set_xticklabels([f"{times[i] / batches:.0f}" for i in (*marks, len(looks) - 1)])
    return picture(figure)


def learning():
    """Yield the pictures of the training."""
    y, looks, batches = train()
    for number in tqdm(range(len(looks)), unit="picture"):
        yield draw(y, looks, number, batches)


def flow(steps=36, count=500, rows=5):
    """Yield the pictures of noise on its way to digits: the draws as points, and some of them decoded."""
    (flow, _), (vae, _) = load("flow", Flow), load("residual_vae", ResidualVAE)
    y = torch.arange(count) % 10
    noise = torch.randn(count, flow.latent_dim, generator=torch.Generator().manual_seed(0))
    end, way = transport(flow, noise, y, weight=1.5, steps=steps, between=(0.5, 1.0))  # as notebook 07 chose
    places = way @ best_sides(end, y)  # (steps + 1, count, 2)
    low, high = (places.flatten(0, 1).quantile(q, 0).tolist() for q in (0.002, 0.998))
    for step in tqdm(range(steps + 1), unit="picture"):
        digits = decode(vae, way[step, : 10 * rows]).view(rows, 10, 28, 28).transpose(1, 2).reshape(28 * rows, 280)
        figure = plt.figure(figsize=(8.6, 3.7), dpi=FINE)
        figure.set_layout_engine("none")
        left, right = figure.add_axes((0.01, 0.02, 0.41, 0.85)), figure.add_axes((0.44, 0.02, 0.55, 0.85))
        left.scatter(*places[step].T, s=14, c=[PALETTE[digit] for digit in y.tolist()], alpha=0.75, linewidths=0)
        left.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        right.imshow(digits, vmin=0, vmax=1, interpolation="antialiased")
        left.axis("off")
        right.axis("off")
        for digit, colour in enumerate(PALETTE):
            right.text(28 * digit + 14, -4, digit, color=colour, weight="bold", fontsize=13, ha="center")
        figure.text(0.01, 0.92, f"t = {step / steps:.2f}", fontsize=14, weight="bold")
        figure.text(0.12, 0.92, f"{count} draws, coloured by the digit asked for", fontsize=11)
        yield picture(figure)


def picture(figure):
    """Return a figure as an image."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=FINE)
    plt.close(figure)
    return Image.open(buffer).convert("RGB")


def write(pictures, shown, path):
    """Write a film whose pictures are each shown for so many milliseconds."""
    style()
    first, *rest = pictures
    durations = [FIRST, *[shown] * (len(rest) - 1), LAST]
    first.save(path, save_all=True, append_images=rest, duration=durations, loop=0, quality=60, method=6)
    print(f"{path.name}: {1 + len(rest)} pictures, {path.stat().st_size / 1e6:.2f} MB", file=sys.stderr)


def main():
    if sys.argv[1:] == ["flow"]:
        write(flow(), 110, ROOT / "docs" / "flow.webp")
    else:
        write(learning(), SHOWN, ROOT / "docs" / "learning.webp")


if __name__ == "__main__":
    main()
