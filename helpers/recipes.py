"""Describe a call of `fit` in plain words, so that its weights can be told from those of any other call.

A description holds only what JSON holds, and is the same on every processor and device. It does not see an edited body:
of a function or a `forward` that stands in a module, or of the constants and functions these use. After such an edit,
train with RETRAIN=1. (A digest of the source would see it, and every reworded comment too.)
"""

import hashlib
import inspect
import reprlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from helpers.data import Split

Description = Any  # what JSON holds


def describe(name: str, value: Any) -> Description:
    """Return the description of any argument of `fit` but the network.

    A function, or a `functools.partial` of one, becomes its qualified name and its settings: its own defaults and what
    is bound. A split becomes its size and a SHA-256 of its bytes, pixels as float32, which no change escapes;
    posteriors become their source. Raises ValueError, naming the argument, for a lambda, a closure, or what cannot be
    told from others of its type.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [describe(name, each) for each in value]
    if isinstance(value, dict):
        return {str(key): describe(f"{name}.{key}", each) for key, each in value.items()}
    if isinstance(value, Split):
        if source := getattr(value, "source", None):
            return source
        parts = [part.cpu().reshape(-1).numpy() for part in (value.x, value.y)]
        return f"{len(value):,} images, sha256 {_digest(*parts)}"
    call = value if isinstance(value, partial) or not callable(value) else partial(value)
    function = getattr(call, "func", call)
    if not inspect.isfunction(function):
        got = type(function).__name__
        raise ValueError(f"{name} must be plain values, functions, or functools.partial of functions, got a {got}")
    settings = inspect.signature(function).bind_partial(*call.args, **call.keywords)
    settings.apply_defaults()
    return {"function": _identity(name, function), "settings": describe(name, settings.arguments)}


def describe_network(model: nn.Module) -> dict[str, Description]:
    """Return the class and `config` of a network, its layers with their settings, and the shapes of its state."""
    return {
        "class": _identity("model", type(model)),
        "config": describe("config", model.config),
        "layers": {key: f"{type(layer).__name__}({layer.extra_repr()})" for key, layer in model.named_modules()},
        "shapes": {key: list(value.shape) for key, value in model.state_dict().items()},
    }


def fingerprint(model: nn.Module) -> str:
    """Return the class of a network and a SHA-256 of its state: weights that were loaded are the same everywhere."""
    state = model.state_dict()
    parts = [part for key in sorted(state) for part in (key.encode(), state[key].cpu().reshape(-1).numpy())]
    return f"{type(model).__name__}, sha256 {_digest(*parts)}"


def differences(was: Description, now: Description, name: str = "") -> list[str]:
    """Return what tells two descriptions apart, each as a text such as 'lr was 0.005, is now 0.01'."""
    if was == now:
        return []
    if isinstance(was, dict) and isinstance(now, dict) and "function" not in was | now:
        return [
            line
            for key in dict.fromkeys([*now, *was])
            for line in differences(was.get(key, "absent"), now.get(key, "absent"), f"{name}.{key}" if name else key)
        ]
    return [f"{name} was {_words(was)}, is now {_words(now)}"]


def _words(description: Description) -> str:
    """Write a description as the code that it stands for."""
    if isinstance(description, list):
        return f"[{', '.join(map(_words, description))}]"
    if not isinstance(description, dict):
        return str(description)
    if "function" not in description:
        return reprlib.repr(description)  # abbreviated
    settings = ", ".join(f"{key}={_words(value)}" for key, value in description["settings"].items())
    return f"{description['function']}({settings})" if settings else description["function"]


def _identity(name: str, thing: Any) -> str:
    """Return the qualified name of a function or class; where no module holds it, with a digest of its source.

    What a notebook defines is edited and run again under one name, so there the source decides. A script's functions
    are named as if it were imported: `python best.py` makes the weights that `import best` loads.
    """
    script = thing.__module__ == "__main__" and getattr(sys.modules["__main__"], "__file__", None)
    known = f"{Path(script).stem if script else thing.__module__}.{thing.__qualname__}"
    held = sys.modules.get(thing.__module__)
    for part in thing.__qualname__.split("."):
        held = getattr(held, part, None)
    if held is thing and (script or thing.__module__ != "__main__"):
        return known
    if inspect.isfunction(thing) and (thing.__name__ == "<lambda>" or inspect.unwrap(thing).__closure__):
        kind = "lambda" if thing.__name__ == "<lambda>" else "closure"
        raise ValueError(
            f"{name}: the {kind} {known} cannot be told from another of its name; define a function at module level, "
            "and give it settings with functools.partial"
        )
    try:
        parts = [thing] if inspect.isfunction(thing) else vars(thing).values()
        source = "".join(inspect.getsource(part) for part in parts if inspect.isfunction(part))
    except OSError as error:
        raise ValueError(f"{name}: the source of {known} cannot be read; define it in a file or notebook") from error
    return f"{known} (source {_digest(source.encode())})"


def _digest(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
