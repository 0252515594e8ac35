"""A run is repeated by the recipe in its checkpoint, its row is kept, and a sweep survives the death of a worker."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
import torch
from distributed import Client

from helpers import repeat as repeats
from helpers.augment import random_shift
from helpers.checkpoints import CheckpointError, load_or_train, save
from helpers.data import Mnist, Split, load_mnist
from helpers.losses import accuracy, cross_entropy, squared_error
from helpers.models import CAE, CNN


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("DEVICE", "cpu")
    monkeypatch.setattr(repeats, "TABLE", tmp_path / "repeats.json")
    return tmp_path


# one run


@pytest.fixture
def tiny(monkeypatch):
    def digits(n):
        return Split(torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(n)), torch.arange(n) % 10)

    mnist = Mnist(digits(60), digits(20), digits(30))
    monkeypatch.setattr(repeats, "load_mnist", lambda device: mnist)
    torch.manual_seed(0)
    augment = partial(random_shift, pixels=1)
    settings = {"epochs": 2, "lr": 1e-2, "batch_size": 20, "augment": augment, "metrics": (accuracy,)}
    load_or_train("tiny", CNN(channels=(2, 3), hidden=4), cross_entropy, mnist.train, mnist.valid, **settings)
    return mnist


def test_the_same_seed_repeats_the_shipped_training_and_another_does_not(tiny, folder):
    shipped = torch.load(folder / "tiny.pt", weights_only=True)["history"]
    same, other = repeats.repeat("tiny", seed=0, epochs=2), repeats.repeat("tiny", seed=1)
    assert same["history"]["valid_loss"] == shipped["valid_loss"] != other["history"]["valid_loss"]
    assert 0 <= same["test_accuracy"] <= 1 and same["test_loss"] > 0 and same["seconds"] > 0


def test_the_shipped_run_is_not_trained_again(tiny, monkeypatch):
    monkeypatch.setattr(repeats, "fit", None)
    assert len(repeats.repeat("tiny")["history"]["valid_loss"]) == 2
    with pytest.raises(TypeError):
        repeats.repeat("tiny", seed=1)


def test_a_change_reaches_the_model(tiny):
    row = repeats.repeat("tiny", hidden=8)
    assert row["hidden"] == 8 and row["parameters"] > repeats.repeat("tiny")["parameters"]


def test_a_change_reaches_the_training(tiny):
    row = repeats.repeat("tiny", epochs=1)
    assert row["epochs"] == 1 and len(row["history"]["valid_loss"]) == 1


def test_a_model_of_other_images_is_not_repeated_on_these(tiny):
    some = tiny.train[:40]
    load_or_train("some", CNN(channels=(2, 3), hidden=4), cross_entropy, some, tiny.valid, epochs=1, lr=1e-2)
    with pytest.raises(ValueError, match=r"some\.pt was made from other images .* train was 40 images.*, is 60 images"):
        repeats.repeat("some", seed=1)


def test_a_model_that_encodes_and_decodes_is_scored_and_no_other(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(repeats, "scores", lambda *given: asked.append(given) or {"neighbours": 0.5})
    save("cnn_classifier", CNN(channels=(2, 3), hidden=4), {})
    load_or_train("squeeze", CAE(2), squared_error, tiny.train, tiny.valid, epochs=1, lr=1e-3)
    assert repeats.repeat("squeeze", seed=1)["neighbours"] == 0.5
    [(model, mnist, classifier)] = asked
    assert isinstance(model, CAE) and mnist is tiny and isinstance(classifier, CNN)
    assert "neighbours" not in repeats.repeat("tiny")


# the table


@pytest.fixture
def planned(monkeypatch):
    runs = [{"name": "a", "seed": seed} for seed in range(4)] + [{"name": "a", "seed": 0, "size": 2}]
    monkeypatch.setattr(repeats, "RUNS", runs)
    return runs


def test_the_table_is_in_the_order_of_the_plan_whoever_is_done_first(planned):
    for run in (planned[4], planned[3], planned[0]):
        repeats.store({**run, "loss": 1})
    repeats.store({**planned[3], "loss": 2})
    assert json.loads(repeats.TABLE.read_text()) == [
        {**planned[0], "loss": 1},
        {**planned[3], "loss": 2},
        {**planned[4], "loss": 1},
    ]


def test_rows_are_found_by_what_they_changed(planned):
    for run in planned:
        repeats.store(run)
    assert repeats.read_repeats("a", size=2) == planned[4:]
    assert repeats.read_repeats("a", size=None) == planned[:4]
    with pytest.raises(ValueError, match=r"no row of a with {'seed': 9}"):
        repeats.read_repeats("a", seed=9)


def test_a_row_that_is_no_longer_planned_goes(planned):
    repeats.store(planned[0])
    repeats.RUNS.pop(0)
    repeats.store(planned[0])
    assert json.loads(repeats.TABLE.read_text()) == [{"name": "a", "seed": 1}]


def test_the_rows_shipped_are_the_runs_planned(monkeypatch):
    monkeypatch.undo()
    table = json.loads(repeats.TABLE.read_text())
    plan = [repeats._identity(run) for run in repeats.RUNS]
    places = [plan.index(repeats._identity(row)) for row in table]  # ValueError: of a run that is not planned
    assert places == sorted(places)


# the sweep, with processes that train on the real MNIST


@pytest.fixture
def small(planned):
    train, valid, _ = load_mnist()
    recipe = {"epochs": 1, "lr": 1e-2, "batch_size": 5000, "seed": 9}
    load_or_train("a", CNN(channels=(2, 2), hidden=4), cross_entropy, train, valid, **recipe)
    repeats.RUNS.pop()
    return planned


@contextmanager
def cluster(folder, workers):
    """Start a Dask scheduler and workers as a user would, each a process of its own; yield a client."""
    where = folder / "scheduler.json"
    dask, here = [sys.executable, "-m", "dask"], ["--scheduler-file", where, "--no-dashboard"]
    with (folder / "dask.log").open("w") as log, ExitStack() as processes:

        def start(*command):
            process = subprocess.Popen([*dask, *command, *here], stdout=log, stderr=log)
            processes.callback(process.wait)
            processes.callback(process.kill)

        start("scheduler", "--host", "127.0.0.1", "--port", "0")
        for _ in range(workers):
            start("worker", "--nthreads", "1", "--no-nanny")
        with Client(scheduler_file=where) as client:
            client.wait_for_workers(workers, timeout=60)
            yield client


def measured():
    """Return the table without its timings."""
    rows = json.loads(repeats.TABLE.read_text())
    for row in rows:
        del row["seconds"], row["history"]["seconds"]
    return rows


@pytest.mark.slow
def test_a_cluster_gives_the_table_of_one_machine_also_when_a_worker_is_killed_in_mid_sweep(small, folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # sums in one order everywhere
    repeats.sweep(small)
    here = measured()
    assert [row["seed"] for row in here] == [0, 1, 2, 3]
    assert len({row["test_loss"] for row in here}) == 4
    repeats.TABLE.unlink()

    store, lost = repeats.store, []
    with cluster(folder, workers=2) as client:
        address, pid = next(iter(client.run(os.getpid).items()))

        def store_and_kill(row):
            store(row)
            if not lost:
                lost.extend(client.processing()[address])
                os.kill(pid, signal.SIGKILL)

        monkeypatch.setattr(repeats, "store", store_and_kill)
        repeats.sweep(small, client.scheduler.address)
        assert len(client.nthreads()) == 1
    assert lost, "the worker had nothing to do: it was not killed in mid-sweep"
    assert measured() == here


@pytest.mark.parametrize(
    ("device", "workers"), [("cpu", -1), ("cuda", 3), ("cuda:1", 1)], ids=["cores", "GPUs", "the GPU that is named"]
)
def test_a_sweep_has_a_process_for_each_gpu_and_without_one_for_each_core(device, workers, monkeypatch):
    monkeypatch.setattr(repeats, "pick_device", lambda: torch.device(device))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 3)
    with repeats.this_machine() as chosen:
        assert chosen["n_jobs"] == workers


def test_each_process_of_a_sweep_takes_a_gpu_of_its_own(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.accelerator, "set_device_index", taken.append)
    for number in (1, 2, 3, 4, 5, 6):  # three GPUs, and each process was replaced once
        monkeypatch.setattr(multiprocessing.current_process(), "name", f"LokyProcess-{number}")
        repeats._take_gpu(3)
    assert taken == [0, 1, 2, 0, 1, 2]


def test_workers_that_would_share_one_random_generator_are_refused(small):
    with (
        Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as client,
        pytest.raises(SystemExit, match="--nthreads 1"),
    ):
        repeats.sweep(small, client.scheduler.address)


def test_what_cannot_be_swept_is_told_before_anything_is_trained(small, capsys):
    with pytest.raises(SystemExit):
        repeats.main(["x"])
    assert "no runs are planned for x, only for a" in capsys.readouterr().err
    repeats.RUNS.append({"name": "b", "seed": 0})
    with pytest.raises(CheckpointError, match=r"b\.pt: not found"):
        repeats.main([])
    assert not repeats.TABLE.exists()
