"""Ranks and hits that can be counted by hand."""

import pytest
import torch

from helpers.outliers import detection, rank_outliers


def test_outliers_are_ranked_within_their_digit():
    scores, y = torch.tensor([5.0, 1, 9, 2, 7, 3]), torch.tensor([0, 0, 0, 1, 1, 1])
    ranked = rank_outliers(scores, y, 2)
    assert {digit: index.tolist() for digit, index in ranked.items()} == {0: [2, 0], 1: [4, 5]}


def test_a_perfect_score_finds_all_and_its_opposite_none():
    wanted = torch.tensor([False] * 8 + [True] * 2)
    scores = torch.arange(10.0)
    assert detection(scores, wanted, 2) == pytest.approx({"hits": 2, "expected": 0.4, "precision": 1, "auc": 1})
    worst = detection(-scores, wanted, 2)
    assert worst["hits"] == 0 and worst["auc"] == 0 and worst["precision"] == pytest.approx((1 / 9 + 2 / 10) / 2)


def test_a_score_that_is_always_the_same_is_chance():
    wanted = torch.arange(100) < 10
    found = detection(torch.zeros(100), wanted, 20)
    assert found == pytest.approx({"hits": 2, "expected": 2, "precision": 0.1, "auc": 0.5})


def test_equal_scores_share_the_last_places():
    """One sure hit, then three images at one level for one place, one of them wanted: 1 + 1/3."""
    scores, wanted = torch.tensor([9.0, 5, 5, 5, 1]), torch.tensor([True, True, False, False, False])
    assert detection(scores, wanted, 2)["hits"] == pytest.approx(4 / 3)
