"""What a page computes with: the steps of a network and its rounded weights, as bytes that js/net.js reads.

torch.fx follows a tensor through the network, so that it need not be one of helpers.models. Large weights are rounded,
each row (what makes one output) in steps of its own, as finely as the results ask for; small ones stay as they are.
"""

import copy
import gzip
import json
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.fx.passes.shape_prop import ShapeProp

from helpers.explorer.space import LatentSpace, to_pixels
from helpers.explorer.steps import Unknown, fold, rows_of, step_of

BITS = (12, 13, 14, 16)  # of a rounded weight: the fewest that leave the network's results as they are
SHORT = 8_192  # weights, from which on they are rounded
MOST = 6_000_000  # weights, about 8 MB
HELD = 1_000  # training images in a page
EXAMPLES = 256  # images, and places all over the plane, on which rounding is tried besides the held codes


def pack(model: nn.Module, method: str, *examples: Tensor) -> bytes:
    """Return the steps and weights of `model.method`, from one row of each of `examples` to a tensor or several.

    Weights are rounded only so far that for the examples it makes no difference (see CLOSE). The bytes are compressed
    with a checksum, so that damage is noticed. `model` is on the CPU and in eval mode. Raises Unknown, naming what a
    page cannot run.
    """
    graph = _follow(model, method, *(each[:1] for each in examples))
    steps: list[dict[str, Any]] = []
    numbers: dict[fx.Node, int] = {}  # which value of the page is whose: the inputs, then what the steps make
    results: list[int] = []
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            if len(numbers) == len(examples):
                raise Unknown(f"{method} of another input, {node.target}")
            numbers[node] = len(numbers)
        elif node.op == "output":
            (made,) = node.args
            results = [numbers[each] for each in (made if isinstance(made, tuple | list) else [made])]
        elif isinstance(layer := _layer(node, graph), nn.BatchNorm1d | nn.BatchNorm2d):
            numbers[node] = numbers[node.args[0]]
            made = numbers[node] - len(examples)
            fold(layer, node.args[0], steps[made] if made >= 0 else {})
        else:
            step = step_of(node, layer)
            sources: list[fx.Node] = []
            map_arg((node.args, node.kwargs), sources.append)
            if step["op"] == "same":
                del sources[1:]  # such as the tensor whose type it takes
            shapes = [_shape(each) for each in sources]
            flat = step["op"] in ("linear", "join")
            if any(len(shape) != 1 for shape in shapes) if flat else any(shape != shapes[0] for shape in shapes):
                raise Unknown(f"{step['op']} of {' and '.join(map(str, shapes))}")
            steps.append(
                step | {"from": [numbers[each] for each in sources], "shape": _shape(node), "input": shapes[0]}
            )
            numbers[node] = len(examples) + len(steps) - 1
    if (count := sum(array.numel() for step in steps for array in step.get("weights", ()))) > MOST:
        raise Unknown(f"{count:,} weights in {method}, more than {MOST:,}")
    bits = _bits(model, method, *examples)
    content = []
    for step in steps:
        arrays = [_packed(array, bits) for array in step.get("weights", ())]
        step["weights"] = [said for said, _ in arrays]
        content += [packed for _, packed in arrays]
    header = json.dumps({"sizes": [each[0].numel() for each in examples], "steps": steps, "results": results}).encode()
    return gzip.compress(b"".join([len(header).to_bytes(4, "little"), header, *content]), 9, mtime=0)


def _follow(model, method, *example):
    """Return the graph of a method, with the shape of every value at an example."""
    tracer = fx.Tracer()
    tracer.traced_func_name = method
    try:
        graph = fx.GraphModule(model, tracer.trace(model))
        with torch.inference_mode():
            ShapeProp(graph).propagate(*example)
    except Exception as error:
        raise Unknown(f"{type(model).__name__}.{method}, whose way depends on its input ({error!r:.80})") from error
    return graph


def _layer(node, graph):
    return graph.get_submodule(node.target) if node.op == "call_module" else None


def _shape(node):
    return list(node.meta["tensor_meta"].shape[1:])  # of one image or code


def _same_pixels(a, b):
    return (a - b).abs().max() <= 0.95 / 255  # below 1, no rounded grey level differs by more than 1


def _same_probabilities(a, b):
    return (a.softmax(1) - b.softmax(1)).abs().max() <= 0.001


def _same_codes(a, b):
    a, b = (code[0] if isinstance(code, tuple) else code for code in (a, b))
    return (a - b).abs().max() <= 0.0015 * a.abs().max()  # half a pixel of a plane


CLOSE = {"decode": _same_pixels, "forward": _same_probabilities, "encode": _same_codes}


def _bits(model, method, *examples):
    """Return the fewest bits that leave the results as they are."""
    with torch.inference_mode():
        exact = getattr(model, method)(*examples)
        for bits in BITS:
            coarse = copy.deepcopy(model)
            for layer in coarse.modules():
                if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() >= SHORT:
                    weight = layer.weight
                    weight = weight.permute(1, 2, 3, 0) if isinstance(layer, nn.ConvTranspose2d) else weight
                    levels, scales = _levels(rows_of(layer), bits)
                    weight.copy_(torch.from_numpy(levels * scales).view(weight.shape))
            if CLOSE[method](exact, getattr(coarse, method)(*examples)):
                return bits
    raise Unknown(f"{type(model).__name__}.{method}, whose results change with the last bits of its weights")


def _levels(rows: Tensor, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows as whole numbers of `bits`, negative ones too, and the step of each row."""
    numbers = rows.detach().float().numpy()
    scales = np.maximum(np.abs(numbers).max(1, keepdims=True), 1e-30) / (2 ** (bits - 1) - 1)
    return np.rint(numbers / scales), scales.astype("<f4")


def _packed(rows: Tensor, bits: int) -> tuple[dict[str, Any], bytes]:
    """Return what the page must know of weights, and their bytes."""
    shape = list(rows.shape)
    if rows.numel() < SHORT:
        return {"shape": shape, "bits": 32}, rows.detach().float().numpy().astype("<f4").tobytes()
    levels, scales = _levels(rows, bits)
    whole = (levels.ravel() + 2 ** (bits - 1)).astype(np.uint16)
    # The high bits on their own: they are worth compressing.
    low = np.unpackbits((whole % 2 ** (bits - 8)).astype(np.uint8)[:, None], axis=1)[:, 16 - bits :]
    parts = scales, (whole >> (bits - 8)).astype(np.uint8), np.packbits(low)
    return {"shape": shape, "bits": bits}, b"".join(part.tobytes() for part in parts)


def carry(space: LatentSpace, plane: Tensor) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the explorer's traits that let a page compute by itself, and for each that is empty what it cannot run.

    The page holds the first HELD of the images that are drawn as points: among them it looks for the nearest.
    `plane`, (n, latent_dim), are codes from all over the plane, where it must draw as the decoder does.
    """
    model, classifier = (copy.deepcopy(net).cpu() if net else None for net in (space.model, space.classifier))
    held = space.drawn[:HELD]
    x, y = space.x[held.to(space.device)].cpu(), space.y[held]
    # Of every point, where a place between them is a blend of their codes.
    codes = space.codes[(space.drawn if space.projection.name == "map" else held).to(space.device)].cpu()
    z = torch.cat([codes[:HELD], plane[:: max(1, len(plane) // EXAMPLES)]])
    told = space.shown > 1  # what class it is
    wanted: dict[str, tuple[Any, str, list[Tensor]]] = {
        "decoder": (model, "decode", [z, torch.arange(len(z)) % space.shown][: 1 + told]),
        "classifier": (classifier, "forward", [x[:EXAMPLES]]),
        "encoder": (model, "encode", [x[:EXAMPLES], y[:EXAMPLES]][: 1 + told]),
    }
    found: dict[str, Any] = dict.fromkeys(wanted, b"")
    missing = {}
    for name, (net, method, examples) in wanted.items():
        try:
            found[name] = pack(net, method, *examples) if net else b""
        except Unknown as error:
            missing[name] = str(error)
    if "decoder" in missing or "classifier" in missing:
        return dict.fromkeys(wanted, b""), missing
    images = to_pixels(x).numpy().tobytes()
    found |= {"images": gzip.compress(images, 9, mtime=0), "codes": codes.numpy().astype("<f4").tobytes()}
    return found | {"projection": list(space.projection.plane)}, missing
