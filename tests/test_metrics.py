"""Metrics against cases made by hand, samplers by their moments and seed, the likelihood against its definition."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Normal

from helpers.latent import decode
from helpers.losses import kl_nats, reconstruction_nats
from helpers.metrics import (
    NOISE,
    density_coverage,
    effective_classes,
    features,
    fit_mixture,
    frechet_distance,
    grid,
    knn_accuracy,
    log_likelihood,
    log_pixels,
    nearest,
    precision_recall,
    predict,
    sample_mixture,
    score_card,
    score_clusters,
    two_sample_accuracy,
    umap_plane,
)
from helpers.models import CAE, CNN, VAE, ConvVAE, Judge


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


# the score card of a generator


REAL = torch.tensor([[0.0], [1.0], [2.0], [10.0]])  # radii for k = 1: 1, 1, 1, 8


def test_precision_and_recall_of_a_hand_made_set():
    """Fakes at -0.5 and 5 lie in balls of the real, that at -3 in none; their radii are 2.5, 2.5 and 5.5."""
    fake = torch.tensor([[-0.5], [-3.0], [5.0]])
    assert precision_recall(REAL, fake, k=1) == (2 / 3, 4 / 4)
    assert precision_recall(REAL, torch.tensor([[0.5], [0.6]]), k=1) == (1, 0)


def test_density_and_coverage_of_a_hand_made_set():
    """0.5 lies in two balls, those of 0 and 1; 5 in one, that of 10; 30 in none. The ball of 2 stays empty."""
    assert density_coverage(REAL, torch.tensor([[0.5], [5.0], [30.0]]), k=1) == (3 / 3, 3 / 4)


def test_one_stray_fake_earns_recall_but_no_coverage():
    real = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    fake = torch.tensor([[1000.0, 0.0], [-1000.0, 0.0]])
    assert precision_recall(real, fake, k=1) == (0, 1)
    assert density_coverage(real, fake, k=1) == (0, 0)


def test_two_halves_of_one_set_are_alike():
    a, b = torch.randn(2, 1500, 3, generator=torch.Generator().manual_seed(0))
    assert min(precision_recall(a, b)) > 0.9
    density, coverage = density_coverage(a, b)
    assert density == pytest.approx(1, abs=0.05) and coverage > 0.9  # 1 - 2^-5 in the limit


def test_losing_half_of_the_modes_costs_recall_and_coverage_and_not_precision(two_islands):
    codes, y = two_islands
    fake = codes[y == 0] + 0.01
    precision, recall = precision_recall(codes, fake)
    density, coverage = density_coverage(codes, fake)
    assert precision == 1 and recall == coverage == 0.5 and density > 1


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_a_two_sample_classifier_comes_near_the_best_possible(shift):
    """Two normal sets a distance apart: the best rule is right with the normal probability of half the distance."""
    a, b = torch.randn(2, 4000, 5, generator=torch.Generator().manual_seed(0))
    best = Normal(0.0, 1.0).cdf(torch.tensor(shift / 2)).item()
    b[:, 2] += shift
    assert two_sample_accuracy(a, b) == pytest.approx(best, abs=0.03)
    assert two_sample_accuracy(a, b[:3000]) == two_sample_accuracy(a, b[:3000])


def test_a_two_sample_classifier_sees_what_mean_and_covariance_do_not():
    signs = torch.randint(0, 2, (4000, 2), generator=torch.Generator().manual_seed(0)).float() * 2 - 1
    noise = torch.randn(4000, 2, generator=torch.Generator().manual_seed(1))
    corners = signs + 0.2 * noise
    assert frechet_distance(corners, 1.04**0.5 * noise) < 0.01
    assert two_sample_accuracy(corners, 1.04**0.5 * noise) > 0.8


def test_nearest_gives_distance_and_index():
    distances, indices = nearest(torch.tensor([[0.0, 0.0], [9.0, 5.0]]), torch.tensor([[3.0, 4.0], [9.0, 9.0]]))
    assert distances.tolist() == [5, 4] and indices.tolist() == [0, 1]


def test_sets_in_several_batches_of_rows_are_one_set():
    a, b = torch.randn(2, 2300, 2, generator=torch.Generator().manual_seed(0))
    distances, indices = nearest(a, b)
    assert torch.allclose(distances, (a - b[indices]).norm(dim=1), atol=1e-3)
    assert torch.equal(indices[1500:1600], nearest(a[1500:1600], b)[1])


def test_a_card_holds_every_score_of_the_same_two_sets():
    real, fake = torch.randn(90, 3), torch.randn(80, 3) + 0.5
    card = score_card(real, fake)
    assert card["frechet"] == frechet_distance(fake, real) and card["told"] == two_sample_accuracy(fake, real)
    assert (card["precision"], card["recall"]) == precision_recall(real, fake)
    assert (card["density"], card["coverage"]) == density_coverage(real, fake)


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
    digits, confidence = predict(Brightness(), images, batch_size=2)
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
    (digits, sure), (others, unsure) = predict(judge, images), predict(judge, images, batch_size=7)
    assert torch.equal(digits, others) and torch.allclose(sure, unsure, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(judge.state_dict().values(), before.state_dict().values()))
    assert [layer.training for layer in judge.modules()] == [layer.training for layer in before.modules()]


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return CNN(channels=(2, 3), hidden=6).eval()


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


# clusters


def test_the_same_partition_scores_one_whatever_its_names():
    y = torch.tensor([0, 0, 1, 1, 2, 2])
    assert score_clusters(torch.tensor([7, 7, 3, 3, 0, 0]), y) == pytest.approx(
        {"ari": 1, "ami": 1, "noise": 0, "clusters": 3}
    )


def test_a_known_value_of_the_adjusted_rand_index():
    """Of the 15 pairs, 1 is together in both, 3 in y, 6 in the clusters: (1 - 1.2) / (4.5 - 1.2)."""
    scored = score_clusters(torch.tensor([0, 0, 0, 0, 1, 2]), torch.tensor([0, 0, 1, 2, 1, 2]))
    assert scored["ari"] == pytest.approx((1 - 1.2) / (4.5 - 1.2))


def test_chance_scores_about_nothing():
    generator = torch.Generator().manual_seed(0)
    labels, y = torch.randint(0, 10, (2, 5000), generator=generator)
    scored = score_clusters(labels, y)
    assert abs(scored["ari"]) < 0.01 and abs(scored["ami"]) < 0.01


def test_noise_is_counted_and_not_free():
    y = torch.arange(10).repeat_interleave(10)
    labels = y.clone()
    labels[::10] = NOISE
    scored = score_clusters(labels, y)
    assert scored["noise"] == pytest.approx(0.1) and scored["clusters"] == 10 and 0.7 < scored["ari"] < 0.95


def test_where_all_is_noise_nothing_is_found():
    scored = score_clusters(torch.full((20,), NOISE), torch.arange(20) % 10)
    assert scored == pytest.approx({"ari": 0, "ami": 0, "noise": 1, "clusters": 0})


def test_one_cluster_of_everything_finds_nothing():
    scored = score_clusters(torch.zeros(20), torch.arange(20) % 10)
    assert scored == pytest.approx({"ari": 0, "ami": 0, "noise": 0, "clusters": 1})


@pytest.mark.slow
def test_one_seed_one_plane_that_keeps_islands_apart():
    y = torch.arange(90) % 3
    codes = torch.randn(90, 5, generator=torch.Generator().manual_seed(0)) + 50 * y[:, None]
    plane = umap_plane(codes, neighbours=8)
    assert plane.shape == (90, 2) and plane.isfinite().all()
    assert torch.equal(plane, umap_plane(codes, neighbours=8))
    centres = torch.stack([plane[y == i].mean(0) for i in range(3)])
    within = max((plane[y == i] - centres[i]).norm(dim=1).max() for i in range(3))
    assert torch.cdist(centres, centres).fill_diagonal_(torch.inf).min() > within


# the likelihood


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
    many = x.repeat(3000, 1, 1, 1)  # a draw of z for each copy
    with torch.no_grad():
        nats = reconstruction_nats(model(many)[0], many).view(3000, len(x))
        elbo = -(nats.mean(0) + kl_nats(*model.encode(x)))
    error = nats.std(0) / math.sqrt(len(nats))
    assert (elbo - 4 * error <= log_likelihood(model, x, step=0.05)).all()


def test_the_grid_is_a_disc_around_the_origin():
    z = grid(0.5, 2.0)
    assert (z == 0).all(1).sum() == 1 and z.norm(dim=1).max() == 2
    assert torch.allclose(z, -z.flip(0)) and len(z.unique(dim=0)) == len(z)
    assert len(grid(0.01, 1.0)) == pytest.approx(math.pi * 100**2, rel=0.01)


def test_a_convolutional_decoder_works_too(x):
    assert log_likelihood(ConvVAE(latent_dim=2).eval(), x, step=1.0).shape == (6,)
