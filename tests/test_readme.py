"""What the README states is what the project prints and holds."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
RESULTS = re.findall(r"^\| (.+?) \| (`.+?) \| \[.+?\]\((notebooks/.+?\.ipynb)\) \|$", README, re.MULTILINE)


def printed(path):
    """Return all that a notebook prints, with runs of spaces folded."""
    cells = nbformat.read(ROOT / path, 4).cells
    texts = [output.get("text", "") for cell in cells for output in cell.get("outputs", [])]
    return re.sub(r"\s+", " ", " ".join(texts))


@pytest.mark.parametrize(("what", "figures", "notebook"), RESULTS, ids=[what for what, _, _ in RESULTS])
def test_every_result_is_printed_by_the_notebook_it_names(what, figures, notebook):
    output = printed(notebook)
    for figure in re.findall(r"`(.+?)`", figures):
        assert figure in output, f"{notebook} does not print {figure!r}"


def test_the_results_are_there():
    assert len(RESULTS) >= 8


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)(.+?)\)", README))))
def test_every_link_leads_somewhere(target):
    path = ROOT / target
    assert path.is_dir() or path.stat().st_size > 0


def test_every_notebook_is_in_the_table():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"](notebooks/{path.name})" in README
