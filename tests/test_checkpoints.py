"""Weights come back as they went, or not at all."""

import io
import linecache
import os
import pickle
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from helpers import checkpoints
from helpers.checkpoints import CheckpointError, load, load_or_train, save
from helpers.data import Split
from helpers.losses import accuracy, cross_entropy
from helpers.models import CNN, VAE, Judge
from helpers.recipes import describe
from helpers.training import fit, random_shift

HISTORY = {"valid_loss": [0.5, 0.25], "seconds": [1.0, 1.1]}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return CNN(channels=(2, 3), hidden=4)


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a) and a.keys() == b.keys()


def rounded(model):
    return {key: value.half().float() for key, value in model.state_dict().items()}


def test_round_trip_keeps_config_history_and_weights_to_half_precision(tiny):
    save("tiny", tiny, HISTORY)
    model, history = load("tiny", CNN)
    assert model.config == tiny.config and history == HISTORY and not model.training
    assert same(model.state_dict(), rounded(tiny))


def test_the_file_is_readable_without_running_code_of_its_own(tiny, folder):
    save("tiny", tiny, HISTORY)
    content = torch.load(folder / "tiny.pt", weights_only=True)
    assert set(content) == {"model", "config", "recipe", "history", "state", "sha256"}


def damage(good, rng):
    """Return the bytes of a file with one bit or a run of bytes changed, doubled or lost, or cut short."""
    start, length = rng.randrange(len(good)), rng.choice([1, 1, 2, 16, 512])
    part = good[start : start + length]
    kind = rng.choice(["bit", "bit", "noise", "lost", "doubled", "cut"])
    if kind == "bit":
        return good[:start] + bytes([good[start] ^ 1 << rng.randrange(8)]) + good[start + 1 :]
    if kind == "cut":
        return good[:start]
    middle = {"noise": rng.randbytes(len(part)), "lost": b"", "doubled": part + part}[kind]
    return good[:start] + middle + good[start + length :]


def test_a_thousand_damages_never_load_other_values(tiny, folder, rounds):
    save("tiny", tiny, HISTORY)
    path = folder / "tiny.pt"
    good, rng, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(rounds(1000)):
        path.write_bytes(damage(good, rng))
        try:
            model, history = load("tiny", CNN)
        except CheckpointError as error:
            assert "tiny.pt" in str(error)
            refused += 1
        else:  # a byte that carries no value, such as a date in the zip
            assert same(model.state_dict(), rounded(tiny)) and history == HISTORY and model.config == tiny.config
    assert refused > rounds(500)


def packed(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"weights",
        b"\x80\x04N.",
        pickle.dumps({"state": {}}),
        packed(CNN(channels=(2, 3), hidden=4).state_dict()),  # what most projects save
        packed(CNN(channels=(2, 3), hidden=4)),  # a whole module
        packed({"model": "CNN", "config": {}, "recipe": {}, "history": {}, "state": {}}),
        packed([1, 2, 3]),
        packed(torch.zeros(3)),
    ],
    ids=["empty", "zip", "text", "None", "pickle", "state_dict", "module", "unsigned", "list", "tensor"],
)
def test_a_file_of_another_project_is_refused(folder, content):
    (folder / "tiny.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tiny\.pt: not a checkpoint of this project, or damaged"):
        load("tiny", CNN)


def test_a_truncated_file_is_refused(tiny, folder):
    save("tiny", tiny, HISTORY)
    path = folder / "tiny.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        load("tiny", CNN)


class Malicious:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_a_malicious_pickle_is_refused_and_not_run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    torch.save({"state": Malicious()}, folder / "tiny.pt")
    with pytest.raises(CheckpointError):
        load("tiny", CNN)
    assert not (folder / "pwned").exists()


def test_another_class_a_missing_file_and_an_outdated_config_are_named(tiny, folder):
    with pytest.raises(CheckpointError, match=r"tiny\.pt: not found"):
        load("tiny", CNN)
    save("tiny", tiny, HISTORY)
    with pytest.raises(CheckpointError, match="expected a VAE, found a CNN"):
        load("tiny", VAE)
    for changes in ({"width": 3}, {"hidden": 5}, {"channels": (2, 3, 4)}, {"classes": "ten"}):
        other = CNN(channels=(2, 3), hidden=4)
        other.config |= changes
        save("tiny", other, HISTORY)
        with pytest.raises(CheckpointError, match="does not fit CNN"):
            load("tiny", CNN)


def test_weights_that_are_not_finite_are_not_saved(tiny, folder):
    save("tiny", tiny, HISTORY)
    before = (folder / "tiny.pt").read_bytes()
    with torch.no_grad():
        tiny.head[1].bias[0] = 1e6  # overflows half precision
    with pytest.raises(ValueError, match=r"head\.1\.bias"):
        save("tiny", tiny, HISTORY)
    assert (folder / "tiny.pt").read_bytes() == before


def test_a_save_that_fails_leaves_the_old_file_and_no_litter(tiny, folder, monkeypatch):
    save("tiny", tiny, HISTORY)
    before = (folder / "tiny.pt").read_bytes()

    def full_disk(content, file):
        file.write(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save("tiny", tiny, {})
    assert [path.name for path in folder.iterdir()] == ["tiny.pt"]
    assert (folder / "tiny.pt").read_bytes() == before


KILLED_SAVES = """
import itertools, os, random, signal, sys, time
from pathlib import Path
from helpers.checkpoints import load, save
from helpers.models import CNN

model, rng = CNN(channels=(2, 3), hidden=4), random.Random(0)
save("tiny", model, {"save": [-1]})
path = Path(os.environ["MODELS_DIR"]) / "tiny.pt"
for child in range(int(sys.argv[1])):
    before = path.stat().st_mtime_ns
    pid = os.fork()
    if not pid:
        for i in itertools.count(1000 * child):
            save("tiny", model, {"save": [i]})
    while path.stat().st_mtime_ns == before:  # on a busy machine the child comes late to its first save
        time.sleep(0.001)
    time.sleep(rng.random() / 50)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    load("tiny", CNN)  # raises if it is neither the old file nor the new one
print(load("tiny", CNN)[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_killed_a_hundred_times_in_mid_save_the_file_is_the_old_or_the_new_one(folder, rounds):
    done = subprocess.run([sys.executable, "-c", KILLED_SAVES, str(rounds(100))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "-1" not in done.stdout
    assert len(list(folder.glob(".tiny.*.tmp"))) > rounds(20), "few kills came while a file was being written"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="this system has no such limit")
def test_a_full_disk_leaves_the_old_file_and_says_so(tiny, folder):
    """A limit on file sizes stands for the disk: it holds for root too."""
    save("tiny", tiny, HISTORY)
    before = (folder / "tiny.pt").read_bytes()
    script = (
        "import resource, signal\nfrom helpers.checkpoints import save\nfrom helpers.models import CNN\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))\n"
        "save('tiny', CNN(channels=(2, 3), hidden=4), {})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert re.search(r"OSError: .*not saved; an older tiny\.pt is as it was: '.*tiny\.pt'", done.stderr)
    assert [path.name for path in folder.iterdir()] == ["tiny.pt"]
    assert (folder / "tiny.pt").read_bytes() == before


def test_a_read_only_folder_leaves_the_old_file_and_says_so(tiny, open_folder, monkeypatch, unprivileged):
    monkeypatch.setenv("MODELS_DIR", str(open_folder))
    save("tiny", tiny, HISTORY)
    before = (open_folder / "tiny.pt").read_bytes()
    open_folder.chmod(0o555)
    with unprivileged(), pytest.raises(PermissionError, match=r"not saved; an older tiny\.pt is as it was"):
        save("tiny", tiny, {})
    assert load("tiny", CNN)[1] == HISTORY and (open_folder / "tiny.pt").read_bytes() == before


def test_two_who_save_at_once_leave_one_whole_file(tiny, folder):
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda i: save("tiny", tiny, {"save": [i]}), range(100)):
            load("tiny", CNN)
    assert [path.name for path in folder.iterdir()] == ["tiny.pt"]


def digits(n):
    generator = torch.Generator().manual_seed(0)
    return Split(torch.rand(n, 1, 28, 28, generator=generator), torch.arange(n) % 10)


SETTINGS = {"epochs": 1, "lr": 1e-3, "batch_size": 10, "metrics": (accuracy,)}


def test_training_happens_once_for_one_recipe(tiny, capsys):
    train, valid = digits(30), digits(10)
    first, history = load_or_train("tiny", tiny, cross_entropy, train, valid, **SETTINGS)
    again, same_history = load_or_train("tiny", CNN(channels=(2, 3), hidden=4), cross_entropy, train, valid, **SETTINGS)
    assert same(first.state_dict(), again.state_dict()) and history == same_history
    assert capsys.readouterr().out == "tiny.pt: loaded\n"


def test_retrain_trains_whatever_is_there(tiny, capsys, monkeypatch):
    train, valid = digits(30), digits(10)
    load_or_train("tiny", tiny, cross_entropy, train, valid, **SETTINGS)
    monkeypatch.setenv("RETRAIN", "1")
    load_or_train("tiny", tiny, cross_entropy, train, valid, **SETTINGS)
    assert "loaded" not in capsys.readouterr().out


def test_training_that_was_interrupted_starts_over_and_leaves_nothing(tiny, folder):
    def interrupted(model, x, y):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_or_train("tiny", tiny, interrupted, digits(30), digits(10), **SETTINGS)
    assert not list(folder.iterdir())
    _, history = load_or_train("tiny", tiny, cross_entropy, digits(30), digits(10), **SETTINGS)
    assert len(history["valid_loss"]) == 1


# the wrong weights: what differs from the call that made them must be noticed, and named


def told(capsys, model=None, loss=cross_entropy, train=None, valid=None, **changes):
    """Make the usual call, or another; return what it says, "loaded" or the differences."""
    model, train, valid = model or CNN(channels=(2, 3), hidden=4), train or digits(30), valid or digits(10)
    load_or_train("tiny", model, loss, train, valid, **SETTINGS | changes)
    [line] = capsys.readouterr().out.splitlines()
    return line.removeprefix("tiny.pt: ").removesuffix("; training anew")


@pytest.fixture
def made(capsys):
    """Return the function that trains tiny.pt by the usual call, or another, and sees that the same call loads it."""

    def make(model=None, **changes):
        model = model or CNN(channels=(2, 3), hidden=4)
        call = {"loss": cross_entropy, "train": digits(30), "valid": digits(10)} | SETTINGS | changes
        load_or_train("tiny", model, **call)
        assert told(capsys, model, **changes) == "loaded"

    return make


SHIFT = "helpers.training.random_shift(pixels=2)"


@pytest.mark.parametrize(
    ("before", "change", "says"),
    [
        ({}, {"lr": 2e-3}, "lr was 0.001, is now 0.002"),
        ({}, {"epochs": 2}, "epochs was 1, is now 2"),
        ({}, {"seed": 1}, "seed was 0, is now 1"),
        ({}, {"betas": (0.7, 0.9)}, "betas was [0.9, 0.999], is now [0.7, 0.9]"),
        ({}, {"metrics": ()}, "metrics was [helpers.losses.accuracy], is now []"),
        ({}, {"augment": random_shift}, f"augment was None, is now {SHIFT}"),
        (
            {"augment": random_shift},
            {"augment": partial(random_shift, pixels=1)},
            f"augment was {SHIFT}, is now {SHIFT.replace('2', '1')}",
        ),
        (
            {"augment": partial(random_shift, pixels=1)},
            {"augment": partial(random_shift, pixels=3), "lr": 2e-3},
            f"lr was 0.001, is now 0.002; augment was {SHIFT.replace('2', '1')}, is now {SHIFT.replace('2', '3')}",
        ),
    ],
)
def test_another_setting_trains_anew_and_says_which(made, capsys, before, change, says):
    made(**before)
    assert told(capsys, **before | change) == says
    assert told(capsys, **before | change) == "loaded"


def test_what_is_left_to_a_default_is_what_is_said_aloud(made, capsys):
    made(augment=random_shift)
    assert told(capsys, augment=partial(random_shift, pixels=2), seed=0, weight_decay=0.0) == "loaded"


def test_a_changed_default_of_fit_is_noticed(made, capsys, monkeypatch):
    made()
    monkeypatch.setitem(fit.__kwdefaults__, "weight_decay", 0.1)
    assert told(capsys) == "weight_decay was 0.0, is now 0.1"


def weighted(model, x, y, factor=0.5):
    return factor * cross_entropy(model, x, y)


def test_a_changed_default_of_a_loss_is_noticed(made, capsys, monkeypatch):
    made(loss=weighted)
    monkeypatch.setattr(weighted, "__defaults__", (0.25,))
    name = f"{__name__}.weighted"
    assert told(capsys, loss=weighted) == f"loss was {name}(factor=0.5), is now {name}(factor=0.25)"


def test_an_edited_loss_of_a_notebook_is_noticed(made, capsys, monkeypatch):
    notebook = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", notebook)

    def run(source):
        linecache.cache[f"cell {len(source)}"] = len(source), None, source.splitlines(True), ""
        exec(compile(source, f"cell {len(source)}", "exec"), notebook.__dict__)

    cell = "def double(model, x, y):\n    return 2 * model(x).logsumexp(1).mean()\n"
    run(cell)
    made(loss=notebook.double)
    run(f"# the same function\n{cell}")
    assert told(capsys, loss=notebook.double) == "loaded"
    run(cell.replace("2", "2.0"))
    says = r"loss was __main__\.double \(source \w+\), is now __main__\.double \(source \w+\)"
    assert re.fullmatch(says, told(capsys, loss=notebook.double))


def test_a_function_of_a_script_is_named_as_if_it_were_imported(monkeypatch):
    script = ModuleType("__main__")
    script.__file__ = "benchmarks/best.py"
    monkeypatch.setitem(sys.modules, "__main__", script)
    exec("def turn(x):\n    return x", script.__dict__)
    assert describe("augment", script.turn) == {"function": "best.turn", "settings": {}}


def shifter(pixels):
    def shift(x):
        return random_shift(x, pixels)

    return shift


@pytest.mark.parametrize(
    ("augment", "says"),
    [
        (lambda x: x, r"augment: the lambda .*<lambda> cannot be told .* at module level, .* functools\.partial"),
        (shifter(1), r"augment: the closure .*shift cannot be told .* at module level, .* functools\.partial"),
        (CNN(), "augment must be .* functions, .* got a CNN"),
        (digits(3).batches, "augment must be .* functions, .* got a method"),
        (torch.neg, "augment must be .* functions, .* got a builtin"),
        (partial(random_shift, pixels=torch.ones(1)), r"augment\.pixels must be plain values, .* got a Tensor"),
        (partial(random_shift, pixel=1), "unexpected keyword argument 'pixel'"),
    ],
    ids=["lambda", "closure", "network", "method", "builtin", "tensor", "misspelt"],
)
def test_what_cannot_be_told_from_another_is_refused_and_nothing_is_trained(folder, augment, says):
    with pytest.raises((ValueError, TypeError), match=says):
        load_or_train("tiny", CNN(), cross_entropy, digits(30), digits(10), augment=augment, **SETTINGS)
    assert not list(folder.iterdir())


def nudged(split):
    x = split.x.clone()
    x[-1, 0, -1, -1] = torch.nextafter(x[-1, 0, -1, -1], torch.tensor(0.5))
    return Split(x, split.y)


OTHERS = {
    "one label": lambda split: Split(split.x, torch.cat([split.y[:1] + 1, split.y[1:]])),
    "the last bit of one pixel": nudged,
    "one image less": lambda split: split[:-1],
    "another order": lambda split: Split(split.x.flip(0), split.y.flip(0)),
}


@pytest.mark.parametrize("part", ["train", "valid"])
@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_other_data_are_noticed(made, capsys, part, change):
    made()
    was = digits({"train": 30, "valid": 10}[part])
    says = rf"{part} was \d+ images, sha256 \w+, is now \d+ images, sha256 \w+"
    assert re.fullmatch(says, told(capsys, **{part: change(was)}))


def test_equal_data_are_equal_however_they_lie_in_memory(made, capsys):
    made()
    spread = torch.stack([digits(30).x, digits(30).x])[0].transpose(2, 3).contiguous().transpose(2, 3)
    assert not spread.is_contiguous()
    assert told(capsys, train=Split(spread, digits(30).y)) == "loaded"


def network(activation, bias=True, offset=None):
    """Return a network as it stands, or stood, in its file."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.config = {}
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias), activation())
            if offset:
                self.offset = nn.Parameter(torch.zeros(offset))

        def forward(self, x):
            return self.layers(x)

    return Net()


@pytest.mark.parametrize(
    ("edited", "says"),
    [
        (network(nn.SiLU), r"model\.layers\.layers\.2 was ReLU\(\), is now SiLU\(\)"),
        (network(nn.ReLU, bias=False), r"model\.layers\.layers\.1 was Linear\(.*bias=True\), is now .*bias=False\).*"),
        (network(nn.ReLU, offset=10), r"model\.shapes\.offset was absent, is now \[10\]"),
    ],
    ids=["activation", "layer", "parameter"],
)
def test_an_edited_network_is_noticed(made, capsys, edited, says):
    made(network(nn.ReLU))
    assert re.fullmatch(says, told(capsys, edited))


def test_another_config_and_another_class_are_noticed(made, capsys):
    made()
    config = told(capsys, CNN(channels=(2, 3), hidden=5))
    assert config.startswith("model.config.hidden was 4, is now 5; model.layers.head.1 was Linear(")
    other = told(capsys, Judge(channels=(2, 2, 2)))
    assert other.startswith("model.class was helpers.models.CNN, is now helpers.models.Judge; ")
    assert re.search(r"; and \d+ differences more$", other)


def test_the_seed_alone_decides_whatever_was_drawn_before(folder):
    weights = []
    for before in (0, 1):
        torch.manual_seed(before)
        model, _ = load_or_train(
            f"from_{before}", CNN(channels=(2, 3)), cross_entropy, digits(30), digits(10), **SETTINGS
        )
        weights.append(model.state_dict())
    assert same(*weights)


def test_a_network_that_its_config_does_not_rebuild_is_refused(tiny, folder):
    tiny.head[2] = nn.SiLU()
    with pytest.raises(ValueError, match=r"CNN\(\*\*config\) builds another .*: model.layers.head.2 was ReLU.* SiLU"):
        load_or_train("tiny", tiny, cross_entropy, digits(30), digits(10), **SETTINGS)
    assert not list(folder.iterdir())


def test_weights_of_an_older_format_are_noticed(tiny, capsys):
    save("tiny", tiny, HISTORY, {"loss": "cross_entropy", "epochs": 1})
    assert "; lr was absent, is now 0.001; " in told(capsys)


def test_retrain_0_never_trains(made, tiny, folder, monkeypatch):
    monkeypatch.setenv("RETRAIN", "0")
    call = partial(load_or_train, "tiny", tiny, cross_entropy, digits(30), digits(10))
    with pytest.raises(CheckpointError, match=r"tiny\.pt: not found, and RETRAIN=0 never trains"):
        call(**SETTINGS)
    monkeypatch.delenv("RETRAIN")
    made()
    before = (folder / "tiny.pt").read_bytes()
    monkeypatch.setenv("RETRAIN", "0")
    call(**SETTINGS)
    with pytest.raises(CheckpointError, match=r"tiny\.pt: lr was 0\.001, is now 0\.1; RETRAIN=0 never trains"):
        call(**SETTINGS | {"lr": 0.1})
    assert (folder / "tiny.pt").read_bytes() == before


def test_the_home_folder_may_be_written_as_a_tilde(tiny, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))  # on Windows
    monkeypatch.setenv("MODELS_DIR", "~/weights")
    save("tiny", tiny, HISTORY)
    assert (folder / "weights" / "tiny.pt").exists()


# the weights that are shipped

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_every_file_in_models_is_asked_for(monkeypatch):
    """By a notebook, which then says so in its output, or by a benchmark."""
    asked = {
        name
        for path in (ROOT / "notebooks").rglob("*.ipynb")
        for name in re.findall(r'"(\w+)\.pt: loaded', path.read_text(encoding="utf-8"))
    }
    for path in (ROOT / "benchmarks").glob("*.py"):
        asked.update(re.findall(r'load_or_train\(\s*"(\w+)"', path.read_text(encoding="utf-8")))
    shipped = {path.stem for path in (ROOT / "models").glob("*.pt")}
    assert shipped - asked == set(), "no notebook and no benchmark asks for these"
    assert asked - shipped == set(), "these are asked for and not shipped"
