"""A learned prior: flow matching carries noise to where the codes of images lie (Lipman et al. 2023)."""

import math

import torch
from torch import Tensor, nn

from helpers.checks import check_classes, check_codes, check_device
from helpers.data import Posteriors, Split
from helpers.models import VariationalAutoencoder, eval_mode, reparameterise
from helpers.recipes import describe, fingerprint

FREQUENCIES = 32  # of the cosines that tell the network the time


class Flow(nn.Module):
    """Say how fast, and where to, a point moves on its way from noise at t = 0 to a code at t = 1.

    A residual network: each block adds to what came in, and sees time and label. Label `classes` stands for none.
    Points are standardised codes, by the mean and spread of the codes it was trained on: the running statistics of a
    batch norm without weights of its own.
    """

    def __init__(self, latent_dim=24, width=384, blocks=4, classes=10):
        super().__init__()
        self.config = {"latent_dim": latent_dim, "width": width, "blocks": blocks, "classes": classes}
        self.latent_dim, self.classes = latent_dim, classes
        self.standardise = nn.BatchNorm1d(latent_dim, affine=False, momentum=None)  # None: the mean over all batches
        self.time = nn.Sequential(nn.Linear(FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(classes + 1, width)
        self.enter = nn.Linear(latent_dim, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, latent_dim))

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Return the velocity at points z, (n, latent_dim), and times t, (n, 1), for labels y, (n,); shape of z."""
        waves = torch.cos(math.pi * t * torch.arange(1, FREQUENCIES + 1, device=t.device))  # (n, 32)
        seen = self.time(waves) + self.label(y)  # (n, width)
        h = self.enter(z)
        for block in self.blocks:
            h = h + block(h + seen)
        return self.leave(h)

    def restore(self, z: Tensor) -> Tensor:
        """Return the codes of standardised ones, (n, latent_dim)."""
        state = dict(self.standardise.named_buffers())
        return state["running_mean"] + z * (state["running_var"] + self.standardise.eps).sqrt()


def flow_matching(model: Flow, x: Tensor, y: Tensor, drop: float = 0.1) -> Tensor:
    """Squared error of the velocity on straight ways from noise to codes, summed over the code (Lipman et al. 2023).

    x: (n, 2, latent_dim), mu and logvar of images; a code is drawn from each, anew in every batch. A share `drop` of
    the labels is hidden, so that one network learns the velocity with and without them (Ho & Salimans 2022).
    """
    if x.shape[1:] != (2, model.latent_dim):
        raise ValueError(f"x must have shape (n, 2, {model.latent_dim}), mu and logvar, got {tuple(x.shape)}")
    if not 0 <= drop <= 1:
        raise ValueError(f"drop must be from 0 to 1, got {drop}")
    code = model.standardise(reparameterise(*x.unbind(1)))
    noise = torch.randn_like(code)
    t = torch.rand_like(code[:, :1])
    y = y.where(torch.rand_like(code[:, 0]) >= drop, model.classes)
    velocity = model(torch.lerp(noise, code, t), t, y)
    return (velocity.float() - (code - noise)).square().sum(1).mean()


@torch.inference_mode()
def posteriors(model: VariationalAutoencoder, split: Split, batch_size: int = 1000) -> Posteriors:
    """Return what a VAE's encoder says of the images of a split: mu and logvar, and the labels as they are.

    The result can take the place of a split in `fit`. It keeps in words what made it, so that trained weights are known
    again where an encoder computes other last digits.
    """
    if not isinstance(model, VariationalAutoencoder):
        raise ValueError(f"model must answer with mu and logvar, got a {type(model).__name__}")
    check_device(model, split=split.x)
    if not len(split):
        raise ValueError(f"split must hold images, got {split}")
    with eval_mode(model):
        pairs = [torch.stack(model.encode(batch), 1) for batch in split.x.split(batch_size)]
    source = f"posteriors of {describe('split', split)}, by a {fingerprint(model)}"
    return Posteriors(torch.cat(pairs), split.y, source)


@torch.inference_mode()
def transport(
    flow: Flow,
    noise: Tensor,
    y: Tensor | None = None,
    weight: float = 1.0,
    steps: int = 8,
    solver: str = "midpoint",
    between: tuple[float, float] = (0.0, 1.0),
    batch_size: int = 500,
) -> tuple[Tensor, Tensor]:
    """Carry noise to codes in `steps` equal steps of time; one noise and one label give one code.

    noise: (n, latent_dim), normal. y: the classes wanted, (n,), or None for whichever. `weight` is that of
    classifier-free guidance (Ho & Salimans 2022): 0 ignores the label, 1 draws as the data are, more exaggerates what
    the label changes. `solver` is "euler", one velocity a step, or "midpoint", two; guidance doubles both.

    Returns the codes, (n, latent_dim), and the path that led to them, (steps + 1, n, latent_dim), in units of codes.
    """
    check_device(flow, noise=noise)
    check_codes("noise", noise, flow.latent_dim)
    if y is None:
        y, weight = torch.full((len(noise),), flow.classes, device=noise.device), 1.0
    else:
        check_device(flow, y=y)
        check_classes("y", y, flow.classes)
    if len(y) != len(noise):
        raise ValueError(f"y must name a class for each of {len(noise)} rows of noise, got {len(y)}")
    if steps < 1 or solver not in SOLVERS or not math.isfinite(weight):
        raise ValueError(
            f"need steps >= 1, a solver among {', '.join(SOLVERS)} and a finite weight, "
            f"got {steps}, {solver!r} and {weight}"
        )
    if not 0 <= between[0] <= between[1] <= 1:
        raise ValueError(f"between must be two times, 0 <= from <= to <= 1, got {between}")
    with eval_mode(flow):
        paths = [
            _path(flow, z, labels, weight, between, steps, SOLVERS[solver])
            for z, labels in zip(noise.split(batch_size), y.split(batch_size), strict=True)
        ]
    path = torch.cat(paths, 1)
    return path[-1], path


def _path(flow, z, y, weight, between, steps, advance):
    """Return the points of one batch at the `steps` + 1 times, as codes."""
    nothing = torch.full_like(y, flow.classes)

    def velocity(z, t):
        guided = weight != 1 and between[0] <= t < between[1]
        t = torch.full_like(z[:1, :1], t)  # one time for all
        wanted = flow(z, t, y)
        return torch.lerp(flow(z, t, nothing), wanted, weight) if guided else wanted

    points = [z]
    for step in range(steps):
        points.append(advance(velocity, points[-1], step / steps, 1 / steps))
    return flow.restore(torch.stack(points))


def euler(velocity, z, t, dt):
    """Advance z by dt along the velocity at its start: an error of the order of dt^2 a step."""
    return z + dt * velocity(z, t)


def midpoint(velocity, z, t, dt):
    """Advance z by dt along the velocity half-way: an error of the order of dt^3 a step."""
    return z + dt * velocity(z + dt / 2 * velocity(z, t), t + dt / 2)


SOLVERS = {"euler": euler, "midpoint": midpoint}
