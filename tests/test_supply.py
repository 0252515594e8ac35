"""What is loaded cannot run code, and what is served stays on this machine; pins are in test_dependencies.py."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
RUNS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}


def shipped():
    """Yield (name, source) of all that a reader runs: helpers, notebooks and scripts."""
    for path in (*ROOT.glob("*.py"), *ROOT.glob("helpers/*.py"), *ROOT.glob("benchmarks/*.py")):
        yield path.name, path.read_text("utf-8")
    for path in ROOT.glob("notebooks/*.ipynb"):
        for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
            if cell.cell_type == "code":
                yield f"{path.name} {number}", cell.source


def runs_code(node):
    """Say whether a piece of syntax can run code that came as data."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        return bool(RUNS_CODE & {name.split(".")[0] for name in names})
    if not isinstance(node, ast.Call):
        return False
    call, options = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
    return (
        call in ("eval", "exec", "os.system")
        or "True" in (options.get("shell"), options.get("allow_pickle"))
        or (call == "torch.load" and options.get("weights_only") != "True")
    )


@pytest.mark.parametrize(
    "source", ["import pickle", "from dill import loads", "eval('1')", "torch.load(p)", "np.load(p, allow_pickle=True)"]
)
def test_what_runs_code_is_recognised(source):
    assert any(map(runs_code, ast.walk(ast.parse(source))))


def test_nothing_shipped_runs_code_that_came_as_data():
    found = {name for name, source in shipped() for node in ast.walk(ast.parse(source)) if runs_code(node)}
    assert not found


def test_jupyterlab_asks_for_its_token_and_listens_on_this_machine_only():
    lab = re.search(r"jupyter lab (.+)", (ROOT / "Makefile").read_text("utf-8"))[1]
    assert "--ip=127.0.0.1" in lab
    assert not re.search("token|password|disable_check_xsrf|allow_origin", lab)


def test_every_download_is_by_https_and_checked_against_a_digest():
    source = (ROOT / "helpers" / "data.py").read_text("utf-8")
    assert "http:" not in source
    assert len(re.findall('"[0-9a-f]{64}"', source)) == 4
