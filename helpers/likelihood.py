"""What a VAE with two latent dimensions really says about an image, without a bound."""

import math

import torch
import torch.nn.functional as F

from helpers.checks import check_device, check_images


@torch.inference_mode()
def log_likelihood(model, x, step=0.025, reach=6.0, batch_size=4096):
    """Return log p(x) in nats, (n,), of images (n, 1, 28, 28) in [0, 1] under a VAE with a two-dimensional code.

    log p(x) = log of the integral of p(z) p(x|z) over the plane, here a sum over the points of a square grid
    that lie within `reach` of the origin: what Kingma & Welling (2014, eq. 3) bound from below, because no grid is fine
    enough for many dimensions. log p(x|z) is minus the binary cross-entropy of `helpers.losses`, as in the training.

    `step` is right when halving it changes nothing; it must be smaller than the posteriors are wide. `batch_size`
    counts grid points, and bounds the memory. Raises ValueError for another latent size, and for what are no images.
    """
    if model.latent_dim != 2:
        raise ValueError(f"model must have 2 latent dimensions to fit on a grid, got {model.latent_dim}")
    check_device(model, x=x)
    check_images("x", x)
    if not 0 < step < reach or batch_size < 1:
        raise ValueError(f"need 0 < step < reach and batch_size >= 1, got {step}, {reach} and {batch_size}")
    pixels = x.flatten(1).T  # (784, n)
    total = torch.full((len(x),), -math.inf, device=x.device)
    for z in grid(step, reach).to(x.device).split(batch_size):
        log_prior = -0.5 * z.square().sum(1) - math.log(2 * math.pi)  # (g,)
        joint = log_prior[:, None] + log_pixels(model.decode_logits(z).flatten(1), pixels)  # (g, n)
        total = torch.logaddexp(total, joint.logsumexp(0))
    return total + 2 * math.log(step)  # every point stands for a square of area step^2


def log_pixels(logits, pixels):
    """Return log p(x|z) of every image under every decoding: (g, 784) logits, (784, n) pixels -> (g, n) nats.

    x log s(l) + (1 - x) log(1 - s(l)) = x l - log(1 + exp(l)) for the sigmoid s: the part that holds both is one matrix
    product, so a million pairs cost what a layer of a network costs.
    """
    return torch.addmm(-F.softplus(logits).sum(1, keepdim=True), logits, pixels)


def grid(step, reach):
    """Return the points of a square grid, `step` apart, that lie within `reach` of the origin, (g, 2)."""
    side = round(reach / step)
    line = step * torch.arange(-side, side + 1)
    points = torch.cartesian_prod(line, line)
    return points[points.norm(dim=1) <= reach]
