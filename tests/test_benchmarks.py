"""The benchmarks measure what they say: in turn, on the same images; one that fails leaves the others' rows."""

import sys
from pathlib import Path

import pytest
import torch

from helpers.data import load_mnist
from helpers.models import CNN, normalise

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import hover
import measure
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


def test_frames_become_a_row_with_their_rate_delays_and_backlog():
    frame = {"now": 20.0, "drawn": 12.0, "move": 2.0, "inFlight": 2}
    row = hover.describe("exact, decoder that takes 50 ms", "backlog <= 2", [frame])
    assert row.what == "explorer: exact, decoder that takes 50 ms" and row.target == "backlog <= 2"
    assert row.measured.startswith("0.2 frames a second, drawn after 10.0 (p50), 10.0 ms (p95)")
    assert "painted after 18.0 (p50)" in row.measured and row.measured.endswith("backlog 2")
    assert "backlog" not in hover.describe("preview", "", [frame | {"inFlight": 0}]).measured


def test_a_browser_that_fails_costs_the_table_only_what_it_had_to_say(monkeypatch, capsys):
    def rows():
        yield measure.Row("explorer: preview", "59 frames a second", "")
        raise RuntimeError("the browser is gone")

    monkeypatch.setattr(hover, "rows", rows)
    assert [row.what for row in table.explorer()] == ["explorer: preview", "explorer"]
    assert "the browser is gone" in capsys.readouterr().err
