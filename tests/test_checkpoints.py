"""Weights come back as they went, or not at all."""

import io
import os
import pickle
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from helpers import checkpoints
from helpers.checkpoints import CheckpointError, load, load_or_train, save
from helpers.data import Split
from helpers.losses import accuracy, cross_entropy
from helpers.models import CNN, VAE

HISTORY = {"valid_loss": [0.5, 0.25], "seconds": [1.0, 1.1]}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.delenv("RETRAIN", raising=False)
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


def test_a_thousand_damages_never_load_other_values(tiny, folder):
    save("tiny", tiny, HISTORY)
    path = folder / "tiny.pt"
    good, rng, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(1000):
        path.write_bytes(damage(good, rng))
        try:
            model, history = load("tiny", CNN)
        except CheckpointError as error:
            assert "tiny.pt" in str(error)
            refused += 1
        else:  # a byte that carries no value, such as a date in the zip
            assert same(model.state_dict(), rounded(tiny)) and history == HISTORY and model.config == tiny.config
    assert refused > 500


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
import itertools, os, random, signal, time
import torch
from helpers.checkpoints import load, save
from helpers.models import CNN

model, rng = CNN(channels=(2, 3), hidden=4), random.Random(0)
save("tiny", model, {"save": [-1]})
for child in range(100):
    pid = os.fork()
    if not pid:
        for i in itertools.count(1000 * child):
            save("tiny", model, {"save": [i]})
    time.sleep(rng.random() / 50)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    load("tiny", CNN)  # raises if it is neither the old file nor the new one
print(load("tiny", CNN)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_killed_a_hundred_times_in_mid_save_the_file_is_the_old_or_the_new_one(folder):
    done = subprocess.run([sys.executable, "-c", KILLED_SAVES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "-1" not in done.stdout
    assert len(list(folder.glob(".tiny.*.tmp"))) > 20, "few kills came while a file was being written"


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


@pytest.mark.parametrize("change", [{"lr": 2e-3}, {"epochs": 2}])
def test_another_recipe_trains_anew(tiny, capsys, change):
    train, valid = digits(30), digits(10)
    load_or_train("tiny", tiny, cross_entropy, train, valid, **SETTINGS)
    load_or_train("tiny", tiny, cross_entropy, train, valid, **(SETTINGS | change))
    assert "another recipe" in capsys.readouterr().out


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
