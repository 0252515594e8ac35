"""The explorer as one HTML file, for people without Python."""

import base64
import gzip
import json
from pathlib import Path

BYTES = ("points", "digits", "atlas", "facts", "likes")
PLAIN = ("centres", "bounds", "tiles", "palette", "plane", "classes", "prior", "layers", "smooth", "xy", "pins")

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<title>A latent plane of digits</title>
<style>
:root { color-scheme: light dark; }
body { max-width: 780px; margin: 32px auto; padding: 0 16px; }
%(css)s
</style>
<div id="explorer"></div>
<noscript>This page is drawn by its own script; please allow it to run.</noscript>
<script type="module">
%(script)s
%(start)s
const state = %(state)s;
const packed = %(packed)s;
start(document.getElementById("explorer"), state, packed);
</script>
</html>
"""


def page(explorer):
    """Return the HTML of an explorer as it is now: the widget's own script, and the state it would get from Python."""
    here = Path(__file__).parent
    # Inside the page the script is no module that others import.
    script = explorer._esm.replace("export default", "const widget =")
    state = {name: getattr(explorer, name) for name in PLAIN}
    packed = {name: base64.b64encode(gzip.compress(getattr(explorer, name), 9, mtime=0)).decode() for name in BYTES}
    return PAGE % {
        "css": (here / "explorer.css").read_text("utf-8"),
        "script": script,
        "start": (here / "standalone.js").read_text("utf-8"),
        "state": json.dumps(state).replace("</", "<\\/"),
        "packed": json.dumps(packed),
    }
