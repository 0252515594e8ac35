"""The exact log-likelihood against a model whose answer is known, a plain loop, importance sampling and the bound."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Normal

from helpers.likelihood import grid, log_likelihood, log_pixels
from helpers.losses import kl_nats, reconstruction_nats
from helpers.models import VAE, ConvVAE


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = VAE(encoder=(16,), decoder=(16,)).eval()
    made.decoder[0].weight.data.mul_(3)  # steep enough for z to matter
    return made


@pytest.fixture
def x():
    return torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def test_log_pixels_is_the_bernoulli_log_probability_of_every_pair(x):
    logits = 4 * torch.randn(3, 784)
    bernoulli = Bernoulli(logits=logits[:, None], validate_args=False)
    assert torch.allclose(log_pixels(logits, x.flatten(1).T), bernoulli.log_prob(x.flatten(1)).sum(2), rtol=1e-5)


def test_a_decoder_that_ignores_z_leaves_only_the_pixels(model, x):
    """Then p(x|z) is the same everywhere, and the prior must integrate to 1."""
    for layer in model.decoder:
        if isinstance(layer, nn.Linear):
            layer.weight.data.zero_()
    expected = -reconstruction_nats(model.decode_logits(torch.zeros(6, 2)), x)
    assert torch.allclose(log_likelihood(model, x, step=0.1), expected, atol=0.01)


def test_one_pixel_that_reads_the_first_coordinate_has_probability_one_half():
    """p(x=1) = E[s(z_1)] = 1/2 by symmetry; the other 783 pixels are always paper."""
    model = VAE(decoder=(1,), activation="Identity").eval()
    first, _, last, _ = model.decoder
    first.weight.data, first.bias.data = torch.tensor([[1.0, 0.0]]), torch.zeros(1)
    last.weight.data, last.bias.data = torch.zeros(784, 1), torch.full((784,), -50.0)
    last.weight.data[0], last.bias.data[0] = 1, 0
    x = torch.zeros(2, 1, 28, 28)
    x[0, 0, 0, 0] = 1
    half = torch.full((2,), math.log(0.5))
    assert torch.allclose(log_likelihood(model, x, step=0.1), half, atol=1e-3)


def test_agrees_with_a_plain_sum_over_the_grid_in_double_precision(model, x):
    z = grid(0.1, 6.0).double()
    model = model.double()
    total = Normal(0.0, 1.0).log_prob(z).sum(1)[:, None] - torch.stack(
        [nn.functional.binary_cross_entropy_with_logits(
            model.decode_logits(z), image.double().expand(len(z), 1, 28, 28), reduction="none"
        ).sum((1, 2, 3)) for image in x], 1
    )  # fmt: skip
    expected = (total.logsumexp(0) + 2 * math.log(0.1)).float()
    assert torch.allclose(log_likelihood(model.float(), x, step=0.1), expected, atol=0.01)


def test_batches_and_finer_grids_change_nothing(model, x):
    coarse = log_likelihood(model, x, step=0.1)
    assert torch.allclose(log_likelihood(model, x, step=0.1, batch_size=100), coarse, atol=1e-3)
    assert torch.allclose(log_likelihood(model, x, step=0.05), coarse, atol=1e-2)


def test_importance_sampling_from_the_prior_finds_the_same_number(model, x):
    z = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        sampled = log_pixels(model.decode_logits(z).flatten(1), x.flatten(1).T).logsumexp(0) - math.log(len(z))
    assert torch.allclose(sampled, log_likelihood(model, x, step=0.05), atol=0.3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_elbo_never_exceeds_it(model, x, seed):
    torch.manual_seed(seed)
    for layer in (model.mu, model.logvar):  # bad posteriors of several kinds
        layer.weight.data.normal_(std=0.3)
        layer.bias.data.normal_()
    with torch.no_grad():
        mu, logvar = model.encode(x)
        nats = [reconstruction_nats(model(x)[0], x) for _ in range(3000)]
        elbo = -(torch.stack(nats).mean(0) + kl_nats(mu, logvar))
    error = torch.stack(nats).std(0) / math.sqrt(len(nats))
    assert (elbo - 4 * error <= log_likelihood(model, x, step=0.05)).all()


def test_the_grid_is_a_disc_around_the_origin():
    z = grid(0.5, 2.0)
    assert (z == 0).all(1).sum() == 1 and z.norm(dim=1).max() == 2
    assert torch.allclose(z, -z.flip(0)) and len(z.unique(dim=0)) == len(z)
    assert len(grid(0.01, 1.0)) == pytest.approx(math.pi * 100**2, rel=0.01)


@pytest.mark.parametrize(
    "build, change, message",
    [
        (lambda: VAE(3), {}, "model must have 2 latent dimensions .* got 3"),
        (lambda: VAE(), {"x": torch.rand(784, 5)}, r"x must have shape \(n, 1, 28, 28\) with n >= 1, got \(784, 5\)"),
        (lambda: VAE(), {"x": torch.rand(1, 28, 28)}, "x must have shape"),
        (lambda: VAE(), {"step": 0.0}, "step"),
        (lambda: VAE(), {"step": 9.0}, "step < reach"),
        (lambda: VAE(), {"batch_size": 0}, "batch_size"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(x, build, change, message):
    with pytest.raises(ValueError, match=message):
        log_likelihood(build(), **{"x": x} | change)


def test_a_convolutional_decoder_works_too(x):
    assert log_likelihood(ConvVAE(latent_dim=2).eval(), x, step=1.0).shape == (6,)
