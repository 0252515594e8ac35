"""Metrics against cases made by hand, samplers by their shape, range and seed."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from helpers.analysis import effective_classes, fit_mixture, frechet_distance, knn_accuracy, read_by, sample_mixture
from helpers.latent import decode
from helpers.models import CAE, Judge


def gaussian(n, mean, scale, seed=0):
    """Return n points whose sample mean and covariance are exactly `mean` and diag(scale^2)."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return x * scale + mean


@pytest.fixture
def two_islands():
    """Return 40 codes on two islands far apart and the island of each."""
    y = torch.arange(40) % 2
    codes = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)) + 100 * y[:, None]
    return codes, y


# neighbours


def test_neighbours_on_islands_always_agree(two_islands):
    assert knn_accuracy(*two_islands, k=5) == 1


def test_a_code_is_not_its_own_neighbour():
    codes = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    assert knn_accuracy(codes, torch.tensor([0, 1, 0, 1]), k=1) == 0


def test_a_reference_votes_in_place_of_the_others(two_islands):
    codes, y = two_islands
    assert knn_accuracy(codes, y, k=5, reference=(codes, 1 - y)) == 0


# the Frechet distance


def test_equal_sets_are_at_distance_zero():
    x = np.random.default_rng(0).normal(size=(500, 8))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x[::-1].copy()) == pytest.approx(0, abs=1e-9)


def test_a_shift_counts_its_squared_length():
    x = np.random.default_rng(0).normal(size=(500, 2))
    assert frechet_distance(x, x + np.array([3, 4])) == pytest.approx(25)


def test_diagonal_gaussians_give_the_textbook_value():
    a, b = gaussian(300, [0, 0], [1, 2]), gaussian(200, [1, 0], [3, 5], seed=1)
    assert frechet_distance(a, b) == pytest.approx(1 + (1 - 3) ** 2 + (2 - 5) ** 2)


def test_it_knows_correlation_from_its_absence():
    """Equal means and variances, correlations r and 0: 2 + 2 - 2 (sqrt(1 + r) + sqrt(1 - r))."""
    r = 0.8
    a = gaussian(400, [0, 0], [1, 1])
    b = a @ np.linalg.cholesky([[1, r], [r, 1]]).T
    assert frechet_distance(a, b) == pytest.approx(4 - 2 * ((1 + r) ** 0.5 + (1 - r) ** 0.5))


def test_features_that_never_vary_do_no_harm():
    """A ReLU that is off for every image leaves a covariance without full rank."""
    x = np.zeros((50, 3))
    x[:, 0] = np.arange(50)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_it_is_symmetric():
    a, b = np.random.default_rng(0).normal(size=(2, 100, 5)) * [[[1]], [[2]]]
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


# samplers


@pytest.mark.parametrize("components", [1, 2])
def test_samples_have_the_shape_and_the_moments_of_the_codes(two_islands, components):
    codes, _ = two_islands
    z = sample_mixture(fit_mixture(codes, components), 4000)
    assert z.shape == (4000, 3) and z.dtype == torch.float32 and z.isfinite().all()
    torch.testing.assert_close(z.mean(0), codes.mean(0), rtol=0, atol=4)
    torch.testing.assert_close(z.std(0), codes.std(0), rtol=0, atol=3)


def test_a_mixture_leaves_the_sea_between_the_islands_empty(two_islands):
    codes, _ = two_islands

    def at_sea(components):
        z = sample_mixture(fit_mixture(codes, components), 1000)
        return ((z > 20) & (z < 80)).any(1).float().mean()

    assert at_sea(2) == 0 and at_sea(1) > 0.3


def test_one_seed_one_set_of_samples(two_islands):
    mixture = fit_mixture(two_islands[0], 2)
    first, again, other = (sample_mixture(mixture, 20, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_first_samples_are_not_of_one_component(two_islands):
    z = sample_mixture(fit_mixture(two_islands[0], 2), 40)
    assert 0 < (z[:20, 0] > 50).float().mean() < 1


def test_samples_decode_to_images():
    images = decode(CAE(3), sample_mixture(fit_mixture(torch.randn(50, 3)), 5))
    assert images.shape == (5, 1, 28, 28) and images.min() >= 0 and images.max() <= 1


# a classifier's reading


class Brightness(nn.Module):
    """Read 1 in a bright image and 0 in a dark one, surer the further from grey."""

    def forward(self, x):
        logit = 10 * (2 * x.flatten(1).mean(1) - 1)
        return torch.stack([-logit, logit], 1)


def test_reading_returns_digit_and_confidence():
    images = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 1, 28, 28)
    digits, confidence = read_by(Brightness(), images, batch_size=2)
    assert digits[[0, 2]].tolist() == [0, 1]
    torch.testing.assert_close(confidence, torch.tensor([1, 0.5, 1]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("digits", "expected"), [([3, 3, 3], 1), ([0, 1, 0, 1], 2), (list(range(10)), 10)])
def test_effective_classes_counts_what_is_used(digits, expected):
    assert effective_classes(torch.tensor(digits)) == pytest.approx(expected, rel=1e-5)


def test_a_classifier_in_training_is_read_in_eval_mode_and_learns_nothing_from_it():
    torch.manual_seed(0)
    judge = Judge(channels=(2, 3, 4)).train()
    judge.layers[1].eval()  # frozen, as in fine-tuning
    before = copy.deepcopy(judge)
    images = torch.rand(30, 1, 28, 28)
    (digits, sure), (others, unsure) = read_by(judge, images), read_by(judge, images, batch_size=7)
    assert torch.equal(digits, others) and torch.allclose(sure, unsure, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(judge.state_dict().values(), before.state_dict().values()))
    assert [layer.training for layer in judge.modules()] == [layer.training for layer in before.modules()]
