"""Climb in latent space to what a classifier wants to see."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.checks import check_codes, check_device
from helpers.models import eval_mode

Target = int | Sequence[float] | Tensor  # a class or probabilities


def guide(
    decoder: Any,
    classifier: nn.Module,
    target: Target,
    starts: Tensor,
    prior_weight: float = 0.003,
    steps: int = 60,
    lr: float = 0.3,
) -> tuple[Tensor, Tensor]:
    """Move codes downhill on `objective` until the classifier reads the target in what they decode to.

    Only the codes move, each on its own; both networks stay as they are (activation maximisation, Erhan et al. 2009,
    through a generator, Nguyen et al. 2016 and 2017). A step is `lr` times the gradient, and never longer than `lr`:
    where the classifier is far from the target the gradient is too steep to be followed all the way.

    decoder: a network with a `decode`, codes -> images. target: a class or a probability vector, (classes,), for all
    starts, or one for each, (n,) or (n, classes). starts: (n, latent_dim) codes. Returns the final codes,
    (n, latent_dim), and the path that led to them, (steps + 1, n, latent_dim). Raises ValueError for a target outside
    the classes, for starts of another shape, and for settings out of range.
    """
    if steps < 1 or not lr > 0 or not prior_weight >= 0:  # NaN is refused as well
        raise ValueError(f"need steps >= 1, lr > 0 and prior_weight >= 0, got {steps}, {lr} and {prior_weight}")
    p = as_probabilities(target, starts, decoder, classifier)
    path = [starts.detach().clone()]
    with eval_mode(decoder, classifier):
        for _ in range(steps):
            z = path[-1].clone().requires_grad_()
            value = objective(decoder, classifier, p, z, prior_weight)
            (slope,) = torch.autograd.grad(value.sum(), z)  # asked for z alone: no gradient is left on the weights
            path.append(z.detach() - lr * slope / slope.norm(dim=1, keepdim=True).clamp(min=1))
    return path[-1], torch.stack(path)


def objective(decoder: Any, classifier: nn.Module, p: Tensor, z: Tensor, prior_weight: float) -> Tensor:
    """Return what guidance lowers, in nats per code: cross-entropy to p plus the weighted cost of z under the prior.

    p: (n, classes), z: (n, latent_dim) -> (n,). With weight 1 this is -log p(z | target) up to a constant: its lowest
    point is the most probable code given that the target was read.
    """
    logits = classifier(decoder.decode(z))
    return F.cross_entropy(logits, p, reduction="none") + prior_weight * 0.5 * z.square().sum(1)


def as_probabilities(target: Target, starts: Tensor, decoder: Any, classifier: nn.Module) -> Tensor:
    """Return one probability vector for each start, (n, classes), of any target that `guide` takes."""
    check_device(classifier, decoder=decoder, starts=starts)
    check_codes("starts", starts, getattr(decoder, "latent_dim", None))
    with torch.no_grad(), eval_mode(decoder, classifier):
        classes = classifier(decoder.decode(starts[:1])).shape[1]
    target, n = torch.as_tensor(target), len(starts)
    if target.is_floating_point():
        target = target.to(starts)  # before any work on the device: not every one has float64
    else:
        for digit in target.flatten().tolist():
            if not 0 <= digit < classes:
                raise ValueError(f"target: digit {digit} is not among the {classes} classes of this classifier")
        target = F.one_hot(target.long(), classes).to(starts)
    if target.shape not in ((classes,), (n, classes)):
        raise ValueError(f"target must be one for all or one for each of {n} starts, got {tuple(target.shape)}")
    if not (target.min() >= 0 and (target.sum(-1) - 1).abs().max() < 1e-4):  # NaN is refused as well
        sums = [f"{value:.3g}" for value in (target.min(), *target.sum(-1).aminmax())]
        raise ValueError(
            "target must be a class, or probabilities: not negative, and with sum 1, got a lowest of {} and sums from "
            "{} to {}".format(*sums)
        )
    return target.expand(n, classes)
