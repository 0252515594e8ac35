"""The explorer without a browser: in Python alone, then in a real kernel, spoken to as a browser would."""

import copy
import threading
import time

import pytest
import torch
from jupyter_client.manager import start_new_kernel
from small import SETUP, classifier, model, x, y
from traitlets import TraitError

from helpers.atlas import SHOWN
from helpers.explorer import LatentExplorer
from helpers.models import VAE
from helpers.panels import Pad, Plane, Readout

NAN, INF = float("nan"), float("inf")
STANDARD = torch.distributions.Normal(0, 1)


@pytest.fixture(scope="module")
def made():
    return LatentExplorer(model, x, y, classifier)


@pytest.fixture
def explorer(made):
    made.unobserve_all("z")
    made.observe(made._z_moved, "z")
    made.xy, made.pins = (0.0, 0.0), []
    made.sent = []  # what would go to the browser: (kind, data, buffers)
    made.comm.publish_msg = lambda kind, data=None, buffers=None, **_: made.sent.append((kind, data, buffers))
    return made


def ask(explorer, question, buffers=()):
    """Deliver a message as ipywidgets does, and return the replies to it."""
    before = len(explorer.sent)
    explorer._handle_msg({"content": {"data": {"method": "custom", "content": question}}, "buffers": list(buffers)})
    sent = [(data, bufs) for kind, data, bufs in explorer.sent[before:] if data and "method" in data]
    return [(data["content"], bufs) for data, bufs in sent if data["method"] == "custom"]


def look(*xy, number):
    return {"kind": "look", "xy": list(xy), "page": "p", "number": number}


# Python alone


def test_reply_is_the_decoded_image(explorer):
    [(reply, [pixels, like])] = ask(explorer, look(0.5, -1, number=1))
    image = model.eval().decode(torch.tensor([[0.5, -1.0]]))
    assert pixels == (image * 255).round().byte().numpy().tobytes()
    assert (reply["page"], reply["number"], reply["device"], reply["xy"]) == ("p", 1, "cpu", [0.5, -1])
    assert reply["probs"] == pytest.approx(classifier.eval()(image).softmax(1)[0].tolist(), abs=1e-6)
    assert reply["prior"] == pytest.approx(
        torch.distributions.Normal(0, 1).log_prob(torch.tensor([0.5, -1])).sum().item()
    )
    nearest = (model.encode(x)[0] - torch.tensor([0.5, -1])).norm(dim=1).argmin()
    assert like == (x[nearest] * 255).round().byte().numpy().tobytes()


def test_z_follows_the_browser_and_is_not_sent_back(explorer):
    seen = []
    explorer.observe(lambda change: seen.append(change["new"]), "z")
    ask(explorer, look(1, 2, number=1))
    assert explorer.z == (1.0, 2.0) and seen == [(1.0, 2.0)]
    assert [data["method"] for _, data, _ in explorer.sent] == ["custom"]


def test_setting_z_moves_the_view(explorer):
    explorer.z = torch.tensor([0.25, -0.5])
    assert explorer.xy == explorer.z == (0.25, -0.5)
    assert [data["state"]["xy"] for _, data, _ in explorer.sent] == [(0.25, -0.5)]


@pytest.mark.parametrize("bad", [(1,), (1, 2, 3), (float("nan"), 0), (0, float("inf")), "ab", None, 3, (1e9, 0), {}])
def test_bad_z_is_refused_and_changes_nothing(explorer, bad):
    explorer.z = (1, 1)
    with pytest.raises(TraitError, match="2 numbers"):
        explorer.z = bad
    assert explorer.z == explorer.xy == (1.0, 1.0)


@pytest.mark.parametrize("name, bad", [("xy", (NAN, 0)), ("pins", [(0, INF)]), ("pins", [3]), ("layers", ["?"])])
def test_other_bad_state_is_refused_too(explorer, name, bad):
    with pytest.raises(TraitError):
        setattr(explorer, name, bad)


BAD_PLACES = [[NAN, 0], [0, INF], ["1", "2"], "ab", [], [1], [1, 2, 3], None, {}, [None, 0], [True, 0], [10**400, 0]]
BAD_PLACES += [[[1], [2]], [1e300, 0], list(range(100_000)), "x" * 1_000_000]


@pytest.mark.parametrize("bad", BAD_PLACES, ids=lambda bad: str(bad)[:20])
def test_bad_places_are_refused_with_a_reply(explorer, bad):
    [(reply, pixels)] = ask(explorer, {"kind": "look", "xy": bad, "page": "p", "number": 7})
    assert reply["error"] and (reply["page"], reply["number"]) == ("p", 7) and not pixels
    assert len(str(reply)) < 300 and explorer.z == (0.0, 0.0)


@pytest.mark.parametrize("bad", [None, "look", 3, [], {}, {"kind": "look"}, {"kind": "?", "xy": [0, 0]}], ids=str)
def test_messages_of_another_shape_are_refused_with_a_reply(explorer, bad):
    [(reply, pixels)] = ask(explorer, bad)
    assert reply["error"] and not pixels


def test_huge_numbers_and_names_are_not_echoed(explorer):
    [(reply, _)] = ask(explorer, look(0, 0, number=1) | {"page": "p" * 10**6, "number": 10**300})
    assert "page" not in reply and "number" not in reply


def test_a_failing_observer_loses_no_reply(explorer):
    explorer.observe(lambda change: 1 / 0, "z")
    assert len(ask(explorer, look(1, 1, number=1))) == len(ask(explorer, look(2, 2, number=2))) == 1


def test_a_model_that_fails_replies_with_the_reason(explorer, monkeypatch):
    monkeypatch.setattr(explorer.space.model, "decode", lambda z: torch.full((len(z), 1, 28, 28), NAN))
    [(reply, pixels)] = ask(explorer, look(1, 1, number=1))
    assert "finite" in reply["error"] and not pixels


def test_the_explorer_keeps_its_own_networks():
    ours = copy.deepcopy(model).train()
    explorer = LatentExplorer(ours, x, y)
    before = explorer.look([(1.0, 1.0)]).ink
    with torch.no_grad():
        ours.decoder[0].weight.zero_()
    assert explorer.look([(1.0, 1.0)]).ink.equal(before) and ours.training


def test_many_threads_get_the_right_pictures(explorer):
    places = [(k / 10, -k / 10) for k in range(40)]
    expected = [explorer.look([place]).ink.tolist() for place in places]
    found = [None] * len(places)

    def work(start):
        for k in range(start, len(places), 4):
            found[k] = explorer.look([places[k]]).ink.tolist()

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == expected


def test_many_points_are_thinned_and_bad_input_is_named():
    images = torch.rand(SHOWN + 100, 1, 28, 28)
    explorer = LatentExplorer(model, images, torch.zeros(len(images), dtype=torch.int64))
    assert len(explorer.digits) == SHOWN and len(explorer.points) == SHOWN * 8
    with pytest.raises(ValueError, match="x must be"):
        LatentExplorer(model, x, y[:5])


@pytest.mark.parametrize(
    "places", [None, torch.rand(200, 2, generator=torch.Generator().manual_seed(0))], ids=["pca", "map"]
)
def test_more_than_two_dimensions_lie_on_a_map(places):
    deep = VAE(latent_dim=5)
    explorer = LatentExplorer(deep, x, y, classifier, places)
    explorer.z = (1, 2, 3, 4, 5)  # off the plane: shown where it projects to, decoded as it is
    assert explorer.z == (1, 2, 3, 4, 5) and explorer.code(explorer.xy) == explorer.z
    assert (
        explorer.look([explorer.xy]).ink
        == (deep.eval().decode(torch.tensor([explorer.z])) * 255).round().byte().flatten()
    ).all()
    explorer.xy = (0.5, 0.5)
    assert len(explorer.z) == 5 and explorer.z != (1, 2, 3, 4, 5)
    explorer.pins = [[0, 0], [1, 0]]
    assert explorer.history.shape == (2, 5)


def test_pins_path_and_drawings(explorer):
    ask(explorer, {"kind": "pin", "pins": [[0, 0], [1, 2]], "page": "p", "number": 1})
    assert explorer.history.tolist() == [[0, 0], [1, 2]]
    [(_, [ink])] = ask(explorer, {"kind": "strip", "path": [[0, 0], [1, 2]], "page": "p", "number": 2})
    assert ink == explorer.look([(0, 0), (1, 2)]).ink.numpy().tobytes()
    stroke = bytes(255 if 40 < k % 112 < 50 else 0 for k in range(112 * 112))
    [(reply, images)] = ask(explorer, {"kind": "draw", "side": 112, "page": "p", "number": 3}, [stroke])
    assert len(images) == 8 and all(len(image) == 784 for image in images)
    assert len(reply["ellipse"]) == 3 and reply["place"] and sum(reply["probs"]) == pytest.approx(1, abs=1e-5)
    [(reply, images)] = ask(explorer, {"kind": "draw", "side": 112, "page": "p", "number": 4}, [bytes(112 * 112)])
    assert reply["empty"] and not images


BAD_QUESTIONS = [
    {"kind": "strip", "path": []},
    {"kind": "strip", "path": [[0, 0]] * 65},
    {"kind": "pin", "pins": [[0, NAN]]},
    {"kind": "pin", "pins": "all"},
    {"kind": "draw", "side": 112},
    {"kind": "draw", "side": 10**9},
    {"kind": "draw", "side": "a"},
]


@pytest.mark.parametrize("bad", BAD_QUESTIONS, ids=str)
@pytest.mark.parametrize("buffers", [[], [b""], [bytes(10**6)], [bytes(7), bytes(7)]], ids=len)
def test_bad_pins_paths_and_drawings_are_refused_with_a_reply(explorer, bad, buffers):
    [(reply, pixels)] = ask(explorer, bad, buffers)
    assert reply["error"] and not pixels and explorer.pins == []


def test_one_question_lifts_its_place_once(explorer, monkeypatch):
    lifted, lift = [], explorer.space.map.lift
    monkeypatch.setattr(explorer.space.map, "lift", lambda xy: lifted.append(xy) or lift(xy))
    ask(explorer, look(0.25, -0.75, number=1))
    assert len(lifted) == 1 and explorer.z == explorer.code((0.25, -0.75))


def test_atlas_is_what_torch_decodes_at_the_middles_of_its_tiles(explorer):
    left, right, bottom, top = explorer.bounds
    side = explorer.tiles
    row, column = 5, 20
    place = (left + (column + 0.5) / side * (right - left), top - (row + 0.5) / side * (top - bottom))
    start = 784 * (row * side + column)
    assert explorer.atlas[start : start + 784] == explorer.look([place]).ink.numpy().tobytes()


def test_repr_is_fixed_and_a_picture_rides_along(explorer):
    assert repr(explorer) == "LatentExplorer(VAE, 200 images)"
    data, _ = explorer._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG") and data["text/plain"] == repr(explorer)
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id


def test_every_part_has_a_picture_for_where_no_kernel_runs(explorer):
    for part in (Plane(explorer), Readout(explorer), Pad(explorer)):
        data, _ = part._repr_mimebundle_()
        assert data["image/png"].startswith(b"\x89PNG") and data["text/plain"] == repr(part)
        part.close()


# A real kernel, spoken to as a browser would


class Kernel:
    """A kernel with one explorer in it, and the messages a browser sends."""

    def __init__(self):
        self.manager, self.client = start_new_kernel()
        self.client.execute(SETUP + "\nexplorer = LatentExplorer(model, x, y, classifier)")
        opened = self.message("comm_open", lambda content: "xy" in content["data"]["state"])
        self.comm = opened["content"]["comm_id"]
        self.client.get_shell_msg(timeout=120)

    def message(self, kind, wanted, timeout=120):
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            message = self.client.get_iopub_msg(timeout=timeout)
            if message["msg_type"] == kind and wanted(message["content"]):
                return message
        raise TimeoutError(kind)

    def send(self, question, subshell=None):
        data = {"method": "custom", "content": question}
        message = self.client.session.msg("comm_msg", {"comm_id": self.comm, "data": data})
        message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)

    def reply(self, number, timeout=120):
        def wanted(content):
            return content["data"].get("content", {}).get("number") == number

        return self.message("comm_msg", wanted, timeout)


@pytest.fixture(scope="module")
def kernel():
    kernel = Kernel()
    yield kernel
    kernel.client.stop_channels()
    kernel.manager.shutdown_kernel(now=True)


def test_kernel_replies_with_raw_bytes(kernel):
    kernel.send(look(0.5, -1, number=1))
    reply = kernel.reply(1)
    image = model.eval().decode(torch.tensor([[0.5, -1.0]]))
    expected = torch.frombuffer(bytearray(reply["buffers"][0]), dtype=torch.uint8)
    assert (expected.float() - image.flatten() * 255).abs().max() <= 1


def test_kernel_survives_nonsense_and_a_flood(kernel):
    for bad in ("nonsense", {"kind": "look", "xy": ["a", "b"]}, {"kind": "look", "xy": list(range(10_000))}):
        kernel.send(bad)
    for number in range(10, 310):
        kernel.send(look(number / 1000, 0, number=number))
    assert kernel.reply(309)["content"]["data"]["content"]["xy"] == [0.309, 0]
    assert (
        kernel.client.execute_interactive("assert explorer.z == (0.309, 0.0)", timeout=120)["content"]["status"] == "ok"
    )


def test_kernel_answers_while_a_cell_is_running(kernel):
    control = kernel.client.session.msg("create_subshell_request", {})
    kernel.client.control_channel.send(control)
    subshell = kernel.client.get_control_msg(timeout=10)["content"]["subshell_id"]
    # The cell writes to the browser itself, and the question is the subshell's first: neither may hold up its answer.
    kernel.client.execute("import time; explorer.z = (1, 1); print('running'); time.sleep(4)")
    kernel.message("stream", lambda content: "running" in content["text"])
    start = time.monotonic()
    kernel.send(look(0, 0, number=5000), subshell)
    kernel.reply(5000)
    assert time.monotonic() - start < 3  # seconds, and the cell sleeps for four
