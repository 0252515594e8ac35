"""Draw letters as MNIST's digits were prepared, for notebook 05. `python tools/letters.py` writes letters_data/.

Needs Debian's fonts-breip fonts-bwht fonts-dkg-handwriting fonts-femkeklaver fonts-humor-sans fonts-kiloji fonts-klee
fonts-kristi fonts-rufscript fonts-seto fonts-sjfonts fonts-yusei-magic;
a reader of the notebook needs none of them, only what is written here.
"""

import gzip
import hashlib
import math
import struct
import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

FOLDER = Path(__file__).resolve().parents[1] / "letters_data"
FONTS = Path("/usr/share/fonts")
SMALL, CAPITALS = "abcdefghijkmnpqrstuvwxyz", "ABCDEFGHJKLMNPQRSTUVWXYZ"  # no o O l I: they are a 0 and a 1
# Every face is one hand, with the glyphs that it draws as a pen would. The hands of `test` are not in `train`.
FACES = {
    "train": {
        "truetype/breip/Breip.ttf": SMALL + CAPITALS,
        "truetype/fifthhorseman/dkg.ttf": SMALL + CAPITALS,
        "truetype/kiloji/kiloji.ttf": SMALL + CAPITALS,
        "truetype/rufscript/Rufscript010.ttf": SMALL + CAPITALS,
        "truetype/seto/setofont.ttf": SMALL + CAPITALS,
        "truetype/sjfonts/Delphine.ttf": SMALL + CAPITALS,
        "truetype/sjfonts/SteveHand.ttf": SMALL + CAPITALS,
        "truetype/yusei-magic/YuseiMagic-Regular.ttf": SMALL + CAPITALS,
        "opentype/bwht/BecauseWeBuild-Regular.otf": CAPITALS,
        "opentype/bwht/BecauseWeConnect-Regular.otf": CAPITALS,
        "opentype/bwht/BecauseWeCreate-Regular.otf": CAPITALS,
        "opentype/bwht/BecauseWeMentor-Regular.otf": CAPITALS,
    },
    "test": {
        "truetype/femkeklaver/femkeklaver.ttf": SMALL,
        "truetype/humor-sans/Humor-Sans.ttf": CAPITALS,
        "truetype/klee/KleeOne-Regular.ttf": SMALL + CAPITALS,
        "truetype/kristi/Kristi.ttf": SMALL + CAPITALS,
    },
}
CLASSES = "abcdefghijklmnpqrstuvwxyz"  # small and capital letters share a class, as in EMNIST Letters
VARIANTS = {"train": 10, "test": 4}
FINE = 8  # sub-pixels to a pixel and side


def draw(face: Path, glyph: str, rng: np.random.Generator) -> np.ndarray:
    """Return one glyph as MNIST would hold it, (28, 28) bytes: in a box of 20, by its centre of mass in 28.

    LeCun et al. 1998, section III A. A hand is added: slant, turn, width and weight of the pen are drawn by `rng`.
    """
    outline = TextPath((0, 0), glyph, size=100, prop=FontProperties(fname=face))
    hand = Affine2D().skew(rng.normal(0, 0.2), 0).rotate(rng.normal(0, 0.12)).scale(math.exp(rng.normal(0, 0.15)), 1)
    path = hand.transform_path(outline)
    pen = rng.uniform(0.1, 1.1)  # pixels of the final image, added to the font's own stroke
    box = path.get_extents()
    scale = FINE * (20 - pen) / max(box.width, box.height)
    middle = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    place = Affine2D().translate(-middle[0], -middle[1]).scale(scale).translate(10 * FINE, 10 * FINE)
    figure = Figure(figsize=(20 * FINE / 100,) * 2, dpi=100)
    canvas = FigureCanvasAgg(figure)
    width = pen * FINE * 72 / 100  # points
    figure.add_artist(PathPatch(place.transform_path(path), lw=width, color="black", joinstyle="round", transform=None))
    canvas.draw()
    ink = 1 - np.asarray(canvas.buffer_rgba())[..., 0] / 255
    ink = ink.reshape(20, FINE, 20, FINE).mean((1, 3))  # anti-aliased: an average, as in NIST's reduction
    rows, columns = np.indices(ink.shape)
    top = round(14 - 0.5 - (rows * ink).sum() / ink.sum())
    left = round(14 - 0.5 - (columns * ink).sum() / ink.sum())
    image = np.zeros((28, 28))
    top, left = (min(max(corner, 0), 8) for corner in (top, left))
    image[top : top + 20, left : left + 20] = ink
    return (255 * image).round().astype(np.uint8)


def write(name: str, array: np.ndarray) -> None:
    """Write an array of bytes as IDX, packed; the same bytes every time."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    unpacked = header + array.tobytes()
    (FOLDER / f"{name}.gz").write_bytes(gzip.compress(unpacked, 9, mtime=0))
    print(name, array.shape, hashlib.sha256(unpacked).hexdigest())


def main() -> None:
    """Draw both sets."""
    if missing := [face for faces in FACES.values() for face in faces if not (FONTS / face).exists()]:
        sys.exit(f"fonts are missing: {', '.join(missing)}")
    FOLDER.mkdir(exist_ok=True)
    for part, faces in FACES.items():
        rng = np.random.default_rng(0)
        drawn = [
            (draw(FONTS / face, glyph, rng), CLASSES.index(glyph.lower()))
            for face, glyphs in faces.items()
            for glyph in glyphs
            for _ in range(VARIANTS[part])
        ]
        images, labels = zip(*drawn, strict=True)
        write(f"{part}-images-idx3-ubyte", np.stack(images))
        write(f"{part}-labels-idx1-ubyte", np.array(labels, dtype=np.uint8))


if __name__ == "__main__":
    main()
