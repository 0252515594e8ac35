"""What is loaded cannot run code, and what is served stays on this machine."""

import re
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]


def shipped():
    """Yield (name, source) of all that a reader runs: helpers, notebooks and scripts."""
    for pattern in ("*.py", "helpers/**/*.py", "tools/*.py", "benchmarks/*.py"):
        for path in ROOT.glob(pattern):
            yield path.name, path.read_text("utf-8")
    for path in ROOT.glob("notebooks/**/*.ipynb"):
        for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
            if cell.cell_type == "code":
                yield f"{path.name} {number}", cell.source


def test_weights_and_arrays_are_loaded_without_pickled_objects():
    """Ruff's S rules (pyproject.toml) refuse pickle, eval, exec and shells; these two take theirs as an option."""
    for name, source in shipped():
        for call in re.findall(r"torch\.load\(.*", source):
            assert "weights_only=True" in call, name
        assert "allow_pickle=True" not in source, name


def test_jupyterlab_asks_for_its_token_and_listens_on_this_machine_only():
    lab = re.search(r"jupyter lab (.+)", (ROOT / "Makefile").read_text("utf-8"))[1]
    assert "--ip=127.0.0.1" in lab
    assert not re.search("token|password|disable_check_xsrf|allow_origin", lab)


def test_every_download_is_by_https_and_checked_against_a_digest():
    for name, digests in (("data", 8), ("cifar", 1)):
        source = (ROOT / "helpers" / f"{name}.py").read_text("utf-8")
        assert "http:" not in source
        assert len(re.findall('"[0-9a-f]{64}"', source)) == digests
