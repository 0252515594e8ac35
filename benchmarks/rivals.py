"""What people build first, in the same browser, with the same model and the same pointer: how fast does it follow?

- a matplotlib canvas: the training set its scatter, redrawn at every event (WebAgg, which is also inside ipympl);
- `ipywidgets.interact`: a slider in JupyterLab, a figure drawn anew at every step;
- tfjs: the same networks in a page, run by the library that is made for it; its WebGL is Chromium's software here.

The first two are given one move at a time as well, and nothing else to do: their delay is from that event to the
picture's paint. Under a pointer that does not stop it grows with the backlog. "To the first" are the bytes that the
browser got before it could show a picture, JupyterLab's own files left out.
"""

import base64
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from hashlib import sha256
from math import prod
from pathlib import Path

from measure import Row
from pointer import MODEL, SECONDS, quantile, wander

from helpers.checkpoints import load
from helpers.data import load_mnist
from helpers.explorer.static import script
from helpers.explorer.weights import pack
from helpers.latent import encode
from helpers.models import VAE, ConvVAE

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import lab

ROOT = Path(__file__).parents[1]

MOVES = 20  # one at a time

# A figure as one would write it first, with %matplotlib widget: WebAgg is the part of matplotlib behind it.
CANVAS = """
import sys
import matplotlib
matplotlib.use("webagg")
import matplotlib.pyplot as plt
from helpers.latent import encode
plt.rcParams.update({"webagg.open_in_browser": False, "webagg.port": int(sys.argv[1])})
codes = encode(model, train.x).cpu()
figure, (plane, digit) = plt.subplots(1, 2, figsize=(9, 4.5))
plane.scatter(*codes.T, c=train.y.cpu(), cmap="tab10", s=2)
picture = digit.imshow(train.x[0, 0].cpu(), cmap="gray_r")
def move(event):
    if event.inaxes is plane:
        with torch.inference_mode():
            place = torch.tensor([[event.xdata, event.ydata]], dtype=torch.float32, device=device)
            picture.set_data(model.decode(place)[0, 0].cpu())
        figure.canvas.draw_idle()
figure.canvas.mpl_connect("motion_notify_event", move)
plt.show()
"""
SLIDERS = """
import matplotlib.pyplot as plt
from ipywidgets import FloatSlider, interact
@interact(x=FloatSlider(min=-3, max=3, step=0.01), y=FloatSlider(min=-3, max=3, step=0.01))
def draw(x, y):
    with torch.inference_mode():
        image = model.decode(torch.tensor([[x, y]], device=device))[0, 0].cpu()
    plt.figure(figsize=(3, 3))
    plt.imshow(image, cmap="gray_r")
    plt.axis("off")
    plt.show()
"""

# In the page: for every new picture, the last pointer event before it arrived, and when the picture had been painted.
WATCH = """() => {
    const seen = (window.seen = { move: 0, frames: [] });
    addEventListener("pointermove", () => (seen.move = performance.now()), { capture: true });
    const arrived = () => {
        const { move } = seen;
        requestAnimationFrame(() => {
            const channel = new MessageChannel();
            channel.port1.onmessage = () => seen.frames.push([move, performance.now()]);
            channel.port2.postMessage(0);
        });
    };
    const draw = CanvasRenderingContext2D.prototype.drawImage;
    CanvasRenderingContext2D.prototype.drawImage = function (...rest) {
        arrived();
        return draw.apply(this, rest);
    };
    new MutationObserver((changes) => {
        const nodes = changes.flatMap(({ addedNodes }) => [...addedNodes]).filter((node) => node.querySelectorAll);
        for (const node of nodes) for (const image of node.querySelectorAll("img")) image.decode().then(arrived);
    }).observe(document.body, { childList: true, subtree: true });
}"""


def sizes(page, files=True):
    """Return a list that grows by the bytes of every message, and file, that reaches the page from now on."""
    found = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: found.append(len(data))))
    if files:
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", lambda given: found.append(given["encodedDataLength"]))
    return found


def describe(name, page, received, box):
    """Return the row of a rival that is on the page: move over a box one step at a time, then without a stop."""
    delays = []
    for k in range(MOVES):
        known = page.evaluate("seen.frames.length")
        page.mouse.move(box["x"] + box["width"] * (0.3 + 0.4 * k / MOVES), box["y"] + box["height"] / 2)
        page.wait_for_function("(known) => seen.frames.length > known", arg=known)
        page.wait_for_timeout(300)
        move, painted = page.evaluate("(known) => seen.frames[known]", known)
        delays.append(painted - move)
    page.evaluate("seen.frames.length = 0")
    wander(page, box)
    rate = page.evaluate("new Set(seen.frames.map(([, painted]) => Math.round(painted))).size") / SECONDS
    late = [quantile(delays, q) for q in (0.5, 0.95)]
    measured = f"{rate:.1f} frames a second, one move painted after {late[0]:.0f} (p50), {late[1]:.0f} ms (p95)"
    return rate, Row(f"explorer: {name}", f"{measured}, {received / 1e6:.2f} MB to the first", "none")


def canvas():
    """Return the rate of a matplotlib canvas, and its row."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", MODEL + CANVAS, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with lab.browser() as page:
            lab.wait_for(f"http://127.0.0.1:{port}/", process)
            received = sizes(page)
            page.goto(f"http://127.0.0.1:{port}/")
            page.evaluate(WATCH)
            page.wait_for_function("seen.frames.length > 0")
            first = sum(received)
            page.wait_for_timeout(3000)
            box = page.locator("canvas").last.bounding_box()
            return describe("matplotlib canvas, redrawn per event", page, first, {**box, "width": box["width"] / 2})
    finally:
        process.kill()


def sliders():
    """Return the rate of a slider that redraws, and its row."""
    with tempfile.TemporaryDirectory() as folder, lab.server(folder) as address, lab.browser() as page:
        lab.notebook(Path(folder) / "book.ipynb", MODEL, SLIDERS)
        received = sizes(page, files=False)
        lab.run_all(page, address("lab/tree/book.ipynb"))
        page.wait_for_selector(".jupyter-widgets img", timeout=120_000)
        first = sum(received)
        page.evaluate(WATCH)
        page.wait_for_timeout(2000)
        track = page.locator(".noUi-target").first.bounding_box()
        handle = page.locator(".noUi-handle").first.bounding_box()
        page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
        page.mouse.down()
        return describe("ipywidgets.interact, a slider that redraws", page, first, track)


# tfjs

TFJS = ("4.22.0", "tf.min.js", "300dfae273d20b4046f46a06d735688f03675a807561e9bcb5f664eb2f3d2831")
RACE = """async ([text, packed, weights, kind]) => {
    const { createNet, inflate } = await import(`data:text/javascript,${encodeURIComponent(text)}`);
    const bytes = (packed) => Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0)).buffer;
    const net = createNet(await inflate(new DataView(bytes(packed))));
    const tensors = weights.map(([shape, packed]) => tf.tensor(new Float32Array(bytes(packed)), shape));
    const silu = (x) => x.mul(x.sigmoid());
    const size = tensors[0].shape[0];
    const layers = {
        dense: (x) => {
            for (let k = 0; k < tensors.length; k += 2) {
                x = x.matMul(tensors[k]).add(tensors[k + 1]);
                if (k + 2 < tensors.length) x = silu(x);
            }
            return x;
        },
        conv: (x) => {
            const [a, b, c, d, ...rest] = tensors;
            x = silu(silu(x.matMul(a).add(b)).matMul(c).add(d)).reshape([1, 128, 7, 7]).transpose([0, 2, 3, 1]);
            for (const [k, side, stride] of [[0, 7, 1], [2, 14, 2], [4, 28, 2]]) {
                x = x.conv2dTranspose(rest[k], [1, side, side, rest[k].shape[2]], stride, "same").add(rest[k + 1]);
                if (k < 4) x = silu(x);
            }
            return x;
        },
    };
    const rival = (input) => tf.tidy(() => layers[kind](tf.tensor(input, [1, size])).sigmoid().dataSync());
    const own = (input) => net(input)[0];
    const found = {};
    for (const backend of ["own", "cpu", "webgl"]) {
        if (backend != "own" && !(await tf.setBackend(backend).catch(() => false))) continue;
        const [times, run] = [[], backend == "own" ? own : rival];
        let away = 0;
        for (let k = 0; k < ROUNDS; k++) {
            const input = Float32Array.from({ length: size }, () => 2 * Math.random() - 1), start = performance.now();
            const seen = run(input);
            times.push(performance.now() - start);
            own(input).forEach((value, k) => (away = Math.max(away, 255 * Math.abs(value - seen[k]))));
        }
        found[backend] = [times.slice(ROUNDS / 3).sort((a, b) => a - b), away];
    }
    return found;
}""".replace("ROUNDS", "60")


def library():
    """Return the path of tfjs, fetched by npm into build/ once, and checked."""
    version, name, digest = TFJS
    path = ROOT / "build" / "tfjs" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [shutil.which("npm") or "npm", "pack", f"@tensorflow/tfjs@{version}", "--silent"]
        subprocess.run(command, cwd=path.parent, check=True, stdout=subprocess.DEVNULL)
        (packed,) = path.parent.glob("*.tgz")
        with tarfile.open(packed) as archive:
            path.write_bytes(archive.extractfile(f"package/dist/{name}").read())
        packed.unlink()
    if (found := sha256(path.read_bytes()).hexdigest()) != digest:
        raise ValueError(f"{path}: {found}, expected {digest}")
    return path


def tensors(model):
    """Return the decoder's weights as tfjs takes them: (shape, float32 in base 64), weight and bias in turn."""
    found = []
    for layer in model.decoder:
        if hasattr(layer, "weight"):
            weight = layer.weight.T if layer.weight.ndim == 2 else layer.weight.permute(2, 3, 1, 0)  # (h, w, out, in)
            found += [weight.detach().contiguous(), layer.bias.detach()]
    return [(list(each.shape), base64.b64encode(each.numpy().astype("<f4").tobytes()).decode()) for each in found]


def tfjs(path):
    """Yield how long both take for the same pictures in one page, in turn, and what a page of each would weigh."""
    x = load_mnist().train.x[:256]
    for name, kind, way in (("vae", VAE, "dense"), ("conv_vae", ConvVAE, "conv")):
        model, _ = load(name, kind)
        packed, weights = pack(model, "decode", encode(model, x)), tensors(model)
        with lab.browser() as page:
            page.goto("about:blank")
            page.add_script_tag(path=path)
            given = [script("net.js"), base64.b64encode(packed).decode(), weights, way]
            found = page.evaluate(RACE, given)
        # what a page would hold; tfjs has no narrower weights than those in half precision
        weight = {"own": len(script("net.js")) + len(packed)}
        rival = path.stat().st_size + sum(2 * prod(shape) for shape, _ in weights)
        for backend, (times, away) in found.items():
            if away > 1:
                raise ValueError(f"tfjs on {backend} draws {name} {away:.1f} grey levels away")
            size = weight.get(backend, rival) / 1e6
            who = "the page's own" if backend == "own" else f"tfjs, {backend}"
            middle, late = (quantile(times, q) for q in (0.5, 0.95))
            measured = f"{middle:.1f} (p50), {late:.1f} ms (p95), {size:.2f} MB to the first"
            yield Row(f"explorer: {name} decoded by {who}", measured, "none")


def rows(exact):
    """Yield the rivals' rows; `exact` is how many frames a second the explorer's page shows."""
    for measured, target in ((canvas, ">= 20"), (sliders, "none")):
        rate, row = measured()
        yield row
        yield Row("explorer: frames of its page for one of these", f"{exact / max(rate, 1e-9):.0f}", target)
    try:
        path = library()
    except (OSError, subprocess.CalledProcessError) as error:
        yield Row("explorer: tfjs", f"not measured, npm cannot fetch it: {error}", "none")
    else:
        yield from tfjs(path)
