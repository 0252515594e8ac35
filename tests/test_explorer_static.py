"""The explorer's script: its modules become one, and its types are checked where Node is at hand."""

import re
import shutil
import subprocess

import pytest

from helpers.explorer.static import HERE, link, script

JS = HERE / "js"


def write(folder, **modules):
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text + "\n", "utf-8")
    return folder / "entry.js"


def test_what_is_imported_comes_first_and_once(tmp_path):
    entry = write(
        tmp_path,
        entry='import { a } from "./a.js";\nimport { b } from "./b.js";\nexport const sum = a + b;',
        a='import { b } from "./b.js";\nexport const a = b;',
        b="export const b = 1;",
    )
    text = link(entry)
    assert re.findall(r"^const (\w+) =|^return \{ (\w+):", text, re.MULTILINE) == [
        *[("b", ""), ("", "b"), ("a", ""), ("", "a"), ("sum", ""), ("", "sum")]
    ]
    assert text.endswith("export const { sum } = $module2;\n") and "import" not in text


@pytest.mark.parametrize(
    ("modules", "says"),
    [
        (
            {"a": 'import { b } from "./b.js";', "b": 'import { a } from "./a.js";'},
            "circle: entry.js -> a.js -> b.js -> a.js",
        ),
        ({"a": 'import { a } from "./a.js";'}, "circle: entry.js -> a.js -> a.js"),
        ({"a": 'import { b } from "./b.js";'}, "a.js imports from './b.js', which is no file"),
        ({"a": 'import { b } from "b";', "b": ""}, "a.js imports from 'b', which is no file"),
        ({"a": 'import { b } from "https://example.org/b.js";'}, "a.js imports from 'https"),
        ({"a": "const a = 1;\nexport const other = a;"}, "entry.js imports a, not exported by a.js"),
        ({"a": 'import { x as b } from "./b.js";', "b": "export const b = 1;"}, "a.js imports x, not exported by b.js"),
        ({"a": 'import * as b from "./b.js";', "b": ""}, "a.js has a form of import or export .* import * as b"),
        ({"a": 'import "./b.js";', "b": ""}, 'a.js has a form .* import "./b.js"'),
        ({"a": "export let a = 1;"}, "a.js has a form .* export let a"),
        ({"a": "const a = 1;\nexport { a };"}, "a.js has a form .* export { a }"),
        ({"a": 'export { b } from "./b.js";', "b": "export const b = 1;"}, "a.js has a form .* export { b }"),
    ],
)
def test_what_cannot_be_linked_is_named(tmp_path, modules, says):
    entry = write(tmp_path, entry='import { a } from "./a.js";', **modules)
    with pytest.raises(ValueError, match=re.escape(says).replace(r"\.\*", ".*")):
        link(entry)


def test_the_widget_exports_its_default_alone():
    """A named `render` makes anywidget take it for a widget of the old kind, and `initialize` is not called."""
    assert re.findall(r"^export (\w+)", script("index.js"), re.MULTILINE) == ["default"]


def test_every_module_is_part_of_the_page():
    text = script("page.js")
    for path in JS.glob("*.js"):
        assert path.read_text("utf-8").partition("\n")[0] in text, path.name


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed")
def test_types_of_the_script(tmp_path):
    for name in ("package.json", "package-lock.json"):
        shutil.copy(JS / name, tmp_path)
    command = [shutil.which("npm"), "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"]
    if (made := subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)).returncode:
        pytest.skip(f"npm cannot install TypeScript: {made.stderr[-200:]}")
    tsc = [shutil.which("node"), tmp_path / "node_modules/typescript/bin/tsc", "--project", JS / "jsconfig.json"]
    done = subprocess.run(tsc, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
