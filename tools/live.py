"""The explorers that a notebook shows, as pages without Python: made again by the notebook's own statements."""

import ast
import io
import os
import re
import subprocess
import symtable
import sys
from base64 import b64decode
from itertools import chain

import numpy as np
from PIL import Image

SHOWN = re.compile(r"\bLatentExplorer\(")  # in the text of an output: an explorer, or a panel of one
# Grey levels that a picture may differ on average from the committed one: other processors draw another UMAP, 6 levels
# away; other explorers are 15 away or more
LIKE = 8
PICTURE = 'open({path!r}, "wb").write({name}._repr_mimebundle_()[0].get("image/png", b""))'


def explorers(notebook):
    """Return what a notebook shows or saves as a page, {name: numbers of the cells that show it, or save it}."""
    shown, saved, made = {}, {}, set()
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        for statement in (body := parsed(cell)):
            made |= names(statement)[0] if isinstance(statement, ast.Assign) else set()
            for name in saves(statement):
                saved.setdefault(name, [number])
        if SHOWN.search(text(cell)) and isinstance(body[-1], ast.Expr):
            for name in [node.id for node in ast.walk(body[-1]) if isinstance(node, ast.Name) and node.id in made][:1]:
                shown.setdefault(name, []).append(number)
    return saved | shown


def save(notebook, name, folder, page):
    """Write what a notebook calls `name`, as it first shows it, to the HTML file `page`; return the cells that show it.

    Only the statements that lead to it are run, in `folder`, and nothing is trained. Raises RuntimeError when they
    fail, or make something else than the picture in the notebook.
    """
    numbers = explorers(notebook)[name]
    *before, first = [cell for cell in notebook.cells[: numbers[0] + 1] if cell.cell_type == "code"]
    body = parsed(first)
    end = next((k for k, statement in enumerate(body) if name in saves(statement)), len(body) - 1)
    call = saves(body[end]).get(name) or ast.parse(f"{name}.save_html(None)", mode="eval").body
    call.args[0] = ast.Constant(str(page))
    pad = any(f"Pad({name})" in cell.source for cell in notebook.cells) or name in saves(body[end])
    picture = page.with_suffix(".png")
    pictures = [output.data["image/png"] for output in first.outputs if SHOWN.search(text(first)) and has_png(output)]
    source = leading_to(names(call)[1], [*chain.from_iterable(map(parsed, before)), *body[:end]])
    if not pad:  # a page has what the notebook shows: without a pad nobody needs the encoder, half of its size
        source += f"\n{name}.encoder = b''"
    source += f"\n{ast.unparse(call)}\n" + (PICTURE.format(name=name, path=str(picture)) if pictures else "")
    environment = os.environ | {"RETRAIN": "0"}
    done = subprocess.run([sys.executable, "-c", source], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} cannot be made again: {done.stderr.strip()[-500:]}")
    if pictures:
        away = difference(picture.read_bytes(), b64decode(pictures[-1]))
        picture.unlink()
        if away > LIKE:
            raise RuntimeError(f"{name} is not what the notebook shows: {away:.1f} grey levels away on average")
    return numbers


def leading_to(wanted, statements):
    """Return the source of the statements that lead to names: those that set them, or what they use, or parts of them.

    A call that changes what it is given is not seen. The notebook's picture tells whether that mattered.
    """
    late, found = set(), set(wanted)
    while not found <= late:  # a function finds its names when it is called: they may be set after it
        late |= found
        wanted, kept, found = set(late), [], set()
        for statement in reversed(statements):
            sets, uses, later, changes = names(statement)
            if wanted & sets or (wanted & changes and not saves(statement)):
                kept.append(ast.unparse(statement))
                if not isinstance(statement, ast.For | ast.While | ast.If | ast.Try):  # these may leave it as it was
                    wanted -= sets - uses
                wanted |= uses | later
                found |= later
    return "\n".join(reversed(kept))


def names(statement):
    """Return the names that a statement sets, uses, and uses in functions, and those whose parts it sets or calls."""
    table = symtable.symtable(ast.unparse(statement), "statement", "exec")
    sets = {each.get_name() for each in table.get_symbols() if each.is_assigned() or each.is_imported()}
    uses = {each.get_name() for each in table.get_symbols() if each.is_referenced()}
    later, inside = set(), table.get_children()
    for inner in inside:  # which grows
        inside += inner.get_children()
        later |= {each.get_name() for each in inner.get_symbols() if each.is_referenced() and each.is_global()}
    parts = [node for node in ast.walk(statement) if isinstance(getattr(node, "ctx", None), ast.Store)]
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        parts.append(statement.value.func)
    return sets, uses, later, {root(node) for node in parts if isinstance(node, ast.Attribute | ast.Subscript)}


def root(node):
    """Return the name at the beginning of a.b[c].d, or None."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def saves(statement):
    """Return what a statement saves as a page, {name: the call}: what has `save_html`, or "save_film"."""
    calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
    found = {root(call.func): call for call in calls if getattr(call.func, "attr", "") == "save_html"}
    films = [call for call in calls if getattr(call.func, "id", "") == "save_film"]
    return found | ({"save_film": films[0]} if films else {})


def parsed(cell):
    return ast.parse(cell.source).body


def text(cell):
    """Return the representations of what a cell shows."""
    return "\n".join(output.get("data", {}).get("text/plain", "") for output in cell.outputs)


def has_png(output):
    return "image/png" in output.get("data", {})


def difference(one, other):
    """Return the mean absolute difference of two pictures, bytes of PNG, in grey levels of 255."""
    images = [Image.open(io.BytesIO(each)).convert("L") for each in (one, other)]
    if images[0].size != images[1].size:
        return 255.0
    return np.abs(np.subtract(*(np.asarray(image, np.int16) for image in images))).mean()
