"""Into latent space and back."""

import torch
from torch import Tensor

from helpers.checks import check_codes, check_device, check_images
from helpers.models import Autoencoder, VariationalAutoencoder, eval_mode


@torch.inference_mode()
def encode(model: Autoencoder | VariationalAutoencoder, x: Tensor, batch_size: int = 1000) -> Tensor:
    """Return the codes of images, (n, 1, 28, 28) -> (n, latent_dim): mu for a VAE, z for an autoencoder."""
    check_device(model, x=x)
    check_images("x", x)
    with eval_mode(model):
        codes = [model.encode(batch) for batch in x.split(batch_size)]
    return torch.cat([code[0] if isinstance(code, tuple) else code for code in codes])


@torch.inference_mode()
def decode(model: Autoencoder | VariationalAutoencoder, z: Tensor, batch_size: int = 1000) -> Tensor:
    """Return the images in [0, 1] of codes, (n, latent_dim) -> (n, 1, 28, 28)."""
    check_device(model, z=z)
    check_codes("z", z, model.latent_dim)
    with eval_mode(model):
        return torch.cat([model.decode(batch) for batch in z.split(batch_size)])


def quantile_grid(side: int) -> Tensor:
    """Return codes at the quantiles of the 2-D prior, (side * side, 2), row by row from the top left of the plane.

    Equal steps in probability, not in distance, show the plane as often as the prior visits it
    (Kingma & Welling 2014, appendix A).
    """
    if side < 2:
        raise ValueError(f"side must be at least 2, got {side}")
    steps = torch.linspace(0, 1, side + 2)[1:-1]
    values = torch.distributions.Normal(0, 1).icdf(steps)
    rows, columns = torch.meshgrid(values.flip(0), values, indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], 1)


def interpolate(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Return `steps` codes on the straight line from code a to code b, both (latent_dim,) -> (steps, latent_dim)."""
    if a.shape != b.shape or a.dim() != 1:
        raise ValueError(f"a and b must be codes of one shape (latent_dim,), got {tuple(a.shape)} and {tuple(b.shape)}")
    check_codes("a", a[None])
    check_codes("b", b[None])
    if steps < 2:
        raise ValueError(f"steps must be at least 2, the two ends, got {steps}")
    return torch.lerp(a, b, torch.linspace(0, 1, steps, device=a.device)[:, None])
