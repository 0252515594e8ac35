"""Drive JupyterLab, Notebook or Voila in headless Chromium: what the browser tests and `make bench` share."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
from playwright.sync_api import sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextlib.contextmanager
def browser(**context):
    """Yield a page of headless Chromium; `page.problems` collects what its console calls an error."""
    flags = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    flags += ["--disable-sync", "--no-sandbox"]  # a sandbox needs rights that containers lack
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = chromium.new_page(**{"viewport": {"width": 1100, "height": 900}} | context)
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        try:
            yield page
        finally:
            chromium.close()


@contextlib.contextmanager
def server(folder, app="lab"):
    """Run `jupyter lab`, `jupyter notebook` or `voila` on a folder; yield a function from a path to its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    home = Path(folder) / ".home"  # no settings of the person who runs this, and none left behind
    news = home / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    news.parent.mkdir(parents=True, exist_ok=True)
    news.write_text('{"fetchNews": "false"}')
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(home),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
    }
    command = [sys.executable, "-m", "voila" if app == "voila" else f"jupyter{'lab' if app == 'lab' else ''}"]
    if app == "notebook":
        command[-1] = "notebook"
    if app == "voila":
        command += [str(folder), f"--port={port}", "--no-browser", "--Voila.ip=127.0.0.1", f"--token={token}"]
    else:
        command += [f"--ServerApp.root_dir={folder}", f"--port={port}", "--no-browser", "--allow-root"]
        command += ["--ip=127.0.0.1", f"--IdentityProvider.token={token}", "--expose-app-in-browser"]
    log = (Path(folder) / f"{app}.log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    base = f"http://127.0.0.1:{port}/"
    try:
        wait_for(base, process, log.name)
        yield lambda path: f"{base}{path}?token={token}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_for(address, process, log=None):
    """Return once a server answers at `address`; raise RuntimeError when its process has ended or a minute is over."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            try:
                urllib.request.urlopen(address, timeout=5)
                return
            except urllib.error.HTTPError:  # it answers, and asks for the token
                return
        time.sleep(0.2)
    raise RuntimeError("the server did not start: " + (Path(log).read_text()[-2000:] if log else address))


def notebook(path, *cells):
    """Write a notebook with these code cells."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, path)


def run_all(page, address):
    """Open a notebook in JupyterLab or Notebook 7 and run every cell."""
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.wait_for_function("window.jupyterapp?.commands?.hasCommand('notebook:run-all-cells')")
    page.evaluate(
        """async () => {
            const panel = window.jupyterapp.shell.currentWidget;
            await panel.sessionContext.ready;
            window.jupyterapp.commands.execute('notebook:run-all-cells');
        }"""
    )


def point(page, u, v):
    """Move the pointer to a share of the width and height of the first explorer's plane."""
    box = page.locator(".lx-plane").first.bounding_box()
    page.mouse.move(box["x"] + 1 + u * (box["width"] - 2), box["y"] + 1 + v * (box["height"] - 2))


def pixels(page, selector=".lx-large"):
    """Return the grey levels of a digit on the page, a list of 784 numbers from 0 to 255."""
    return page.locator(selector).first.evaluate(
        "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, 28, 28).data).filter((_, k) => k % 4 == 3)"
    )


def execute(page, code, wait=True):
    """Run code in the kernel of the notebook on screen, beside its cells; return when it is done, or at once."""
    page.evaluate(
        """async ([code, wait]) => {
            const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            const future = kernel.requestExecute({ code });
            if (!wait) return;
            const reply = await future.done;
            if (reply.content.status != "ok") throw new Error(reply.content.ename + ": " + reply.content.evalue);
        }""",
        [code, wait],
    )
