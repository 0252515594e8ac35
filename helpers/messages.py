"""What the browser may ask of the explorer, and what it is told: every message gets a reply, whatever it holds."""

import torch

FAR = 1_000.0  # no code lies so far out; beyond it, a number is a mistake
PAD = 256  # pixels, the longest side of a drawing
LAYERS = ("points", "tiles", "regions", "entropy")


def answer(explorer, question, buffers):
    """Reply to one message. A view that waits must never wait in vain, and an exception here would be invisible."""
    reply, pixels, state = {}, [], {}
    try:
        if not isinstance(question, dict):
            raise ValueError(f"a question must be an object, got {type(question).__name__}")
        # Echoed as they are: they tell the view which question this answers.
        reply = {key: question[key] for key in ("page", "number", "asked") if _short(question.get(key))}
        kind = question.get("kind")
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r:.50}")
        facts, pixels, state = KINDS[kind](explorer, question, buffers)
        reply |= {"kind": kind, **facts}
    except Exception as error:
        reply |= {"error": str(error)[:200] or type(error).__name__}
    explorer.send(reply, pixels)
    try:
        explorer.set_state(state)  # as if the browser had set it, so that it is not sent back there
    except Exception:
        explorer.log.exception("an observer of the explorer failed")


def _look(explorer, question, buffers):
    """Decode one place. Buffers: its ink and the nearest training image, 784 bytes each."""
    xy = _places("xy", [question.get("xy")], 1)[0]
    sight = explorer.look([xy])
    *probs, prior, off = sight.facts[0].tolist()
    reply = {
        "xy": xy,
        "probs": probs if explorer.classes else None,
        "prior": prior if explorer.prior else None,
        "off": bool(off),
        "device": str(explorer.space.device),
    }
    return reply, [sight.ink[0].numpy().tobytes(), sight.like[0].numpy().tobytes()], {"xy": xy}


def _strip(explorer, question, buffers):
    """Decode a path of places. Buffer: their ink, 784 bytes each."""
    path = _places("path", question.get("path"), 64)
    return {}, [explorer.look(path).ink.numpy().tobytes()], {}


def _pin(explorer, question, buffers):
    """Take note of what is pinned."""
    return {}, [], {"pins": _places("pins", question.get("pins"), 64) if question.get("pins") else []}


def _layers(explorer, question, buffers):
    """Take note of what the plane shows."""
    layers = question.get("layers")
    if not isinstance(layers, list) or len(layers) > len(LAYERS) or not all(layer in LAYERS for layer in layers):
        raise ValueError(f"layers must be a list of some of {', '.join(LAYERS)}, got {layers!r:.50}")
    return {}, [], {"layers": layers}


def _draw(explorer, question, buffers):
    """Read a drawing, `side` x `side` bytes. Buffers: the prepared image, its reconstruction, the nearest images."""
    side = question.get("side")
    if type(side) is not int or not 0 < side <= PAD or len(buffers) != 1 or len(buffers[0]) != side * side:
        sizes = [len(buffer) for buffer in buffers]
        raise ValueError(f"side must be 1 to {PAD}, with one buffer of side x side bytes, got {side!r:.50} and {sizes}")
    strokes = torch.frombuffer(bytearray(buffers[0]), dtype=torch.uint8).reshape(side, side).float() / 255
    found = explorer.space.read(strokes)
    if found is None:
        return {"empty": True}, [], {}
    return found, [found.pop("image"), found.pop("recon"), *found.pop("nearest")], {}


KINDS = {"look": _look, "strip": _strip, "pin": _pin, "layers": _layers, "draw": _draw}


def _places(name, value, most):
    """Return a list of 1 to `most` places as lists of two floats."""
    if not isinstance(value, list) or not 0 < len(value) <= most or not all(map(_is_place, value)):
        raise ValueError(f"{name} must be 1 to {most} places, two numbers within {FAR:g} each, got {value!r:.50}")
    return [list(map(float, place)) for place in value]


def _is_place(value):
    # type() and not isinstance(): True is an int, and means something else
    numbers = isinstance(value, list) and len(value) == 2 and all(type(number) in (int, float) for number in value)
    return numbers and all(abs(number) <= FAR for number in value)  # false for NaN too


def _short(value):
    return len(value) <= 64 if isinstance(value, str) else isinstance(value, int | float) and abs(value) < 2**53
