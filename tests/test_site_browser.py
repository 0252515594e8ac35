"""The site in headless Chromium, with no network: every page and link, its explorers, its looks, its accessibility."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import lab
import pytest
from axe_playwright_python.sync_playwright import Axe

ROOT = Path(__file__).parents[1]
IN_THE_DARK = ("index", "00_explore", "01_data", "glossary", "architecture")  # one page of a kind: it takes its time
PHONE = {"width": 390, "height": 844}
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site in a copy of what it is made from; return its folder."""
    checkout = tmp_path_factory.mktemp("site")
    for folder in ("docs", "helpers", "notebooks", "tools"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob("*_data"):
        (checkout / path.name).symlink_to(path)
    (checkout / "models").symlink_to(ROOT / "models")
    for name in ("README.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, checkout)
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, checkout / "tools/build_site.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return checkout / "build" / "site"


@pytest.fixture(scope="module")
def page(site):
    with lab.browser() as page:
        page.asked = []
        page.context.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda said: page.problems.append(said.text) if said.type == "error" else None)
        page.context.set_offline(True)
        yield page


def serious(page, exclude=(), **options):
    """Return what axe-core finds on a page that keeps people out; `exclude` are elements that it need not look at."""
    context = {"exclude": [[each] for each in exclude]} if exclude else None
    quick = {"resultTypes": ["violations"], "preload": False}  # it would ask for style sheets, and a file may not
    found = Axe().run(page, context, quick | options).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.fixture(scope="module")
def walked(site, page):
    """Follow every link from the front page; return what was found, {path from the site's folder: faults}."""
    links, seen = {(site / "index.html").as_uri()}, {}
    while links - seen.keys():
        address = (links - seen.keys()).pop()
        page.set_viewport_size({"width": 1100, "height": 900})
        page.emulate_media(color_scheme="light")
        page.goto(address)
        seen[address] = faults = []
        found = page.eval_on_selector_all("a[href], img[src], iframe[src]", "all => all.map(a => a.href || a.src)")
        own = {urldefrag(urljoin(address, link))[0] for link in found if link.startswith("file:")}
        faults += [f"links to {link}" for link in own if not Path(unquote(link.removeprefix("file://"))).is_file()]
        links |= {link for link in own if link.endswith(".html")}
        faults += ["a formula did not parse"] * page.locator("merror").count()
        slow = () if address.endswith("00_explore.html") else ("pre", "math")  # thousands of elements, alike everywhere
        faults += serious(page, slow)
        page.set_viewport_size(PHONE)
        page.emulate_media(color_scheme="dark")
        if not page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
            faults.append("wider than a phone")
        if Path(address).stem in IN_THE_DARK:
            faults += [f"in the dark, {each}" for each in serious(page, slow, runOnly=["color-contrast"])]
    return {
        str(Path(unquote(address.removeprefix("file://"))).relative_to(site)): each for address, each in seen.items()
    }


def test_every_page_is_linked_and_none_has_a_fault_for_any_reader(site, page, walked):
    assert walked.keys() >= {
        f"{path.relative_to(ROOT).with_suffix('.html')}" for path in ROOT.glob("notebooks/**/*.ipynb")
    }
    assert walked.keys() >= {"notebooks/glossary.html", "docs/architecture.html"}
    assert not {path: faults for path, faults in walked.items() if faults}


def test_no_page_asks_for_anything_over_a_network_and_no_console_has_an_error(page, walked):
    assert not [address for address in page.asked if not re.match("file:|data:|blob:|about:", address)]
    assert not page.problems


def test_solutions_are_folded_and_a_key_unfolds_one(site, page):
    for path in sorted((site / "notebooks" / "solutions").glob("*.html")):
        page.goto(path.as_uri())
        exercises, folds = page.locator("article section section"), page.locator("details.solution")
        assert exercises.count() == folds.count() > 0, path.name
        for exercise in exercises.all():
            assert exercise.locator("details.solution").count() == 1
            assert not exercise.locator(".cell:visible").count()
    folds.first.locator("summary").focus()
    page.keyboard.press("Enter")
    assert folds.first.locator(".cell").first.is_visible()


def test_every_notebook_can_be_taken_away_without_its_outputs(site, walked):
    for path in ROOT.glob("notebooks/**/*.ipynb"):
        name = path.relative_to(ROOT).with_suffix(".html")
        (link,) = re.findall(r'<p class="notebook">.*?<a href="(.+?)" download', (site / name).read_text("utf-8"))
        taken = (site / name).parent / link
        assert taken.name == path.name and "image/png" not in taken.read_text("utf-8")
        (back,) = re.findall(r"\[This notebook as a page\]\((.+?)\)", taken.read_text("utf-8"))
        assert (taken.parent / back).resolve() == (site / name).resolve()


def hover(screen, frame):
    """Move the pointer over the plane of an explorer in a frame; return how many different things it said."""
    plane = frame.locator(".lx-plane")
    plane.scroll_into_view_if_needed()
    box = plane.bounding_box()
    shown = set()
    for part in (0.3, 0.5, 0.7):
        screen.mouse.move(box["x"] + part * box["width"], box["y"] + part * box["height"])
        screen.wait_for_timeout(150)
        shown.add(frame.locator(".lx-readout").inner_text())
    return len(shown)


def pass_time(screen, frame):
    """Set the time of a film three times; return how many looks of its first digit that gave."""
    shown = set()
    for time in ("0", "0.5", "1"):
        frame.locator(".lx-time").fill(time)
        screen.wait_for_timeout(600)  # ten digits, one a frame
        shown.add(frame.locator("canvas.lx-one").first.evaluate("canvas => canvas.toDataURL()"))
    return len(shown)


def test_explorers_hover_on_their_pages_and_also_on_a_phone_in_the_dark(site, page, walked):
    pages = [path for path in walked if "<iframe" in (site / path).read_text("utf-8")]
    assert {"index.html", "notebooks/00_explore.html", "notebooks/03_vae.html"} <= set(pages)
    for path in sorted(pages):
        for context in ({}, {"viewport": PHONE, "color_scheme": "dark"}) if path == "index.html" else ({},):
            screen = page.context.browser.new_page(**context)
            screen.goto((site / path).as_uri())
            for k in range(screen.locator(".explorer iframe").count()):
                element = screen.locator(".explorer iframe").nth(k)
                element.scroll_into_view_if_needed()  # a frame out of sight draws nothing
                frame = element.content_frame
                frame.locator(".lx-readout").wait_for()
                of_it = pass_time if frame.locator(".lx-time").count() else hover
                assert of_it(screen, frame) == 3, path
                inside, of = frame.locator("html").evaluate("e => [e.offsetHeight, innerHeight]")
                assert 0 <= of - inside < 3, f"{path}: {inside} pixels in a frame of {of}"
            screen.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_explorer_in_use_keeps_nobody_out(site, page, scheme):
    path = site / "_static" / "explorers" / "00_explore-explorer.html"
    page.set_viewport_size({"width": 1100, "height": 1200})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(path.as_uri())
    page.locator(".lx-plane").focus()
    for key in ("Enter", "ArrowRight", "ArrowRight", "Enter"):  # two pins, and a film strip
        page.keyboard.press(key)
    for layer in ("tiles", "regions", "entropy"):
        page.get_by_role("button", name=layer).focus()
        page.keyboard.press("Space")
    box = page.locator(".lx-paper").bounding_box()
    page.mouse.move(box["x"] + 90, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 110, box["y"] + 190, steps=8)
    page.mouse.up()
    page.wait_for_selector(".lx-found:not(.lx-none)")
    assert page.locator(".lx-film").is_visible()
    assert not serious(page)
    moving = page.evaluate("document.getAnimations().filter(each => each.playState == 'running').length")
    assert not moving


def test_it_is_small(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) <= 25e6
