"""Execute the notebooks, each in a fresh kernel; as many at once as there are cores, from scratch one after the other.

python tools/run.py               executed copies and HTML pages go to build/; notebooks/ stays as it is
python tools/run.py 02 03         only the notebooks whose names start so
python tools/run.py solutions/02  in a folder, its name stands in front; `solutions` alone means all of them
python tools/run.py --in-place    write the outputs back into notebooks/, ready to be committed
"""

import argparse
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS, BUILD = ROOT / "notebooks", ROOT / "build"
# nbconvert's pages set code in Markdown, such as a helper's displayed source, in the font of the prose
CODE = ".jp-RenderedMarkdown pre { font: 13px/17px var(--jp-code-font-family) }"
BAR = re.compile(r"\w+:\s+\d+%\|.*")  # tests/nbval.cfg folds it the same way
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="how the notebooks' names start (default: all)")
    parser.add_argument("--in-place", action="store_true", help="write into notebooks/ instead of build/")
    options = parser.parse_args()

    found = sorted([*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("[!.]*/*.ipynb")])
    paths = [path for path in found if name_of(path).startswith(tuple(options.names) or "")]
    if not paths:
        sys.exit(f"{NOTEBOOKS} has no notebook {' or '.join(options.names)}".rstrip())
    at_once = min(os.cpu_count(), 4, len(paths))
    if os.environ.get("RETRAIN") == "1":  # later ones load what earlier ones train; 00 shows what all have trained
        paths.sort(key=lambda path: path.name.startswith("00"))
        at_once = 1
    # kernels that share the cores take one thread each: OpenMP's threads would wait for each other, and UMAP's numba
    # sets how many there are
    alone = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    environment = dict(os.environ) if at_once == 1 else alone | os.environ

    start = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        done = list(pool.map(lambda path: run(path, options.in_place, environment), paths))
    failed = done.count(False)
    print(f"{len(paths) - failed} of {len(paths)} notebooks ok in {time.perf_counter() - start:.0f} s")
    if not options.in_place:
        print(f"executed copies and HTML: {BUILD}")
    return 1 if failed else 0


def name_of(path):
    """Return a notebook's name with its folder in notebooks/: 02_cnn, solutions/02_cnn."""
    return path.relative_to(NOTEBOOKS).with_suffix("").as_posix()


def run(path, in_place, environment):
    """Execute one notebook, write the result, print its line; return whether it went through."""
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    error = execute(notebook, path.parent, environment)
    line = f"{name_of(path):<34}{time.perf_counter() - start:7.1f} s   {'FAIL' if error else 'ok'}"
    print(f"{line}\n    {error}" if error else line, flush=True)

    tidy(notebook)
    if not in_place:  # also a failed one: its page shows where and why
        copy = BUILD / path.relative_to(NOTEBOOKS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, copy)
        page = HTMLExporter(embed_images=True).from_notebook_node(
            notebook, resources={"metadata": {"name": path.stem, "path": str(path.parent)}}
        )[0]
        page = page.replace("</head>", f"<style>{CODE}</style></head>", 1)
        copy.with_suffix(".html").write_text(page, encoding="utf-8")
    elif not error:
        nbformat.write(notebook, path)
    return not error


def execute(notebook, folder, environment):
    """Run every cell in `folder` with these environment variables; return one line about what went wrong, or None."""
    begun = []  # the code cells so far, so that a failure can name its cell
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=None,
        record_timing=False,
        store_widget_state=False,
        extra_arguments=["--log-level=ERROR"],  # no warning about sockets that never leave this machine
        resources={"metadata": {"path": str(folder)}},
        on_cell_execute=lambda cell, cell_index: begun.append(cell),
    )
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        return f"cell [{len(begun)}]: {error.ename}: {error.evalue}"
    except DeadKernelError:
        return f"cell [{len(begun)}]: the kernel died; it may have run out of memory"


def tidy(notebook):
    """Keep what any machine would write: no widget ids, no time stamps, no paths or versions of this one.

    Without its widget view a live widget shows its picture, wherever the notebook is opened.
    """
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            data.pop("application/vnd.jupyter.widget-view+json", None)
            if BAR.fullmatch(data.get("text/plain", "")):  # it would stand at 0 % for ever
                data["text/plain"] = "(a progress bar)"
            if "traceback" in output:
                output.traceback = [relative(lines) for lines in output.traceback]


def relative(text):
    """Shorten the paths of this checkout and of its Python, spelt in full or with ~."""
    for folder in map(str, (ROOT, sys.base_prefix)):
        for spelling in (folder, folder.replace(str(Path.home()), "~")):
            text = text.replace(spelling + os.sep, "")
    return text


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nstopped")
