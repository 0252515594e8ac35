"""Make the site of the series from the committed outputs: every notebook, and explorers that hover without Python.

python tools/build_site.py        the pages go to build/site/; no page needs a network

Of the notebooks' code only what leads to an explorer is run, to save the explorer as a page. In GitHub Actions the
pages link to their notebooks in the repository too: only there it is known where that is.
"""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template

import live
import nbformat
from nbformat.v4 import new_markdown_cell, new_output
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SITE, SOURCE = ROOT / "build" / "site", ROOT / "build" / "site-source"
PAGES, TAKE_AWAY = SOURCE / "_static" / "explorers", SOURCE / "_static" / "notebooks"
ANCHOR = re.compile(r'^<a id="(.+?)"></a>', re.MULTILINE)  # as code hosts want it; Sphinx has its own
QUESTION = re.compile(r"## .+\n\n\*\S.*?\S\*(?=\s|$)", re.DOTALL)  # of an exercise, before its solution
LIVE = '<div class="explorer"><iframe id="live-{name}" src="{src}" loading="lazy" title="{title}"></iframe></div>'
# An icon in the theme's script: name, width, height, other names, code point, path
ICON = re.compile(r'((?:"[\w-]+"|\w+):\[\d+,\d+,\[[^\]]*\],"[0-9a-f]+",)(?:"[^"]*"|\[[^\]]*\])\],?')
PACKED = re.compile(r'(?<=<script type="application/json" id="packed">)(.+?)(?=</script>)', re.DOTALL)
LARGE = 100_000  # letters, from which on a part of an explorer gets a file of its own
JOIN = """{
const element = document.getElementById("packed"), packed = JSON.parse(element.textContent);
for (const group of Object.values(packed)) for (const name in group) group[name] = shared[group[name]] ?? group[name];
element.textContent = JSON.stringify(packed);
}"""
ABOVE = '<p class="explorer-above">It is part of <a href="#live-{name}">the live explorer above</a>.</p>'
COVER = 640  # pixels, the width of a chapter's picture on the front page


def main():
    for folder in (SOURCE, SITE):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "site", SOURCE)
    PAGES.mkdir()
    notebooks = {path: nbformat.read(path, 4) for path in sorted((ROOT / "notebooks").rglob("*.ipynb"))}
    chapters = [path for path in notebooks if path.parent.name == "notebooks" and path.name[0].isdigit()]
    solutions = [path for path in notebooks if path.parent.name == "solutions"]
    texts = [ROOT / "CONTRIBUTING.md", *(ROOT / "notebooks").glob("*.md"), *(ROOT / "docs").glob("*.md")]
    beside = [*(path for path in notebooks if path not in (*chapters, *solutions)), *texts]

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # an explorer is saved by a process of its own
        explorers = dict(zip(chapters, pool.map(lambda path: save_explorers(path, notebooks[path]), chapters)))
    for path, notebook in notebooks.items():
        place(path, notebook, explorers.get(path, {}))
    for path in texts:
        target = SOURCE / path.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        target.write_text(ANCHOR.sub(r"(\1)=\n", path.read_text("utf-8")), "utf-8")
    for picture in (ROOT / "docs").glob("*.webp"):
        shutil.copy(picture, SOURCE / "docs")
    front = SOURCE / "index.md"
    text = Template(front.read_text("utf-8")).substitute(
        explorer=next(iframe for found in explorers.values() for iframe, _ in found.values()),
        cards="\n".join(card(path, notebooks[path]) for path in chapters),
        chapters="\n".join(map(name_of, chapters)),
        solutions="\n".join(map(name_of, solutions)),
        beside="\n".join(map(name_of, beside)),
    )
    front.write_text(text, "utf-8")
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-j", "auto", "-d", SOURCE / "doctrees"]
    done = subprocess.call([*sphinx, SOURCE, SITE])
    shrink()
    return done


def name_of(path):
    """Return how Sphinx calls a page: notebooks/03_vae."""
    return path.relative_to(ROOT).with_suffix("").as_posix()


def save_explorers(path, notebook):
    """Save the explorers of a notebook as pages; return {name: (the front page's iframe, cells)}."""
    found = {}
    for name in live.explorers(notebook):
        page = PAGES / f"{path.stem}-{name}.html"
        try:
            numbers = live.save(notebook, name, path.parent, page)
        except RuntimeError as error:
            print(f"{name_of(path)} keeps its still picture: {error}", file=sys.stderr)
            continue
        title = re.search("<title>(.+?)</title>", share(page))[1]
        src = page.relative_to(SOURCE).as_posix()
        found[name] = LIVE.format(name=name, src=src, title=f"{title}, live"), numbers
    return found


def share(page):
    """Move what several explorers may hold, such as the networks, into files beside them; return the page's text."""
    start, packed, end = PACKED.split(page.read_text("utf-8"))
    parts, files = json.loads(packed), []
    for group in parts.values():
        for name, content in group.items():
            if len(content) > LARGE:
                group[name] = digest = sha256(content.encode()).hexdigest()[:12]
                files.append(f"{digest}.js")
                (PAGES / files[-1]).write_text(f'(globalThis.shared ??= {{}})["{digest}"] = "{content}";\n', "utf-8")
    scripts = "".join(f'<script src="{file}"></script>\n' for file in files) + (
        f"<script>{JOIN}</script>" if files else ""
    )
    start = start.replace("script-src 'unsafe-inline'", "script-src 'unsafe-inline' 'self' file:", 1)
    text = start + json.dumps(parts) + end.replace("</script>", f"</script>\n{scripts}", 1)
    page.write_text(text, "utf-8")
    return text


def place(path, notebook, explorers):
    """Write a notebook to the source: its explorers live, its solutions folded, with a copy to take away."""
    target, copy = SOURCE / path.relative_to(ROOT), TAKE_AWAY / path.relative_to(ROOT / "notebooks")
    up = "../" * len(target.parent.relative_to(SOURCE).parts)
    for name, (iframe, (first, *others)) in explorers.items():
        outputs = notebook.cells[first].outputs
        outputs[:] = [output for output in outputs if "image/png" not in output.get("data", {})]
        outputs.append(new_output("display_data", {"text/html": iframe.replace('src="', f'src="{up}')}))
        for number in others:
            notebook.cells[number].outputs = [new_output("display_data", {"text/html": ABOVE.format(name=name)})]
    if path.parent.name == "solutions":
        notebook.cells = list(folded(notebook.cells))
    links = f'This page is the notebook <a href="{up}{copy.relative_to(SOURCE).as_posix()}" download>{path.name}</a>'
    back = os.path.relpath(target.with_suffix(".html"), copy.parent)
    if repository := os.environ.get("GITHUB_REPOSITORY"):
        owner, name = repository.split("/")
        back = f"https://{owner}.github.io/{name}/{name_of(path)}.html"
        here = f"https://github.com/{repository}/blob/{os.environ['GITHUB_SHA']}/{name_of(path)}.ipynb"
        links += f', <a href="{here}">with its outputs on GitHub</a>'
    notebook.cells.insert(1, new_markdown_cell(f'<p class="notebook">{links}.</p>'))
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    copy.parent.mkdir(parents=True, exist_ok=True)
    plain = nbformat.read(path, 4)
    for cell in plain.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    plain.cells.insert(1, new_markdown_cell(f"[This notebook as a page]({back}), with its outputs and live explorers."))
    nbformat.write(plain, copy)


def folded(cells):
    """Yield the cells of a notebook of solutions, what follows an exercise's question hidden until it is asked for."""
    is_open = False
    for cell in cells:
        question = cell.cell_type == "markdown" and QUESTION.match(cell.source)
        if question:
            if is_open:
                yield new_markdown_cell("</details>")
            number = cell.source.split()[1].rstrip(".")
            yield new_markdown_cell(question[0])
            yield new_markdown_cell(f'<details class="solution">\n<summary>Show solution {number}</summary>')
            cell.source, is_open = cell.source[question.end() :].strip(), True
        yield cell
    if is_open:
        yield new_markdown_cell("</details>")


def card(path, notebook):
    """Return a chapter's card: the picture of its cell tagged "cover", its title, and what the README says of it."""
    title = notebook.cells[0].source.partition("\n")[0].lstrip("# ")
    about = re.search(rf"\(notebooks/{path.name}\) \| (.+?) \|", (ROOT / "README.md").read_text("utf-8"))[1]
    plain = nbformat.read(path, 4)  # the other has a live explorer for a cover
    cover = next(cell for cell in plain.cells if "cover" in cell.metadata.get("tags", ()))
    png = next(output.data["image/png"] for output in cover.outputs if "image/png" in output.get("data", {}))
    picture = SOURCE / "_static" / f"{path.stem}.webp"
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    image.thumbnail((COVER, 2 * COVER))
    image.save(picture, lossless=True)
    href, src = f"{name_of(path)}.html", picture.relative_to(SOURCE).as_posix()
    return (
        f'<a href="{href}"><img src="{src}" alt=""><b>{escape(title)}</b><span>{escape(about, quote=False)}</span></a>'
    )


def shrink():
    """Drop 6 MB: unused icons, translations, the theme's maps; figures in 256 colours or less sharp if that helps."""
    for path in SITE.rglob("*.map"):
        path.unlink()
    shutil.rmtree(SITE / "_static" / "locales")
    for path in (SITE / "_images").glob("*.png"):
        image = Image.open(path).convert("RGB")
        few = image.quantize(256, dither=Image.Dither.NONE).convert("RGB")
        smallest = min(webp(image, lossless=True), webp(few, lossless=True), webp(image, quality=90), key=len)
        path.with_suffix(".webp").write_bytes(smallest)
        path.unlink()
    texts = ""
    for page in SITE.rglob("*.html"):
        if PAGES.name not in page.parts:
            page.write_text(re.sub(r"(_images/[\w.-]+)\.png", r"\1.webp", page.read_text("utf-8")), "utf-8")
            texts += page.read_text("utf-8")
    *scripts, icons = sorted((SITE / "_static" / "scripts").glob("*.js"), key=lambda path: path.stat().st_size)
    used = set(re.findall(r"\bfa-([a-z0-9-]+)", texts + "".join(script.read_text("utf-8") for script in scripts)))
    text = icons.read_text("utf-8")
    unused = [icon[0] for icon in ICON.finditer(text) if not used & set(re.findall(r"[a-z0-9-]+", icon[1]))]
    for icon in unused:
        text = text.replace(icon, "")
    icons.write_text(text, "utf-8")


def webp(image, **settings):
    """Return the bytes of an image as WebP."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **settings)
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
