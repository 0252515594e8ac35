"""Make the site of the series from the committed outputs: every notebook, and explorers that hover without Python.

python tools/build_site.py        the pages go to build/site/; nothing is executed, no page needs a network
"""

import base64
import re
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template

import nbformat

from helpers.checkpoints import load
from helpers.data import load_mnist
from helpers.explorer import LatentExplorer
from helpers.models import CNN, VAE

ROOT = Path(__file__).resolve().parents[1]
SITE, SOURCE = ROOT / "build" / "site", ROOT / "build" / "site-source"
ANCHOR = re.compile(r'^<a id="(.+?)"></a>', re.MULTILINE)  # as code hosts want it; Sphinx has its own
IFRAME = '<iframe class="explorer" src="{}" title="Explorer" loading="lazy"></iframe>'
EXPLORER = "_static/explorers/vae.html"  # the plane of 00 and 03; one file of 4 MB serves both
SHOW_IT = ("00_explore", "03_vae")


def main():
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "site", SOURCE)
    page = SOURCE / EXPLORER
    page.parent.mkdir()
    explorer().save_html(page)
    notebooks = [place(path) for path in sorted((ROOT / "notebooks").rglob("*.ipynb"))]
    for path in (ROOT / "CONTRIBUTING.md", *(ROOT / "notebooks").glob("*.md"), *(ROOT / "docs").glob("*.md")):
        target = SOURCE / path.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        target.write_text(ANCHOR.sub(r"(\1)=\n", path.read_text("utf-8")), "utf-8")
    for picture in (ROOT / "docs").glob("*.webp"):
        shutil.copy(picture, SOURCE / "docs")
    chapters = [path for path in notebooks if path.parent.name == "notebooks"]
    beside = [path for path in (*notebooks, *SOURCE.rglob("*.md")) if path not in chapters]
    front = SOURCE / "index.md"
    front.write_text(
        Template(front.read_text("utf-8")).substitute(
            chapters='<div class="chapters">\n' + "\n".join(map(card, chapters)) + "\n</div>",
            notebooks="\n".join(map(entry, chapters)),
            beside="\n".join(entry(path) for path in beside if path != front),
        ),
        "utf-8",
    )
    done = subprocess.call([sys.executable, "-m", "sphinx", "-q", "-j", "auto", SOURCE, SITE])
    for path in SITE.rglob("*.map"):  # 4 MB for those who develop the theme
        path.unlink()
    return done


def explorer():
    """Return the explorer of notebook 00."""
    train = load_mnist().train
    return LatentExplorer(load("vae", VAE)[0], train.x, train.y, load("cnn_classifier", CNN)[0])


def place(path):
    """Copy a notebook to the source, with its explorer in place of the still picture; return where it went."""
    notebook = nbformat.read(path, as_version=4)
    target = SOURCE / path.relative_to(ROOT)
    for cell in notebook.cells:
        if cell.cell_type == "code" and re.search(r"^explorer$", cell.source, re.M) and path.stem in SHOW_IT:
            page = "../" * len(target.parent.relative_to(SOURCE).parts) + EXPLORER
            cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": IFRAME.format(page)})]
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    return target


def entry(path):
    return path.relative_to(SOURCE).with_suffix("").as_posix()


def card(path):
    """Return a chapter's card: the picture of its cell tagged "cover", its title, and what the README says of it."""
    notebook = nbformat.read(path, as_version=4)
    title = notebook.cells[0].source.partition("\n")[0].lstrip("# ")
    about = re.search(rf"\(notebooks/{path.name}\) \| (.+?) \|", (ROOT / "README.md").read_text("utf-8"))[1]
    cover = next(cell for cell in notebook.cells if "cover" in cell.metadata.get("tags", ()))
    picture = SOURCE / "_static" / f"{path.stem}.png"
    picture.write_bytes(base64.b64decode(next(o.data["image/png"] for o in cover.outputs if "image/png" in o.data)))
    return (
        f'<a href="{entry(path)}.html"><img src="_static/{picture.name}" alt=""><b>{title}</b><span>{about}</span></a>'
    )


if __name__ == "__main__":
    sys.exit(main())
