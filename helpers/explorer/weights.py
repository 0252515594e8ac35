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
from torch.fx.passes.shape_prop import ShapeProp

from helpers.explorer.space import LatentSpace, to_pixels

BITS = (12, 14, 16)  # of a rounded weight: the fewest that leave the network's results as they are
SHORT = 8_192  # weights, from which on they are rounded
MOST = 6_000_000  # weights, about 8 MB
HELD = 1_000  # training images in a page
EXAMPLES = 256  # of them, to see what rounding does


class Unknown(ValueError):
    """A network that a page cannot run; the message names what stands in the way."""


def pack(model: nn.Module, method: str, examples: Tensor) -> bytes:
    """Return the steps and weights of `model.method`, from one of `examples`, (n, ...), to a tensor or several.

    Weights are rounded only so far that for the examples it makes no difference (see CLOSE). The bytes are compressed
    with a checksum, so that damage is noticed. `model` is on the CPU and in eval mode. Raises Unknown, naming what a
    page cannot run.
    """
    graph = _follow(model, method, examples[:1])
    steps: list[dict[str, Any]] = []
    numbers: dict[fx.Node, int] = {}  # which value of the page is whose: the input is 0, step k makes k + 1
    results: list[int] = []
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            if numbers:
                raise Unknown(f"{method} of a second input, {node.target}")
            numbers[node] = 0
        elif node.op == "output":
            (made,) = node.args
            results = [numbers[each] for each in (made if isinstance(made, tuple | list) else [made])]
        elif isinstance(norm := _layer(node, graph), nn.BatchNorm1d | nn.BatchNorm2d):
            numbers[node] = numbers[node.args[0]]
            _fold(norm, node.args[0], steps[numbers[node] - 1] if numbers[node] else {})
        else:
            sources = [each for each in (*node.args, *node.kwargs.values()) if isinstance(each, fx.Node)]
            step = _step(node, graph) | {"from": [numbers[each] for each in sources], "shape": _shape(node)}
            step["input"], *others = map(_shape, sources)
            if any(other != step["input"] for other in others) or (step["op"] == "linear" and len(step["input"]) > 1):
                raise Unknown(f"{step['op']} of {' and '.join(map(str, map(_shape, sources)))}")
            steps.append(step)
            numbers[node] = len(steps)
    if (count := sum(array.numel() for step in steps for array in step.get("weights", ()))) > MOST:
        raise Unknown(f"{count:,} weights in {method}, more than {MOST:,}")
    bits = _bits(model, method, examples)
    content = []
    for step in steps:
        arrays = [_packed(array, bits) for array in step.get("weights", ())]
        step["weights"] = [said for said, _ in arrays]
        content += [packed for _, packed in arrays]
    header = json.dumps({"size": examples[0].numel(), "steps": steps, "results": results}).encode()
    return gzip.compress(b"".join([len(header).to_bytes(4, "little"), header, *content]), 9, mtime=0)


def _follow(model, method, example):
    """Return the graph of a method, with the shape of every value at an example."""
    tracer = fx.Tracer()
    tracer.traced_func_name = method
    try:
        graph = fx.GraphModule(model, tracer.trace(model))
        with torch.inference_mode():
            ShapeProp(graph).propagate(example)
    except Exception as error:
        raise Unknown(f"{type(model).__name__}.{method}, whose way depends on its input ({error!r:.80})") from error
    return graph


def _layer(node, graph):
    return graph.get_submodule(node.target) if node.op == "call_module" else None


def _shape(node):
    return list(node.meta["tensor_meta"].shape[1:])  # of one image or code


def _same_pixels(a, b):
    return (a - b).abs().max() <= 0.7 / 255  # below 1, no rounded grey level differs by more than 1


def _same_probabilities(a, b):
    return (a.softmax(1) - b.softmax(1)).abs().max() <= 0.001


def _same_codes(a, b):
    a, b = (code[0] if isinstance(code, tuple) else code for code in (a, b))
    return (a - b).abs().max() <= 0.0015 * a.abs().max()  # half a pixel of a plane


CLOSE = {"decode": _same_pixels, "forward": _same_probabilities, "encode": _same_codes}


def _bits(model, method, examples):
    """Return the fewest bits that leave the results as they are."""
    with torch.inference_mode():
        exact = getattr(model, method)(examples)
        for bits in BITS:
            coarse = copy.deepcopy(model)
            for layer in coarse.modules():
                if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() >= SHORT:
                    weight = layer.weight
                    weight = weight.permute(1, 2, 3, 0) if isinstance(layer, nn.ConvTranspose2d) else weight
                    levels, scales = _levels(_rows(layer), bits)
                    weight.copy_(torch.from_numpy(levels * scales).view(weight.shape))
            if CLOSE[method](exact, getattr(coarse, method)(examples)):
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
        return {"shape": shape, "bits": 32}, rows.detach().numpy().astype("<f4").tobytes()
    levels, scales = _levels(rows, bits)
    whole = (levels.ravel() + 2 ** (bits - 1)).astype(np.uint16)
    # The high bits on their own: they are worth compressing.
    low = np.unpackbits((whole % 2 ** (bits - 8)).astype(np.uint8)[:, None], axis=1)[:, 16 - bits :]
    parts = scales, (whole >> (bits - 8)).astype(np.uint8), np.packbits(low)
    return {"shape": shape, "bits": bits}, b"".join(part.tobytes() for part in parts)


def _fold(norm: Any, before: fx.Node, step: dict[str, Any]) -> None:
    """Scale and shift weights as the batch norm after them does with their result (Ioffe & Szegedy 2015)."""
    if len(step.get("weights", ())) != 2 or len(before.users) > 1 or norm.running_var is None:
        raise Unknown(f"{type(norm).__name__} that follows no layer with weights")
    weight, bias = step["weights"]
    by = (norm.weight if norm.affine else 1) / (norm.running_var + norm.eps).sqrt()
    shift = (norm.bias if norm.affine else 0) - norm.running_mean * by
    rows = len(weight) // len(by)  # a transposed convolution has a row for every tap
    step["weights"] = [weight * by.repeat_interleave(rows)[:, None], bias * by[:, None] + shift[:, None]]


# What the page carries


def carry(space: LatentSpace, order: Tensor) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the explorer's traits that let a page compute by itself, and for each that is empty what it cannot run.

    The page holds the first HELD of the images `order`: among them it looks for the nearest.
    """
    model, classifier = (copy.deepcopy(net).cpu() if net else None for net in (space.model, space.classifier))
    held = order[:HELD].to(space.device)
    x, codes = space.x[held].cpu(), space.codes[held].cpu()
    wanted = {
        "decoder": (model, "decode", codes),
        "classifier": (classifier, "forward", x),
        "encoder": (model, "encode", x),
    }
    found: dict[str, Any] = dict.fromkeys(wanted, b"")
    missing = {}
    for name, (net, method, examples) in wanted.items():
        try:
            if space.projection.plane is None:
                raise Unknown("the way back from a map to codes")
            found[name] = pack(net, method, examples[:EXAMPLES]) if net else b""
        except Unknown as error:
            missing[name] = str(error)
    if "decoder" in missing or "classifier" in missing:
        return dict.fromkeys(wanted, b""), missing
    images = to_pixels(x).numpy().tobytes()
    found |= {"images": gzip.compress(images, 9, mtime=0), "codes": codes.numpy().astype("<f4").tobytes()}
    return found | {"projection": space.projection.plane}, missing


# What a page can do: the name of a step of net.js, its settings, and its weights, rows first.


def _step(node: fx.Node, graph: fx.GraphModule) -> dict[str, Any]:
    if node.op == "call_module":
        layer = _layer(node, graph)
        name = type(layer).__name__
        if layer._forward_hooks or layer._forward_pre_hooks:
            raise Unknown(f"{name} with a hook")
        if name in LAYERS:
            return LAYERS[name](layer)
    elif node.op == "get_attr":
        raise Unknown(f"the tensor {node.target}, which is no layer's")
    else:
        name = node.target if isinstance(node.target, str) else node.target.__name__
        if name in FUNCTIONS:
            try:
                return FUNCTIONS[name](*(None if isinstance(arg, fx.Node) else arg for arg in node.args), **node.kwargs)
            except TypeError as error:
                raise Unknown(f"{name} with other arguments") from error
    raise Unknown(name)


def _rows(layer):
    """Return the weights of a layer, (rows, columns); of a transposed convolution, every tap of an output has a row."""
    if isinstance(layer, nn.ConvTranspose2d):
        return layer.weight.permute(1, 2, 3, 0).reshape(-1, layer.in_channels)
    return layer.weight.flatten(1)


def _weighted(op):
    return lambda layer: {"op": op, "weights": [_rows(layer), _bias(layer)], **_kernel(layer)}


def _bias(layer):
    count = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return (torch.zeros(count) if layer.bias is None else layer.bias)[:, None]


def _kernel(layer):
    if isinstance(layer, nn.Linear):
        return {}
    plain = layer.groups == 1 and tuple(layer.dilation) == (1, 1) and layer.padding_mode == "zeros"
    if not plain or isinstance(layer.padding, str):
        raise Unknown(f"{type(layer).__name__} with groups, dilation, or a padding that is not a number of zeros")
    return {"kernel": layer.kernel_size, "stride": layer.stride, "padding": layer.padding}


def _pool(op):
    def step(layer):
        if _pair(layer.padding) != (0, 0) or layer.ceil_mode or _pair(getattr(layer, "dilation", 1)) != (1, 1):
            raise Unknown(f"{type(layer).__name__} with padding, dilation or ceil_mode")
        return {"op": op, "kernel": _pair(layer.kernel_size), "stride": _pair(layer.stride)}

    return step


def _global_mean(layer):
    if layer.output_size not in (1, (1, 1)):
        raise Unknown(f"AdaptiveAvgPool2d({layer.output_size})")
    return {"op": "globalMean"}


def _gelu(layer):
    if layer.approximate != "none":
        raise Unknown(f"GELU(approximate={layer.approximate!r})")
    return {"op": "gelu"}


def _pair(value):
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def _named(op):
    return lambda *_, **__: {"op": op}


def _scale(by=1.0, plus=0.0):
    return {"op": "scale", "by": by, "plus": plus}


def _add(a, b):
    return {"op": "add"} if a is b is None else _scale(plus=b if a is None else a)


def _subtract(a, b):
    if a is b is None:
        raise Unknown("the difference of two tensors")
    return _scale(plus=-b) if a is None else _scale(-1.0, a)


def _multiply(a, b):
    if a is b is None:
        raise Unknown("the product of two tensors")
    return _scale(b if a is None else a)


def _divide(a, b):
    if b is None:
        raise Unknown("a division by a tensor")
    return _scale(1 / b)


SAME = ("Flatten", "Unflatten", "Identity", "Dropout", "Dropout2d")  # another shape, or nothing at all
LAYERS: dict[str, Any] = {
    "Linear": _weighted("linear"),
    "Conv2d": _weighted("conv"),
    "ConvTranspose2d": _weighted("convTranspose"),
    "MaxPool2d": _pool("maxPool"),
    "AvgPool2d": _pool("meanPool"),
    "AdaptiveAvgPool2d": _global_mean,
    "ReLU": _named("relu"),
    "SiLU": _named("silu"),
    "Tanh": _named("tanh"),
    "Sigmoid": _named("sigmoid"),
    "GELU": _gelu,
    "LeakyReLU": lambda layer: {"op": "leakyRelu", "slope": layer.negative_slope},
} | dict.fromkeys(SAME, _named("same"))
FUNCTIONS: dict[str, Any] = {
    "add": _add,
    "sub": _subtract,
    "mul": _multiply,
    "truediv": _divide,
    "clamp": lambda _, min=None, max=None: {"op": "clamp", "low": min, "high": max},
    **{name: _named(name) for name in ("relu", "silu", "tanh", "sigmoid")},
    **dict.fromkeys(("flatten", "unflatten", "view", "reshape"), _named("same")),
}
