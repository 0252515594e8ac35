"""Which statements of a notebook lead to an explorer, and what tells one picture from another."""

import io

import live
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

SOURCE = """
import a, b as c
from d import e
model = a.first()
history = c.fit(model)
model = a.second(lambda x, k=2: x + k * e)
model.eval()
weights = {}
for x in range(3):
    weights[x] = model
    print(x)
def made(x):
    inner = helper(x)
    return inner
helper = c.help
plot = a.plot(model)
print(model)
explorer = made(weights)
explorer.z, plot.size = (1, 2), 3
other = explorer.z
"""


def test_only_what_leads_to_a_name_is_kept_in_its_order():
    kept = live.leading_to({"explorer"}, live.ast.parse(SOURCE).body).splitlines()
    for there in ("import a, b as c", "from d import e", "    weights[x] = model", "helper = c.help", "model.eval()"):
        assert there in kept
    assert kept[-1] == "explorer.z, plot.size = ((1, 2), 3)"
    for gone in ("first", "fit", "other", "print(model)"):
        assert not any(gone in line for line in kept), gone


def shows(source, text="LatentExplorer(VAE, 10 images)"):
    return new_code_cell(source, outputs=[new_output("execute_result", {"text/plain": text}, execution_count=1)])


def test_what_is_shown_or_saved_is_found_with_the_cells_that_show_it():
    cells = [
        new_code_cell("from helpers.explorer import LatentExplorer, Pad\nmodel = 1"),
        shows("explorer = LatentExplorer(model, x, y)\nexplorer"),
        shows("Pad(explorer)", "Pad(LatentExplorer(VAE, 10 images))"),
        new_code_cell("explorer.save_html(path)\nfilm = Film(model)\nsizes = film.save_html(path)"),
        new_code_cell("print(explorer)", outputs=[new_output("stream", text="LatentExplorer(VAE, 10 images)")]),
        new_code_cell("hidden = LatentExplorer(model, x, y)"),
    ]
    assert live.explorers(new_notebook(cells=cells)) == {"explorer": [1, 2], "film": [3]}


WIDGET = """
class LatentExplorer:
    def __init__(self): self.z = 0
    def save_html(self, path): open(path, "w").write(str(self.z))
def save_film(path, way): open(path, "w").write(way)
"""


def test_a_page_is_saved_as_the_notebook_shows_it_without_the_rest(tmp_path):
    book = new_notebook(
        cells=[new_code_cell(WIDGET), new_code_cell("1 / 0"), shows("e = LatentExplorer()\ne.z = 1\ne")]
    )
    book.cells.append(new_code_cell('e.z = 2\ne.save_html("elsewhere")\nsave_film("elsewhere", "way" + str(e.z))'))
    assert live.save(book, "e", tmp_path, tmp_path / "page.html") == [2]
    assert (tmp_path / "page.html").read_text() == "1"
    assert live.save(book, "save_film", tmp_path, tmp_path / "page.html") == [3]
    assert (tmp_path / "page.html").read_text() == "way2"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_what_fails_is_told(tmp_path):
    book = new_notebook(cells=[new_code_cell("size = 1 / 0"), shows("e = LatentExplorer(size)\ne")])
    with pytest.raises(RuntimeError, match=r"(?s)e cannot be made again: .*ZeroDivisionError"):
        live.save(book, "e", tmp_path, tmp_path / "page.html")


def test_pictures_differ_by_their_grey_levels():
    black, grey, large = (picture(level, size) for level, size in ((0, 4), (8, 4), (0, 5)))
    assert [live.difference(black, each) for each in (black, grey, large)] == [0, 8, 255]


def picture(level, size):
    buffer = io.BytesIO()
    Image.fromarray(np.full((size, size), level, np.uint8)).save(buffer, "png")
    return buffer.getvalue()
