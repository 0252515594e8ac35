"""Guidance lowers its own objective, moves codes only, and refuses what the classifier cannot be asked for."""

import pytest
import torch
from torch import nn

from helpers.guidance import as_probabilities, guide, objective
from helpers.models import CNN, VAE


class Identity(nn.Module):
    """A decoder that draws nothing: the image is the code."""

    def decode(self, z):
        return z


@pytest.fixture
def networks():
    torch.manual_seed(0)
    return VAE(latent_dim=3, encoder=(16,), decoder=(32,)), CNN(channels=(4, 8), hidden=16)


@pytest.fixture
def starts():
    return torch.randn(12, 3, generator=torch.Generator().manual_seed(1))


def value(networks, target, z, prior_weight=0.1):
    decoder, classifier = networks
    with torch.no_grad():
        return objective(decoder, classifier, as_probabilities(target, z, decoder, classifier), z, prior_weight)


@pytest.mark.parametrize("prior_weight", [0, 0.1, 3])
@pytest.mark.parametrize("target", [0, 7, torch.arange(12) % 10, torch.full((10,), 0.1)], ids=str)
def test_every_start_ends_lower_on_the_objective_than_it_began(networks, starts, target, prior_weight):
    starts = starts.double()  # untrained networks are nearly flat: in float32 the way down is lost in rounding
    networks = [network.double() for network in networks]
    z, _ = guide(*networks, target, starts, prior_weight=prior_weight, steps=30, lr=0.1)
    assert (value(networks, target, z, prior_weight) < value(networks, target, starts, prior_weight)).all()


def test_the_path_leads_from_the_starts_to_the_codes(networks, starts):
    before = starts.clone()
    z, path = guide(*networks, 3, starts, steps=5)
    assert path.shape == (6, 12, 3)
    assert torch.equal(path[0], starts) and torch.equal(path[-1], z)
    assert torch.equal(starts, before) and not starts.requires_grad and not z.requires_grad
    assert (path[1:] - path[:-1]).abs().sum((1, 2)).min() > 0


def test_on_a_problem_solved_by_hand_it_finds_the_answer():
    """With logits (z, 0), class 0 and prior weight 1 the slope is z - sigmoid(-z), which is zero at 0.4010581."""
    classifier = nn.Linear(1, 2, bias=False)
    classifier.weight.data = torch.tensor([[1.0], [0.0]])
    z, _ = guide(Identity(), classifier, 0, torch.tensor([[-2.0], [3.0]]), prior_weight=1, steps=60)
    assert torch.allclose(z, torch.full((2, 1), 0.4010581), atol=1e-3)


def test_no_step_is_longer_than_lr(networks, starts):
    _, path = guide(*networks, 3, 100 * starts, prior_weight=5, steps=4, lr=0.2)
    assert torch.allclose((path[1:] - path[:-1]).norm(dim=-1), torch.tensor(0.2), atol=1e-3)


def test_starts_do_not_influence_each_other(networks, starts):
    together, _ = guide(*networks, torch.arange(12) % 10, starts, steps=10)
    alone, _ = guide(*networks, 4, starts[4:5], steps=10)
    assert torch.allclose(together[4:5], alone, atol=1e-4)


def test_both_networks_stay_as_they_were(networks, starts):
    decoder, classifier = networks
    decoder.train()
    classifier.features.eval()  # frozen in part, as in fine-tuning
    modes = [layer.training for network in networks for layer in network.modules()]
    before = [p.clone() for network in networks for p in network.parameters()]
    guide(*networks, 3, starts, steps=3)
    after = [p for network in networks for p in network.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.grad is None and p.requires_grad for p in after)
    assert modes == [layer.training for network in networks for layer in network.modules()]


def test_networks_in_training_mode_are_read_in_eval_mode(starts):
    torch.manual_seed(0)
    decoder = VAE(latent_dim=3, encoder=(16,), decoder=(32,))
    classifier = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Dropout(), nn.Linear(784, 10)).train()
    once, again = (guide(decoder, classifier, 3, starts, steps=5)[0] for _ in range(2))
    assert torch.equal(once, again)
    assert classifier[1].num_batches_tracked == 0


def test_networks_without_gradients_can_guide_too(networks, starts):
    for network in networks:
        network.requires_grad_(False)
    z, _ = guide(*networks, 3, starts, steps=2)
    assert not torch.equal(z, starts)
    assert not any(p.requires_grad for network in networks for p in network.parameters())


def test_a_class_and_its_one_hot_vector_are_the_same_request(networks, starts):
    one_hot = torch.eye(10)[3]
    requests = [3, torch.tensor(3), torch.full((12,), 3), one_hot, one_hot.expand(12, 10), one_hot.tolist()]
    results = [guide(*networks, target, starts, steps=4)[0] for target in requests]
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("target", [11, 10, -1, torch.tensor([0, 1, 11] * 4)], ids=str)
def test_a_digit_outside_the_classes_is_named(networks, starts, target):
    with pytest.raises(ValueError, match=r"digit (11|10|-1) is not among the 10 classes"):
        guide(*networks, target, starts)


@pytest.mark.parametrize(
    "target",
    [
        torch.full((10,), 0.2),  # sums to 2
        torch.tensor([1.5, -0.5] + [0.0] * 8),
        torch.full((10,), float("nan")),
        torch.full((11,), 1 / 11),
        torch.arange(5),  # for 12 starts
        torch.eye(10)[:5],
    ],
    ids=str,
)
def test_a_target_of_the_wrong_kind_is_refused(networks, starts, target):
    with pytest.raises(ValueError, match="target must be"):
        guide(*networks, target, starts)


@pytest.mark.parametrize("lost", ["decoder", "starts"])
def test_what_is_on_another_device_than_the_classifier_is_named(networks, starts, lost):
    decoder, classifier = networks
    given = {"decoder": decoder, "starts": starts}
    given[lost] = given[lost].to("meta")
    says = f"{lost} must be on cpu, like the CNN, got meta"
    with pytest.raises(ValueError, match=says):
        guide(given["decoder"], classifier, 3, given["starts"])


@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 5, 3)], ids=str)
def test_starts_must_be_a_list_of_codes(networks, shape):
    with pytest.raises(ValueError, match="starts must have shape"):
        guide(*networks, 3, torch.zeros(shape))


def test_a_classifier_with_more_classes_can_be_asked_for_more(starts):
    torch.manual_seed(0)
    decoder = VAE(latent_dim=3, encoder=(16,), decoder=(32,))
    guide(decoder, CNN(channels=(4, 8), hidden=16, classes=12), 11, starts, steps=1)
