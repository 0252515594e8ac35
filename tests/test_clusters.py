"""Hand-made clusters whose scores, centroids and neighbours are known."""

import pytest
import torch

from helpers.clusters import NOISE, centroids, nearest_foreign, score_clusters, umap_plane

SQUARES = torch.tensor([[0.0, 0], [0, 2], [2, 0], [2, 2]])  # centre (1, 1)


@pytest.fixture
def three():
    """Return three squares of codes on a line, at 0, 10 and 30, their clusters 4, 5 and 7, and one code of noise."""
    codes = torch.cat([SQUARES, SQUARES + torch.tensor([10.0, 0]), SQUARES + torch.tensor([30.0, 0])])
    codes = torch.cat([codes, torch.tensor([[21.0, 1.0]])])
    return codes, torch.tensor([4] * 4 + [5] * 4 + [7] * 4 + [NOISE])


# scores


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


# centroids


def test_centroids_are_means_and_noise_has_none(three):
    names, centres = centroids(*three)
    assert names.tolist() == [4, 5, 7]
    torch.testing.assert_close(centres, torch.tensor([[1.0, 1], [11, 1], [31, 1]]))


# the nearest foreign cluster


def test_the_nearest_foreign_cluster_is_never_ones_own(three):
    codes, labels = three
    foreign, distance = nearest_foreign(codes, labels, *centroids(codes, labels))
    assert foreign.tolist() == [5] * 4 + [4] * 4 + [5] * 4 + [5]  # noise, at 21, is 10 from both: the first is named
    assert distance[-1] == pytest.approx(10) and distance[0] == pytest.approx((11**2 + 1) ** 0.5)


def test_centres_of_other_codes_will_do():
    foreign, _ = nearest_foreign(
        torch.tensor([[0.9]]), torch.tensor([1]), torch.tensor([0, 1]), torch.tensor([[0.0], [1.0]])
    )
    assert foreign.tolist() == [0]


# the plane


def test_one_seed_one_plane_that_keeps_islands_apart():
    y = torch.arange(90) % 3
    codes = torch.randn(90, 5, generator=torch.Generator().manual_seed(0)) + 50 * y[:, None]
    plane = umap_plane(codes, neighbours=8)
    assert plane.shape == (90, 2) and plane.isfinite().all()
    assert torch.equal(plane, umap_plane(codes, neighbours=8))
    _, centres = centroids(plane, y)
    within = max((plane[y == i] - centres[i]).norm(dim=1).max() for i in range(3))
    assert torch.cdist(centres, centres).fill_diagonal_(torch.inf).min() > within
