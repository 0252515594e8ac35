"""Losses and metrics of one shape: `loss(model, x, y)` is a scalar, the batch mean of a per-image value.

The loss owns the forward pass, so one training loop serves every model.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from helpers.models import ConditionalVAE, VariationalAutoencoder


def cross_entropy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Classification loss in nats per image."""
    return F.cross_entropy(model(x).float(), y)


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Share of images whose largest logit is the label, in [0, 1]."""
    return (model(x).argmax(1) == y).float().mean()


def squared_error(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Squared reconstruction error of an autoencoder, summed over the 784 pixels in [0, 1]."""
    recon = model(x).float()
    _same_shape(x=x, recon=recon)
    return (recon - x).square().flatten(1).sum(1).mean()


def negative_elbo(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Negative evidence lower bound of a VAE, reconstruction + KL, in nats (Kingma & Welling 2014, eq. 10)."""
    logits, mu, logvar = model(x)
    return (reconstruction_nats(logits, x) + kl_nats(mu, logvar)).mean()


def weighted_elbo(model: nn.Module, x: Tensor, y: Tensor, beta: float = 1.0) -> Tensor:
    """Reconstruction + `beta` times the KL, in nats: `negative_elbo` with a price on the code (Higgins et al. 2017)."""
    logits, mu, logvar = model(x)
    return (reconstruction_nats(logits, x) + beta * kl_nats(mu, logvar)).mean()


def reconstruction(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The reconstruction term of `negative_elbo`, in nats per image."""
    logits, _, _ = model(x)
    return reconstruction_nats(logits, x).mean()


def kl(model: VariationalAutoencoder, x: Tensor, y: Tensor) -> Tensor:
    """The KL term of `negative_elbo`, in nats per image."""
    return kl_nats(*model.encode(x)).mean()


def conditional_elbo(model: ConditionalVAE, x: Tensor, y: Tensor, beta: float = 1.0) -> Tensor:
    """Negative ELBO of images given their digits, in nats, the KL times `beta` (Sohn et al. 2015, eq. 4)."""
    logits, mu, logvar = model(x, y)
    return (reconstruction_nats(logits, x) + beta * kl_nats(mu, logvar)).mean()


def conditional_kl(model: ConditionalVAE, x: Tensor, y: Tensor) -> Tensor:
    """The KL term of `conditional_elbo`, in nats per image: what the style says beyond the digit."""
    return kl_nats(*model.encode(x, y)).mean()


def reconstruction_nats(logits: Tensor, x: Tensor) -> Tensor:
    """Binary cross-entropy between pixel logits and grey levels, summed per image: (n, 1, 28, 28) twice -> (n,)."""
    _same_shape(logits=logits, x=x)
    return F.binary_cross_entropy_with_logits(logits.float(), x, reduction="none").flatten(1).sum(1)


def kl_nats(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, I)) per image: (n, d) twice -> (n,) (Kingma & Welling 2014, appendix B)."""
    _same_shape(mu=mu, logvar=logvar)
    mu, logvar = mu.float(), logvar.float()
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)


def _same_shape(**pair: Tensor) -> None:
    """Refuse two tensors of different shapes: broadcasting would stretch one without a word."""
    a, b = (tuple(tensor.shape) for tensor in pair.values())
    if a != b:
        raise ValueError(f"{' and '.join(pair)} must have one shape, got {a} and {b}")
