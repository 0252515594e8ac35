"""The site in headless Chromium: every page and link, with no network."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import lab
import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site in a copy of what it is made from; return its folder."""
    checkout = tmp_path_factory.mktemp("site")
    for folder in ("docs", "helpers", "notebooks", "tools"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("models", "mnist_data"):
        (checkout / name).symlink_to(ROOT / name)
    for name in ("README.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, checkout)
    done = subprocess.run(
        [sys.executable, checkout / "tools/build_site.py"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return checkout / "build" / "site"


@pytest.fixture(scope="module")
def page(site):
    with lab.browser() as page:
        page.asked = []
        page.context.on("request", lambda request: page.asked.append(request.url))
        yield page


def test_every_page_opens_from_disk_without_a_network_and_every_link_ends(site, page):
    links, seen = {(site / "index.html").as_uri()}, set()
    while links - seen:
        address = (links - seen).pop()
        seen.add(address)
        page.goto(address)
        found = page.eval_on_selector_all("a[href], img[src], iframe[src]", "all => all.map(a => a.href || a.src)")
        own = {urldefrag(urljoin(address, link))[0] for link in found if link.startswith("file:")}
        lost = {link for link in own if not Path(unquote(link.removeprefix("file://"))).is_file()}
        assert not lost, f"{address} links to {lost}"
        assert not page.locator("merror").count(), f"{address} has a formula that did not parse"
        links |= {link for link in own if link.endswith(".html")}
    assert {Path(path).stem for path in seen} >= {path.stem for path in (ROOT / "notebooks").rglob("*.ipynb")}
    assert not page.problems
    outside = [address for address in page.asked if not re.match("file:|data:|blob:|about:", address)]
    assert not outside


def test_the_front_page_hovers_also_on_a_phone_in_the_dark(site, page):
    for context in ({}, {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}):
        screen = page.context.browser.new_page(**context)
        screen.goto((site / "index.html").as_uri())
        explorer = screen.frame_locator("iframe.explorer").first
        picture, plane = explorer.locator("canvas").nth(1), explorer.locator("canvas").first
        plane.scroll_into_view_if_needed()
        box = plane.bounding_box()
        shown = set()
        for part in (0.3, 0.5, 0.7):
            screen.mouse.move(box["x"] + part * box["width"], box["y"] + part * box["height"])
            screen.wait_for_timeout(200)
            shown.add(explorer.locator("body").inner_text())
        assert len(shown) == 3 and picture.count()
        assert screen.evaluate("document.documentElement.scrollWidth <= innerWidth")
        screen.close()


def test_it_is_small(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) <= 25e6
