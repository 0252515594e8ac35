"""The four questions, asked of models whose answers are known."""

import pytest
import torch
from torch import nn

from helpers.data import Mnist, Split
from helpers.models import CAE, CNN, VAE
from helpers.scores import features, sample, scores


class Perfect(nn.Module):
    """An autoencoder whose code is the mean of each quarter of the image, for images that are constant there."""

    latent_dim = 4

    def encode(self, x):
        return nn.functional.avg_pool2d(x, 14).flatten(1)

    def decode(self, z):
        return nn.functional.interpolate(z.view(-1, 1, 2, 2), scale_factor=14).clamp(0, 1)


@pytest.fixture(scope="module")
def mnist():
    """Return a set in which every digit is a constellation of four grey quarters, a little varied."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.rand(10, 4, generator=generator)

    def digits(n):
        y = torch.arange(n) % 10
        z = (kinds[y] + 0.01 * torch.randn(n, 4, generator=generator)).clamp(0, 1)
        return Split(Perfect().decode(z), y)

    return Mnist(digits(600), digits(50), digits(400))


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return CNN(channels=(2, 3), hidden=6).eval()


def test_a_perfect_model_of_easy_digits_has_perfect_scores(mnist, classifier):
    row = scores(Perfect(), mnist, classifier)
    assert list(row) == ["mse", "neighbours", "ari", "noise", "frechet"]
    assert all(isinstance(value, float) for value in row.values())
    assert row["mse"] < 1e-9 and row["neighbours"] == 1 and row["ari"] > 0.95 and row["noise"] < 0.05


def test_the_same_seed_gives_the_same_scores(mnist, classifier):
    torch.manual_seed(0)
    model = VAE(latent_dim=2, encoder=(8,), decoder=(8,)).eval()
    assert scores(model, mnist, classifier) == scores(model, mnist, classifier)


def test_the_error_is_on_the_scale_of_minus_one_to_one(mnist, classifier):
    class Black(Perfect):
        def decode(self, z):
            return torch.zeros(len(z), 1, 28, 28)

    row = scores(Black(), mnist, classifier)
    assert row["mse"] == pytest.approx((2 * mnist.test.x).square().mean().item(), rel=1e-4)


def test_a_vae_samples_its_prior_and_an_autoencoder_what_its_codes_are_like():
    codes = 100 + 7 * torch.randn(500, 3)
    prior, fitted = sample(VAE(latent_dim=3), codes, 4000), sample(CAE(3), codes, 4000)
    assert prior.shape == fitted.shape == (4000, 3)
    torch.testing.assert_close(prior.mean(0), torch.zeros(3), rtol=0, atol=0.1)
    torch.testing.assert_close(fitted.mean(0), torch.full((3,), 100.0), rtol=0, atol=2)


def test_features_are_what_the_last_layer_reads(classifier):
    x = torch.rand(5, 1, 28, 28)
    read = features(classifier, x, batch_size=2)
    assert read.shape == (5, 6)
    with torch.no_grad():
        torch.testing.assert_close(classifier.head[-1](read), classifier(x))


def test_features_are_read_in_eval_mode(classifier):
    noisy = CNN(channels=(2, 3), hidden=6).train()
    noisy.head.insert(1, nn.Dropout())
    x = torch.rand(5, 1, 28, 28)
    assert torch.equal(features(noisy, x), features(noisy, x))
    assert noisy.head[1].training
