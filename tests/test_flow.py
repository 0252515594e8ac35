"""The flow against Gaussians whose codes are known, its solvers against an equation that has an answer."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from helpers.checkpoints import CheckpointError, load_or_train
from helpers.data import Posteriors, Split
from helpers.flow import Flow, euler, flow_matching, midpoint, posteriors, transport
from helpers.models import VAE
from helpers.recipes import describe
from helpers.training import evaluate, fit, seed_everything

MEANS = torch.tensor([[3.0, -1.0], [-2.0, 4.0]])  # of the codes with label 0, and with label 1
MIX = torch.tensor([[1.0, 0.0], [0.8, 0.6]])  # their covariance is MIX MIX^T: variances of 1, correlation 0.8


def draw(n, d=2, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def points(codes, y=None):
    """Return codes without a spread of their own as what an encoder says."""
    y = torch.zeros(len(codes), dtype=torch.int64) if y is None else y
    return Posteriors(torch.stack([codes, torch.full_like(codes, -50.0)], 1), y)


def two_clouds(n, seed=0):
    y = torch.arange(n) % 2
    return points(MEANS[y] + draw(n, seed=seed) @ MIX.T, y)


def small(**config):
    seed_everything(0)
    return Flow(**({"latent_dim": 2, "width": 32, "blocks": 1, "classes": 2} | config))


def alive(**config):
    """Return a flow as if trained: its codes have another mean and spread than noise."""
    model = small(**config).eval()
    model.standardise.running_mean.fill_(2.0)
    model.standardise.running_var.fill_(9.0)
    return model


@pytest.fixture(scope="module")
def trained():
    model = small(width=64, blocks=2)
    fit(model, flow_matching, two_clouds(4000), two_clouds(500, 1), epochs=30, lr=5e-3, batch_size=200, ema=0.99)
    return model


# what it learns


@pytest.mark.parametrize("digit", [0, 1])
def test_noise_arrives_with_the_mean_and_covariance_of_the_codes_asked_for(trained, digit):
    codes, _ = transport(trained, draw(4000, seed=2), torch.full((4000,), digit), steps=16)
    torch.testing.assert_close(codes.mean(0), MEANS[digit], rtol=0, atol=0.2)
    torch.testing.assert_close(codes.T.cov(), MIX @ MIX.T, rtol=0, atol=0.25)


def test_without_a_label_noise_arrives_in_both_clouds(trained):
    codes, _ = transport(trained, draw(4000, seed=2), steps=16)
    distances = torch.cdist(codes, MEANS)
    assert distances.argmin(1).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert (distances.min(1).values < 3.5).float().mean() > 0.97  # the clouds are 7 apart


def test_the_spread_of_a_posterior_is_part_of_what_is_learnt():
    """Every mu is 0, so that all spread of the codes is their own: standard deviations of 2 and of 1/2."""
    logvar = 2 * torch.tensor([2.0, 0.5]).log().expand(2000, 2)
    data = Posteriors(torch.stack([torch.zeros(2000, 2), logvar], 1), torch.zeros(2000, dtype=torch.int64))
    model = small(width=64)
    fit(model, flow_matching, data, data[:500], epochs=20, lr=5e-3, batch_size=200, ema=0.99)
    codes, _ = transport(model, draw(4000, seed=1))
    torch.testing.assert_close(codes.std(0), torch.tensor([2.0, 0.5]), rtol=0.12, atol=0)


def test_the_loss_of_the_best_velocity_is_what_mathematics_says():
    """Codes N(0, 1) of one number: the best velocity is z (2t - 1) / (t^2 + (1 - t)^2), its mean error pi / 2."""

    class Best(Flow):
        def forward(self, z, t, y):
            return z * (2 * t - 1) / (t.square() + (1 - t).square())

    model = Best(latent_dim=1).eval()
    x = torch.stack([draw(50_000, 1), torch.full((50_000, 1), -50.0)], 1)
    torch.manual_seed(0)
    loss = flow_matching(model, x, torch.zeros(50_000, dtype=torch.int64))
    assert loss.item() == pytest.approx(math.pi / 2, rel=0.02)


def test_labels_are_hidden_as_often_as_asked():
    seen = []

    class Noting(Flow):
        def forward(self, z, t, y):
            seen.append(y)
            return super().forward(z, t, y)

    model, data = Noting(latent_dim=2, width=8, blocks=1), two_clouds(4000)
    for drop in (0.0, 0.3, 1.0):
        flow_matching(model, data.x, data.y % 2, drop)
        assert (seen[-1] == model.classes).float().mean().item() == pytest.approx(drop, abs=0.03)
    assert torch.equal(seen[0], data.y)


def test_codes_are_standardised_by_the_mean_and_spread_of_the_training_set():
    data = points(draw(1000) * torch.tensor([5.0, 0.1]) + torch.tensor([7.0, -3.0]))
    model = small()
    fit(model, flow_matching, data, data[:100], epochs=2, lr=1e-9, batch_size=100)
    norm, codes = model.standardise, data.x[:, 0]
    torch.testing.assert_close(norm.running_mean, codes.mean(0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(norm.running_var, codes.var(0), rtol=0.05, atol=0)
    torch.testing.assert_close(model.restore(norm(codes)), codes, rtol=1e-4, atol=1e-4)


def test_one_seed_one_flow():
    def train(seed):
        model = small()
        history = fit(model, flow_matching, two_clouds(400), two_clouds(100), epochs=1, lr=1e-3, seed=seed)
        return model.state_dict(), history["valid_loss"]

    (first, loss), (again, same), (_, other) = train(1), train(1), train(2)
    assert all(torch.equal(first[key], again[key]) for key in first) and loss == same != other


# the way


def test_a_way_begins_at_the_noise_and_ends_at_the_codes():
    model, noise, y = alive(), draw(30), torch.arange(30) % 2
    codes, path = transport(model, noise, y, steps=5)
    assert path.shape == (6, 30, 2) and torch.equal(path[-1], codes)
    torch.testing.assert_close(path[0], 2 + 3 * noise, rtol=1e-4, atol=1e-4)


def test_batches_of_one_noise_are_one_draw_whatever_their_size():
    model, noise, y = alive(), draw(30), torch.arange(30) % 2
    codes, _ = transport(model, noise, y, 1.5)
    torch.testing.assert_close(transport(model, noise, y, 1.5, batch_size=7)[0], codes)
    assert torch.equal(transport(model, noise, y, 1.5)[0], codes)


def test_weight_one_is_no_guidance_and_weight_zero_no_label():
    model, noise, y = alive(), draw(30), torch.arange(30) % 2
    asked, whichever = transport(model, noise, y)[0], transport(model, noise)[0]
    assert not torch.allclose(asked, whichever, atol=1e-2)
    torch.testing.assert_close(transport(model, noise, y, 1 + 1e-7)[0], asked)
    torch.testing.assert_close(transport(model, noise, y, 0.0)[0], whichever)


def test_guidance_goes_past_what_the_label_asks():
    """The velocity under weight w is v + w (v_y - v) (Ho & Salimans 2022, eq. 6, with w for their w + 1)."""
    model, noise, y = alive(), draw(30), torch.arange(30) % 2
    zero, one, two = (transport(model, noise, y, w, steps=1, solver="euler")[0] for w in (0.0, 1.0, 2.0))
    torch.testing.assert_close(two - one, one - zero)


def test_guidance_acts_between_two_times_and_nowhere_else():
    model, noise, y = alive(), draw(30), torch.arange(30) % 2

    def go(weight, between):
        return transport(model, noise, y, weight, steps=4, solver="euler", between=between)[1]

    asked, guided, late = (go(w, (low, 1.0)) for w, low in ((1.0, 0.0), (3.0, 0.0), (3.0, 0.5)))
    assert torch.equal(late[:3], asked[:3]) and not torch.allclose(late[3], asked[3], atol=1e-2)
    early = go(3.0, (0.0, 0.5))
    assert torch.equal(early[:3], guided[:3]) and not torch.allclose(early[3], guided[3], atol=1e-2)
    assert torch.equal(go(3.0, (0.5, 0.5)), asked)


@pytest.mark.parametrize(("advance", "order"), [(euler, 1), (midpoint, 2)])
def test_twice_the_steps_divide_the_error_by_two_to_the_order(advance, order):
    """dz/dt = z, from 1 at t = 0 to e at t = 1."""

    def error(steps):
        z = torch.ones(1, dtype=torch.float64)
        for step in range(steps):
            z = advance(lambda z, t: z, z, step / steps, 1 / steps)
        return (z - math.e).abs().item()

    assert math.log2(error(64) / error(128)) == pytest.approx(order, abs=0.05)


def test_the_middle_of_a_step_is_where_midpoint_looks():
    seen = []
    midpoint(lambda z, t: (seen.append(t), z)[1], torch.ones(1), 0.25, 0.5)
    assert seen == [0.25, 0.5]


def test_a_flow_in_training_is_asked_in_eval_mode_and_learns_nothing_from_it():
    model = alive().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    transport(model, draw(30))
    assert model.training and model.standardise.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


# posteriors


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return VAE(latent_dim=3, encoder=(8,), decoder=(8,))


@pytest.fixture
def images():
    return Split(torch.rand(25, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(25) % 10)


def test_posteriors_are_what_the_encoder_says(vae, images):
    said = posteriors(vae, images, batch_size=10)
    with torch.no_grad():
        torch.testing.assert_close(said.x, torch.stack(vae.encode(images.x), 1))
    assert torch.equal(said.y, images.y) and repr(said) == "Posteriors(25 images)"


def test_posteriors_are_described_by_images_and_encoder_and_not_by_their_digits(vae, images):
    said = posteriors(vae, images)
    words = describe("train", said)
    assert words == f"posteriors of {describe('train', images)}, by a VAE, sha256 {words[-16:]}"
    assert describe("train", Posteriors(said.x + 1e-6, said.y, said.source)) == words
    assert describe("train", posteriors(vae, images[:20])) != words
    vae.mu.bias.data += 1e-3
    assert describe("train", posteriors(vae, images)) != words


def test_a_part_of_posteriors_is_described_by_its_bytes(vae, images):
    said = posteriors(vae, images)
    first, last = said[:10], said[10:20]
    assert isinstance(first, Posteriors) and first.source is None and len(first) == 10
    assert describe("train", first) != describe("train", last)


def test_a_flow_is_known_again_by_its_recipe(vae, images, tmp_path, monkeypatch):
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    said, settings = posteriors(vae, images), {"epochs": 1, "lr": 1e-3}
    model, _ = load_or_train("flow", Flow(3, 8, 1), flow_matching, said, said, **settings)
    monkeypatch.setenv("RETRAIN", "0")
    nearly = Posteriors(said.x * (1 + 1e-6), said.y, said.source)  # another processor's digits
    again, _ = load_or_train("flow", Flow(3, 8, 1), flow_matching, nearly, nearly, **settings)
    assert torch.equal(transport(model, draw(5, 3))[0], transport(again, draw(5, 3))[0])
    with pytest.raises(CheckpointError, match=r"drop=0\.1.*drop=0\.2"):
        load_or_train("flow", Flow(3, 8, 1), partial(flow_matching, drop=0.2), said, said, **settings)


def test_an_evaluation_of_the_loss_is_the_same_twice(vae, images):
    said = posteriors(vae, images)
    model = Flow(3, 8, 1)
    first, again = (evaluate(model, {"loss": flow_matching}, said) for _ in range(2))
    assert first == again and model.training


def test_its_network_is_of_the_usual_parts():
    model = Flow()
    assert sum(weights.numel() for weights in model.parameters()) < 1.5e6
    assert sum(isinstance(layer, nn.LayerNorm) for layer in model.modules()) == 5
