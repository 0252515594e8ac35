"""The explorer under a real pointer in headless Chromium: its script, the saved HTML file, JupyterLab and its kin."""

import math
import os

import lab
import pytest
import torch
from small import SETUP, classifier, model, styled, x, y

from helpers.data import FASHION, MNIST
from helpers.explorer import LatentExplorer
from helpers.explorer.film import save_film
from helpers.explorer.static import link, script
from helpers.models import VAE

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page():
    if not lab.CHROMIUM:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("no Chromium on this machine: apt install chromium")
    with lab.browser() as page:
        yield page


@pytest.fixture(scope="module")
def explorer(request):
    """An explorer of two dimensions or styles; or of five on their PCA plane or a map, sent to a code off it."""
    if (kind := getattr(request, "param", "z")) in ("z", "styles", "clothes"):
        names = FASHION.classes if kind == "clothes" else MNIST.classes
        return LatentExplorer(styled if kind == "styles" else model, x, y, classifier, names=names)
    deep = VAE(latent_dim=5).eval()
    deep.decoder[0].weight.data.mul_(8)
    places = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) if kind == "map" else None
    made = LatentExplorer(deep, x, y, classifier, places)
    made.z = (0.1, 0.2, -0.1, 0.05, 0)
    return made


of_every_plane = pytest.mark.parametrize("explorer", ["z", "PCA", "map"], indirect=True)


# The script's logic, on an empty page


@pytest.fixture
def blank(page):
    page.goto("about:blank")
    for name in ("link.js", "pins.js"):
        bring(page, script(name))
    return page


def bring(page, module):
    """Run the text of a module, and make what it exports global."""
    page.evaluate(
        "async (text) => void Object.assign(window, await import(`data:text/javascript,${encodeURIComponent(text)}`))",
        module,
    )


def test_linked_modules_run_once_in_their_order_with_names_of_their_own(blank, tmp_path):
    (tmp_path / "below").mkdir()
    for name, text in {
        "entry.js": 'import { left } from "./left.js";\nimport {\n  default as right,\n} from "./right.js";\n'
        'const own = "entry";\nlog(own);\nexport const found = [left(), right, own];\nexport default { found };\n',
        "left.js": 'import { shared } from "./below/shared.js";\nconst own = "left";\nlog(own);\n'
        "export function left() {\n  return own + shared.count++;\n}\n",
        "right.js": 'import { shared } from "./below/shared.js";\nconst own = "right";\nlog(own);\n'
        "export default own + shared.count++;\n",
        "below/shared.js": 'log("shared");\nexport const shared = { count: 0 };\n',
    }.items():
        (tmp_path / name).write_text(text)
    blank.evaluate("() => { window.order = []; window.log = (name) => order.push(name); }")
    bring(blank, link(tmp_path / "entry.js"))
    assert blank.evaluate("order") == ["shared", "left", "right", "entry"]
    assert blank.evaluate("found") == ["left1", "right0", "entry"]


def test_a_flood_ends_on_the_last_position_with_two_in_flight(blank):
    found = blank.evaluate(
        """async () => {
            let most = 0, sent = 0, last = null, shown = null;
            const link = createLink((question) => {
                sent += 1;
                most = Math.max(most, link.inFlight);
                last = question;
                setTimeout(() => { if (link.receive(question)) shown = question.xy; }, 5);
            });
            for (let k = 0; k < 10000; k++) {
                link.ask({ xy: k });
                if (k % 500 == 0) await new Promise((done) => setTimeout(done, 2));
            }
            await new Promise((done) => setTimeout(done, 100));
            return { most, sent, shown, left: link.inFlight };
        }"""
    )
    assert found["shown"] == 9999 and found["most"] <= 2 and found["left"] == 0 and found["sent"] < 100


def test_questions_with_a_pause_are_few_and_the_last_one_is_asked(blank):
    found = blank.evaluate(
        """async () => {
            const sent = [];
            const link = createLink((question) => (sent.push(question), link.receive(question)), { pause: () => 50 });
            const start = performance.now();
            for (let k = 0; k < 20; k++) {
                link.ask({ xy: k });
                await new Promise((done) => setTimeout(done, 10));
            }
            const took = performance.now() - start;
            await new Promise((done) => setTimeout(done, 80));
            const last = sent.at(-1);
            link.ask({ xy: 20 }), link.ask({ xy: 21 });
            link.close();
            await new Promise((done) => setTimeout(done, 80));
            return { sent: sent.map((question) => question.xy), most: 1 + took / 50, last, start };
        }"""
    )
    assert found["sent"][0] == 0 and 2 <= len(found["sent"]) <= found["most"] + 3
    assert found["last"]["xy"] == 19 and found["last"]["asked"] > found["start"] + 100
    assert found["sent"][-1] == 20  # after a rest at once; and what still waits when it is closed is not asked


def test_stale_and_foreign_replies_are_dropped_and_lost_ones_time_out(blank):
    found = blank.evaluate(
        """async () => {
            const sent = [], lost = [];
            const link = createLink((question) => sent.push(question), { timeout: 20, onLost: () => lost.push(1) });
            link.ask({ xy: 1 }), link.ask({ xy: 2 }), link.ask({ xy: 3 }), link.ask({ xy: 4 });
            const before = sent.map((question) => question.xy);
            const foreign = link.receive({ ...sent[0], page: "another" });
            const odd = [null, undefined, 3, "x", {}, { page: sent[0].page }, { ...sent[0], number: 99 }];
            const nonsense = odd.map(link.receive);
            const fresh = link.receive(sent[1]);
            const stale = link.receive(sent[0]);
            const after = sent.map((question) => question.xy);
            await new Promise((done) => setTimeout(done, 200)); // the third question is never answered
            link.ask({ xy: 5 });
            const late = link.receive(sent[2]);
            link.close();
            return { before, foreign, nonsense, fresh, stale, after, lost: lost.length, final: sent.at(-1).xy, late };
        }"""
    )
    assert found["before"] == [1, 2] and found["after"] == [1, 2, 4]
    assert found["foreign"] is False and not any(found["nonsense"])
    assert found["fresh"] is True and found["stale"] is False
    assert found["lost"] == 1 and found["final"] == 5 and found["late"] is True


def test_a_path_starts_and_ends_at_its_pins_in_equal_steps(blank):
    path = blank.evaluate("alongPath([[0, 0], [3, 0], [3, 1]], 9)")
    assert path[0] == [0, 0] and path[-1] == pytest.approx([3, 1]) and path[6] == pytest.approx([3, 0])
    assert blank.evaluate("alongPath([[1, 1], [1, 1]], 3)") == [[1, 1]] * 3


def test_closing_removes_every_listener(page, explorer, tmp_path):
    explorer.save_html(tmp_path / "explorer.html")
    watched = (tmp_path / "explorer.html").read_text()
    # The page as saved, but it notes every listener, and keeps what closes the widget.
    begin = 'const model = await createModel(state, packed);\nawait start(document.getElementById("explorer"), model);'
    assert watched.count(begin) == 1
    watched = watched.replace(
        begin,
        """const model = await createModel(state, packed);
        const { on, off } = model;
        window.listeners = [];
        model.on = (event, listener) => (window.listeners.push([event, listener]), on(event, listener));
        model.off = (event, listener) => {
            window.listeners = window.listeners.filter((each) => each[0] != event || each[1] != listener);
            off(event, listener);
        };
        window.end = await start(document.getElementById("explorer"), model);""",
    )
    (tmp_path / "watched.html").write_text(watched)
    page = page.context.browser.new_page(bypass_csp=True)
    page.add_init_script(
        """window.added = [];
        const add = EventTarget.prototype.addEventListener;
        EventTarget.prototype.addEventListener = function (type, listener, options) {
            if (this instanceof Node) window.added.push(options?.signal ?? null); // the driver listens on the window
            return add.call(this, type, listener, options);
        };"""
    )
    page.goto((tmp_path / "watched.html").as_uri())
    page.wait_for_function("() => typeof window.end == 'function'")
    listening = "window.listeners.length"
    assert page.evaluate(listening) > 10 and page.evaluate("window.added.length") > 8
    page.evaluate("window.end()")
    assert page.evaluate(listening) == 0
    assert page.evaluate("window.added.filter((signal) => !signal?.aborted).length") == 0
    assert page.locator(".lx").count() == 0
    page.close()


# The saved file, with no network and no Python


@pytest.fixture
def saved(page, explorer, tmp_path):
    explorer.save_html(tmp_path / "explorer.html")
    page.context.set_offline(True)
    page.problems.clear()
    page.goto((tmp_path / "explorer.html").as_uri())
    page.wait_for_selector(".lx-badge:has-text('page')")
    page.evaluate(
        """() => {
            addEventListener("lx-frame", ({ detail }) => void (window.at = detail.xy));
            addEventListener("lx-drawn", ({ detail }) => void (window.drawn = detail));
        }"""
    )
    yield page
    page.context.set_offline(False)
    assert not page.problems


def pixels(page, selector=".lx-large"):
    """Return the grey levels of a digit on the page, (784,)."""
    return torch.tensor(lab.pixels(page, selector))


@of_every_plane
def test_saved_file_says_what_torch_says_at_any_place(saved, explorer):
    saved.wait_for_timeout(200)
    there = explorer.space.query([explorer.xy]).pixels[0]
    assert (pixels(saved) - there.int()).abs().max() <= 1
    for u, v in ((0.11, 0.17), (0.503, 0.497), (0.93, 0.31), (0.2, 0.98)):
        before = saved.evaluate("String(window.at)")
        lab.point(saved, u, v)
        saved.wait_for_function("before => String(window.at) != before", arg=before)
        place = saved.evaluate("at")
        seen = explorer.space.query([place])
        probs, prior, _ = seen.facts[0].double().split([10, 1, 1])
        entropy = torch.distributions.Categorical(probs).entropy() / math.log(2)
        assert (pixels(saved) - seen.pixels[0].int()).abs().max() <= 1
        assert pixels(saved, ".lx-line .lx-thumbnail").tolist() == seen.neighbours[0].tolist()
        said = [line.replace("\u2212", "-") for line in saved.locator(".lx-line .lx-value").all_inner_texts()]
        digit, _, share = said[1].partition("  \u00b7  ")
        assert digit == str(int(probs.argmax())) and abs(int(share.removesuffix(" %")) - 100 * probs.max()) <= 0.7
        assert abs(float(said[2].removesuffix(" bits")) - entropy) <= 0.011
        assert abs(float(said[3].removesuffix(" nats")) - prior) <= 0.006


@of_every_plane
def test_saved_pad_reads_places_and_decodes_as_python_does(saved, explorer):
    draw(saved, [(0.27, 0.18), (0.76, 0.2), (0.49, 0.85)])
    drawn = saved.locator(".lx-paper").evaluate(
        "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, 112, 112).data).filter((_, k) => k % 4 == 3)"
    )
    found = explorer.space.read(torch.tensor(drawn).reshape(112, 112) / 255)
    grey = lambda ink: torch.tensor(list(ink))  # noqa: E731
    assert (pixels(saved, ".lx-figure .lx-thumbnail") - grey(found["image"])).abs().max() <= 1
    assert (pixels(saved, ".lx-figure .lx-thumbnail >> nth=1") - grey(found["recon"])).abs().max() <= 2
    assert pixels(saved, ".lx-row .lx-thumbnail").tolist() == list(found["neighbours"][0])
    bars = saved.locator(".lx-found .lx-bar").evaluate_all("bars => bars.map(bar => +bar.style.transform.slice(7, -1))")
    assert bars == pytest.approx(found["probs"], abs=0.002)
    said = saved.evaluate("drawn")
    assert said["place"] == pytest.approx(found["place"], abs=0.01)
    assert said["ellipse"][:2] == pytest.approx(found["ellipse"][:2], rel=0.01)
    saved.get_by_role("button", name="clear", exact=True).click()
    saved.wait_for_function("!document.querySelector('.lx-cloud:not([hidden])')")


@pytest.mark.parametrize("explorer", ["clothes"], indirect=True)
def test_classes_are_called_by_their_names(saved, explorer):
    assert set(saved.locator(".lx-digit").all_inner_texts()) <= set(FASHION.classes)
    assert saved.locator(".lx-readout .lx-class").all_inner_texts() == list(FASHION.classes)
    verdict = saved.locator(".lx-readout .lx-value").nth(1).inner_text()
    assert verdict.split("  \N{MIDDLE DOT}")[0] in FASHION.classes
    draw(saved, [(0.3, 0.3), (0.7, 0.3), (0.6, 0.8)])
    verdict = saved.locator(".lx-verdict").inner_text().removeprefix("Looks like: ")
    assert verdict.split(" \N{MIDDLE DOT}")[0] in FASHION.classes
    everything = saved.locator("body").inner_text() + saved.locator(".lx").evaluate("lx => lx.innerHTML")
    assert "digit of" not in everything and "draw a picture" in everything and "nearest training picture" in everything


def written(page, selector=".lx-large"):
    """Return the grey levels of the ten digits of a place, (7840,)."""
    rows = page.locator(selector).evaluate(
        "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, 140, 56).data).filter((_, k) => k % 4 == 3)"
    )
    return torch.tensor(rows).view(2, 28, 5, 28).transpose(1, 2).flatten()


def draw(page, *strokes, pad=None):
    """Draw on the pad: strokes of places, shares of its width and height."""
    box = (pad or page.locator(".lx-paper")).bounding_box()
    for first, *others in strokes:
        page.mouse.move(box["x"] + first[0] * box["width"], box["y"] + first[1] * box["height"])
        page.mouse.down()
        for right, down in others:
            page.mouse.move(box["x"] + right * box["width"], box["y"] + down * box["height"], steps=5)
        page.mouse.up()
    page.wait_for_selector(".lx-verdict:has-text('Looks like')")
    page.wait_for_timeout(100)


@pytest.mark.parametrize("explorer", ["styles"], indirect=True)
def test_saved_styles_write_ten_digits_a_number_and_in_the_hand_of_a_drawing(saved, explorer):
    lab.point(saved, 0.3, 0.6)
    saved.wait_for_timeout(100)
    there = explorer.space.query([saved.evaluate("at")]).pixels[0].int()
    assert (written(saved) - there).abs().max() <= 1 and there.view(10, 784).float().std(0).max() > 5
    # A number: digits alone, no more than twelve, set by their ink on one line
    field = saved.get_by_role("textbox")
    for typed, taken in (("2a0 -2.6", "2026"), ("1" * 20, "1" * 12), ("\u0663<b>7", "7"), ("", "")):
        field.fill(typed)
        assert field.input_value() == taken
        saved.wait_for_timeout(50)
        size = saved.locator(".lx-large").evaluate("canvas => [canvas.width, canvas.height]")
        assert size == [140, 56] if not taken else size[1] == 32 and size[0] <= 31 * len(taken) + 8
    assert (written(saved) - there).abs().max() <= 1
    # A drawing: the ring goes to its style, as told what it is
    draw(saved, [(0.2, 0.2), (0.8, 0.2), (0.4, 0.8)])
    drawn = saved.locator(".lx-paper").evaluate(
        "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, 112, 112).data).filter((_, k) => k % 4 == 3)"
    )
    strokes = torch.tensor(drawn).reshape(112, 112) / 255
    for label in (None, 4):
        if label is not None:
            saved.locator("select").select_option(str(label))
            saved.wait_for_timeout(100)
        found = explorer.space.read(strokes, label)
        assert saved.locator("select").input_value() == str(found["label"])
        assert saved.evaluate("at") == pytest.approx(found["place"], abs=0.01)
        recon = torch.tensor(list(found["recon"]))
        assert (written(saved, ".lx-figure >> nth=1 >> canvas") - recon).abs().max() <= 2
        assert written(saved).equal(written(saved, ".lx-figure >> nth=1 >> canvas"))
    saved.locator(".lx-plane").press("Enter")
    lab.point(saved, 0.6, 0.2)
    saved.locator(".lx-plane").press("Enter")
    assert saved.locator(".lx-film").evaluate("canvas => [canvas.width, canvas.height]") == [15 * 28, 10 * 28]


def test_a_damaged_page_says_so(page, explorer, tmp_path):
    explorer.save_html(tmp_path / "explorer.html")
    whole = (tmp_path / "explorer.html").read_text()

    def opened(text):
        (tmp_path / "opened.html").write_text(text)
        page.goto((tmp_path / "opened.html").as_uri())
        return page

    weights, points = (whole.index(f'"{name}": "') + 500 for name in ("decoder", "points"))
    changed = whole[:weights] + ("A" if whole[weights] != "A" else "B") + whole[weights + 1 :]
    opened(changed).wait_for_selector("#status:has-text('the networks in this page are damaged')")
    opened(whole[:points] + "~~~" + whole[points + 3 :]).wait_for_selector("#status:has-text('cannot be shown')")
    for end in (whole.index(".lx-plane"), len(whole) // 3, len(whole) - 1000):
        opened(whole[:end]).wait_for_selector("#status:has-text('cut short')", timeout=10_000)  # visible, so after 3 s
    opened(whole).wait_for_selector(".lx-badge:has-text('page')")
    page.wait_for_selector("#status", state="detached")


@pytest.mark.parametrize(
    ("lacks", "status"),
    [
        ("OffscreenCanvas", None),
        ("WebAssembly", None),
        ("Worker", None),
        ("DecompressionStream", "This page cannot be shown: DecompressionStream is not defined"),
        ("everything", "its script is not allowed to run"),
    ],
)
def test_a_browser_that_lacks_something_shows_the_page_or_a_sentence(page, explorer, tmp_path, lacks, status):
    explorer.save_html(tmp_path / "explorer.html")
    poor = page.context.browser.new_page(java_script_enabled=lacks != "everything")
    poor.add_init_script(f"delete window.{lacks}")
    poor.goto((tmp_path / "explorer.html").as_uri())
    poor.wait_for_selector(f"#status:has-text('{status}')" if status else ".lx-badge:has-text('page')")  # visible
    poor.close()


def test_a_tab_in_the_background_piles_nothing_up_and_goes_on_where_the_pointer_is(saved):
    held = saved.evaluate(
        """() => {
            // As a hidden tab: frames are asked for, and come when it is seen again.
            const [ask, held] = [window.requestAnimationFrame, []];
            window.requestAnimationFrame = (work) => held.push(work);
            const plane = document.querySelector(".lx-plane"), box = plane.getBoundingClientRect();
            for (let k = 1; k <= 10000; k++) {
                const [clientX, clientY] = [box.x + box.width / 3 + k / 100, box.y + box.height / 3];
                plane.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
            }
            window.requestAnimationFrame = ask;
            held.forEach((work) => ask(work));
            return held.length;
        }"""
    )
    saved.wait_for_function("() => window.at")
    ring = saved.locator(".lx-value").first.inner_text().replace("\u2212", "-").split(",  ")
    assert held == 1 and [f"{value:.2f}" for value in saved.evaluate("at")] == ring


def test_two_explorers_and_three_pads_on_one_page_keep_apart(page, explorer, tmp_path):
    explorer.save_html(tmp_path / "explorer.html")
    page.goto("about:blank")
    bring(page, script("page.js"))
    page.evaluate(
        """async (text) => {
            const saved = new DOMParser().parseFromString(text, "text/html");
            document.head.append(saved.querySelectorAll("style")[1]);
            for (const parts of [["plane", "readout", "pad"], ["plane", "readout", "pad"], ["pad"]]) {
                const read = (id) => JSON.parse(saved.getElementById(id).textContent);
                const [state, packed] = ["state", "packed"].map(read);
                const model = await createModel({ ...state, parts }, packed);
                await start(document.body.appendChild(document.createElement("div")), model);
            }
        }""",
        (tmp_path / "explorer.html").read_text(),
    )
    verdicts = page.locator(".lx-verdict")
    assert page.locator(".lx-plane").count() == 2 and verdicts.count() == 3
    digits = [pixels(page, f".lx-large >> nth={k}") for k in range(2)]
    pad = page.locator(".lx-paper >> nth=1")
    pad.scroll_into_view_if_needed()
    draw(page, [(0.2, 0.2), (0.8, 0.2), (0.4, 0.8)], pad=pad)
    assert [bool(text) for text in verdicts.all_inner_texts()] == [False, True, False]
    assert page.locator(".lx-cloud:not([hidden])").count() == 1
    plane = page.locator(".lx-plane >> nth=1")
    plane.scroll_into_view_if_needed()
    plane.hover(position={"x": 100, "y": 100})
    page.wait_for_timeout(100)
    assert pixels(page).equal(digits[0]) and not pixels(page, ".lx-large >> nth=1").equal(digits[1])


def test_a_flood_of_events_is_one_picture_a_frame(saved):
    counted = saved.evaluate(
        """async () => {
            const plane = document.querySelector(".lx-plane"), box = plane.getBoundingClientRect();
            let frames = 0;
            addEventListener("lx-frame", () => (frames += 1));
            const start = performance.now();
            for (let k = 1; k <= 10000; k++) {
                const clientX = box.x + 1 + plane.clientWidth * (0.5 + 0.3 * Math.cos(k / 9)), clientY = box.y + k / 50;
                plane.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
            }
            await new Promise((done) => setTimeout(done, 500));
            return frames;
        }"""
    )
    assert 1 <= counted <= 3


def test_saved_file_answers_pointer_keys_layers_and_pins(saved):
    lab.point(saved, 0.2, 0.3)
    saved.wait_for_timeout(100)
    before = pixels(saved)
    saved.locator(".lx-plane").focus()
    for key in ("Shift+ArrowRight", "Enter", "Home", "Enter"):
        saved.keyboard.press(key)
    saved.wait_for_timeout(100)
    assert not pixels(saved).equal(before)
    assert saved.locator(".lx-pin").count() == 2 and saved.locator(".lx-film").is_visible()
    for name in ("tiles", "regions", "entropy"):
        saved.get_by_role("button", name=name).click()
        assert saved.locator(f".lx-{name}").is_visible()
    saved.get_by_role("button", name="clear pins").click()
    assert saved.locator(".lx-pin").count() == 0


def test_a_finger_explores_and_the_digit_stays_in_view(page, explorer, tmp_path):
    explorer.save_html(tmp_path / "explorer.html")
    phone = page.context.browser.new_page(has_touch=True, viewport={"width": 390, "height": 844})
    phone.goto((tmp_path / "explorer.html").as_uri())
    phone.wait_for_selector(".lx-badge:has-text('page')")
    before = pixels(phone)
    plane, digit = (phone.locator(name).bounding_box() for name in (".lx-plane", ".lx-large"))
    assert digit["y"] >= 0 and digit["y"] + digit["height"] <= plane["y"] and plane["y"] + plane["height"] <= 844
    phone.touchscreen.tap(plane["x"] + 0.3 * plane["width"], plane["y"] + 0.2 * plane["height"])
    phone.wait_for_timeout(100)
    assert not pixels(phone).equal(before)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390  # nothing sticks out
    phone.evaluate("scrollTo(0, 250)")
    assert phone.locator(".lx-large").bounding_box()["y"] >= 0  # nor does it scroll away
    phone.close()


# The film of a flow


@pytest.fixture(scope="module")
def way():
    """Return the way of forty codes, (5, 40, 3), from one noise to their digits, and these."""
    generator, y = torch.Generator().manual_seed(0), torch.arange(40) % 10
    ends = torch.stack([y / 5 - 1, (y % 3) - 1, torch.zeros(40)], 1)
    noise = torch.randn(40, 3, generator=generator)
    return torch.stack([noise.lerp(ends + 0.1 * noise, step / 4) for step in range(5)]), y


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    made = VAE(latent_dim=3).eval()
    made.decoder[0].weight.data.mul_(8)
    return made


def test_a_film_decodes_what_is_on_its_way_at_any_time(page, way, decoder, tmp_path):
    (codes, y), path = way, tmp_path / "film.html"
    assert sum(save_film(path, codes, y, decoder).values()) == path.stat().st_size
    page.context.set_offline(True)
    page.problems.clear()
    page.goto(path.as_uri())
    clock = page.locator(".lx-value")
    page.wait_for_function("() => document.querySelector('.lx-value').textContent > 't = 0.05'")  # it plays
    page.get_by_role("button", name="pause").click()
    stands = clock.inner_text()
    page.wait_for_timeout(200)
    assert clock.inner_text() == stands and page.get_by_role("button", name="play").is_visible()
    slider = page.get_by_role("slider", name="Time of the flow")
    for t in (0, 0.375, 1):  # the middle one lies between two steps
        slider.fill(str(t))
        page.wait_for_timeout(400)
        now = codes[:-1].lerp(codes[1:], 4 * t - min(int(4 * t), 3))[min(int(4 * t), 3)]
        expected = (decoder.decode(now[:10]) * 255).round().int().flatten(1)
        for digit in (0, 7):
            assert (pixels(page, f".lx-one >> nth={digit}") - expected[digit]).abs().max() <= 1
    assert clock.inner_text() == "t = 1.00"
    before = [pixels(page, f".lx-one >> nth={digit}") for digit in range(10)]
    box = page.locator(".lx-plane").bounding_box()
    for step in range(60):  # wherever they are, the pointer comes by some
        page.mouse.move(
            box["x"] + box["width"] * (step % 8 + 0.5) / 8, box["y"] + box["height"] * (step // 8 + 0.5) / 8
        )
    page.wait_for_timeout(400)
    assert any(not pixels(page, f".lx-one >> nth={digit}").equal(before[digit]) for digit in range(10))
    slider.press("ArrowLeft")
    assert clock.inner_text() != "t = 1.00" or slider.input_value() == "0.999"
    page.emulate_media(reduced_motion="reduce")
    page.reload()
    page.wait_for_timeout(400)
    assert clock.inner_text() == "t = 0.00" and page.get_by_role("button", name="play").is_visible()
    page.emulate_media(reduced_motion="no-preference")
    page.context.set_offline(False)
    assert not page.problems


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda way, y, model: (way[0], y, model), r"way must be \(steps \+ 1, n, latent_dim\)"),
        (lambda way, y, model: (way[:1], y, model), "way must be"),
        (lambda way, y, model: (way, y[:7], model), "way must be"),
        (lambda way, y, model: (way * math.nan, y, model), "way must be finite"),
        (lambda way, y, model: (way, y + 1, model), "y must be from 0 to 9"),
        (lambda way, y, model: (way, y % 2, model), "y must hold three kinds of digits or more"),
        (lambda way, y, model: (way[..., :2], y, model), "whose way depends on its input"),
    ],
)
def test_a_film_refuses_what_does_not_fit(way, decoder, tmp_path, change, says):
    with pytest.raises(ValueError, match=says):
        save_film(tmp_path / "film.html", *change(*way, decoder))
    assert not list(tmp_path.iterdir())


# JupyterLab


@pytest.fixture(scope="module")
def jupyter(page, tmp_path_factory):
    """JupyterLab with one notebook open: two explorers, a pad and a plane of the first, and a kernel for more code."""
    folder = tmp_path_factory.mktemp("lab")
    lab.notebook(
        folder / "book.ipynb",
        SETUP + "\nfrom helpers.explorer import Pad, Plane, Readout\nfrom ipywidgets import HBox",
        "explorer = LatentExplorer(model, x, y, classifier)\nexplorer",
        "other = LatentExplorer(styled, x, y)\nother",
        "HBox([Pad(explorer), Readout(explorer)])",
    )
    with lab.server(folder) as address:
        page.problems.clear()
        lab.run_all(page, address("lab/tree/book.ipynb"))
        page.wait_for_selector(".lx-paper", timeout=120_000)
        page.wait_for_function("document.querySelectorAll('.lx-live').length == 3", timeout=120_000)
        yield page


def live(page, which=0):
    """Wait for an exact frame for the place where the pointer rests."""
    page.wait_for_timeout(50)
    page.wait_for_function("k => document.querySelectorAll('.lx-large + .lx-badge')[k].matches('.lx-live')", arg=which)


def test_pointer_and_keys_decode_live(jupyter):
    before, other = pixels(jupyter), pixels(jupyter, ".lx-large >> nth=1")
    lab.point(jupyter, 0.2, 0.3)
    live(jupyter)
    moved = pixels(jupyter)
    assert not moved.equal(before)
    jupyter.locator(".lx-plane").first.focus()
    jupyter.keyboard.press("Shift+ArrowRight")
    live(jupyter)
    assert not pixels(jupyter).equal(moved)
    jupyter.keyboard.press("Home")
    live(jupyter)
    exact = (model.decode(torch.zeros(1, 2)) * 255).round().int().flatten()
    assert (pixels(jupyter) - exact).abs().max() <= 1
    assert pixels(jupyter, ".lx-large >> nth=1").equal(other)  # two explorers on a page do not disturb each other
    lab.execute(jupyter, "assert explorer.z == (0.0, 0.0), explorer.z")
    assert not jupyter.problems


def test_ten_thousand_moves_end_where_the_last_one_was(jupyter):
    jupyter.evaluate(
        """() => {
            const plane = document.querySelector(".lx-plane"), box = plane.getBoundingClientRect();
            for (let k = 1; k <= 10000; k++) {
                const clientX = box.x + 1 + plane.clientWidth * (0.5 + 0.3 * Math.cos(k / 9)), clientY = box.y + k / 50;
                plane.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
            }
        }"""
    )
    live(jupyter)
    ring = jupyter.locator(".lx-value").first.inner_text().replace("\u2212", "-")
    jupyter.wait_for_timeout(500)
    lab.execute(jupyter, f"assert [f'{{v:.2f}}' for v in explorer.z] == {ring.split(',  ')}, explorer.z")
    assert not jupyter.problems


def test_styles_are_written_by_the_kernel_and_a_number_reaches_python(jupyter):
    plane = jupyter.locator(".lx-plane >> nth=1")
    plane.scroll_into_view_if_needed()
    plane.hover(position={"x": 150, "y": 220})
    live(jupyter, 1)
    there = styled.decode(torch.zeros(10, 2), torch.arange(10))
    plane.press("Home")
    live(jupyter, 1)
    exact = (there * 255).round().int().flatten()
    assert (written(jupyter, ".lx-large >> nth=1") - exact).abs().max() <= 1
    jupyter.get_by_role("textbox", name="Number to write").fill("20x26")
    jupyter.wait_for_timeout(500)
    lab.execute(jupyter, "assert other.text == '2026', other.text\nother.text = '7'")
    jupyter.wait_for_function("document.querySelector('.lx-field').value == '7'")
    jupyter.locator(".lx-plane").first.scroll_into_view_if_needed()
    assert not jupyter.problems


def test_python_moves_the_ring_and_sees_the_pins(jupyter):
    lab.execute(jupyter, "explorer.z = (0.25, -0.5)")
    jupyter.wait_for_function("document.querySelector('.lx-value').textContent.includes('0.25')")
    jupyter.locator(".lx-plane").first.press("Enter")
    lab.point(jupyter, 0.7, 0.7)
    jupyter.mouse.down(), jupyter.mouse.up()
    jupyter.wait_for_selector(".lx-film:visible")
    live(jupyter)
    lab.execute(jupyter, "assert len(explorer.history) == 2 and explorer.history[0].tolist() == [0.25, -0.5]")
    assert not jupyter.problems


def test_the_page_and_the_kernel_show_the_same(jupyter):
    jupyter.evaluate("window.both = []; addEventListener('lx-frame', ({ detail }) => window.both.push(detail))")
    for k in range(12):
        lab.point(jupyter, 0.08 + 0.075 * k, 0.9 - 0.07 * k)
        live(jupyter)
    frames = jupyter.evaluate(
        "window.both.filter(f => f.pixels).map(f => ({ ...f, pixels: [...f.pixels], neighbour: 0 }))"
    )
    live_ones = {tuple(frame["xy"]): frame for frame in frames if frame["live"]}
    pairs = [(frame, live_ones[tuple(frame["xy"])]) for frame in frames if tuple(frame["xy"]) in live_ones]
    pairs = [(ours, its) for ours, its in pairs if not ours["live"] and ours["exact"]]
    assert len(pairs) >= 10
    for ours, its in pairs:
        assert max(abs(a - b) for a, b in zip(ours["pixels"], its["pixels"])) <= 1
        assert ours["probs"] == pytest.approx(its["probs"], abs=0.002)
        assert ours["prior"] == pytest.approx(its["prior"], abs=1e-3)
    assert not jupyter.problems


def test_a_drawn_digit_is_read_and_placed(jupyter):
    jupyter.locator(".lx-paper").scroll_into_view_if_needed()
    box = jupyter.locator(".lx-paper").bounding_box()
    jupyter.mouse.move(box["x"] + 100, box["y"] + 30)
    jupyter.mouse.down()
    jupyter.mouse.move(box["x"] + 120, box["y"] + 180, steps=8)
    jupyter.mouse.up()
    jupyter.wait_for_selector(".lx-verdict:has-text('Looks like')")
    assert pixels(jupyter, ".lx-figure .lx-thumbnail").max() == 255
    bars = jupyter.locator(".lx-found .lx-bar").evaluate_all(
        "bars => bars.map(bar => +bar.style.transform.slice(7, -1))"
    )
    assert sum(bars) == pytest.approx(1, abs=1e-3)
    assert jupyter.locator(".lx-cloud:not([hidden])").count() == 1  # on its own explorer's plane, not on the other's
    jupyter.get_by_role("button", name="clear", exact=True).click()
    jupyter.wait_for_function("!document.querySelector('.lx-cloud:not([hidden])')")
    assert not jupyter.problems


def test_hovering_goes_on_while_a_cell_is_running(jupyter):
    jupyter.locator(".lx-plane").first.scroll_into_view_if_needed()
    lab.execute(jupyter, "import time; time.sleep(8)", wait=False)
    before = pixels(jupyter)
    lab.point(jupyter, 0.4, 0.6)
    jupyter.wait_for_timeout(50)
    assert not pixels(jupyter).equal(before)  # the blend, at once
    jupyter.wait_for_selector(".lx-live", timeout=5000)
    lab.execute(jupyter, "pass")


def test_layer_buttons_reach_python(jupyter):
    tiles = jupyter.get_by_role("button", name="tiles").first
    for layers in (["points", "tiles"], ["points"]):
        tiles.click()
        jupyter.wait_for_timeout(500)
        lab.execute(jupyter, f"assert explorer.layers == {layers}, explorer.layers")
    lab.execute(jupyter, "explorer.layers = ['regions']")
    jupyter.wait_for_selector(".lx-regions:visible")
    jupyter.wait_for_timeout(500)
    lab.execute(jupyter, "assert explorer.layers == ['regions']; explorer.layers = ['points']")
    assert not jupyter.problems


def test_lost_replies_recover(jupyter):
    lab.execute(jupyter, "explorer.send = lambda *args: None")
    for k in range(5):
        lab.point(jupyter, 0.3 + k / 50, 0.3)
        jupyter.wait_for_timeout(30)
    jupyter.wait_for_selector(".lx-badge:has-text('busy or gone')")
    lab.execute(jupyter, "del explorer.send")
    jupyter.wait_for_timeout(1500)
    lab.point(jupyter, 0.6, 0.4)
    live(jupyter)
    assert not jupyter.problems


def test_closing_it_in_python_clears_its_views(jupyter):
    lab.execute(jupyter, "assert other.comm is not None")
    views = jupyter.locator(".lx").count()
    lab.execute(jupyter, "other.close()")
    jupyter.wait_for_function(f"document.querySelectorAll('.lx').length == {views - 1}")
    assert not jupyter.problems


def test_running_its_cell_again_frees_the_explorer_and_its_panels(jupyter):
    lab.execute(jupyter, "import gc, weakref; old = weakref.ref(explorer); space = weakref.ref(explorer.space)")
    jupyter.evaluate(
        """() => {
            window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1;
            return window.jupyterapp.commands.execute("notebook:run-cell");
        }"""
    )
    jupyter.wait_for_function("document.querySelectorAll('.lx').length == 1")  # the other is closed, the panels are too
    lab.point(jupyter, 0.3, 0.4)
    live(jupyter)
    lab.execute(jupyter, "gc.collect(); assert old() is space() is None and explorer.comm")
    assert not jupyter.problems


def test_a_restarted_kernel_leaves_the_preview_and_rerunning_recovers(jupyter):
    jupyter.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    jupyter.wait_for_timeout(3000)
    if jupyter.locator(".lx-plane").count():  # the old view still follows the pointer
        before = pixels(jupyter)
        lab.point(jupyter, 0.25, 0.25)
        assert not pixels(jupyter).equal(before)
    jupyter.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    jupyter.wait_for_function("document.querySelectorAll('.lx-live').length == 3", timeout=120_000)
    lab.point(jupyter, 0.5, 0.2)
    live(jupyter)


@pytest.mark.parametrize("app", ["notebook", "voila"])
def test_notebook_7_and_voila_run_it(page, tmp_path, app):
    pytest.importorskip(app, reason=f"{app} is not installed")
    lab.notebook(tmp_path / "book.ipynb", SETUP, "explorer = LatentExplorer(model, x, y, classifier)\nexplorer")
    with lab.server(tmp_path, app) as address:
        page.problems.clear()
        if app == "voila":
            page.goto(address("voila/render/book.ipynb"), timeout=120_000)
        else:
            lab.run_all(page, address("notebooks/book.ipynb"))
        page.wait_for_selector(".lx-live", timeout=120_000)
        before = pixels(page)
        lab.point(page, 0.2, 0.3)
        live(page)
        assert not pixels(page).equal(before)
