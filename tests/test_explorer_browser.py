"""The explorer in JupyterLab, driven by a real pointer in headless Chromium."""

import lab
import pytest
from small import SETUP

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page():
    if not lab.CHROMIUM:
        pytest.skip("no Chromium on this machine: apt install chromium")
    with lab.browser() as page:
        yield page


@pytest.fixture(scope="module")
def jupyter(page, tmp_path_factory):
    """JupyterLab with one notebook open: two explorers, and a kernel to run more code in."""
    folder = tmp_path_factory.mktemp("lab")
    cells = [SETUP, "explorer = LatentExplorer(model, x, y, classifier)\nexplorer"]
    lab.notebook(folder / "book.ipynb", *cells, "other = LatentExplorer(model, x, y)\nother")
    with lab.server(folder) as address:
        lab.run_all(page, address("lab/tree/book.ipynb"))
        page.wait_for_selector(".lx-live >> nth=1", timeout=60_000)
        yield page


def ink(page, which=0):
    """Return the picture on screen, as bytes in a string."""
    return page.locator(".lx-card .lx-ink").nth(which).evaluate("canvas => canvas.toDataURL()")


def place(page, which=0):
    return page.locator(".lx-line .lx-value").nth(2 * which).inner_text().replace("\u2212", "-")


def hover(page, u, v, which=0):
    box = page.locator(".lx-plane").nth(which).bounding_box()
    page.mouse.move(box["x"] + u * box["width"], box["y"] + v * box["height"])


def changes(page, before, which=0):
    page.wait_for_function(
        "([old, k]) => document.querySelectorAll('.lx-card .lx-ink')[k].toDataURL() != old", arg=[before, which]
    )


def test_pointer_keys_and_touch_change_the_digit(jupyter):
    before, other = ink(jupyter), ink(jupyter, 1)
    hover(jupyter, 0.2, 0.3)
    changes(jupyter, before)
    before, at = ink(jupyter), place(jupyter)
    jupyter.locator(".lx-plane").first.focus()
    jupyter.keyboard.press("Shift+ArrowRight")
    changes(jupyter, before)
    assert place(jupyter) != at
    jupyter.keyboard.press("Home")
    jupyter.wait_for_function("document.querySelector('.lx-value').textContent == '0.00,  0.00'")
    assert ink(jupyter, 1) == other  # two explorers on a page do not disturb each other
    assert not jupyter.problems
