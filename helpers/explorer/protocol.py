"""The messages between the browser and the explorer: every question gets a reply, whatever it holds.

    kind      a question holds      the reply holds                              buffers, 784 bytes an image
    query     xy                    xy, probs, prior, off, device                the decoded image, its neighbour
    strip     path, 1 to 64 places                                               the decoded images, in one
    pin       pins, 0 to 64 places
    layers    layers
    write     text, up to 12 digits
    draw      side, label or none,  probs, label, place, ellipse, digits;        prepared, reconstruction, neighbours
              and the pixels        or empty

Where a place shows every class, its images come one after the other in the place of one.

A question's `page`, `number` and `asked` come back in its reply, and `error` does when it cannot be answered.
"""

from collections.abc import Sequence
from typing import Any

import torch

from helpers.explorer.space import FAR, LatentSpace

PAD = 256  # pixels, the longest side of a drawing
LAYERS = ("points", "tiles", "regions", "entropy")
LONGEST = 12  # digits of a number that is written
Answer = tuple[dict[str, Any], list[bytes], dict[str, Any]]


def answer(space: LatentSpace, question: Any, buffers: Sequence) -> Answer:
    """Return the reply to one message, its buffers, and the explorer's traits that it sets.

    Raises nothing: a view waits for every reply, and an exception in here would be invisible.
    """
    reply: dict[str, Any] = {}
    try:
        if not isinstance(question, dict):
            raise ValueError(f"a question must be an object, got {type(question).__name__}")
        # Echoed as they are: they tell the view which question this answers.
        reply = {key: question[key] for key in ("page", "number", "asked") if _short(question.get(key))}
        kind = question.get("kind")
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r:.50}")
        found, pixels, state = KINDS[kind](space, question, buffers)
        return reply | {"kind": kind, **found}, pixels, state
    except Exception as error:
        return reply | {"error": str(error)[:200] or type(error).__name__}, [], {}


def _query(space, question, buffers):
    xy = _places("xy", [question.get("xy")])[0]
    seen = space.query([xy])
    *probs, prior, off = seen.facts[0].tolist()
    reply = {
        "xy": xy,
        "probs": probs if space.classifier and space.shown == 1 else None,
        "prior": prior if space.has_prior else None,
        "off": bool(off),
        "device": str(space.device),
    }
    return reply, [seen.pixels.numpy().tobytes(), seen.neighbours.numpy().tobytes()], {"xy": xy}


def _strip(space, question, buffers):
    return {}, [space.query(_places("path", question.get("path"))).pixels.numpy().tobytes()], {}


def _pin(space, question, buffers):
    return {}, [], {"pins": _places("pins", question.get("pins")) if question.get("pins") else []}


def _layers(space, question, buffers):
    layers = question.get("layers")
    if not isinstance(layers, list) or len(layers) > len(LAYERS) or not all(layer in LAYERS for layer in layers):
        raise ValueError(f"layers must be a list of some of {', '.join(LAYERS)}, got {layers!r:.50}")
    return {}, [], {"layers": layers}


def _write(space, question, buffers):
    text = question.get("text")
    if not is_number(text):
        raise ValueError(f"text must be up to {LONGEST} digits, got {text!r:.50}")
    return {}, [], {"text": text}


def _draw(space, question, buffers):
    side, label = question.get("side"), question.get("label")
    if type(side) is not int or not 0 < side <= PAD or len(buffers) != 1 or len(buffers[0]) != side * side:
        sizes = [len(buffer) for buffer in buffers]
        raise ValueError(f"side must be 1 to {PAD}, with one buffer of side x side bytes, got {side!r:.50} and {sizes}")
    if label is not None and (type(label) is not int or not 0 <= label <= 9):
        raise ValueError(f"label must be a digit, got {label!r:.50}")
    found = space.read(torch.frombuffer(bytearray(buffers[0]), dtype=torch.uint8).reshape(side, side) / 255, label)
    if found is None:
        return {"empty": True}, [], {}
    return found, [found.pop("image"), found.pop("recon"), *found.pop("neighbours")], {}


KINDS = {"query": _query, "strip": _strip, "pin": _pin, "layers": _layers, "write": _write, "draw": _draw}


def _places(name, value, most=64):
    """Return a list of 1 to `most` places as lists of two floats."""
    if not isinstance(value, list) or not 0 < len(value) <= most or not all(map(_is_place, value)):
        raise ValueError(f"{name} must be 1 to {most} places, two numbers within {FAR:g} each, got {value!r:.50}")
    return [list(map(float, place)) for place in value]


def is_number(text: Any) -> bool:
    """Say whether text is a number that can be written: up to LONGEST of the ten digits, or none."""
    return isinstance(text, str) and len(text) <= LONGEST and all(sign in "0123456789" for sign in text)


def _is_place(value):
    # type() and not isinstance(): True is an int, and means something else
    numbers = isinstance(value, list) and len(value) == 2 and all(type(number) in (int, float) for number in value)
    return numbers and all(abs(number) <= FAR for number in value)  # false for NaN too


def _short(value):
    return len(value) <= 64 if isinstance(value, str) else isinstance(value, int | float) and abs(value) < 2**53
