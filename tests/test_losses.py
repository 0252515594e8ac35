"""Losses against other people's formulas, and shapes that broadcasting would have hidden."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from helpers.losses import (
    accuracy,
    conditional_elbo,
    conditional_kl,
    cross_entropy,
    kl,
    kl_nats,
    negative_elbo,
    reconstruction,
    reconstruction_nats,
    squared_error,
    weighted_elbo,
)
from helpers.models import CAE, VAE, ConditionalVAE

torch.manual_seed(0)
x, y = torch.rand(5, 1, 28, 28), torch.arange(5)


@pytest.mark.parametrize("size", [1, 2, 20])
def test_kl_is_that_of_torch_distributions(size):
    mu, logvar = 3 * torch.randn(50, size), 3 * torch.randn(50, size)
    expected = kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(kl_nats(mu, logvar), expected, rtol=1e-4)


def test_kl_is_zero_for_the_prior_itself_and_positive_elsewhere():
    assert torch.equal(kl_nats(torch.zeros(3, 2), torch.zeros(3, 2)), torch.zeros(3))
    assert (kl_nats(torch.randn(1000, 2), torch.randn(1000, 2)) > 0).all()


def test_reconstruction_is_minus_the_bernoulli_log_probability():
    logits = 5 * torch.randn_like(x)
    expected = -Bernoulli(logits=logits, validate_args=False).log_prob(x).sum((1, 2, 3))
    assert torch.allclose(reconstruction_nats(logits, x), expected, rtol=1e-5)


def test_reconstruction_knows_its_ends():
    ink = (x > 0.5).float()
    assert torch.allclose(reconstruction_nats(torch.zeros_like(x), x), torch.tensor(784 * math.log(2)))
    sure = (2 * ink - 1) * 1000  # a sigmoid would have rounded to 0 and 1 here, and its logarithm to -inf
    assert torch.equal(reconstruction_nats(sure, ink), torch.zeros(5))
    assert torch.allclose(reconstruction_nats(-sure, ink), torch.tensor(784_000.0))


def test_terms_stay_in_float32_when_the_network_computes_in_bfloat16():
    assert kl_nats(torch.zeros(2, 2).bfloat16(), torch.zeros(2, 2).bfloat16()).dtype == torch.float32
    assert reconstruction_nats(torch.zeros_like(x).bfloat16(), x).dtype == torch.float32


def test_negative_elbo_is_the_sum_of_its_two_terms():
    model, losses = VAE(), []
    for loss in (negative_elbo, reconstruction, kl):
        torch.manual_seed(1)  # the same draw of z
        losses.append(loss(model, x, y))
    assert losses[0].shape == () and torch.allclose(losses[0], losses[1] + losses[2])


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 4.0])
def test_the_weight_is_that_of_the_kl_alone(beta):
    model, losses = VAE(), []
    for loss in (weighted_elbo, reconstruction, kl):
        torch.manual_seed(1)
        losses.append(loss(model, x, y, beta) if loss is weighted_elbo else loss(model, x, y))
    assert torch.allclose(losses[0], losses[1] + beta * losses[2])
    torch.manual_seed(1)
    full = negative_elbo(model, x, y)
    torch.manual_seed(1)
    assert torch.equal(weighted_elbo(model, x, y), full)


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_the_conditional_bound_is_that_of_torch_distributions(beta):
    """q and p both know the digit; the draw of z is the network's own, from the same seed."""
    model = ConditionalVAE(3, channels=(2, 2, 2), hidden=8)
    torch.manual_seed(1)
    found = conditional_elbo(model, x, y, beta)
    torch.manual_seed(1)
    mu, logvar = model.encode(x, y)
    posterior = Normal(mu, (0.5 * logvar).exp())
    z = mu + posterior.stddev * torch.randn_like(mu)
    pixels = Bernoulli(logits=model.decode_logits(z, y), validate_args=False).log_prob(x).sum((1, 2, 3))
    cost = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(found, (beta * cost - pixels).mean())
    torch.testing.assert_close(conditional_kl(model, x, y), cost.mean())


def test_losses_average_over_the_batch_and_sum_over_the_image():
    model, classifier = CAE(3), nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    pixels = (model(x) - x).flatten().tolist()
    assert squared_error(model, x, y).item() == pytest.approx(sum(p * p for p in pixels) / len(x), rel=1e-5)
    for loss, measured in ((cross_entropy, classifier), (squared_error, model)):
        singles = [loss(measured, x[i : i + 1], y[i : i + 1]) for i in range(len(x))]
        assert torch.allclose(loss(measured, x, y), torch.stack(singles).mean(), rtol=1e-5)


def test_accuracy_is_the_share_of_right_answers():
    logits = nn.functional.one_hot(torch.tensor([0, 1, 2, 0, 0]), 10).float()
    assert accuracy(lambda x: logits, x, y).item() == pytest.approx(3 / 5)


def test_shapes_that_broadcasting_would_stretch_are_refused():
    with pytest.raises(ValueError, match=r"mu and logvar must have one shape, got \(5, 2\) and \(1, 2\)"):
        kl_nats(torch.zeros(5, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"logits and x must have one shape, got \(5, 784\) and \(5, 1, 28, 28\)"):
        reconstruction_nats(torch.zeros(5, 784), x)
    with pytest.raises(ValueError, match="x and recon must have one shape"):
        squared_error(lambda x: x[:, 0], x, y)  # (5, 28, 28) - (5, 1, 28, 28) would be (5, 5, 28, 28)
