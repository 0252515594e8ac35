"""Save and load weights that explain themselves.

A checkpoint is one file, readable with `weights_only=True`: the model's class and `config` (enough to rebuild it), the
`recipe` it was trained by, its `history`, its `state` in half precision, and a SHA-256 over all of these. torch's own
format loads a flipped bit without a word; this one refuses it. The SHA-256 lies in the file that it covers: it detects
damage, not tampering.
"""

import hashlib
import inspect
import json
import os
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from helpers.data import Split, find_folder
from helpers.recipes import describe, describe_network, differences
from helpers.training import Loss, fit, seed_everything

SHOWN = 5  # differences between two recipes that are printed
Model = TypeVar("Model", bound=nn.Module)
History = dict[str, list[float]]


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or of another model."""


def models_dir() -> Path:
    """Return the folder of the weights: models, as `find_folder` finds it with MODELS_DIR."""
    return find_folder("MODELS_DIR", "models")


def save(name: str, model: nn.Module, history: History, recipe: dict | None = None) -> None:
    """Write `model` and its history to NAME.pt in the models folder, in half precision, all or nothing.

    Raises ValueError for weights that are not finite in half precision, OSError when the folder cannot be written; an
    older file of that name then stays as it was. A process that is killed leaves its unfinished `.NAME.*.tmp` behind,
    which nothing reads.
    """
    path = models_dir() / f"{name}.pt"
    state = {key: _half(value) for key, value in model.state_dict().items()}
    bad = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise ValueError(f"{name}: weights must be finite in half precision, these are not: {', '.join(bad)}")
    header = {"model": type(model).__name__, "config": model.config, "recipe": recipe or {}, "history": history}
    header = json.loads(json.dumps(header))  # a tuple is a list from here on, as it will be when read
    content = header | {"state": state, "sha256": _digest(header, state)}
    try:
        _replace(path, content)
    except OSError as error:
        problem = f"{error.strerror}: not saved; an older {path.name} is as it was"
        raise OSError(error.errno, problem, str(path)) from error


def load(name: str, model_class: type[Model], device: torch.device | str = "cpu") -> tuple[Model, History]:
    """Rebuild the model stored as NAME.pt in the models folder.

    Returns (model in eval mode on `device`, history). Raises CheckpointError, naming the file, when it is missing,
    damaged, not one of ours, or holds another class than `model_class`.
    """
    path = models_dir() / f"{name}.pt"
    return _rebuild(path, _read(path), model_class, device)


def load_or_train(
    name: str, model: Model, loss: Loss, train: Split, valid: Split, **settings: Any
) -> tuple[Model, History]:
    """Load NAME.pt if this very call would have made it, else `fit` such a model and save it.

    `model` says what to build, its class and `config`; the weights that it holds are not used: the initial ones are
    drawn here, from the `seed` of `fit`, which is thus enough to repeat a training. (Drawn outside, they would have to
    be compared, and a seed gives other last bits on another processor.)

    This very call is every argument of `fit`, defaults included, described as in `helpers.recipes`: the network's
    class, config, layers and shapes; loss, metrics and augmentation by name and settings; the bytes of both splits. An
    edited `forward`, or body of a loss, is not seen: train with RETRAIN=1 after that.

    Otherwise it trains, and says what differs. With RETRAIN=1 in the environment it always trains, with RETRAIN=0, for
    tests, never. What is returned has always been through the file, so fresh and shipped weights are rounded alike.

    Returns (model in eval mode, on the device of `train`, and its history). Raises ValueError for arguments that cannot
    be described, and CheckpointError for a damaged file or when RETRAIN=0 forbids to train.
    """
    call = inspect.signature(fit).bind(model, loss, train, valid, **settings)
    call.apply_defaults()
    recipe = {key: describe(key, value) for key, value in call.arguments.items() if key != "model"}
    recipe["model"] = describe_network(model)  # last: what differs in it takes the most words
    path, retrain = models_dir() / f"{name}.pt", os.environ.get("RETRAIN")
    if path.exists() and retrain != "1":
        content = _read(path)
        changes = differences(content["recipe"], recipe)
        if not changes:
            print(f"{path.name}: loaded")
            return _rebuild(path, content, type(model), train.x.device)
        if len(changes) > SHOWN:
            changes[SHOWN:] = [f"and {len(changes) - SHOWN} differences more"]
        stale = f"{path.name}: {'; '.join(changes)}"
        if retrain == "0":
            raise CheckpointError(f"{stale}; RETRAIN=0 never trains")
        print(f"{stale}; training anew")
    elif retrain == "0":
        raise CheckpointError(f"{path}: not found, and RETRAIN=0 never trains")
    seed_everything(call.arguments["seed"])
    fresh = type(model)(**recipe["model"]["config"])
    if changes := differences(describe_network(fresh), recipe["model"], "model"):
        raise ValueError(f"{type(model).__name__}(**config) builds another network than the one given: {changes[0]}")
    history = fit(fresh, loss, train, valid, **settings)
    save(name, fresh, history, recipe)
    return load(name, type(model), train.x.device)


def read_recipe(name: str) -> dict[str, Any]:
    """Return what made NAME.pt: `model`, its class, `config`, and `recipe`, every argument of `fit` as described."""
    content = _read(models_dir() / f"{name}.pt")
    return {key: content[key] for key in ("model", "config", "recipe")}


def _rebuild(path: Path, content: dict, model_class: type[Model], device: torch.device | str) -> tuple[Model, History]:
    """Return (model in eval mode on `device`, history) from the verified content of a checkpoint."""
    if content["model"] != model_class.__name__:
        raise CheckpointError(f"{path}: expected a {model_class.__name__}, found a {content['model']}")
    try:
        model = model_class(**content["config"])
        model.load_state_dict(content["state"])
    except Exception as error:  # a class meets a config or a state that it does not know in many ways
        raise CheckpointError(f"{path}: does not fit {model_class.__name__} as it is now: {error}") from error
    return model.to(device).eval(), content["history"]


def _read(path: Path) -> dict[str, Any]:
    """Return the verified content of a checkpoint, its state in float32."""
    if not path.exists():
        raise CheckpointError(f"{path}: not found; run the notebook that trains it, or `git checkout models`")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        header = {key: content[key] for key in ("model", "config", "recipe", "history")}
        intact = content["sha256"] == _digest(header, content["state"])
    except Exception as error:  # a damaged zip or pickle can raise almost anything
        raise CheckpointError(f"{path}: not a checkpoint of this project, or damaged: {error}") from error
    if not intact:
        raise CheckpointError(f"{path}: damaged, its content does not match its SHA-256")
    state = {k: v.float() if v.is_floating_point() else v for k, v in content["state"].items()}
    return header | {"state": state}


def _replace(path: Path, content: dict) -> None:
    """Write a file all or nothing: a reader finds the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of our own in the same folder: two writers never meet, and os.replace stays on one file system.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _half(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if tensor.is_floating_point() else tensor


def _digest(header: dict, state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for key in sorted(state):
        digest.update(f"{key} {state[key].dtype} {tuple(state[key].shape)}".encode())
        digest.update(state[key].numpy().tobytes())
    return digest.hexdigest()
