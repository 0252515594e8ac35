"""Shapes, ranges and configurations of the networks."""

import pytest
import torch
from torch import nn

from helpers import models
from helpers.losses import negative_elbo
from helpers.models import (
    CAE,
    CNN,
    MAX_LOGVAR,
    VAE,
    ConditionalVAE,
    ConvVAE,
    DeepCAE,
    Judge,
    Residual,
    ResidualVAE,
    normalise,
    reparameterise,
)

VAES = [VAE(), VAE(latent_dim=20, encoder=(64, 32), decoder=(16,), activation="SiLU"), ConvVAE(), ConvVAE(latent_dim=2)]
VAES += [ResidualVAE(), ResidualVAE(2, channels=(2, 3, 4), hidden=5)]
STYLED = [ConditionalVAE(4, channels=(2, 2, 2), hidden=8, classes=3)]


def test_the_convolutions_of_the_cnn_have_the_shapes_its_comments_promise():
    model, x, shapes = CNN(), torch.rand(5, 1, 28, 28), []
    for layer in model.features:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(32, 26, 26)] * 2 + [(32, 13, 13)] + [(64, 11, 11)] * 2 + [(64, 5, 5)]
    assert model.head(x).shape == (5, 10)
    assert CNN(classes=12)(torch.rand(2, 1, 28, 28)).shape == (2, 12)


@pytest.mark.parametrize("model", VAES, ids=lambda model: f"{type(model).__name__}-{model.latent_dim}")
def test_a_vae_encodes_decodes_and_draws_a_new_z_each_time(model):
    x = torch.rand(3, 1, 28, 28)
    mu, logvar = model.encode(x)
    assert mu.shape == logvar.shape == (3, model.latent_dim)
    images = model.decode(mu)
    assert images.shape == x.shape and images.min() >= 0 and images.max() <= 1
    assert torch.allclose(images, model.decode_logits(mu).sigmoid())
    first, second = model(x)[0], model(x)[0]
    assert first.shape == x.shape and not torch.equal(first, second)


def test_a_residual_block_adds_to_what_it_is_given():
    block, x = Residual(3), torch.rand(2, 3, 5, 5)
    assert torch.equal(block(x) - x, (x + block.change(x)) - x) and not torch.equal(block(x), x)
    for weights in block.change[-1].parameters():
        nn.init.zeros_(weights)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("model", [CAE(), DeepCAE()], ids=lambda m: type(m).__name__)
def test_an_autoencoder_keeps_32_numbers_and_stays_in_range(model):
    x = torch.rand(3, 1, 28, 28)
    assert model.encode(x).shape == (3, 32)
    assert model(x).shape == x.shape and model(x).min() >= 0 and model(x).max() <= 1


def test_the_cae_has_the_shapes_of_its_lesson():
    model, shapes, h = CAE(), [], torch.rand(3, 1, 28, 28)
    for layer in model.encoder:
        h = layer(h)
        shapes.append(tuple(h.shape[1:]))
    assert (16, 14, 14) in shapes and (32, 7, 7) in shapes


@pytest.mark.parametrize(
    "model",
    [CNN(channels=(4, 8), hidden=16, classes=3), Judge((2, 3, 4), classes=3), CAE(7), DeepCAE(7), *VAES, *STYLED],
    ids=lambda m: type(m).__name__,
)
def test_config_rebuilds_the_model(model):
    twin = getattr(models, type(model).__name__)(**model.config)
    assert twin.config == model.config
    twin.load_state_dict(model.state_dict())  # same names, same shapes


def test_reparameterised_draws_have_the_mean_and_variance_asked_for():
    torch.manual_seed(0)
    mu, logvar = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 2.0]])
    z = reparameterise(mu.expand(100_000, 2), logvar.expand(100_000, 2))
    assert torch.allclose(z.mean(0), mu[0], atol=0.03)
    assert torch.allclose(z.var(0).log(), logvar[0], atol=0.03)


def test_gradients_reach_mu_and_logvar_through_the_draw():
    mu, logvar = torch.zeros(4, 2, requires_grad=True), torch.zeros(4, 2, requires_grad=True)
    reparameterise(mu, logvar).square().sum().backward()
    assert mu.grad.abs().sum() > 0 and logvar.grad.abs().sum() > 0


def test_normalising_gives_the_stated_mean_and_standard_deviation():
    x = torch.tensor([0.1307, 0.1307 + 0.3081])
    assert torch.allclose(normalise(x), torch.tensor([0.0, 1.0]), atol=1e-6)


@pytest.mark.parametrize("model", [VAE(), ConvVAE(channels=(2, 2, 2), hidden=4)])
def test_an_image_that_overshoots_cannot_blow_up_the_posterior(model):
    torch.nn.init.constant_(model.logvar.bias, 1000.0)
    x = torch.rand(3, 1, 28, 28)
    loss = negative_elbo(model, x, None)
    loss.backward()
    assert model.encode(x)[1].max() == MAX_LOGVAR and loss < 1e5
    assert all(weights.grad.isfinite().all() for weights in model.parameters() if weights.grad is not None)


@pytest.fixture
def conditional():
    torch.manual_seed(0)
    return ConditionalVAE(3, channels=(2, 2, 2), hidden=8)


def test_a_conditional_vae_takes_the_digit_on_both_ways(conditional):
    x, y = torch.rand(4, 1, 28, 28), torch.tensor([0, 1, 2, 3])
    mu, logvar = conditional.encode(x, y)
    assert mu.shape == logvar.shape == (4, 3)
    images = conditional.decode(mu, y)
    assert images.shape == (4, 1, 28, 28) and images.min() >= 0 and images.max() <= 1
    other = y.flip(0)
    assert not torch.allclose(conditional.encode(x, other)[0], mu)
    assert not torch.allclose(conditional.decode(mu, other), images)
    torch.testing.assert_close(images, conditional.decode_logits(mu, y).sigmoid())


def test_a_conditional_vae_draws_a_new_style_each_time(conditional):
    x, y = torch.rand(4, 1, 28, 28), torch.arange(4)
    (first, *said), (second, *again) = conditional(x, y), conditional(x, y)
    assert not torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip(said, again))


def test_the_label_stands_beside_the_code_as_one_number_a_class(conditional):
    seen = conditional._with_label(torch.zeros(2, 3), torch.tensor([0, 9]))
    assert seen.shape == (2, 13) and seen.sum(1).tolist() == [1, 1] and seen[0, 3] == seen[1, 12] == 1


def test_an_image_that_overshoots_cannot_blow_up_a_conditional_posterior(conditional):
    conditional.logvar.bias.data.fill_(1e4)
    _, logvar = conditional.encode(torch.rand(2, 1, 28, 28), torch.arange(2))
    assert (logvar == MAX_LOGVAR).all()
