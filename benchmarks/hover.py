"""How fast does the explorer follow the pointer, and how true is what it shows? Every figure with its target.

A delay begins when the browser delivers a pointer event to the page. It ends twice: "drawn" when the digit's pixels are
on its canvas, "painted" at the first moment after the browser has painted them, up to a screen frame of 16.7 ms later.
A frame counts when it is on screen. The pointer moves every 16 ms; a stock JupyterLab, headless Chromium, the kernel
and this script share the machine's cores. "Backlog" is the most questions that were on their way to the kernel when
an answer came. The page computes every picture itself; "kernel" is what Python decodes meanwhile.

The saved page is compared with what torch decodes for the same places. Last comes what people build
first, see rivals.py.
"""

import base64
import random
import sys
import tempfile
from pathlib import Path

import rivals
import torch
from measure import Row, show
from pointer import MODEL, SECONDS, quantile, wander

from helpers.checkpoints import load
from helpers.data import load_mnist
from helpers.explorer import LatentExplorer
from helpers.explorer.static import script
from helpers.explorer.weights import pack
from helpers.latent import encode
from helpers.models import CNN, VAE, ConvVAE
from helpers.training import pick_device

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import lab

PLACES = 200  # compared with torch
EXPLORER = """
from helpers.explorer import LatentExplorer
explorer = LatentExplorer(model, train.x, train.y, classifier)
explorer
"""
TRAINING = """
import time
from helpers.models import VAE
net, until = VAE(latent_dim=2).to(device), time.monotonic() + 30
adam = torch.optim.Adam(net.parameters())
while time.monotonic() < until:
    logits, mu, logvar = net(train.x[:128])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, train.x[:128])
    adam.zero_grad(), loss.backward(), adam.step()
"""
SLOW = """
import time
decode = explorer.space.model.decode
explorer.space.model.decode = lambda z: (time.sleep(0.05), decode(z))[1]
"""
FAST = "explorer.space.model.decode = decode"

# In the page: note every pointer move and, for every frame, when it was asked for and when it had been painted.
WATCH = """() => {
    const seen = (window.seen = { moves: [], frames: [] });
    // What is drawn while a frame is made is painted with it, what comes in between with the next one.
    const next = requestAnimationFrame;
    let making = false;
    window.requestAnimationFrame = (work) => next((time) => {
        making = true;
        try { work(time); } finally { making = false; }
    });
    const painted = (note) => {
        const later = () => {
            const channel = new MessageChannel();
            channel.port1.onmessage = () => note(performance.now());
            channel.port2.postMessage(0);
        };
        making ? later() : next(later);
    };
    const note = () => seen.moves.push(performance.now());
    addEventListener("pointermove", note, { capture: true });
    addEventListener("lx-frame", ({ detail }) => {
        const [move, drawn] = [seen.moves.findLast((given) => given <= detail.asked), performance.now()];
        const { live, inFlight = 0 } = detail;
        seen.place = detail.xy;
        if (detail.pixels && move) painted((now) => seen.frames.push({ live, inFlight, move, drawn, now }));
    });
}"""

# Where the ring is, and what is on the canvas, in one moment
SHOWN = """() => {
    const { data } = document.querySelector(".lx-large").getContext("2d").getImageData(0, 0, 28, 28);
    return [window.seen.place, Array.from(data).filter((_, k) => k % 4 == 3)];
}"""


def rate(frames):
    """Return how many frames were on screen per second."""
    return len({round(frame["now"], 1) for frame in frames}) / SECONDS


def describe(name, target, frames):
    """Return the row about frames: how many, how late, and the backlog where there was one."""
    measured = f"{rate(frames):.1f} frames a second"
    for end, key in (("drawn", "drawn"), ("painted", "now")):
        middle, late = (quantile([frame[key] - frame["move"] for frame in frames], q) for q in (0.5, 0.95))
        measured += f", {end} after {middle:.1f} (p50), {late:.1f} ms (p95)"
    backlog = max((frame["inFlight"] for frame in frames), default=0)
    return Row(f"explorer: {name}", measured + (f", backlog {backlog}" if backlog else ""), target)


def hover(page, live=True):
    """Wander over the explorer on the page and return its frames: the kernel's, or the page's own."""
    page.evaluate("window.seen.moves.length = window.seen.frames.length = 0")
    wander(page, page.locator(".lx-plane").bounding_box())
    page.wait_for_timeout(500)
    return [frame for frame in page.evaluate("window.seen.frames") if frame["live"] == live]


def live_rows():
    """Yield the explorer's delays in a stock JupyterLab; return the rate of the page's frames."""
    with tempfile.TemporaryDirectory() as folder, lab.server(folder) as address, lab.browser() as page:
        lab.notebook(Path(folder) / "book.ipynb", MODEL, EXPLORER)
        page.add_init_script(f"({WATCH})()")
        received = rivals.sizes(page, files=False)
        lab.run_all(page, address("lab/tree/book.ipynb"))
        page.wait_for_selector(".lx-live", timeout=120_000)
        messages = f"{sum(received) / 1e6:.2f} MB"
        yield Row("explorer: JupyterLab's messages to the first picture", messages, "<= the page")
        page.wait_for_timeout(2000)
        exact = hover(page, live=False)
        yield describe("page", "painted p95 <= 20 ms, >= 58 a second", exact)
        lab.execute(page, "explorer.instant = False")  # a kernel's frame that comes late is hidden by a newer one
        yield describe("kernel", "p50 <= 35, p95 <= 75 ms, >= 45 a second", hover(page))
        lab.execute(page, SLOW)
        lab.point(page, 0.5, 0.5)
        page.wait_for_timeout(500)  # one answer, and the page knows that it is slow
        yield describe("kernel, decoder that takes 50 ms", "backlog <= 2", hover(page))
        lab.execute(page, FAST)
        lab.execute(page, TRAINING, wait=False)
        page.wait_for_timeout(1000)
        yield describe("kernel, while a cell trains", "p95 <= 250 ms", hover(page))
    return rate(exact)


def page_rows():
    """Yield the size of the saved page, and how far what it shows under a real pointer is from what torch decodes."""
    device = pick_device()
    train = load_mnist(device).train
    model, classifier = load("vae", VAE, device)[0], load("cnn_classifier", CNN, device)[0]
    explorer = LatentExplorer(model, train.x, train.y, classifier)
    with tempfile.TemporaryDirectory() as folder, lab.browser() as page:
        path = Path(folder) / "explorer.html"
        explorer.save_html(path)
        page.context.set_offline(True)
        page.add_init_script(f"({WATCH})()")
        page.goto(path.as_uri())
        page.wait_for_selector(".lx-badge:has-text('page')")
        opened = page.evaluate("performance.now()") / 1000
        yield Row(
            "explorer: explorer.html", f"{path.stat().st_size / 1e6:.2f} MB, opens in {opened:.2f} s", "<= 4.5, <= 1"
        )
        page.wait_for_timeout(500)
        yield describe("explorer.html", "painted p95 <= 20 ms, >= 58 a second", hover(page, live=False))
        random.seed(0)
        differences = []
        for _ in range(PLACES):
            lab.point(page, random.uniform(0.02, 0.98), random.uniform(0.02, 0.98))
            page.wait_for_timeout(40)
            place, ink = page.evaluate(SHOWN)
            exact = explorer.space.query([place]).pixels[0]
            differences.append((torch.tensor(ink) - exact.int()).abs())
        differences = torch.stack(differences)
        yield Row("explorer: largest difference to torch", f"{differences.max()} of 255, {PLACES} places", "<= 1")


COMPUTE = """async ([text, packed]) => {
    const { createNet, inflate } = await import(`data:text/javascript,${encodeURIComponent(text)}`);
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    const net = createNet(await inflate(new DataView(bytes.buffer)));
    const times = [];
    for (let k = 0; k < 300; k++) {
        const input = Float32Array.from({ length: SIZE }, () => Math.random()), start = performance.now();
        net(input);
        times.push(performance.now() - start);
    }
    return times.slice(100).sort((a, b) => a - b);
}"""


def compute_rows():
    """Yield how long a page computes."""
    x = load_mnist().train.x[:256]
    networks = [("vae", VAE, "decode", 3), ("conv_vae", ConvVAE, "decode", 8), ("cnn_classifier", CNN, "forward", 5)]
    with lab.browser() as page:
        for name, kind, method, target in networks:
            model, _ = load(name, kind)
            examples = encode(model, x) if method == "decode" else x
            packed = base64.b64encode(pack(model, method, examples)).decode()
            code = COMPUTE.replace("SIZE", str(examples[0].numel()))
            times = page.evaluate(code, [script("net.js"), packed])
            yield Row(
                f"explorer: {name} in the page",
                f"{times[0]:.1f} (shortest), {quantile(times, 0.5):.1f} ms (p50)",
                f"<= {target}",
            )


def rows():
    exact = yield from live_rows()
    yield from page_rows()
    yield from compute_rows()
    yield from rivals.rows(exact)


if __name__ == "__main__":
    show(rows())
