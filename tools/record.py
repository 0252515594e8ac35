"""Record the README's animation, docs/explorer.webp, from real hovering in a real JupyterLab.

python tools/record.py
"""

import io
import math
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
import lab  # noqa: E402

CELL = """from helpers.checkpoints import load
from helpers.data import load_mnist
from helpers.explorer import LatentExplorer
from helpers.models import CNN, VAE
from helpers.training import pick_device

device = pick_device()
train = load_mnist(device).train
model, _ = load("vae", VAE, device)
classifier, _ = load("cnn_classifier", CNN, device)

LatentExplorer(model, train.x, train.y, classifier)"""
WIDTH, STEPS = 750, 90  # pixels and pictures of the animation


def walk():
    """Yield places along a loop through most digits, as shares of the plane's width and height."""
    for step in range(STEPS):
        turn = 2 * math.pi * step / STEPS
        radius = 0.25 + 0.07 * math.sin(3 * turn)
        yield 0.49 + radius * math.cos(turn), 0.45 + radius * math.sin(turn)


def shot(page, **options):
    return Image.open(io.BytesIO(page.screenshot(**options))).convert("RGB")


def main():
    with tempfile.TemporaryDirectory() as folder, lab.server(folder) as address:
        lab.notebook(Path(folder) / "explore.ipynb", CELL)
        with lab.browser(viewport={"width": 1120, "height": 950}) as page:
            lab.run_all(page, address("lab/tree/explore.ipynb"))
            page.wait_for_selector(".lx-live", timeout=120_000)
            page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
            page.wait_for_timeout(1000)
            plane = page.locator(".lx-plane").bounding_box()
            whole = page.locator(".lx").bounding_box()
            frames = []
            for u, v in walk():
                page.mouse.move(plane["x"] + u * plane["width"], plane["y"] + v * plane["height"])
                page.wait_for_timeout(60)
                frames.append(shot(page, clip={**whole, "width": min(whole["width"], 750), "height": 496}))

    height = round(frames[0].height * WIDTH / frames[0].width)
    first, *rest = [frame.resize((WIDTH, height), Image.Resampling.LANCZOS) for frame in frames]
    # WebP and not GIF: 256 colours are too few for ten, each in many tints
    path = ROOT / "docs" / "explorer.webp"
    first.save(path, save_all=True, append_images=rest, duration=60, loop=0, quality=80, method=6)
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
