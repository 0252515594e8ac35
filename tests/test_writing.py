"""Numbers stand on one line with white between, one seed writes one image, and what is no number is refused."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from helpers.models import ConditionalVAE
from helpers.writing import BASE, BLANK, DARK, HEIGHT, LONGEST, MARGIN, decode_digits, measure_hand, set_line, write

torch.manual_seed(0)
model = ConditionalVAE(3, channels=(2, 2, 2), hidden=8)
style = torch.tensor([0.5, -1.0, 0.2])


def strokes(n, seed=0):
    """Return n images, (n, 1, 28, 28), each a few straight strokes somewhere in the box, as varied as digits are."""
    dice = torch.Generator().manual_seed(seed)
    place = torch.cartesian_prod(torch.arange(28.0), torch.arange(28.0))  # (784, 2)
    ends = 4 + 20 * torch.rand(n, 3, 2, 2, generator=dice)  # (n, strokes, ends, 2)
    start, way = ends[:, :, 0, None], (ends[:, :, 1] - ends[:, :, 0])[:, :, None]  # (n, 3, 1, 2)
    along = ((place - start) * way).sum(3) / way.square().sum(3).clamp(min=1e-6)
    off = (place - start - along.clamp(0, 1)[..., None] * way).norm(dim=3)  # (n, 3, 784): from the stroke's middle
    return (2 - off).clamp(0, 1).amax(1).view(n, 1, 28, 28)


# numbers


def test_a_number_is_one_image_of_its_digits_in_this_style():
    line = write(model, 2026, style, jitter=0)
    digits = decode_digits(model, style.expand(4, -1), torch.tensor([2, 0, 2, 6]))
    assert line.shape[:2] == (1, HEIGHT) and line.min() >= 0 and line.max() <= 1
    assert torch.equal(line, set_line(digits, [4] * 4))
    assert torch.equal(line, write(model, "2026", style, jitter=0))


def test_zeros_in_front_are_written_and_blanks_part_groups():
    assert torch.equal(write(model, "007", style, jitter=0), set_line(written("007"), [4, 4, 4]))
    parted = write(model, " 20  26 ", style, jitter=0, gap=3)
    assert torch.equal(parted, set_line(written("2026"), [3, 3, 3 + BLANK, 3]))


def written(digits):
    return decode_digits(model, style.expand(len(digits), -1), torch.tensor([int(digit) for digit in digits]))


def test_one_seed_writes_one_image_and_another_a_little_different_one():
    first = write(model, 88, style, seed=3)
    assert torch.equal(first, write(model, 88, style, seed=3))
    other = write(model, 88, style, seed=4)
    assert first.shape != other.shape or not torch.equal(first, other)
    before = torch.random.get_rng_state()
    write(model, 88, style)
    assert torch.equal(before, torch.random.get_rng_state())  # nobody else's draws change


def test_every_digit_of_a_number_is_drawn_a_little_differently(monkeypatch):
    seen = []
    monkeypatch.setattr("helpers.writing.decode_digits", lambda _, z, y: seen.append(z) or strokes(len(y)))
    write(model, "1" * 64, style, jitter=0.5)
    write(model, "1" * 64, style, jitter=0)
    varied, plain = seen
    assert len(varied.unique(dim=0)) == 64 and torch.equal(plain, style.expand(64, -1))
    assert (varied - style).std().item() == pytest.approx(0.5, rel=0.2)


def test_writing_leaves_the_network_in_the_mode_it_had():
    model.train()
    write(model, 1, style)
    assert model.training
    model.eval()
    write(model, 1, style)
    assert not model.training


@pytest.mark.parametrize("number", [None, 3.0, math.nan, math.inf, True, [2, 0], 2 + 0j, b"12", torch.tensor(7.0)])
def test_what_is_no_number_is_refused(number):
    with pytest.raises(ValueError, match="number must be a whole number or a text of digits, got "):
        write(model, number, style)


@pytest.mark.parametrize(
    ("number", "strange"), [(-7, "-"), ("3.14", "."), ("1e3", "e"), ("٣", "٣"), ("½", "½"), ("nan", "an")]
)
def test_what_is_no_digit_is_named(number, strange):
    with pytest.raises(
        ValueError, match=f"number must be digits from 0 to 9 and blanks, got '{strange}'".replace(".", r"\.")
    ):
        write(model, number, style)


@pytest.mark.parametrize("number", ["", "   "])
def test_an_empty_number_is_refused(number):
    with pytest.raises(ValueError, match="number must hold a digit, got "):
        write(model, number, style)


def test_a_number_that_is_too_long_is_refused():
    write(model, "1" * LONGEST, style)
    with pytest.raises(ValueError, match=f"number must have at most {LONGEST} digits, got {LONGEST + 1}"):
        write(model, "1" * (LONGEST + 1), style)
    for size in (64, 6000):
        with pytest.raises(ValueError, match=f"number must have at most 64 digits, got {size + 1}"):
            write(model, 10**size, style)


@pytest.mark.parametrize("none", [None, [0.5, -1.0, 0.2], 1.0, torch.zeros(1, 3), torch.tensor(1.0)])
def test_what_is_no_style_is_refused(none):
    with pytest.raises(ValueError, match=r"style must be a tensor of shape \(3,\), got "):
        write(model, 1, none)


def test_a_style_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"style must have shape \(n, 3\) with n >= 1, got \(1, 2\)"):
        write(model, 1, torch.zeros(2))
    with pytest.raises(ValueError, match="style must be finite, got nan"):
        write(model, 1, torch.tensor([0.0, math.nan, 0.0]))
    with pytest.raises(ValueError, match=r"style must be floats, got torch\.int64"):
        write(model, 1, torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("jitter", [-0.1, math.nan, math.inf])
def test_a_jitter_that_is_none_is_refused(jitter):
    with pytest.raises(ValueError, match="jitter must be finite and at least 0, got "):
        write(model, 1, style, jitter=jitter)


@pytest.mark.parametrize("gap", [0, -3])
def test_a_gap_without_white_is_refused(gap):
    with pytest.raises(ValueError, match="gaps must be at least 1 before each of 2 digits"):
        write(model, 12, style, gap=gap)


# digits in styles


def test_digits_in_styles_are_those_of_the_network_in_any_batch():
    z, y = torch.randn(7, 3), torch.arange(7)
    with torch.inference_mode():
        expected = model.eval().decode(z, y)
    assert torch.allclose(decode_digits(model, z, y, batch_size=3), expected, atol=1e-6)


def test_styles_and_digits_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="y must name a digit for each of 2 styles, got 3"):
        decode_digits(model, torch.zeros(2, 3), torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match=r"z must have shape \(n, 3\) with n >= 1, got \(2, 4\)"):
        decode_digits(model, torch.zeros(2, 4), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="y must be from 0 to 9, got values from 1 to 10"):
        decode_digits(model, torch.zeros(2, 3), torch.tensor([1, 10]))


# the line


def test_all_digits_end_on_the_base_line():
    digits = strokes(40)
    for digit in digits:
        rows = (set_line(digit[None], [4])[0] >= DARK).any(1).nonzero()
        assert rows.max() == BASE
    assert not (set_line(digits, [4] * 40)[0, BASE + 1 :] >= DARK).any()


@pytest.mark.parametrize("gap", [1, 4, 9])
@pytest.mark.parametrize("seed", range(5))
def test_no_ink_lies_on_ink_and_the_white_between_is_the_gap(gap, seed):
    digits = strokes(6, seed)
    alone = sum(int((digit >= DARK).sum()) for digit in digits)
    assert int((set_line(digits, [gap] * 6) >= DARK).sum()) == alone
    for pair in pairwise(digits):
        assert white_between(*pair, gap) == gap


def white_between(first, second, gap):
    """Return the least white between two digits in rows up to two apart, from the line that holds both."""
    line = set_line(torch.stack([first, second]), [gap, gap])[0] >= DARK
    alone = set_line(first[None], [gap])[0] >= DARK
    rest = line.shape[1] - alone.shape[1]
    places = F.pad(alone, (0, rest)), F.pad(alone, (rest, 0))  # a second digit may begin, or end, first
    left = next(place for place in places if (line & place).sum() == place.sum())
    ends = [max(row.nonzero().flatten().tolist(), default=None) for row in left]
    begins = [min(row.nonzero().flatten().tolist(), default=None) for row in line & ~left]
    pairs = [(end, begin) for row, end in enumerate(ends) for begin in begins[max(0, row - 2) : row + 3]]
    return min(begin - end - 1 for end, begin in pairs if None not in (end, begin))


def test_where_a_digit_stands_in_its_box_makes_no_difference():
    digits = strokes(5)[..., 3:25, 3:25]  # 22 pixels, so that there is room to move them
    moves = [(0, 6, 0, 6), (6, 0, 6, 0), (3, 3, 1, 5), (2, 4, 6, 0), (5, 1, 3, 3)]  # left, right, top, bottom
    moved = torch.cat([F.pad(digit[None], move) for digit, move in zip(digits, moves, strict=True)])
    assert torch.equal(set_line(moved, [4] * 5), set_line(F.pad(digits, (3, 3, 3, 3)), [4] * 5))


def test_ink_is_neither_lost_nor_made():
    digits = strokes(8, 3)
    line = set_line(digits, [4] * 8)
    assert line[line >= DARK].sum().item() == pytest.approx(digits[digits >= DARK].sum().item(), rel=1e-5)
    edges = (line[0] >= DARK).any(0).nonzero().flatten()
    assert edges[0] == MARGIN and edges[-1] == line.shape[2] - 1 - MARGIN


def test_a_small_digit_moves_under_the_arm_of_a_tall_one():
    arm, low = torch.zeros(2, 1, 28, 28)
    arm[0, 4:6, 4:24] = arm[0, 4:24, 4:6] = 1  # an upright with an arm to the right
    low[0, 20:24, 10:14] = 1
    kerned = set_line(torch.stack([arm, low]), [4, 4])
    assert kerned.shape[2] == 20 + 2 * MARGIN  # no wider than the arm


def test_a_digit_without_ink_and_gaps_that_do_not_fit_are_refused():
    digits = strokes(3)
    digits[1] = 0.1
    with pytest.raises(ValueError, match=r"digits must have ink, got none in \[1\]"):
        set_line(digits, [4, 4, 4])
    with pytest.raises(ValueError, match=r"gaps must be at least 1 before each of 3 digits, got \[4, 4\]"):
        set_line(digits, [4, 4])


# measures


def bar(slant=0.0, width=4.0, height=16.0):
    """Return a bar with soft edges, (1, 1, 28, 28)."""
    row, column = torch.meshgrid(torch.arange(28.0) - 13.5, torch.arange(28.0) - 13.5, indexing="ij")
    across = (width / 2 + 0.5 - (column + slant * row).abs()).clamp(0, 1)
    return (across * (height / 2 + 0.5 - row.abs()).clamp(0, 1))[None, None]


@pytest.mark.parametrize("slant", [-0.6, -0.2, 0.0, 0.3])
def test_slant_is_that_of_the_bar_and_positive_to_the_right(slant):
    assert measure_hand(bar(slant))[0, 0].item() == pytest.approx(slant, abs=0.01)


@pytest.mark.parametrize("width", [2.0, 3.0, 4.5])
def test_the_stroke_is_as_wide_as_the_bar(width):
    # of a bar of width w and height h, twice the ink over the outline is w h / (w + h)
    found = measure_hand(bar(width=width, height=18.0))[0, 1].item()
    assert found == pytest.approx(width * 18 / (width + 18), rel=0.05)


def test_height_over_width_does_not_see_the_slant():
    plain, slanted = (measure_hand(bar(slant))[0, 2].item() for slant in (0.0, 0.4))
    assert plain == pytest.approx(4, rel=0.1) and slanted == pytest.approx(plain, rel=0.08)  # edges stay as soft


def test_an_image_without_ink_has_no_measures():
    with pytest.raises(ValueError, match="images must have ink, got 1 without"):
        measure_hand(torch.cat([bar(), torch.zeros(1, 1, 28, 28)]))
