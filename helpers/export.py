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
body { max-width: 780px; margin: 32px auto; padding: 0 16px; font: 14px/1.5 system-ui, sans-serif; }
h1 { margin: 0 4px; font-size: 20px; }
p { margin: 4px; color: color-mix(in srgb, CanvasText 65%%, Canvas); }
%(css)s
</style>
<h1>A latent plane of digits</h1>
<p>Every place on the plane stands for a code, and the large digit is what a neural network makes of that code. Move the
pointer, a finger or the arrow keys; click or press Enter to pin a place.</p>
<div id="explorer"></div>
<p>This file is all there is: no Python, no network. Its digits are blended from %(count)s that were decoded when it was
saved. Exact ones, and a pad that reads a digit of your own, need the notebook and its kernel.</p>
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


def page(explorer, script):
    """Return the HTML of an explorer as it is now: the widget's own script, and the state it would get from Python."""
    here = Path(__file__).parent
    state = {name: getattr(explorer, name) for name in PLAIN}
    packed = {name: base64.b64encode(gzip.compress(getattr(explorer, name), 9, mtime=0)).decode() for name in BYTES}
    return PAGE % {
        "count": f"{explorer.tiles**2:,}",
        "css": (here / "explorer.css").read_text("utf-8"),
        "script": script,
        "start": (here / "standalone.js").read_text("utf-8"),
        "state": json.dumps(state).replace("</", "<\\/"),
        "packed": json.dumps(packed),
    }
