"""What every device must do as the CPU does: `DEVICE=cuda pytest tests/on_device.py`; DEVICE=standin needs no GPU.

test_device.py runs these in a process of their own, because the stand-in stays plugged in for as long as it lives.
On the stand-in results are compared to rounding, on real hardware to what float32 in another order may differ by.
"""

import copy
import os
import runpy
import sys
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import standin
import torch
from sweep import scores
from torch import nn

from helpers import metrics, training
from helpers.checkpoints import load, load_or_train, save
from helpers.data import Split, Splits, load_mnist
from helpers.explorer import LatentExplorer
from helpers.explorer.static import still
from helpers.flow import Flow, flow_matching, posteriors, transport
from helpers.guidance import guide
from helpers.latent import decode, encode
from helpers.losses import accuracy, cross_entropy, negative_elbo
from helpers.metrics import features, log_likelihood
from helpers.models import CAE, CNN, VAE, Judge
from helpers.training import evaluate, fit, pick_device, random_shift, seed_everything

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))
if os.environ.get("DEVICE") == standin.NAME:
    standin.plug_in()
DEVICE = pick_device()
if DEVICE.index is None and DEVICE.type != "cpu":
    DEVICE = torch.device(DEVICE.type, 0)
STANDIN = DEVICE.type == standin.NAME
NEAR = {"rtol": 1e-5, "atol": 1e-6} if STANDIN else {"rtol": 1e-2, "atol": 1e-3}
GREY = 0 if STANDIN else 2  # of 255, by which pixels may differ
only_standin = pytest.mark.skipif(not STANDIN, reason="two devices draw different noise, or go their own ways on a map")


@pytest.fixture(autouse=True)
def one_precision(monkeypatch):
    """Compute in float32 everywhere: where the CPU has bfloat16 and the device has not, results would differ."""
    monkeypatch.setattr(training, "autocast", lambda device: nullcontext())
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def split(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Split(torch.rand(n, 1, 28, 28, generator=generator), torch.arange(n) % 10)


def to(device, value):
    """Return a copy of networks, splits and tensors on a device, inside tuples and dicts too."""
    if isinstance(value, dict):
        return {key: to(device, part) for key, part in value.items()}
    if isinstance(value, Split):
        return type(value)(value.x.to(device), value.y.to(device))
    if isinstance(value, tuple):
        parts = [to(device, part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return copy.deepcopy(value).to(device) if isinstance(value, nn.Module | torch.Tensor) else value


def check(function, *given, **near):
    """Call a function with what it is given on the CPU and on the device; compare, and return what came from there."""
    wanted, found = (function(*to(device, given)) for device in ("cpu", DEVICE))
    torch.testing.assert_close(to("cpu", found), wanted, **NEAR | near)
    return found


@contextmanager
def waits():
    """Yield a list that holds, afterwards, how often the host waited for the device."""
    counted = []
    if STANDIN:
        before = standin.counts["to host"]
        yield counted
        counted.append(standin.counts["to host"] - before)
    elif DEVICE.type == "cuda":
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                yield counted
        finally:
            torch.cuda.set_sync_debug_mode("default")
        counted.append(sum("synchronizing" in str(each.message) for each in caught))
    else:
        pytest.skip(f"torch does not say when it waits for {DEVICE.type}")


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    vae, cnn = VAE(latent_dim=2, encoder=(16,), decoder=(32,)).eval(), CNN(channels=(4, 8), hidden=16).eval()
    vae.decoder[0].weight.data.mul_(8)  # steep, so that every place has its own picture
    return vae, cnn


# the stand-in itself


@only_standin
@pytest.mark.parametrize("elsewhere", ["cpu", "standin:1"])
@pytest.mark.parametrize(
    "operation",
    [torch.add, torch.matmul, nn.functional.linear, lambda a, b: a[b.long()], lambda a, b: torch.cat([a, b])],
)
def test_tensors_of_two_devices_are_refused(operation, elsewhere):
    there, lost = torch.ones(3, 3, device=DEVICE), torch.ones(3, 3, device=elsewhere)
    operation(there, there.clone())
    for pair in ((there, lost), (lost, there)):
        with pytest.raises(RuntimeError, match="tensors on two devices"):
            operation(*pair)


@only_standin
def test_what_costs_a_wait_is_counted_and_nothing_else():
    there = torch.ones(3, device=DEVICE)
    free = [lambda: there + 1, lambda: there[1:], lambda: there[there.long()], lambda: there.to("standin:1")]
    free += [lambda: there.copy_(2 * there), lambda: torch.zeros(3).to(there)]
    once = [there.sum().item, there.tolist, there.cpu, there.nonzero, lambda: bool(there[0]), lambda: there[there > 0]]
    once += [there.unique, there.long().bincount, lambda: torch.zeros(3).copy_(there), lambda: f"{there.sum():.2f}"]
    once += [lambda: there.equal(there)]
    for mode in (False, True):
        for wanted, calls in ((0, free), (1, once)):
            for call in calls:
                with torch.inference_mode(mode), waits() as waited:
                    call()
                assert waited == [wanted], call


@only_standin
def test_a_mistake_planted_in_training_is_found():
    def lost(model, x, y):
        return cross_entropy(model, x, torch.arange(len(y)) % 10)

    def waiting(model, x, y):
        value = cross_entropy(model, x, y)
        return value / max(1, value.item())

    train, valid = to(DEVICE, (split(96), split(32, 1)))
    with pytest.raises(RuntimeError, match="tensors on two devices"):
        fit(CNN((2, 2), 4), lost, train, valid, epochs=1, lr=1e-3)
    counts = []
    for batch_size in (48, 8):
        with waits() as waited:
            fit(CNN((2, 2), 4), waiting, train, valid, epochs=1, lr=1e-3, batch_size=batch_size)
        counts += waited
    assert counts[1] - counts[0] == 12 - 2  # batches


# data


def test_every_grey_level_is_the_same_bit_for_bit():
    for there, here in zip(load_mnist(DEVICE), load_mnist()):
        assert there.x.device == there.y.device == DEVICE
        assert torch.equal(there.x.cpu(), here.x) and torch.equal(there.y.cpu(), here.y)


def test_batches_hold_the_same_images_in_the_same_order():
    for seed in (None, 3):
        parts = [
            list(images.batches(7, None if seed is None else torch.Generator().manual_seed(seed)))
            for images in (split(40), to(DEVICE, split(40)))
        ]
        for (x, y), (x_there, y_there) in zip(*parts, strict=True):
            assert torch.equal(x, x_there.cpu()) and torch.equal(y, y_there.cpu())


# training


@pytest.mark.parametrize("ema", [None, 0.8])
@pytest.mark.parametrize("augment", [None, random_shift])
def test_training_gives_the_same_history_and_weights(ema, augment):
    def train(model, train, valid):
        settings = {"epochs": 2, "lr": 1e-3, "batch_size": 16, "metrics": (accuracy,), "ema": ema, "augment": augment}
        history = fit(model, cross_entropy, train, valid, **settings)
        del history["seconds"]
        assert next(model.parameters()).device == train.x.device
        return {key: tuple(values) for key, values in history.items()}, dict(model.state_dict())

    seed_everything(0)
    # AdamW's steps have the size of lr, also where the sign of a gradient is rounding: with another layout and another
    # number of threads a weight may be one of the eight steps away.
    near = {"rtol": 1e-3, "atol": 1e-3} if STANDIN else {"rtol": 0.05, "atol": 0.05}
    check(train, Judge(channels=(4, 4, 8)), split(64), split(32, 1), **near)


@only_standin
def test_training_with_noise_gives_the_same_history_where_the_noise_is_the_same():
    def train(model, train, valid):
        return tuple(fit(model, negative_elbo, train, valid, epochs=2, lr=1e-3, batch_size=16)["valid_loss"])

    check(train, VAE(encoder=(16,), decoder=(16,)), split(64), split(32, 1), rtol=1e-4)


def test_layout_and_kernels_are_those_that_the_device_has(monkeypatch):
    asked = []

    class Noted(torch.optim.AdamW):
        def __init__(self, parameters, fused, **settings):
            asked.append(fused)
            super().__init__(parameters, fused=fused, **settings)

    def train(model, train, valid):
        fit(model, cross_entropy, train, valid, epochs=1, lr=1e-3)
        return model.layers[3].weight.is_contiguous(memory_format=torch.channels_last)

    monkeypatch.setattr(torch.optim, "AdamW", Noted)
    layouts = [train(Judge((2, 2, 2)), *to(device, (split(20), split(10)))) for device in ("cpu", DEVICE)]
    assert layouts == [True, DEVICE.type == "cuda"]  # not on MPS, where it has given wrong gradients
    assert asked == [True, True if DEVICE.type in ("cuda", "mps", "xpu") else None]


@pytest.mark.parametrize("ema", [None, 0.8])
@pytest.mark.parametrize("augment", [None, random_shift])
def test_training_never_waits_for_the_device_within_an_epoch(ema, augment):
    train, valid = to(DEVICE, (split(96), split(32, 1)))
    counts = []
    for batch_size in (48, 48, 16, 4):  # the first call loads kernels
        with waits() as waited:
            fit(
                Judge(channels=(2, 2, 2)), cross_entropy, train, valid,
                epochs=2, lr=1e-3, batch_size=batch_size, ema=ema, augment=augment, metrics=(accuracy,),
            )  # fmt: skip
        counts += waited
    assert counts[1] == counts[2] == counts[3]


# evaluation


@pytest.fixture(params=[0, 1])
def other(request):
    """Return each of the first two devices: what is done on the second must not fall back to the first."""
    if request.param >= torch.accelerator.device_count():
        pytest.skip(f"there is only one {DEVICE.type}")
    return torch.device(DEVICE.type, request.param)


def test_an_evaluation_draws_the_same_noise_every_time_and_leaves_every_generator_as_it_was(other):
    torch.manual_seed(5)
    model, images = VAE(encoder=(16,), decoder=(16,)), to(other, split(30))
    model.to(other).train()
    module = torch.get_device_module(other)
    before = [torch.get_rng_state(), *(module.get_rng_state(i) for i in range(module.device_count()))]
    twice = [evaluate(model, {"nats": negative_elbo}, images, 7) for _ in range(2)]
    torch.randn(9, device=other)
    again = evaluate(model, {"nats": negative_elbo}, images, 7)
    assert twice[0] == twice[1] == again and model.training
    assert torch.equal(before[0], torch.get_rng_state())
    after = [module.get_rng_state(i) for i in range(module.device_count())]
    assert [i for i, (a, b) in enumerate(zip(before[1:], after)) if not torch.equal(a, b)] == [other.index]  # randn's


def test_an_evaluation_gives_the_same_means(networks):
    vae, cnn = networks
    named = {"nats": cross_entropy, "accuracy": accuracy}
    check(lambda model, images: evaluate(model, named, images, 7), cnn, split(30))
    if STANDIN:  # whose noise is the CPU's
        check(lambda model, images: evaluate(model, {"nats": negative_elbo}, images, 7), vae, split(30))


# latent space


@pytest.mark.parametrize("network", [VAE, CAE])
def test_codes_and_images_are_the_same(network):
    torch.manual_seed(0)
    model = network()
    codes = check(lambda model, x: encode(model, x, 7), model, split(20).x)
    check(lambda model, z: decode(model, z, 7), model, codes.cpu())


def test_guidance_walks_the_same_path(networks):
    z = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    for target in (3, torch.arange(12) % 10, torch.eye(10)[torch.arange(12) % 10]):
        check(lambda *given: guide(*given, steps=5), *networks, target, z)


def test_guidance_does_not_wait_for_the_device_at_every_step(networks):
    decoder, classifier, z = to(DEVICE, (*networks, torch.randn(12, 2)))
    counts = []
    for steps in (1, 1, 3, 9):
        with waits() as waited:
            guide(decoder, classifier, 3, z, steps=steps)
        counts += waited
    assert counts[1] == counts[2] == counts[3]


def test_posteriors_are_the_same_and_say_so(networks):
    check(lambda vae, images: posteriors(vae, images, 7).x, networks[0], split(20))
    there, here = (posteriors(*to(device, (networks[0], split(20)))) for device in (DEVICE, "cpu"))
    assert there.x.device == there.y.device == DEVICE and there.source == here.source


@only_standin
def test_a_flow_learns_the_same_where_the_noise_is_the_same(networks):
    def train(model, train, valid):
        return tuple(fit(model, flow_matching, train, valid, epochs=2, lr=1e-3, batch_size=16)["valid_loss"])

    seed_everything(0)
    check(train, Flow(2, 8, 1), posteriors(networks[0], split(64)), posteriors(networks[0], split(32, 1)), rtol=1e-4)


@pytest.mark.parametrize("given", [(), (3 * torch.ones(12, dtype=torch.int64),), (torch.arange(12) % 10, 1.5)])
@pytest.mark.parametrize("solver", ["euler", "midpoint"])
def test_a_flow_takes_the_same_way(given, solver):
    seed_everything(0)
    noise = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    check(lambda *each: transport(*each, steps=3, solver=solver, batch_size=7)[1], Flow(2, 8, 1), noise, *given)


def test_a_flow_does_not_wait_for_the_device_at_every_step():
    flow, noise, y = to(DEVICE, (Flow(2, 8, 1), torch.randn(12, 2), torch.arange(12) % 10))
    counts = []
    for steps in (1, 1, 3, 9):
        with waits() as waited:
            transport(flow, noise, y, 1.5, steps)
        counts += waited
    assert counts[1] == counts[2] == counts[3]


def test_the_exact_likelihood_is_the_same(networks):
    check(lambda vae, x: log_likelihood(vae, x, step=0.5, reach=3.0, batch_size=50), networks[0], split(6).x)


# metrics


def test_metrics_are_the_same(networks):
    codes, y = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), torch.arange(200) % 10
    check(metrics.knn_accuracy, codes, y)
    check(lambda codes, y: metrics.knn_accuracy(codes[:50], y[:50], reference=(codes[50:], y[50:])), codes, y)
    check(lambda a: metrics.frechet_distance(a[:90], a[90:]), codes)
    check(lambda a: metrics.sample_mixture(metrics.fit_mixture(a, 2), 9), codes)
    for compare in (metrics.score_card, metrics.two_sample_accuracy):
        check(lambda a, compare=compare: compare(a[:90], a[90:]), codes)
    check(lambda a: tuple(each.cpu() for each in metrics.nearest(a[:90], a[90:])), codes)
    check(metrics.effective_classes, y)
    check(lambda *given: metrics.predict(*given, 7)[1], networks[1], split(20).x)
    check(lambda *given: features(*given, 7), networks[1], split(20).x)
    check(metrics.score_clusters, y // 3, y)


@only_standin
@pytest.mark.parametrize("network", [VAE, CAE])
def test_scores_are_the_same(network, networks):
    torch.manual_seed(0)
    check(scores, network(latent_dim=2), Splits(split(200), split(20, 1), split(120, 2)), networks[1], rtol=1e-4)


# checkpoints


def test_a_checkpoint_is_the_same_file_wherever_the_model_was(tmp_path, monkeypatch, networks):
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    for name, network in zip(("here", "there"), (networks[1], to(DEVICE, networks[1]))):
        save(name, network, {"valid_loss": [1.0]})
    assert (tmp_path / "here.pt").read_bytes() == (tmp_path / "there.pt").read_bytes()
    model, _ = load("here", CNN, DEVICE)
    assert next(model.parameters()).device == DEVICE
    x = split(8).x
    torch.testing.assert_close(model(x.to(DEVICE)).cpu(), load("there", CNN)[0](x), **NEAR)


def test_what_was_trained_on_the_device_is_loaded_to_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    train, valid = to(DEVICE, (split(40), split(20, 1)))
    for _ in range(2):
        seed_everything(0)
        model, history = load_or_train("c", CNN((2, 2), 4), cross_entropy, train, valid, epochs=1, lr=1e-3)
        assert next(model.parameters()).device == DEVICE and len(history["valid_loss"]) == 1
    assert "c.pt: loaded" in capsys.readouterr().out


# the explorer


def explorer(device, model, classifier, images, places=None):
    made = LatentExplorer(*to(device, (model, images.x, images.y, classifier)), places=places)
    made.sent = []  # what would go to the browser
    made.comm.publish_msg = lambda kind, data=None, buffers=None, **_: made.sent.append((data, buffers))
    return made


def ask(explorer, question, *buffers):
    """Deliver a message as ipywidgets does, and return the reply and its buffers."""
    explorer.sent.clear()
    explorer._handle_msg({"content": {"data": {"method": "custom", "content": question}}, "buffers": list(buffers)})
    [found] = [(data["content"], sent) for data, sent in explorer.sent if data and data.get("method") == "custom"]
    return found


def numbers_of(reply):
    return {key: value for key, value in reply.items() if not isinstance(value, str | None)}


def words_of(reply):
    return {key: value for key, value in reply.items() if isinstance(value, str | None) and key != "device"}


def grey(buffers):
    return [torch.frombuffer(bytearray(buffer), dtype=torch.uint8).int() for buffer in buffers]


STROKE = bytearray(64 * 64)
STROKE[64 * 10 + 30 : 64 * 50 : 64] = b"\xff" * 40  # a one, nearly
QUESTIONS = [
    ({"kind": "query", "xy": [0.5, -1.0], "page": "p", "number": 1}, ()),
    ({"kind": "strip", "path": [[0.1, 0.2], [0.3, -0.4], [1, 2]]}, ()),
    ({"kind": "pin", "pins": [[0.1, 0.2]]}, ()),
    ({"kind": "draw", "side": 64}, (bytes(STROKE),)),
    ({"kind": "draw", "side": 64}, (bytes(64 * 64),)),
]


@pytest.fixture(scope="module", params=["z", "PCA", "map"])
def pair(request, networks):
    """Return the same explorer on the CPU and on the device."""
    torch.manual_seed(0)
    vae, cnn = networks
    model = vae if request.param == "z" else VAE(latent_dim=5, encoder=(16,), decoder=(32,)).eval()
    places = torch.randn(60, 2) if request.param == "map" else None
    made = [explorer(device, model, cnn, split(60), places) for device in ("cpu", DEVICE)]
    assert made[0].plane == made[1].plane == request.param
    return made


def test_the_explorer_answers_every_question_as_on_the_cpu(pair):
    for question, buffers in QUESTIONS:
        (wanted, images), (found, there) = (ask(each, question, *buffers) for each in pair)
        assert "error" not in found and found.get("device") in (None, str(DEVICE))
        numbers, words = ([part(reply) for reply in (found, wanted)] for part in (numbers_of, words_of))
        torch.testing.assert_close(*numbers, **NEAR)
        assert words[0] == words[1]
        torch.testing.assert_close(grey(there), grey(images), rtol=0, atol=GREY)
    torch.testing.assert_close(pair[1].z, pair[0].z, **NEAR)
    torch.testing.assert_close(pair[1].history, pair[0].history, **NEAR)


def test_the_explorer_shows_the_same_plane_atlas_picture_and_page(pair, tmp_path):
    here, there = pair
    for name in ("decoder", "classifier", "encoder", "images", "atlas"):  # the page decodes, so there are no tiles
        assert getattr(there, name) == getattr(here, name)
    for name in ("bounds", "centres"):
        torch.testing.assert_close(getattr(there, name), getattr(here, name), **NEAR)
    if STANDIN:  # elsewhere a place half-way between two images may fall to the other
        assert there.points == here.points and there.facts == here.facts
        assert still(there, "plane", "readout") == still(here, "plane", "readout")
    for each, name in ((here, "here"), (there, "there")):
        each.save_html(tmp_path / name)
    assert (tmp_path / "there").stat().st_size == pytest.approx((tmp_path / "here").stat().st_size, rel=0.01)


def test_a_hover_frame_comes_from_the_device_in_one_piece(pair):
    _, made = pair
    for number, xy in enumerate([[0.5, -1.0], [0.25, 0.5], [1.0, 0.75]]):
        with waits() as waited:
            reply, pixels = ask(made, {"kind": "query", "xy": xy, "page": "p", "number": number})
        assert "error" not in reply and len(pixels[0]) == 784
    assert waited[0] <= 1


# what people start by hand


def test_the_machine_is_ready(capsys, monkeypatch):
    monkeypatch.setenv("DEVICE", str(DEVICE))
    assert runpy.run_path(ROOT / "test.py")["main"]() == 0
    assert f"[OK]   device       {DEVICE}, " in capsys.readouterr().out


def test_benchmarks_and_the_recording_measure_the_device_they_name(monkeypatch):
    monkeypatch.setenv("DEVICE", str(DEVICE))
    import hover
    import table

    record = runpy.run_path(ROOT / "tools" / "record.py")["CELL"]
    assert f"on {DEVICE};" in table.machine()
    for cell in (hover.MODEL, record.partition("LatentExplorer(model")[0]):
        made = {}
        exec(cell, made)
        on = [next(made[name].parameters()).device for name in ("model", "classifier")]
        assert {*on, made["train"].x.device} == {DEVICE}


def test_the_affine_maps_of_the_best_classifier_are_drawn_there():
    from best_classifier import random_affine

    torch.manual_seed(0)
    images = random_affine(split(8).x.to(DEVICE))
    assert images.device == DEVICE and images.isfinite().all()
