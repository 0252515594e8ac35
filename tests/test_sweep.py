"""A run is repeated by the recipe in its checkpoint, its row is kept, and a sweep survives the death of a worker."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import sweep
import torch
from distributed import Client
from torch import nn

from helpers.checkpoints import CheckpointError, load_or_train, save
from helpers.data import Split, Splits, load_mnist
from helpers.flow import Flow, flow_matching, posteriors
from helpers.losses import (
    accuracy,
    conditional_elbo,
    conditional_kl,
    cross_entropy,
    kl,
    squared_error,
    weighted_elbo,
)
from helpers.models import CAE, CNN, VAE, ConditionalVAE, ConvVAE, Judge, ResidualVAE
from helpers.training import random_shift

TOOLS = str(Path(__file__).parents[1] / "tools")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("DEVICE", "cpu")
    monkeypatch.setattr(sweep, "TABLE", tmp_path / "sweep.json")
    return tmp_path


# one run


@pytest.fixture
def tiny(monkeypatch):
    def digits(n):
        return Split(torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(n)), torch.arange(n) % 10)

    mnist = Splits(digits(60), digits(20), digits(30))
    monkeypatch.setattr(sweep, "load_mnist", lambda device: mnist)
    torch.manual_seed(0)
    augment = partial(random_shift, pixels=1)
    settings = {"epochs": 2, "lr": 1e-2, "batch_size": 20, "augment": augment, "metrics": (accuracy,)}
    load_or_train("tiny", CNN(channels=(2, 3), hidden=4), cross_entropy, mnist.train, mnist.valid, **settings)
    return mnist


def test_the_same_seed_repeats_the_shipped_training_and_another_does_not(tiny, folder):
    shipped = torch.load(folder / "tiny.pt", weights_only=True)["history"]
    same, other = sweep.train_again("tiny", seed=0, epochs=2), sweep.train_again("tiny", seed=1)
    assert same["history"]["valid_loss"] == shipped["valid_loss"] != other["history"]["valid_loss"]
    assert 0 <= same["test_accuracy"] <= 1 and same["test_loss"] > 0 and same["seconds"] > 0


def test_the_shipped_run_is_not_trained_again(tiny, monkeypatch):
    monkeypatch.setattr(sweep, "fit", None)
    assert len(sweep.train_again("tiny")["history"]["valid_loss"]) == 2
    with pytest.raises(TypeError):
        sweep.train_again("tiny", seed=1)


def test_a_change_reaches_the_model(tiny):
    row = sweep.train_again("tiny", hidden=8)
    assert row["hidden"] == 8 and row["parameters"] > sweep.train_again("tiny")["parameters"]


def test_a_change_reaches_the_training(tiny):
    row = sweep.train_again("tiny", epochs=1)
    assert row["epochs"] == 1 and len(row["history"]["valid_loss"]) == 1


def test_without_a_schedule_the_learning_rate_stays_where_it_is(tiny):
    def rates():
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.1, total_steps=5, cycle_momentum=False)
        for _ in range(5):
            yield round(schedule.get_last_lr()[0], 9)
            optimiser.step()
            schedule.step() if schedule.last_epoch < 4 else None

    with sweep.constant_rate():
        assert set(rates()) == {0.1}
    assert len(set(rates())) > 2
    row, plain = sweep.train_again("tiny", schedule="constant"), sweep.train_again("tiny")
    assert row["schedule"] == "constant" and row["history"]["valid_loss"] != plain["history"]["valid_loss"]


def test_shifts_can_be_left_out_and_the_row_tells(tiny):
    row, plain = sweep.train_again("tiny", augment=False), sweep.train_again("tiny")
    assert row["history"]["valid_loss"] != plain["history"]["valid_loss"]
    assert sweep._identity(row) != sweep._identity(plain)


def test_a_model_of_other_images_is_not_repeated_on_these(tiny):
    some = tiny.train[:40]
    load_or_train("some", CNN(channels=(2, 3), hidden=4), cross_entropy, some, tiny.valid, epochs=1, lr=1e-2)
    with pytest.raises(ValueError, match=r"some\.pt was made from other images .* train was 40 images.*, is 60 images"):
        sweep.train_again("some", seed=1)


def test_a_model_that_encodes_and_decodes_is_scored_and_no_other(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(sweep, "scores", lambda *given: asked.append(given) or {"neighbours": 0.5})
    save("cnn_classifier", CNN(channels=(2, 3), hidden=4), {})
    load_or_train("squeeze", CAE(2), squared_error, tiny.train, tiny.valid, epochs=1, lr=1e-3)
    assert sweep.train_again("squeeze", seed=1)["neighbours"] == 0.5
    [(model, mnist, classifier)] = asked
    assert isinstance(model, CAE) and mnist is tiny and isinstance(classifier, CNN)
    assert "neighbours" not in sweep.train_again("tiny")
    assert "neighbours" not in sweep.train_again("squeeze", epochs=2)  # a changed one is compared by its loss


@pytest.fixture
def conditional(tiny):
    model = ConditionalVAE(2, channels=(2, 2, 2), hidden=8)
    loss, metrics = partial(conditional_elbo, beta=1.0), (conditional_kl,)
    load_or_train("styles", model, loss, tiny.train, tiny.valid, epochs=2, lr=1e-3, metrics=metrics)
    save("judge", Judge(channels=(2, 2, 2)), {})


def test_a_conditional_model_is_scored_by_its_styles(conditional):
    row = sweep.train_again("styles", seed=1)
    assert all(0 <= row[key] <= 1 for key in ("neighbours", "asked")) and -1 <= row["slant"] <= 1
    assert "neighbours" not in sweep.train_again("styles", epochs=1)


def test_the_weight_of_the_kl_grows_in_training_and_is_whole_in_evaluation(conditional):
    plain, grown = sweep.train_again("styles", seed=1), sweep.train_again("styles", seed=1, anneal=4)
    assert grown["anneal"] == 4 and grown["history"]["valid_loss"] != plain["history"]["valid_loss"]
    seen = []

    def loss(model, x, y, beta=1.0):
        seen.append(beta)

    growing, model = sweep.annealed(loss, 4), nn.Identity()
    for _ in range(6):
        growing(model, None, None)
    assert seen == [0, 0.25, 0.5, 0.75, 1, 1]
    growing = sweep.annealed(loss, 4)
    growing(model.eval(), None, None)
    assert seen[-1] == 1


def test_a_function_that_no_module_holds_and_weights_that_are_not_there_are_named():
    with pytest.raises(ValueError, match=r"invalid format: .*__main__\.loss"):
        sweep.rebuild({"function": "__main__.loss (source 0a1b)", "settings": {}})
    with pytest.raises(CheckpointError, match=r"nowhere\.pt: not found"):
        sweep.train_again("nowhere")


@pytest.fixture
def pair(tiny, monkeypatch):
    save("cnn_classifier", CNN(channels=(2, 3), hidden=4), {})
    save("judge", Judge((2, 3, 4)), {})
    autoencoder, settings = ResidualVAE(3, channels=(2, 3, 4), hidden=5), {"epochs": 1, "lr": 1e-3}
    vae, _ = load_or_train(sweep.CODER, autoencoder, weighted_elbo, tiny.train, tiny.valid, metrics=(kl,), **settings)
    said = [posteriors(vae, split) for split in (tiny.train, tiny.valid)]
    load_or_train("flow", Flow(3, 8, 1), flow_matching, *said, **settings)
    monkeypatch.setattr(sweep, "generator_scores", lambda *given: {"frechet": given[2]})
    return tiny


def test_an_autoencoder_and_its_flow_are_repeated_together(pair, monkeypatch):
    other, again = sweep.generator_again(seed=1), sweep.generator_again(seed=1)
    assert other["history"]["valid_loss"] == again["history"]["valid_loss"]
    assert other["flow_history"]["valid_loss"] == again["flow_history"]["valid_loss"]
    assert other["frechet"] is pair.test and "short" not in other and "coder" not in other
    monkeypatch.setattr(sweep, "fit", None)
    shipped = sweep.generator_again()
    assert shipped["history"]["valid_loss"] != other["history"]["valid_loss"]


def test_a_short_run_changes_the_code_and_the_weight_and_is_judged_on_valid(pair):
    row = sweep.generator_again(short=True, beta=4.0, latent_dim=2)
    assert row["frechet"] is pair.valid and len(row["history"]["valid_loss"]) == 5 and len(row["flow_history"]) == 3
    assert (row["short"], row["beta"], row["latent_dim"]) == (True, 4.0, 2)


def test_another_autoencoder_is_taken_as_it_is_stored(pair):
    save("other", ConvVAE(4, channels=(2, 3, 4), hidden=5), {"seconds": [0.0]}, {"seed": 0})
    row = sweep.generator_again(coder="other")
    assert row["coder"] == "other" and row["flow_history"]["valid_loss"]


# scores


class Perfect(nn.Module):
    """An autoencoder whose code is the mean of each quarter of the image, for images that are constant there."""

    latent_dim = 4

    def encode(self, x):
        return nn.functional.avg_pool2d(x, 14).flatten(1)

    def decode(self, z):
        return nn.functional.interpolate(z.view(-1, 1, 2, 2), scale_factor=14).clamp(0, 1)


@pytest.fixture(scope="module")
def easy():
    """Return a set in which every digit is a constellation of four grey quarters, a little varied."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.rand(10, 4, generator=generator)

    def digits(n):
        y = torch.arange(n) % 10
        z = (kinds[y] + 0.01 * torch.randn(n, 4, generator=generator)).clamp(0, 1)
        return Split(Perfect().decode(z), y)

    return Splits(digits(600), digits(50), digits(400))


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return CNN(channels=(2, 3), hidden=6).eval()


@pytest.mark.slow
def test_a_perfect_model_of_easy_digits_has_perfect_scores(easy, classifier):
    row = sweep.scores(Perfect(), easy, classifier)
    assert list(row) == ["mse", "neighbours", "ari", "noise", "frechet"]
    assert all(isinstance(value, float) for value in row.values())
    assert row["mse"] < 1e-9 and row["neighbours"] == 1 and row["ari"] > 0.95 and row["noise"] < 0.05


@pytest.mark.slow
def test_the_same_seed_gives_the_same_scores(easy, classifier):
    torch.manual_seed(0)
    model = VAE(latent_dim=2, encoder=(8,), decoder=(8,)).eval()
    assert sweep.scores(model, easy, classifier) == sweep.scores(model, easy, classifier)


@pytest.mark.slow
def test_the_error_is_on_the_scale_of_minus_one_to_one(easy, classifier):
    class Black(Perfect):
        def decode(self, z):
            return torch.zeros(len(z), 1, 28, 28)

    row = sweep.scores(Black(), easy, classifier)
    assert row["mse"] == pytest.approx((2 * easy.test.x).square().mean().item(), rel=1e-4)


def test_guided_digits_are_scored_as_the_draws_of_notebook_07(easy, monkeypatch):
    monkeypatch.setattr(sweep, "load_mnist", lambda device: easy)
    torch.manual_seed(0)
    save("vae20", VAE(latent_dim=3, encoder=(8,), decoder=(8,)), {})
    save("cnn_classifier", CNN(channels=(2, 3), hidden=4), {})
    save("judge", Judge((2, 3, 4)), {})
    row = sweep.guided_digits()
    assert row == sweep.guided_digits()
    assert (row.pop("name"), row.pop("seed")) == ("vae20", 0)
    assert row.pop("frechet") > 0 and row.pop("density") >= 0 and all(0 <= share <= 1 for share in row.values())


def test_a_vae_samples_its_prior_and_an_autoencoder_what_its_codes_are_like():
    codes = 100 + 7 * torch.randn(500, 3)
    prior, fitted = sweep.sample(VAE(latent_dim=3), codes, 4000), sweep.sample(CAE(3), codes, 4000)
    assert prior.shape == fitted.shape == (4000, 3)
    torch.testing.assert_close(prior.mean(0), torch.zeros(3), rtol=0, atol=0.1)
    torch.testing.assert_close(fitted.mean(0), torch.full((3,), 100.0), rtol=0, atol=2)


# the table


@pytest.fixture
def planned(monkeypatch):
    runs = [{"name": "a", "seed": seed} for seed in range(4)] + [{"name": "a", "seed": 0, "sizes": [2, 3]}]
    monkeypatch.setattr(sweep, "RUNS", runs)
    return runs


def test_the_table_is_in_the_order_of_the_plan_whoever_is_done_first(planned):
    for run in (planned[4], planned[3], planned[0]):
        sweep.store({**run, "loss": 1})
    sweep.store({**planned[3], "loss": 2})
    assert json.loads(sweep.TABLE.read_text()) == [
        {**planned[0], "loss": 1},
        {**planned[3], "loss": 2},
        {**planned[4], "loss": 1},
    ]


def test_a_row_that_is_no_longer_planned_goes(planned):
    sweep.store(planned[0])
    sweep.RUNS.pop(0)
    sweep.store(planned[0])
    assert json.loads(sweep.TABLE.read_text()) == [{"name": "a", "seed": 1}]


def test_the_rows_shipped_are_the_runs_planned(monkeypatch):
    monkeypatch.undo()
    table = json.loads(sweep.TABLE.read_text())
    plan = [sweep._identity(run) for run in sweep.RUNS]
    places = [plan.index(sweep._identity(row)) for row in table]  # ValueError: of a run that is not planned
    assert places == sorted(places)


# the sweep, with processes that train on the real MNIST


@pytest.fixture
def small(planned):
    train, valid, _ = load_mnist()
    recipe = {"epochs": 1, "lr": 1e-2, "batch_size": 5000, "seed": 9}
    load_or_train("a", CNN(channels=(2, 2), hidden=4), cross_entropy, train, valid, **recipe)
    sweep.RUNS.pop()
    return planned


@contextmanager
def cluster(folder, workers):
    """Start a Dask scheduler and workers as a user would, each a process of its own; yield a client."""
    where = folder / "scheduler.json"
    # the script is a module here, so the workers must find it; started by hand, it travels with the runs
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([TOOLS, os.environ.get("PYTHONPATH", "")])}
    dask, here = [sys.executable, "-m", "dask"], ["--scheduler-file", where, "--no-dashboard"]
    with (folder / "dask.log").open("w") as log, ExitStack() as processes:

        def start(*command):
            process = subprocess.Popen([*dask, *command, *here], env=environment, stdout=log, stderr=log)
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
    rows = json.loads(sweep.TABLE.read_text())
    for row in rows:
        del row["seconds"], row["history"]["seconds"]
    return rows


@pytest.mark.slow
def test_a_cluster_gives_the_table_of_one_machine_also_when_a_worker_is_killed_in_mid_sweep(small, folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # sums in one order everywhere
    sweep.sweep(small)
    here = measured()
    assert [row["seed"] for row in here] == [0, 1, 2, 3]
    assert len({row["test_loss"] for row in here}) == 4
    sweep.TABLE.unlink()

    store, lost = sweep.store, []
    with cluster(folder, workers=2) as client:
        address, pid = next(iter(client.run(os.getpid).items()))

        def store_and_kill(row):
            store(row)
            if not lost:
                lost.extend(client.processing()[address])
                os.kill(pid, signal.SIGKILL)

        monkeypatch.setattr(sweep, "store", store_and_kill)
        sweep.sweep(small, client.scheduler.address)
        assert len(client.nthreads()) == 1
    assert lost, "the worker had nothing to do: it was not killed in mid-sweep"
    assert measured() == here


@pytest.mark.parametrize(
    ("device", "workers"), [("cpu", -1), ("cuda", 3), ("cuda:1", 1)], ids=["cores", "GPUs", "the GPU that is named"]
)
def test_a_sweep_has_a_process_for_each_gpu_and_without_one_for_each_core(device, workers, monkeypatch):
    monkeypatch.setattr(sweep, "pick_device", lambda: torch.device(device))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 3)
    with sweep.this_machine() as chosen:
        assert chosen["n_jobs"] == workers


def test_each_process_of_a_sweep_takes_a_gpu_of_its_own(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.accelerator, "set_device_index", taken.append)
    for number in (1, 2, 3, 4, 5, 6):  # three GPUs, and each process was replaced once
        monkeypatch.setattr(multiprocessing.current_process(), "name", f"LokyProcess-{number}")
        sweep._take_gpu(3)
    assert taken == [0, 1, 2, 0, 1, 2]


def test_workers_that_would_share_one_random_generator_are_refused(planned):
    save("a", CNN(channels=(2, 2), hidden=4), {})
    with (
        Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as client,
        pytest.raises(SystemExit, match="--nthreads 1"),
    ):
        sweep.sweep(planned, client.scheduler.address)


def test_what_cannot_be_swept_is_told_before_anything_is_trained(planned, capsys):
    save("a", CNN(channels=(2, 2), hidden=4), {})
    with pytest.raises(SystemExit):
        sweep.main(["x"])
    assert "no runs are planned for x, only for a" in capsys.readouterr().err
    sweep.RUNS.append({"name": "b", "seed": 0})
    with pytest.raises(CheckpointError, match=r"b\.pt: not found"):
        sweep.main([])
    assert not sweep.TABLE.exists()
