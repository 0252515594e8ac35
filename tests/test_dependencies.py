"""requirements.txt, constraints.txt and pyproject.toml say the same; `deptry` compares them with what is imported."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LINES = [line for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if line and line[0] != "#"]
PINS = dict(line.split("==") for line in LINES[1:-1])
LOCK = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE))
LOCK = {canonicalize_name(name): locked for name, locked in LOCK.items()}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
RANGES = [Requirement(line) for line in sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])]


def test_the_lock_is_read_first_and_the_project_itself_comes_last():
    assert (LINES[0], LINES[-1]) == ("-c constraints.txt", "-e .")


def test_what_is_declared_is_what_is_pinned():
    assert sorted(each.name for each in RANGES) == sorted(PINS)


@pytest.mark.parametrize("each", RANGES, ids=lambda each: each.name)
def test_the_pinned_version_is_in_its_range_locked_and_installed(each):
    assert PINS[each.name] in each.specifier
    assert LOCK[each.name] == PINS[each.name]
    assert version(each.name).split("+")[0] == PINS[each.name]  # torch's CPU build is 2.13.0+cpu
