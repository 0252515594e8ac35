"""Climb in latent space to what a classifier wants to see."""

import torch
import torch.nn.functional as F

from helpers.checks import check_codes, check_device
from helpers.models import eval_mode


def guide(decoder, classifier, target, starts, prior_weight=0.003, steps=60, lr=0.3):
    """Walk codes downhill on `objective` until the classifier reads the target in what they decode to.

    Only the codes move, each on its own; both networks stay as they are (activation maximisation, Erhan et al. 2009,
    through a generator, Nguyen et al. 2016 and 2017). A step is `lr` times the gradient, and never longer than `lr`:
    where the classifier is far from the target the gradient is too steep to be followed all the way.

    target: a class or a probability vector, (classes,), for all starts, or one each, (n,) or (n, classes).
    starts: (n, latent_dim) codes. Returns the final codes, (n, latent_dim), and the path that led to them,
    (steps + 1, n, latent_dim). Raises ValueError for a target outside the classes, for starts of another shape,
    and for settings out of range.
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


def objective(decoder, classifier, p, z, prior_weight):
    """Return what guidance lowers, in nats per code: cross-entropy to p plus the weighted cost of z under the prior.

    p: (n, classes), z: (n, latent_dim) -> (n,). With weight 1 this is -log p(z | target) up to a constant: its lowest
    point is the most probable code given that the target was read.
    """
    logits = classifier(decoder.decode(z))
    return F.cross_entropy(logits, p, reduction="none") + prior_weight * 0.5 * z.square().sum(1)


@torch.no_grad()
def scout(decoder, classifier, target, candidates):
    """Keep, for each start, the candidate that the classifier already finds closest to the target.

    candidates: (k, n, latent_dim) draws from the prior -> (n, latent_dim). Looking costs a forward pass, climbing a
    forward and a backward pass a step; the prior needs no weight here, every candidate comes from it. Raises ValueError
    as `guide` does.
    """
    if candidates.dim() != 3 or not len(candidates):
        raise ValueError(f"candidates must have shape (k, n, latent_dim) with k >= 1, got {tuple(candidates.shape)}")
    check_device(classifier, decoder=decoder, candidates=candidates)
    check_codes("candidates", candidates.flatten(0, 1), getattr(decoder, "latent_dim", None))
    p = as_probabilities(target, candidates[0], decoder, classifier)
    with eval_mode(decoder, classifier):
        values = torch.stack([objective(decoder, classifier, p, z, prior_weight=0) for z in candidates])  # (k, n)
    return candidates[values.argmin(0), torch.arange(len(p), device=values.device)]


def as_probabilities(target, starts, decoder, classifier):
    """Return one probability vector a start, (n, classes), for any target that `guide` takes."""
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
