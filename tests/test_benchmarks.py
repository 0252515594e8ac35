"""The benchmarks measure what they say: in turn, on the same images; one that fails leaves the others' rows."""

import sys
from pathlib import Path

import pytest
import torch

from helpers.data import load_mnist
from helpers.models import CNN, ConvVAE, normalise

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import best_classifier
import gpu
import hover
import measure
import rivals
import table
import textbook


@pytest.mark.parametrize("exponent", [0.5, 1, 2])
def test_slope_is_the_exponent(exponent):
    sizes = [10, 100, 1000]
    assert measure.slope(sizes, [3 * size**exponent for size in sizes]) == pytest.approx(exponent)


def test_pairs_are_timed_in_turn():
    calls = []
    times = measure.in_turn(lambda: calls.append("a"), lambda: calls.append("b"), rounds=3)
    assert calls == list("ababab") and len(times) == 2


def test_the_textbook_sees_the_same_images_and_has_as_many_weights():
    mnist = load_mnist()
    for split, digits in ((mnist.train, textbook.Digits()), (mnist.valid, textbook.Digits(valid=True))):
        assert len(digits) == len(split)
        for i in (0, 17, len(split) - 1):
            image, label = digits[i]
            assert torch.allclose(image, normalise(split.x[i]), atol=1e-6) and label == split.y[i]
    plain, _ = textbook.Digits(normalise=False)[0]
    assert torch.equal(plain, mnist.train.x[0])
    weights = [sum(p.numel() for p in model.parameters()) for model in (textbook.network(), CNN())]
    assert weights[0] == weights[1]


def test_the_shipped_best_classifier_was_made_by_the_call_that_stands_there(monkeypatch, capsys):
    monkeypatch.setenv("RETRAIN", "0")
    monkeypatch.setattr(best_classifier, "evaluate", lambda *given: {"accuracy": 0.5})
    assert list(best_classifier.rows()) and capsys.readouterr().out == "best_classifier.pt: loaded\n"


def test_an_affine_map_without_reach_changes_nothing_and_with_it_moves_the_ink_a_little():
    x = load_mnist().test.x[:50]
    assert torch.allclose(best_classifier.random_affine(x, pixels=0, degrees=0, scale=0, shear=0), x, atol=1e-5)
    torch.manual_seed(0)
    moved = best_classifier.random_affine(x)
    assert moved.shape == x.shape and moved.min() >= 0 and moved.max() < 1 + 1e-5
    assert not torch.allclose(moved, x, atol=0.1)
    assert moved.sum() == pytest.approx(x.sum().item(), rel=0.1)


def test_frames_become_a_row_with_their_rate_delays_and_backlog():
    frame = {"now": 20.0, "drawn": 12.0, "move": 2.0, "inFlight": 2}
    row = hover.describe("exact, decoder that takes 50 ms", "backlog <= 2", [frame])
    assert row.what == "explorer: exact, decoder that takes 50 ms" and row.target == "backlog <= 2"
    assert row.measured.startswith("0.2 frames a second, drawn after 10.0 (p50), 10.0 ms (p95)")
    assert "painted after 18.0 (p50)" in row.measured and row.measured.endswith("backlog 2")
    assert "backlog" not in hover.describe("preview", "", [frame | {"inFlight": 0}]).measured


def test_rivals_are_compared_with_the_explorer_and_one_that_cannot_be_fetched_costs_only_its_row(monkeypatch, tmp_path):
    for name, rate in (("canvas", 2), ("sliders", 10)):
        monkeypatch.setattr(rivals, name, lambda name=name, rate=rate: (rate, measure.Row(name, "", "")))
    monkeypatch.setattr(rivals, "ROOT", tmp_path)
    monkeypatch.setattr(rivals.shutil, "which", lambda name: str(tmp_path / "no npm here"))
    found = list(rivals.rows(60))
    assert [row.what for row in found if row.what in ("canvas", "sliders")] == ["canvas", "sliders"]
    assert [row.measured for row in found if "its page" in row.what] == ["30", "6"]
    assert found[-1].measured.startswith("not measured, npm cannot fetch it")


def test_tfjs_is_checked_against_its_digest_and_gets_all_of_the_decoder(monkeypatch, tmp_path):
    monkeypatch.setattr(rivals, "ROOT", tmp_path)
    path = tmp_path / "build" / "tfjs" / rivals.TFJS[1]
    path.parent.mkdir(parents=True)
    path.write_text("another library")
    with pytest.raises(ValueError, match=r"tf\.min\.js: .*, expected 300dfae2"):
        rivals.library()
    model = ConvVAE()
    shapes = [shape for shape, _ in rivals.tensors(model)]
    assert shapes[:2] == [[20, 256], [256]] and shapes[4:6] == [[3, 3, 64, 128], [64]]  # height, width, out, in
    assert sum(map(rivals.prod, shapes)) == sum(each.numel() for each in model.decoder.parameters())


def test_a_part_that_fails_costs_the_table_only_what_it_had_to_say(capsys):
    def rows():
        yield measure.Row("explorer: preview", "59 frames a second", "")
        raise RuntimeError("the browser is gone")

    assert [row.what for row in table.guarded("explorer", rows)] == ["explorer: preview", "explorer"]
    assert "the browser is gone" in capsys.readouterr().err


def test_a_gpu_is_checked_before_it_is_measured_and_a_failure_is_the_exit_code(monkeypatch, tmp_path):
    commands = {"sound": ("-c", "import os; assert os.environ['DEVICE'] == 'meta'"), "broken": ("-c", "1 / 0")}
    monkeypatch.setenv("DEVICE", "meta")
    monkeypatch.setattr(table, "machine", lambda: "a GPU; of one kind")
    monkeypatch.setattr(table, "HERE", tmp_path)
    monkeypatch.setattr(table, "PARTS", {"loading": lambda: [measure.Row("read MNIST", "1 s", "")]})
    monkeypatch.setattr(gpu, "CHECKS", commands)
    assert gpu.main() == 1
    found = [line.split(" | ")[:2] for line in (tmp_path / "results" / "a-gpu.md").read_text().splitlines()[-3:]]
    assert [what.strip("| ") for what, _ in found] == ["sound", "broken", "read MNIST"]
    assert [measured.partition(",")[0] for _, measured in found] == ["ok", "FAILED", "1 s"]
    monkeypatch.setattr(gpu, "CHECKS", {"sound": commands["sound"]})
    assert gpu.main() == 0


def test_without_a_gpu_there_is_nothing_to_do(monkeypatch):
    monkeypatch.setenv("DEVICE", "cpu")
    with pytest.raises(SystemExit, match="no GPU here"):
        gpu.main()
