"""Labels stand at the medians where there is room, and apart where there is not."""

import torch

from helpers.labels import place_labels

y = torch.tensor([3, 3, 3, 7, 7, 7])


def test_labels_stand_at_the_medians_of_their_digits():
    codes = torch.tensor([[0.0, 0], [1, 1], [9, 2], [5, 5], [6, 6], [7, 9]])
    digits, places = place_labels(codes, y, room=1.0)
    assert digits == [3, 7]
    assert places.tolist() == [[1, 1], [6, 6]]


def test_labels_too_close_are_pushed_apart_around_their_middle():
    codes = torch.tensor([[0.0, 0]] * 3 + [[0.1, 0]] * 3)
    _, places = place_labels(codes, y, room=1.0)
    assert torch.allclose(places[1] - places[0], torch.tensor([1.0, 0.0]), atol=0.01)
    assert torch.allclose(places.mean(0), torch.tensor([0.05, 0.0]), atol=1e-5)
