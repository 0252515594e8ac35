"""Imports inside helpers run one way, down the list, and none climbs into the explorer's room."""

import ast
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "helpers"

# What a module may import of helpers, itself or through others.
BELOW = {
    "checks": (),
    "idx": (),
    "data": ("checks", "idx"),
    "pictures": ("data", "idx"),
    "cifar": ("data",),
    "models": (),
    "losses": ("models",),
    "training": ("data", "models"),
    "recipes": ("data",),
    "checkpoints": ("data", "recipes", "training"),
    "latent": ("checks", "models"),
    "guidance": ("checks", "models"),
    "flow": ("checks", "data", "models", "recipes"),
    "writing": ("checks", "models"),
    "metrics": ("checks", "models"),
    "plots": ("checks",),
    "schematics": ("plots",),
}
ROOM = {"latent", "checks", "plots"}  # what the explorer may import besides itself


def imported(path):
    """Return the modules of helpers that a file imports, whatever the form of the statement."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "helpers" and not node.level:
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}: write `from helpers...`"
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("helpers.")} | (names & set(BELOW))


@pytest.mark.parametrize("name", BELOW)
def test_a_module_imports_what_stands_below_it_and_no_more(name):
    assert imported(HELPERS / f"{name}.py") == set(BELOW[name])


def test_the_order_has_no_circle():
    order = list(BELOW)
    assert all(order.index(below) < order.index(name) for name, belows in BELOW.items() for below in belows)


@pytest.mark.parametrize("path", sorted(HELPERS.glob("explorer/**/*.py")), ids=lambda path: path.stem)
def test_the_explorer_takes_codes_refusals_and_colours_and_no_more(path):
    assert imported(path) <= ROOM | {"explorer"}


def test_nothing_stands_beside_the_list():
    assert {path.stem for path in HELPERS.glob("*.py")} == {"__init__", *BELOW}
