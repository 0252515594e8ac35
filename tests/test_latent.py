"""Into latent space and back: values, order, and shapes refused by name."""

import pytest
import torch
from torch import nn

from helpers.latent import decode, encode, interpolate, quantile_grid
from helpers.models import CAE, VAE

torch.manual_seed(0)
x = torch.rand(7, 1, 28, 28)


def test_the_code_of_a_vae_is_its_mean_and_of_an_autoencoder_its_z():
    vae, cae = VAE(3).eval(), CAE(4).eval()
    assert torch.allclose(encode(vae, x), vae.encode(x)[0], atol=1e-6)
    assert torch.allclose(encode(cae, x), cae.encode(x), atol=1e-6)


def test_batches_change_nothing():
    model, z = VAE().eval(), torch.randn(7, 2)
    assert torch.allclose(encode(model, x, batch_size=3), encode(model, x), atol=1e-6)
    assert torch.allclose(decode(model, z, batch_size=3), decode(model, z), atol=1e-6)
    assert decode(model, z).shape == x.shape and not decode(model, z).requires_grad


@pytest.mark.parametrize("side", [2, 3, 10])
def test_quantile_grid_steps_evenly_in_probability(side):
    z = quantile_grid(side)
    assert z.shape == (side * side, 2)
    shares = torch.special.ndtr(z).view(side, side, 2)  # where in the normal distribution each coordinate lies
    expected = torch.arange(1, side + 1) / (side + 1)
    assert torch.allclose(shares[0, :, 0], expected, atol=1e-5)
    assert torch.allclose(shares[:, 0, 1], expected.flip(0), atol=1e-5)
    assert torch.allclose(z, -z.flip(0), atol=1e-5)  # centred on the origin


def test_quantile_grid_is_laid_out_like_the_plane():
    """First row on top: as sheet of images, z_1 grows to the right and z_2 upwards, as in a scatter plot."""
    z = quantile_grid(5).view(5, 5, 2)
    assert (z[:, 1:, 0] > z[:, :-1, 0]).all() and (z[1:, :, 1] < z[:-1, :, 1]).all()
    assert (z[0, :, 1] == z[0, 0, 1]).all() and (z[:, 0, 0] == z[0, 0, 0]).all()


def test_interpolation_is_a_straight_line_from_a_to_b():
    a, b = torch.randn(6), torch.randn(6)
    z = interpolate(a, b, 5)
    assert z.shape == (5, 6) and torch.equal(z[0], a) and torch.allclose(z[-1], b)
    assert torch.allclose(z[2], (a + b) / 2, atol=1e-6)
    assert torch.allclose(z.diff(dim=0), (b - a).expand(4, 6) / 4, atol=1e-6)
    assert torch.equal(interpolate(a, b, 2), torch.stack([a, b]))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: encode(VAE(), x[0]), r"x must have shape \(n, 1, 28, 28\) with n >= 1, got \(1, 28, 28\)"),
        (lambda: decode(VAE(), torch.zeros(2)), r"z must have shape \(n, 2\) with n >= 1, got \(2,\)"),
        (lambda: decode(CAE(5), torch.zeros(4, 2)), r"z must have shape \(n, 5\) with n >= 1, got \(4, 2\)"),
        (lambda: quantile_grid(1), "side must be at least 2, got 1"),
        (lambda: interpolate(torch.zeros(2), torch.zeros(3), 4), r"a and b .* got \(2,\) and \(3,\)"),
        (lambda: interpolate(torch.zeros(1, 2), torch.zeros(1, 2), 4), "a and b must be codes of one shape"),
        (lambda: interpolate(torch.zeros(2), torch.ones(2), 1), "steps must be at least 2.* got 1"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_model_in_training_is_read_in_eval_mode_and_stays_as_it_was():
    torch.manual_seed(0)
    model = CAE(4).train()
    model.encoder.insert(1, nn.BatchNorm2d(16))
    model.decoder.insert(2, nn.Dropout())
    model.decoder[2].eval()  # frozen, as in fine-tuning
    modes = [layer.training for layer in model.modules()]
    x = torch.rand(30, 1, 28, 28)
    assert torch.allclose(encode(model, x), encode(model, x, batch_size=7), atol=1e-6)
    model.decoder[2].train()
    z = torch.randn(30, 4)
    assert torch.equal(decode(model, z), decode(model, z))
    assert model.decoder[2].training and model.encoder[1].num_batches_tracked == 0
    model.decoder[2].eval()
    assert modes == [layer.training for layer in model.modules()]
