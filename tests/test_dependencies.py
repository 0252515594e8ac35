"""requirements.txt is the truth: what is imported is declared, what is declared is used, all of it pinned."""

import ast
import re
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
LINES = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
PINS = dict(line.split("==") for line in LINES[:-1])
PROVIDERS = packages_distributions()

# Used without being imported: the file that uses it, and how.
COMMANDS = {
    "ipywidgets": ("helpers/training.py", "tqdm.auto"),  # draws the progress bars of notebooks
    "jupyterlab": ("Makefile", "jupyter lab"),
    "notebook": ("tests/test_explorer_browser.py", '"notebook"'),
    "voila": ("tests/test_explorer_browser.py", '"voila"'),
    "nbval": ("pyproject.toml", "--nbval"),
    "pytest-xdist": ("Makefile", "--dist"),
    "ruff": ("Makefile", "ruff check"),
}


def distributions(module):
    """Return the installed packages that provide a module, spelt as in requirements.txt."""
    return {name.replace("_", "-").lower() for name in PROVIDERS.get(module, ())}


def sources():
    """Yield (path, Python source) of every script, module, test and notebook of the project."""
    for folder in (".", "helpers", "tests", "benchmarks", "docs"):
        for path in sorted((ROOT / folder).glob("*.py")):
            yield path, path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                yield path, re.sub(r"(?m)^[%!].*$", "", cell.source)


def imported():
    """Return the third-party packages that are imported, each with one file that does so."""
    ours = {path.stem for path, _ in sources()} | {"helpers"}
    found = {}
    for path, source in sources():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            found |= {name.split(".")[0]: path.relative_to(ROOT) for name in names}
    return {name: path for name, path in found.items() if name not in ours | sys.stdlib_module_names}


def test_every_import_is_declared():
    undeclared = {name: str(path) for name, path in imported().items() if not distributions(name) & PINS.keys()}
    assert not undeclared, "add the package to requirements.txt"


def test_every_declared_package_is_used():
    used = set().union(*map(distributions, imported()))
    used |= {name for name, (path, words) in COMMANDS.items() if words in (ROOT / path).read_text(encoding="utf-8")}
    unused = sorted(PINS.keys() - used)
    assert not unused, "drop it from requirements.txt, or add its use to COMMANDS"


@pytest.mark.parametrize("name", PINS)
def test_the_pinned_version_is_installed(name):
    assert version(name).split("+")[0] == PINS[name]  # torch's CPU build is 2.13.0+cpu


def test_the_project_itself_comes_last():
    assert LINES[-1] == "-e ."
