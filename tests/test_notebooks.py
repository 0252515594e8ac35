"""The notebooks as files: executed, portable, readable. Whether they run is tested by nbval."""

import ast
import dis
import re
from collections import Counter
from pathlib import Path
from types import CodeType

import nbformat
import pytest
from comparer import KINDS, tolerances_of
from nbval.plugin import get_sanitize_patterns

FOLDER = Path(__file__).parents[1] / "notebooks"
CHAPTERS = sorted(FOLDER.glob("[0-9]*.ipynb"))
SOLUTIONS = sorted((FOLDER / "solutions").glob("*.ipynb"))
NOTEBOOKS = [*CHAPTERS, *SOLUTIONS, FOLDER / "museum_of_bugs.ipynb"]

# Folders that exist on one machine only, and addresses in memory.
PRIVATE = re.compile(
    r"(?<![\w.])(/(home|root|tmp|work|Users|usr|opt|var|private)|~)/|[A-Z]:\\\\?Users| at 0x[0-9a-f]{6}"
)

(DURATION,) = (
    re.compile(pattern)
    for pattern, replacement in get_sanitize_patterns((Path(__file__).parent / "nbval.cfg").read_text())
    if replacement == "(a duration)"
)


def name_of(path):
    return path.relative_to(FOLDER).with_suffix("").as_posix()


@pytest.fixture(params=NOTEBOOKS, ids=name_of)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def python(cell):
    """Return the cell's syntax tree, its IPython lines (%time, !ls) left out."""
    return ast.parse("\n".join(line for line in cell.source.splitlines() if not line.startswith(("%", "!"))))


def texts(output):
    """Yield every text of an output that a reader can see."""
    yield output.get("text", "")
    yield output.get("evalue", "")
    yield from output.get("traceback", ())
    yield from (str(value) for kind, value in output.get("data", {}).items() if not kind.startswith("image/"))


def test_they_are_numbered_without_a_gap():
    numbers = [int(path.stem[:2]) for path in CHAPTERS]
    assert numbers, "there is no notebook"
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_is_executed_from_top_to_bottom(notebook):
    """nbval compares nothing where execution_count is null, so a cell that never ran would always pass."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "run `make notebooks`"


def test_holds_an_error_exactly_where_one_is_announced(notebook):
    for cell in code_cells(notebook):
        error = any(output.output_type == "error" for output in cell.outputs)
        assert error == ("raises-exception" in cell.metadata.get("tags", ())), cell.source


def test_a_cell_that_is_compared_less_strictly_says_why(notebook):
    for cell in code_cells(notebook):
        if "nbval-ignore-output" in cell.metadata.get("tags", ()):
            assert cell.metadata.get("reason"), f"metadata needs a reason to ignore the output of: {cell.source}"
        printed = "".join(output.get("text", "") for output in cell.outputs)
        for tolerance in tolerances_of(cell):
            assert tolerance.reason and any(getattr(tolerance, kind) for kind in KINDS), tolerance
            assert tolerance.where in printed, tolerance


def test_nearly_every_output_is_compared():
    cells = [cell for path in NOTEBOOKS for cell in code_cells(nbformat.read(path, as_version=4))]
    assert sum("nbval-ignore-output" in cell.metadata.get("tags", ()) for cell in cells) <= 8


def test_durations_are_replaced_only_where_the_cell_measures_some(notebook):
    """The pattern must not take a number out of the comparison that is no duration."""
    for cell in code_cells(notebook):
        if any(DURATION.search(text) for output in cell.outputs for text in texts(output)):
            assert "seconds" in cell.source, cell.source


def test_runs_on_the_kernel_of_any_machine(notebook):
    assert notebook.metadata.kernelspec.name == "python3"


def test_has_no_widget_state(notebook):
    """GitHub refuses the whole notebook when metadata.widgets lacks its state."""
    assert "widgets" not in notebook.metadata


def test_has_no_semicolon_at_the_end_of_a_cell(notebook):
    """nbval runs cells without IPython's history, where the semicolon hides nothing."""
    for cell in code_cells(notebook):
        assert not cell.source.rstrip().endswith(";"), cell.source


def test_has_no_star_import(notebook):
    for cell in code_cells(notebook):
        imports = [node for node in ast.walk(python(cell)) if isinstance(node, ast.ImportFrom)]
        assert not any(alias.name == "*" for node in imports for alias in node.names), cell.source


def test_shows_nothing_of_the_machine_it_ran_on(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            for text in texts(output):
                assert not PRIVATE.search(text), f"{PRIVATE.search(text)[0]} in the output of: {cell.source}"


def names_of(cell):
    """Return the names that a cell binds, and those that it takes from other cells; a function takes all it reads."""
    code = compile(python(cell), "cell", "exec")
    bound, taken = set(), set()

    def walk(code, at_once):
        for step in dis.get_instructions(code):
            if isinstance(step.argval, CodeType):  # a comprehension runs where it stands, a function maybe later
                name = step.argval.co_name
                walk(step.argval, at_once and name.startswith("<") and name != "<lambda>")
            elif at_once and step.opname == "STORE_NAME":
                bound.add(step.argval)
            elif step.opname in ("LOAD_NAME", "LOAD_GLOBAL") and not (at_once and step.argval in bound):
                taken.add(step.argval)

    walk(code, at_once=True)
    return bound, taken


def test_a_name_that_cells_share_means_one_thing(notebook):
    """Then, after a full run, any cell can be run again: what it takes from others is still what it was."""
    names = [names_of(cell) for cell in code_cells(notebook)]
    times_bound = Counter(name for bound, _ in names for name in bound)
    twice = {name for _, taken in names for name in taken if times_bound[name] > 1}
    assert not twice


def test_keeps_its_cells_short(notebook):
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= 30, cell.source


def test_introduces_its_code_in_words(notebook):
    pairs = list(zip(notebook.cells, notebook.cells[1:]))
    introduced = [above.cell_type == "markdown" for above, cell in pairs if cell.cell_type == "code"]
    assert sum(introduced) >= 0.8 * len(introduced)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_is_small_enough_to_be_shown_by_code_hosts(path):
    assert path.stat().st_size < 2_000_000


# exercises, solutions, glossary

LINK = re.compile(r"\]\((?!https?:)([^)]+)\)")


def prose(path):
    """Return the Markdown of a notebook, its code and formulas left out."""
    return "\n\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")


def exercises(path):
    """Return the grades of a chapter's exercises, in order."""
    part = re.search(r"^## Try it\n(.+?)^## ", prose(path), re.MULTILINE | re.DOTALL)[1]
    found = re.findall(r"^(\d+)\. \*\*(\w+)\b", part, re.MULTILINE)
    assert [int(number) for number, _ in found] == list(range(1, len(found) + 1)) and found, part
    return [grade for _, grade in found]


@pytest.mark.parametrize("path", CHAPTERS, ids=name_of)
def test_every_exercise_is_graded_and_solved(path):
    grades = exercises(path)
    assert set(grades) <= {"Predict", "Change", "Extend", "Research"}
    solution = FOLDER / "solutions" / path.name
    assert f"](solutions/{path.name})" in prose(path) and f"](../{path.name})" in prose(solution)
    solved = re.findall(r"^## (\d+)\. (\w+)", prose(solution), re.MULTILINE)
    assert solved == [(str(number), grade) for number, grade in enumerate(grades, 1)]


def test_there_are_as_many_solutions_as_chapters():
    assert [path.name for path in SOLUTIONS] == [path.name for path in CHAPTERS]


@pytest.mark.parametrize("path", [*NOTEBOOKS, FOLDER / "glossary.md"], ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    text = path.read_text("utf-8") if path.suffix == ".md" else prose(path)
    for target in LINK.findall(text):
        file, _, anchor = target.partition("#")
        place = path.parent / file if file else path
        assert place.exists(), target
        if anchor:
            assert f'<a id="{anchor}">' in place.read_text("utf-8"), target


def test_the_glossary_is_in_alphabetical_order():
    terms = re.findall(r'^<a id="[\w-]+"></a>\*\*(.+?)\*\*', (FOLDER / "glossary.md").read_text("utf-8"), re.MULTILINE)
    assert len(terms) > 100 and terms == sorted(terms, key=str.lower)
