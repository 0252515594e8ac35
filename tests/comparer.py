"""Compare a cell's new outputs with the committed ones: words exactly, numbers within a tolerance.

A pytest plugin: nbval runs the notebooks and calls `compare_outputs` instead of its own comparison. What never repeats,
durations and progress bars, nbval has replaced before, by the patterns of nbval.cfg.

- Decimal numbers (1.34, 5e-07) and percentages (46 %, 99.5%) may move by one unit of their last printed digit: the
  least that can happen where two processors round apart.
- Whole numbers are exact, and so is every digit that belongs to a word: vae20, 1020x130, 0x1f, 3c, 2.13.0.
- Signs, decimals, nan and inf, lines, streams, kinds of output and the order of all these are exact; of images only
  the presence counts, and Markdown is exact to the letter, for it shows source code.

A cell that needs more states it in its metadata, with the reason and, if not every line needs it, where:

    "tolerance": [{"where": "arrived", "percentages": 4, "reason": "a share of 200 walks has this standard error"}]
"""

import os
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import islice

from nbval.plugin import IPyNbCell

MINUS = "\N{MINUS SIGN}"
NUMBER = re.compile(
    rf"(?<![\w.])(?:(?<![\w)\]])[-+{MINUS}])?"  # glued to a word it is none; after one a dash is no sign
    r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]\d+)?(?!\w|\.\d)"
)
WIDGET = "application/vnd.jupyter.widget-view+json"  # a random id, which run.py leaves out of the committed file
KINDS = ("decimals", "percentages", "whole")  # of numbers
EXACT = ("ename", "text/markdown")  # fields without numbers that could move: Markdown shows source code
SHOWN = 5  # differences named before the rest is counted


@dataclass(frozen=True)
class Tolerance:
    """State how far the numbers of a cell may be from the committed ones, as a distance (4) or a share ("10 %")."""

    where: str = ""  # words of the committed lines it is about
    decimals: float | str = 0
    percentages: float | str = 0
    whole: float | str = 0
    constants: tuple = ()  # whole numbers that stay exact
    reason: str = ""

    def of(self, number):
        """Return the largest difference that passes, never less than what rounding does."""
        if number.kind == "whole" and number.value in self.constants:
            return Decimal(0)
        stated = str(getattr(self, number.kind))
        share = stated.endswith("%")
        allowed = Decimal(stated.rstrip(" %"))
        allowed = abs(number.value) * allowed / 100 if share else allowed
        return max(allowed, Decimal(0) if number.kind == "whole" else number.unit)


class Number:
    """A number as it is printed."""

    def __init__(self, match):
        self.text = match[0]
        self.percent = re.match(r"\s?%", match.string[match.end() :]) is not None

    @cached_property
    def value(self):
        return Decimal(self.text.replace(",", "").replace(MINUS, "-"))

    @property
    def unit(self):
        """One unit of the last printed digit."""
        return Decimal(1).scaleb(self.value.as_tuple().exponent)

    @property
    def kind(self):
        return "percentages" if self.percent else "decimals" if re.search(r"[.eE]", self.text) else "whole"

    @property
    def form(self):
        """What a format string fixes: the decimals, an exponent, a plus, the separators of thousands."""
        mantissa, _, exponent = self.text.lower().partition("e")
        separated = "," in self.text if abs(self.value) >= 1000 else None
        plus = self.text[0] == "+" if self.value > 0 else None
        return len(mantissa.partition(".")[2]), bool(exponent), separated, plus

    def agrees(self, other, allowed):
        """Tell whether another number may stand in the place of this one."""
        if not allowed:
            return self.text == other.text
        same_form = all(a == b or None in (a, b) for a, b in zip(self.form, other.form))
        same_sign = self.value * other.value >= 0
        return same_form and same_sign and abs(self.value - other.value) <= allowed


def tolerances_of(cell):
    """Return what a cell's metadata state."""
    return [Tolerance(**stated) for stated in cell.metadata.get("tolerance", ())]


def tolerance_of(line, tolerances):
    """Return the first tolerance that is about a line."""
    return next((tolerance for tolerance in tolerances if tolerance.where in line), Tolerance())


def parts(line):
    """Split a line into the words between its numbers, and the numbers.

    A number that gets longer takes a blank away where columns are aligned, so a row of blanks beside one counts as one.
    """
    line = line.rstrip()
    words, numbers = NUMBER.split(line), [Number(match) for match in NUMBER.finditer(line)]
    for i in range(len(numbers)):
        words[i] = re.sub(r"\s+$", " ", words[i])
        words[i] = re.sub(r"([(\[{=]) $", r"\1", words[i])
        words[i + 1] = re.sub(r"^\s+", " ", words[i + 1])
    if numbers and words[0].isspace():
        words[0] = ""
    return words, numbers


def text_differences(committed, new, tolerances):
    """Yield a line about everything in which a new text differs from the committed one."""
    old_lines, new_lines = committed.split("\n"), new.split("\n")
    for i, (old_line, new_line) in enumerate(zip(old_lines, new_lines), 1):
        if old_line == new_line:
            continue
        (old_words, old_numbers), (new_words, new_numbers) = parts(old_line), parts(new_line)
        if old_words != new_words:
            yield f"line {i} was {old_line!r}, is {new_line!r}"
            continue
        tolerance = tolerance_of(old_line, tolerances)
        for old, number in zip(old_numbers, new_numbers):
            allowed = tolerance.of(old)
            if not old.agrees(number, allowed):
                near = f"tolerance {allowed.normalize():f}"
                yield f"line {i}: {old.text} is now {number.text}, {near}: {new_line.strip()!r}"
    if len(old_lines) != len(new_lines):
        longer, verb = (old_lines, "lost") if len(old_lines) > len(new_lines) else (new_lines, "added")
        rest = "\n".join(longer[min(len(old_lines), len(new_lines)) :])
        yield f"{len(old_lines)} lines are now {len(new_lines)}; {verb} at the end: {rest!r}"


def kind_of(output):
    """Name what an output is: its stream, an error, or its type and the formats of its data."""
    if output["output_type"] != "stream":
        return " ".join([output["output_type"], *sorted(output.get("data", {}).keys() - {WIDGET})])
    return output["name"]


def fields(output):
    """Yield (format, content) of everything in an output that is compared."""
    yield from ((key, output[key]) for key in ("text", "ename", "evalue") if key in output)
    for key, content in sorted(output.get("data", {}).items()):
        if key != WIDGET and not key.startswith("image/"):
            yield key, content


def differences(committed, new, tolerances=(), replaced=lambda text: text):
    """Yield a line about everything in which new outputs differ from the committed ones.

    Both are lists of outputs as in a notebook, the pieces of a stream joined; `replaced` takes out of a text what
    never repeats.
    """
    was, found = [kind_of(output) for output in committed], [kind_of(output) for output in new]
    if was != found:
        yield f"the outputs were {was}, are {found}"
        return
    for kind, old_output, new_output in zip(was, committed, new):
        for (key, old), (_, content) in zip(fields(old_output), fields(new_output)):
            where = kind if key == "text" else key
            if not isinstance(old, str) or key in EXACT:
                if old != content:
                    yield f"{where}: was {str(old)[:200]!r}, is {str(content)[:200]!r}"
                continue
            for difference in text_differences(replaced(old), replaced(content), tolerances):
                yield f"{where}: {difference}"


def compare_outputs(cell, new, committed, skip_compare=None):
    """Do what nbval's method of this name does: tell whether outputs agree, and keep what to say if not."""
    found = differences(committed, new, tolerances_of(cell.cell), cell.sanitize)
    cell.comparison_traceback = list(islice(found, SHOWN))
    more = sum(1 for _ in found)
    cell.comparison_traceback += [f"and {more} more"] * bool(more)
    return not cell.comparison_traceback


def pytest_configure(config):
    IPyNbCell.compare_outputs = compare_outputs
    # The committed outputs are the CPU's. On a device that DEVICE names, notebooks run and their assertions must hold.
    if os.environ.setdefault("DEVICE", "cpu") != "cpu":
        config.option.nbval_lax = True
