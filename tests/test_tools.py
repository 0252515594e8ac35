"""The scripts people start by hand, and the promises of the Makefile."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image, ImageChops

ROOT = Path(__file__).parents[1]


def start(script, *arguments, **environment):
    return subprocess.run(
        [sys.executable, script, *arguments], env=os.environ | environment, capture_output=True, text=True
    )


# test.py


@pytest.mark.slow
def test_a_machine_that_passes_these_tests_is_ready():
    done = start(ROOT / "test.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(re.match(r"\[(OK|--)\] ", line) for line in done.stdout.splitlines()[:-1])


@pytest.mark.parametrize(("platform", "python"), [("win32", "Scripts/python.exe"), ("linux", "bin/python")])
def test_it_knows_where_the_environment_keeps_its_python(platform, python, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    assert runpy.run_path(ROOT / "test.py")["VENV"] == ROOT / ".venv" / python


@pytest.mark.slow
def test_a_fact_that_fails_is_told_on_its_line_and_in_the_exit_code(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"not MNIST")
    done = start(ROOT / "test.py", MNIST_DIR=str(tmp_path))
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("[FAIL]")]
    assert len(failed) == 1 and str(tmp_path) in failed[0]


def test_without_any_package_it_says_what_to_install(tmp_path):
    shutil.copy(ROOT / "test.py", tmp_path)
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    done = subprocess.run(
        [sys.executable, "-S", "-E", tmp_path / "test.py"], capture_output=True, text=True
    )  # -S: no site-packages
    assert done.returncode == 1 and not done.stderr
    assert "needs torch, which is not installed; run `make test`" in done.stdout


# tools/run.py


@pytest.fixture
def house(tmp_path):
    """Return a copy of run.py, and the function that gives it notebooks."""
    for folder in ("tools", "notebooks"):
        (tmp_path / folder).mkdir()
    script = Path(shutil.copy(ROOT / "tools" / "run.py", tmp_path / "tools"))

    def write(name, *sources, **metadata):
        cells = [new_code_cell(source) for source in sources]
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
        return path

    return script, write


@pytest.mark.slow
def test_run_leaves_the_notebooks_alone_and_the_results_in_build(house, tmp_path):
    script, write = house
    before = write("01_one", "print(6 * 7)").read_bytes()
    done = start(script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"01_one +\d+\.\d s   ok", done.stdout)
    assert (tmp_path / "notebooks" / "01_one.ipynb").read_bytes() == before
    build = tmp_path / "build"
    assert "42" in nbformat.read(build / "01_one.ipynb", as_version=4).cells[0].outputs[0].text
    assert "42" in (build / "01_one.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_run_names_the_cell_that_fails_and_goes_on(house):
    script, write = house
    write("01_bad", "1", "1 / 0")
    write("02_dead", "import os; os._exit(1)")
    write("03_good", "1")
    done = start(script)
    assert done.returncode == 1
    assert "cell [2]: ZeroDivisionError: division by zero" in done.stdout
    assert "cell [1]: the kernel died" in done.stdout
    assert "1 of 3 notebooks ok" in done.stdout


@pytest.mark.slow
def test_from_scratch_the_notebook_that_shows_all_models_comes_last(house):
    script, write = house
    for name in ("00_shows", "01_trains"):
        write(name, "1")
    order = []
    for retrain in ("0", "1"):
        order.append(re.findall(r"^(0\d)_", start(script, RETRAIN=retrain).stdout, re.MULTILINE))
    assert sorted(order[0]) == ["00", "01"] and order[1] == ["01", "00"]  # with weights, each when it is done


@pytest.mark.slow
def test_in_place_writes_outputs_that_are_the_same_on_every_machine(house):
    script, write = house
    path = write("01_one", "import json", "json.loads('')", widgets={"state": {}})
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].metadata.tags = ["raises-exception"]
    nbformat.write(notebook, path)

    done = start(script, "--in-place")
    assert done.returncode == 0, done.stdout + done.stderr
    first = path.read_text(encoding="utf-8")
    assert [cell["execution_count"] for cell in json.loads(first)["cells"]] == [1, 2]
    assert "widgets" not in first and str(Path.home()) not in first and sys.base_prefix not in first
    start(script, "--in-place")
    assert path.read_text(encoding="utf-8") == first


@pytest.mark.slow
def test_in_place_keeps_the_old_outputs_of_a_notebook_that_fails(house):
    script, write = house
    path = write("01_bad", "1 / 0")
    before = path.read_bytes()
    assert start(script, "--in-place").returncode == 1
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_folder_s_notebooks_run_in_it_and_are_named_with_it(house, tmp_path):
    script, write = house
    (tmp_path / "notebooks" / "solutions").mkdir()
    for name in ("01_one", "solutions/01_one"):
        write(name, "from pathlib import Path", "Path.cwd().name")
    assert "1 of 1" in start(script, "01").stdout
    assert "1 of 1" in start(script, "solutions").stdout
    copies = [tmp_path / "build" / folder / "01_one.ipynb" for folder in ("", "solutions")]
    folders = [nbformat.read(path, as_version=4).cells[1].outputs[0].data["text/plain"] for path in copies]
    assert folders == ["'notebooks'", "'solutions'"]


@pytest.mark.slow
def test_run_refuses_a_name_that_no_notebook_has(house):
    done = start(house[0], "09")
    assert done.returncode == 1 and "no notebook" in done.stderr


# tools/film.py


def test_the_film_of_the_learning_moves_and_is_small_enough_to_be_shown():
    path = ROOT / "docs" / "learning.webp"
    assert path.stat().st_size <= 1_500_000
    with Image.open(path) as film:
        first, last = (film.seek(number) or film.convert("RGB") for number in (0, film.n_frames - 1))
    assert film.n_frames >= 30 and ImageChops.difference(first, last).getbbox()


# Makefile


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_says_which_python_it_needs(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / "pyproject.toml").touch()
    old = tmp_path / "python3.10"
    old.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.version_info = (3, 10); $2"\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "-C", tmp_path, "run", f"PYTHON={old}"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode != 0 and "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()
