"""The comparison of outputs: what it lets pass, what it must notice, and that nbval is the one who asks it."""

import copy
import os
import random
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import nbformat
import pytest
from comparer import (
    EXACT,
    NUMBER,
    WIDGET,
    Number,
    Tolerance,
    compare_outputs,
    differences,
    fields,
    kind_of,
    tolerance_of,
    tolerances_of,
)  # fmt: skip
from nbformat.v4 import new_code_cell, new_notebook, new_output
from nbval.plugin import IPyNbCell, coalesce_streams, get_sanitize_patterns

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("**/*.ipynb"))
PATTERNS = get_sanitize_patterns((ROOT / "tests" / "nbval.cfg").read_text())


def replaced(text):
    for pattern, replacement in PATTERNS:
        text = re.sub(pattern, replacement, text)
    return text


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def agree(committed, new, **tolerance):
    return not list(differences([stream(committed)], [stream(new)], [Tolerance(**tolerance)], replaced))


@pytest.mark.parametrize(
    ("committed", "new"),
    [
        ("stuck 1.34", "stuck 1.35"),
        ("stuck 1.34", "stuck 1.33"),
        ("99.99 nats", "100.00 nats"),
        ("46 %", "47 %"),
        ("99%,", "98%,"),
        ("15.5 %", "15.6 %"),
        ("p 5e-07", "p 4e-07"),
        ("p 9.9e-08", "p 1.0e-07"),
        ("1,000.00", "999.99"),
        ("mean 0.00", "mean -0.00"),
        ("mean 0.01", "mean 0.00"),
        ("\N{MINUS SIGN}0.52", "\N{MINUS SIGN}0.51"),
        ("0.52±0.01", "0.53±0.02"),
        ("(0.52,-0.10)", "(0.53,-0.11)"),
        ("  99.9  100.0", " 100.0  100.0"),
        ("[[ 9.9]]", "[[10.0]]"),
        ("took 8 s", "took 12 s"),
        ("13.7 ms a digit", "9.1 ms a digit"),
        ("CNN:   0%|          | 0/215 [00:00<?, ?it/s]", "CNN:  52%|#####     | 112/215 [00:04<00:04]"),
    ],
)
def test_lets_what_rounding_and_clocks_do_pass(committed, new):
    assert agree(committed, new) and agree(new, committed)


@pytest.mark.parametrize(
    ("committed", "new"),
    [
        ("stuck 1.34", "stuck 1.36"),
        ("stuck 1.34", "stuck -1.34"),
        ("mean 0.01", "mean -0.01"),
        ("stuck 1.34", "struck 1.34"),
        ("stuck 1.34", "stuck nan"),
        ("stuck 1.34", "stuck inf"),
        ("cost inf", "cost -inf"),
        ("stuck 1.34", "stuck 1.34 1.34"),
        ("stuck 1.34", "stuck 1.3"),
        ("stuck 1.34", "stuck 1.340"),
        ("stuck 1.34", "stuck +1.34"),
        ("stuck 1.34", "stuck 1.34e+00"),
        ("p 9.4e-08", "p 9.6e-08"),
        ("47,040,016 bytes", "47,040,017 bytes"),
        ("47,040,016 bytes", "47040016 bytes"),
        ("(60000, 28, 28)", "(60001, 28, 28)"),
        ("1020x130", "1021x130"),
        ("943.5x300", "943.6x300"),
        ("vae20", "vae21"),
        ("torch 2.13.0", "torch 2.13.1"),
        ("3c 21 44 4f", "3c 21 45 4f"),
        ("0x1f", "0x2f"),
        ("1e10", "1e11"),
        ("256³", "257³"),
        ("46 %", "48 %"),
        ("46 %", "46"),
        ("5 6", "56"),
        ("a\nb", "a"),
        ("a\nb", "a\nb\n"),
        ("a\nb", "b\na"),
        ("    indented", "indented"),
        ("took 8 s", "took -8 s"),
        ("took 8 s", "took 8 sheep"),
        ("took 8 s", "took 8 min"),
        ("took 8 s", "took nan s"),
        ("the 1990s", "the 1991s"),
        ("0.5 sigma", "0.7 sigma"),
    ],
)
def test_notices_every_other_difference(committed, new):
    assert not agree(committed, new) and not agree(new, committed)


def test_a_cell_may_state_its_own_tolerance():
    walks = {"percentages": 4, "constants": [200]}
    assert agree("29 % of 200", "33 % of 200", **walks)
    assert not agree("29 % of 200", "34 % of 200", **walks) and not agree("29 % of 200", "29 % of 201", **walks)
    assert agree("guided 2806", "guided 2540", whole="10 %") and not agree("guided 2806", "guided 2520", whole="10 %")
    assert agree("2.00 nats", "2.04 nats", decimals="2 %") and not agree("2.00 nats", "2.05 nats", decimals="2 %")
    assert agree("0.02 nats", "0.03 nats", decimals="2 %")  # never less than rounding needs
    assert agree("of 45 pairs 19", "of 45 pairs 22", whole=3, constants=[45])
    assert not agree("0.02", "-0.02", decimals=1) and not agree("5", "nan", whole="1000 %")
    here = {"where": "guided", "whole": 5}
    assert agree("waiting 4\nguided 212", "waiting 4\nguided 210", **here)
    assert not agree("waiting 4\nguided 212", "waiting 5\nguided 212", **here)
    with pytest.raises(TypeError, match="percentage"):
        Tolerance(percentage=4)


def test_says_in_a_line_what_differs():
    committed = stream("reads 29 % of 200 walks\nthe end\n")
    new = stream("reads 35 % of 200 walks\nthe and\n")
    number, words = differences([committed], [new], [Tolerance(percentages=4)])
    assert number == "stdout: line 1: 29 is now 35, tolerance 4: 'reads 35 % of 200 walks'"
    assert words == "stdout: line 2 was 'the end', is 'the and'"
    (missing,) = differences([stream("1\n2\n3")], [stream("1\n2")])
    assert missing == "stdout: 3 lines are now 2; lost at the end: '3'"


def data(kind="display_data", **formats):
    return new_output(kind, {name.replace("_", "/"): content for name, content in formats.items()})


def test_compares_every_kind_of_output():
    picture = data(image_png="AAAA", text_plain="<Figure>")
    for committed, new in [
        ([stream("a")], [stream("a", "stderr")]),
        ([stream("a")], []),
        ([], [stream("a")]),
        ([picture], [data(text_plain="<Figure>")]),
        ([picture, stream("a")], [stream("a"), picture]),
        ([data(text_plain="a")], [data("execute_result", text_plain="a")]),
        ([data(text_plain="a 1.20")], [data(text_plain="a 1.22")]),
        ([data(text_html="<b>1.20</b>")], [data(text_html="<b>1.22</b>")]),
        ([data(text_latex="$1.20$")], [data(text_latex="$1.22$")]),
        ([data(text_markdown="lr=0.02")], [data(text_markdown="lr=0.03")]),
        ([data(application_json={"a": 1})], [data(application_json={"a": 2})]),
        ([new_output("error", ename="ValueError", evalue="a")], [new_output("error", ename="KeyError", evalue="a")]),
        ([new_output("error", ename="ValueError", evalue="a")], [new_output("error", ename="ValueError", evalue="b")]),
    ]:
        assert list(differences(committed, new)), (committed, new)
    live = copy.deepcopy(picture)
    live.data |= {"image/png": "BBBB", WIDGET: {"model_id": "2b0c"}}
    assert not list(differences([picture], [live]))


# Every committed output, changed at random


def compared(path):
    """Yield (where, outputs, tolerances) of every cell of a notebook whose outputs are compared."""
    for i, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type == "code" and cell.outputs and "nbval-ignore-output" not in cell.metadata.get("tags", ()):
            outputs = coalesce_streams(cell.outputs)
            for output in outputs:
                change(output, lambda _, text: replaced(text))
            yield f"{path.stem}, cell {i}", outputs, tolerances_of(cell)


def change(output, function):
    """Put function(format, text) in the place of every text of an output."""
    for key, text in list(fields(output)):
        (output if key in output else output["data"])[key] = function(key, text)


def allowed_at(match, tolerances):
    """Return how far the number that NUMBER matched in a text may move."""
    text = match.string
    line = text[text.rfind("\n", 0, match.start()) + 1 :].partition("\n")[0]
    return tolerance_of(line, tolerances).of(Number(match))


def printed(value, like):
    """Print a value as another number is printed."""
    decimals, exponent, _, plus = like.form
    separator = "," if "," in like.text else ""
    return f"{value:{'+' if plus else ''}{separator}.{decimals}{'e' if exponent else 'f'}}"


def off(number, allowed, sign):
    """Return the nearest number of the same form that lies beyond the tolerance."""
    value = number.value
    while abs(value - number.value) <= allowed:
        value = Decimal(printed(value + sign * max(number.unit, allowed / 8), number).replace(",", ""))
    return printed(value, number)


def mutations(text, tolerances, dice):
    """Yield (what, text changed so that it must be noticed)."""
    matches = list(NUMBER.finditer(text))
    for match in matches:
        number = Number(match)
        allowed = allowed_at(match, tolerances)
        bare = number.text.lstrip("+-\N{MINUS SIGN}")
        changed = {
            "a little more": off(number, allowed, 1),
            "a little less": off(number, allowed, -1),
            "NaN": "nan",
            "infinite": "inf",
            "one more": f"{number.text} {number.text}",
            "one less": "",
        }
        if number.value:
            changed["another sign"] = bare if number.value < 0 else f"-{bare}"
        for what, new in changed.items():
            yield what, text[: match.start()] + new + text[match.end() :]
    within = {i for match in matches for i in range(*match.span())}
    letters = [i for i, letter in enumerate(text) if letter.isalnum() and i not in within]
    for i in dice.sample(letters, min(20, len(letters))):
        others = "0123456789" if text[i].isdigit() else "abcdefghij"
        yield "a letter", text[:i] + dice.choice(others.replace(text[i], "")) + text[i + 1 :]
    words = [match.span() for match in re.finditer(r"\S*[^\W\d]\S*", text)]
    for start, end in dice.sample(words, min(10, len(words))):
        yield "a lost word", text[:start] + text[end:]
        yield "a new word", f"{text[:start]}word {text[start:]}"
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if line.strip():
            yield "a lost line", "\n".join(lines[:i] + lines[i + 1 :])
            yield "a line twice", "\n".join([*lines[:i], line, *lines[i:]])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_changed_output_is_noticed_wherever_it_stands(path):
    dice, made, missed = random.Random(0), 0, []
    for where, outputs, tolerances in compared(path):
        for i, output in enumerate(outputs):
            for key, text in fields(output):
                for what, changed in mutations(text, tolerances, dice):
                    new = copy.deepcopy(output)
                    change(new, lambda name, old: changed if name == key else old)  # noqa: B023
                    found = next(differences([output], [new], tolerances, replaced), None)
                    made, missed = made + 1, missed if found else [*missed, (where, what, changed)]
            other = copy.deepcopy(output)
            if output.output_type == "stream":
                other.name = "stderr"
            else:
                other.output_type = "display_data" if output.output_type == "execute_result" else "execute_result"
            for new in ([other], [], [output, output]):
                new = outputs[:i] + new + outputs[i + 1 :]
                made, missed = (
                    made + 1,
                    missed if any(differences(outputs, new)) else [*missed, (where, kind_of(output))],
                )
    assert made and not missed


def jittered(text, tolerances, dice):
    """Move every number of a text within its tolerance; one that gets longer takes blanks away, as in a column."""
    pieces, end = [], 0
    for match in NUMBER.finditer(text):
        number, new = Number(match), match[0]
        allowed = allowed_at(match, tolerances)
        for step in dice.sample([-1, 1, dice.uniform(-1, 1), 0.5, -0.5], 5) * bool(allowed):
            new = printed(number.value + allowed * Decimal(step), number)
            moved = Number(NUMBER.fullmatch(new)).value
            if abs(moved - number.value) <= allowed and moved * number.value >= 0:
                break
            new = match[0]
        words, longer = text[end : match.start()], len(new) - len(match[0])
        if words.endswith("  "):
            words = words[: len(words) - longer] if longer > 0 else words + " " * -longer
        pieces += [words, new]
        end = match.end()
    return "".join(pieces) + text[end:]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_number_that_moves_within_its_tolerance_never_fails(path):
    dice, moved = random.Random(0), 0
    for where, outputs, tolerances in compared(path):
        for _ in range(50):
            new = copy.deepcopy(outputs)
            for output in new:
                change(output, lambda key, text: text if key in EXACT else jittered(text, tolerances, dice))  # noqa: B023
            moved += new != outputs
            assert not list(differences(outputs, new, tolerances, replaced)), where
    assert moved


# As nbval runs it

CELLS = [  # source, committed outputs, metadata, whether it must pass
    ("print('loss 1.34')", [stream("loss 1.35\n")], {}, True),
    ("print('loss 1.34')", [stream("loss 1.37\n")], {}, False),
    ("print('loss 1.34')", [stream("loss 1.37\n")], {"tolerance": [{"decimals": "5 %"}]}, True),
    ("print('loss nan')", [stream("loss 1.34\n")], {}, False),
    ("print('seven')", [stream("eleven\n")], {}, False),
    ("print('one')", [stream("one\ntwo\n")], {}, False),
    ("print('one')", [], {}, False),
    ("import sys; print('one', file=sys.stderr)", [stream("one\n")], {}, False),
    ("print('took 3 s')", [stream("took 5 s\n")], {}, True),
    ("print('fit:   0%|     | 0/9')", [stream("(a progress bar)\n")], {}, True),
    ("display('a')", [data(text_plain="'a'")], {}, True),
    ("display('a')", [data("execute_result", text_plain="'a'")], {}, False),
    ("display({'text/plain': 'a', 'image/png': ''}, raw=True)", [data(text_plain="a")], {}, False),
    ("[][1]", [new_output("error", ename="KeyError", evalue="1")], {"tags": ["raises-exception"]}, False),
    ("print('seven')", [stream("eleven\n")], {"tags": ["nbval-ignore-output"]}, True),
]


def verdicts_of(tmp_path, device):
    """Run a notebook of CELLS under the configuration of the project; return {cell: passed} and what pytest said."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "notebooks").mkdir()
    for name in ("pyproject.toml", "conftest.py", "tests/comparer.py", "tests/nbval.cfg"):
        shutil.copy(ROOT / name, tmp_path / name)
    cells = [
        new_code_cell(source, outputs=outputs, metadata=metadata, execution_count=1)
        for source, outputs, metadata, _ in CELLS
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / "tiny.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "--color=no", "notebooks/tiny.ipynb"],
        cwd=tmp_path, env=os.environ | {"PYTEST_ADDOPTS": "", "DEVICE": device}, capture_output=True, text=True,
    )  # fmt: skip
    words = re.findall(r"(?m)^(PASSED|FAILED) .*Cell (\d+)", done.stdout)
    return {int(number): word == "PASSED" for word, number in words}, done.stdout


@pytest.mark.slow
def test_nbval_uses_it_with_the_configuration_of_the_project(tmp_path):
    verdicts, said = verdicts_of(tmp_path, device="cpu")
    assert verdicts == {i: passes for i, (*_, passes) in enumerate(CELLS)}, said
    assert "line 1: 1.37 is now 1.34, tolerance 0.01: 'loss 1.34'" in said


@pytest.mark.slow
def test_on_another_device_than_the_cpu_nothing_is_compared(tmp_path):
    verdicts, said = verdicts_of(tmp_path, device="cuda")
    assert verdicts == dict.fromkeys(range(len(CELLS)), True), said


def test_it_is_loaded_here_too():
    assert IPyNbCell.compare_outputs is compare_outputs
