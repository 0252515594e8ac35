"""Notebooks where it is hard to run them: without a network, in strange places, interrupted, with broken data."""

import asyncio
import configparser
import os
import re
import shutil
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
PATTERNS = configparser.RawConfigParser()
PATTERNS.read(ROOT / "tests" / "nbval.cfg")
DURATION = PATTERNS["duration"]

# Python imports a module of this name first of all: no address but this machine's can be reached after it.
NO_NETWORK = """
import socket

def only_here(function):
    def guarded(*given, **more):
        address = next(each for each in given if not isinstance(each, socket.socket))
        host = address[0] if isinstance(address, tuple) else address
        if host and host not in ("127.0.0.1", "localhost", "::1") and not str(host).startswith("/"):
            raise OSError(101, "Network is unreachable")
        return function(*given, **more)
    return guarded

socket.socket.connect, socket.getaddrinfo = only_here(socket.socket.connect), only_here(socket.getaddrinfo)
"""


WHERE = """
import socket, helpers
try:
    socket.create_connection(("ossci-datasets.s3.amazonaws.com", 443), 5)
except OSError as problem:
    print(ascii(helpers.__file__), problem)
"""


@pytest.fixture
def environment(tmp_path):
    """Return the environment of a user in the C locale, with no network and nothing set for this project."""
    (tmp_path / "no network").mkdir()
    (tmp_path / "no network" / "sitecustomize.py").write_text(NO_NETWORK)
    own = {key: value for key, value in os.environ.items() if key not in ("MNIST_DIR", "MODELS_DIR", "RETRAIN")}
    path = {"PYTHONPATH": str(tmp_path / "no network"), "PYTHONDONTWRITEBYTECODE": "1"}
    return own | path | {"LANG": "C", "LC_ALL": "C"}


def client_of(notebook, folder):
    return NotebookClient(notebook, kernel_name="python3", timeout=300, resources={"metadata": {"path": str(folder)}})


def code_cells(name):
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return notebook


def printed(notebook):
    """Return what the cells print, of those whose output is the same everywhere; durations are none of it."""
    cells = [cell for cell in notebook.cells if "nbval-ignore-output" not in cell.metadata.get("tags", ())]
    text = "".join(output.text for cell in cells for output in cell.outputs if output.get("name") == "stdout")
    return re.sub(DURATION["regex"], DURATION["replace"], text)


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_two_at_once_offline_in_a_read_only_checkout_with_a_difficult_path_from_elsewhere(tmp_path, environment):
    checkout = tmp_path / "meine Ziffern äß 数字"
    for folder in ("helpers", "mnist_data"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (checkout, *checkout.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = contents(checkout)  # root may write in spite of the permissions: then it shows here
    environment["PYTHONPATH"] += os.pathsep + str(checkout)

    def run(place):
        (tmp_path / place).mkdir()
        notebook = code_cells("01_data")
        where = nbformat.v4.new_code_cell(WHERE)
        notebook.cells.append(where)
        client_of(notebook, tmp_path / place).execute(env=environment)
        says = "".join(output.text for output in notebook.cells.pop().outputs)  # one print may come in two parts
        assert ascii(str(checkout))[1:-1] in says and "Network is unreachable" in says
        return printed(notebook)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(run, ("one place", "another"))
    assert first == second == printed(code_cells("01_data"))
    assert contents(checkout) == before
    for path in (checkout, *checkout.rglob("*")):
        path.chmod(0o755)


def missing(folder):
    for path in folder.iterdir():
        path.unlink()


def half_downloaded(folder):
    (folder / "train-images-idx3-ubyte.gz").unlink()
    part = folder / ".download-killed"
    part.mkdir(exist_ok=True)
    (part / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b half")


def cut_short(folder):
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:1_000_000])


def one_byte_off(folder):
    path = folder / "t10k-labels-idx1-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_broken_data_is_told_clearly_and_once_repaired_the_same_cell_runs(tmp_path, environment):
    folder = tmp_path / "data"
    shutil.copytree(ROOT / "mnist_data", folder)
    notebook, there = code_cells("02_cnn"), re.escape(str(folder))
    client = client_of(notebook, tmp_path)
    with client.setup_kernel(env=environment | {"MNIST_DIR": str(folder)}):
        client.execute_cell(notebook.cells[0], 0)
        for trouble, says in {
            missing: f"FileNotFoundError: MNIST is incomplete .* Put .* into {there}, or set MNIST_DIR",
            half_downloaded: f"FileNotFoundError: MNIST is incomplete .* Put train-images-idx3-ubyte .* into {there}",
            cut_short: rf"IdxError: {there}[/\\]train-images.*expected .*, found .*Move the file away and run again",
            one_byte_off: rf"IdxError: {there}[/\\]t10k-labels.*expected .*, found .*Move the file away and run again",
        }.items():
            trouble(folder)
            with pytest.raises(CellExecutionError) as error:
                client.execute_cell(notebook.cells[1], 1)
            assert re.match(f"(?s){says}", f"{error.value.ename}: {error.value.evalue}")
            shutil.copytree(ROOT / "mnist_data", folder, dirs_exist_ok=True)
            client.execute_cell(notebook.cells[1], 1)


def test_interrupted_in_mid_cell_and_run_again_in_the_same_kernel(tmp_path, environment):
    notebook = code_cells("01_data")
    client = client_of(notebook, tmp_path)
    with client.setup_kernel(env=environment):
        for again in (False, True):
            for i, cell in enumerate(notebook.cells):
                if "seconds(loader)" in cell.source and not again:
                    endless = nbformat.v4.new_code_cell("while True:\n" + textwrap.indent(cell.source, "    "))
                    threading.Timer(0.5, lambda: asyncio.run(client.km.interrupt_kernel())).start()
                    with pytest.raises(CellExecutionError, match="KeyboardInterrupt"):
                        client.execute_cell(endless, i)
                    break
                client.execute_cell(cell, i)
    assert printed(notebook) == printed(code_cells("01_data"))
