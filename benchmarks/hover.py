"""How fast does the explorer follow the pointer? Print frames per second and delays, in real headless Chromium.

A delay begins when the browser delivers a pointer event, and ends twice: when its digit is drawn on the canvas, and at
the first moment after the paint that shows it, up to a screen frame of 16.7 ms later. A frame counts when it is on
screen. The pointer moves every 16 ms.

The last part measures what people build first, a matplotlib figure that is redrawn on every event, in the same browser
and with the same model.
"""

import math
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import lab

SECONDS = 6
MODEL = """
import torch
from helpers.checkpoints import load
from helpers.data import load_mnist
from helpers.models import CNN, VAE

train = load_mnist().train
model, classifier = load("vae", VAE)[0], load("cnn_classifier", CNN)[0]
"""
EXPLORER = """
from helpers.explorer import LatentExplorer
explorer = LatentExplorer(model, train.x, train.y, classifier)
explorer
"""
TRAINING = """
import time
from helpers.models import VAE
net, until, steps = VAE(latent_dim=2), time.monotonic() + 30, 0
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

# A figure as one would write it first, with %matplotlib widget: WebAgg is the part of matplotlib behind it.
CANVAS = """
import sys
import matplotlib
matplotlib.use("webagg")
import matplotlib.pyplot as plt
from helpers.latent import encode
plt.rcParams.update({"webagg.open_in_browser": False, "webagg.port": int(sys.argv[1])})
codes = encode(model, train.x)
figure, (plane, digit) = plt.subplots(1, 2, figsize=(9, 4.5))
plane.scatter(*codes.T, c=train.y, cmap="tab10", s=2)
picture = digit.imshow(train.x[0, 0], cmap="gray_r")
def move(event):
    if event.inaxes is plane:
        with torch.inference_mode():
            picture.set_data(model.decode(torch.tensor([[event.xdata, event.ydata]]).float())[0, 0])
        figure.canvas.draw_idle()
figure.canvas.mpl_connect("motion_notify_event", move)
plt.show()
"""
DRAWN = """() => {
    window.drawn = [];
    const draw = CanvasRenderingContext2D.prototype.drawImage;
    CanvasRenderingContext2D.prototype.drawImage = function (...rest) {
        window.drawn.push(performance.now());
        return draw.apply(this, rest);
    };
}"""

# In the page: note every pointer move and, for every frame, when it was asked for and when it had been painted.
WATCH = """() => {
    const seen = (window.seen = { moves: [], frames: [] });
    const painted = (note) => requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => note(performance.now());
        channel.port2.postMessage(0);
    });
    const note = () => seen.moves.push(performance.now());
    addEventListener("pointermove", note, { capture: true });
    addEventListener("lx-frame", ({ detail }) => {
        const [move, drawn] = [seen.moves.findLast((given) => given <= detail.asked), performance.now()];
        if (detail.pixels && move) painted((now) => seen.frames.push({ live: detail.live, move, drawn, now }));
    });
}"""


def wander(page, box):
    """Move the pointer in loops for SECONDS, one step every 16 ms."""
    start, step = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        step += 1
        u, v = 0.5 + 0.3 * math.cos(step / 23), 0.5 + 0.3 * math.sin(step / 17)
        page.mouse.move(box["x"] + u * box["width"], box["y"] + v * box["height"])
        time.sleep(max(0, start + 0.016 * step - time.perf_counter()))


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


def report(name, frames):
    """Print one line about frames; return how many were on screen per second."""
    rate = len({round(frame["now"], 1) for frame in frames}) / SECONDS
    drawn, seen = ([frame[end] - frame["move"] for frame in frames] for end in ("drawn", "now"))
    print(f"{name:<50}{rate:6.1f}", *(f"{quantile(delays, q):8.1f}" for delays in (drawn, seen) for q in (0.5, 0.95)))
    return rate


def hover(page, name, live=True):
    """Wander over the explorer on the page and report its frames: the exact ones, or the blends."""
    page.evaluate("window.seen.moves.length = window.seen.frames.length = 0")
    wander(page, page.locator(".lx-plane").bounding_box())
    stop = page.evaluate("performance.now()")
    page.wait_for_timeout(500)
    frames = [frame for frame in page.evaluate("window.seen.frames") if frame["live"] == live]
    late = len([frame for frame in frames if frame["now"] > stop])
    return report(f"{name}, {late} to come" if live else name, frames)


def measure_explorer():
    """Print the explorer's figures in a stock JupyterLab; return the rate of its exact frames."""
    with tempfile.TemporaryDirectory() as folder, lab.server(folder) as address, lab.browser() as page:
        lab.notebook(Path(folder) / "book.ipynb", MODEL, EXPLORER)
        page.add_init_script(f"({WATCH})()")
        lab.run_all(page, address("lab/tree/book.ipynb"))
        page.wait_for_selector(".lx-live", timeout=120_000)
        page.wait_for_timeout(2000)
        hover(page, "preview", live=False)
        lab.execute(page, "explorer.instant = False")  # an exact frame that comes late is hidden by the newer preview
        rate = hover(page, "exact frames")
        lab.execute(page, SLOW)
        hover(page, "exact frames, decoder that takes 50 ms")
        lab.execute(page, FAST)
        lab.execute(page, TRAINING, wait=False)
        page.wait_for_timeout(1000)
        hover(page, "exact frames, while a cell trains")
    return rate


def measure_canvas():
    """Print the figures of a matplotlib canvas with the training set as a scatter, redrawn as the pointer moves."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", MODEL + CANVAS, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with lab.browser() as page:
            lab.wait_for(f"http://127.0.0.1:{port}/", process)
            page.goto(f"http://127.0.0.1:{port}/")
            page.evaluate(DRAWN)
            page.wait_for_function("window.drawn.length > 0", timeout=30_000)
            page.wait_for_timeout(3000)
            page.evaluate("window.drawn.length = 0")
            box = page.locator("canvas").last.bounding_box()
            wander(page, {**box, "width": box["width"] / 2})
            count = page.evaluate("window.drawn.length")
            print(f"{'matplotlib canvas, redrawn per event':<50}{count / SECONDS:6.1f}")
            return count / SECONDS
    finally:
        process.kill()


if __name__ == "__main__":
    print(f"{'':<50}frames     ms to drawn        ms to painted")
    print(f"{'':<50}/ sec.     p50      p95       p50      p95")
    explorer, canvas = measure_explorer(), measure_canvas()
    print(f"the explorer draws {explorer / max(canvas, 1e-9):.0f} times the frames")
