"""What a page can compute: modules and functions of torch as the steps of js/net.js, or a refusal that names them.

A step holds its name, its settings, and its weights, rows first: each row makes one output.
"""

from typing import Any

import torch
from torch import fx, nn


class Unknown(ValueError):
    """A network that a page cannot run; the message names what stands in the way."""


def step_of(node: fx.Node, layer: Any) -> dict[str, Any]:
    """Return the step that a node of a graph is; `layer` is the module it calls, if it calls one."""
    if layer is not None:
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


def fold(norm: Any, before: fx.Node, step: dict[str, Any]) -> None:
    """Scale and shift weights as the batch norm after them does with their result (Ioffe & Szegedy 2015)."""
    if len(step.get("weights", ())) != 2 or len(before.users) > 1 or norm.running_var is None:
        raise Unknown(f"{type(norm).__name__} that follows no layer with weights")
    weight, bias = step["weights"]
    by = (norm.weight if norm.affine else 1) / (norm.running_var + norm.eps).sqrt()
    shift = (norm.bias if norm.affine else 0) - norm.running_mean * by
    rows = len(weight) // len(by)  # a transposed convolution has a row for every tap
    step["weights"] = [weight * by.repeat_interleave(rows)[:, None], bias * by[:, None] + shift[:, None]]


def rows_of(layer):
    """Return the weights of a layer, (rows, columns); of a transposed convolution, every tap of an output has a row."""
    if isinstance(layer, nn.ConvTranspose2d):
        return layer.weight.permute(1, 2, 3, 0).reshape(-1, layer.in_channels)
    return layer.weight.flatten(1)


def _weighted(op):
    return lambda layer: {"op": op, "weights": [rows_of(layer), _bias(layer)], **_kernel(layer)}


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


def _join(_, dim=0):
    if dim != 1:
        raise Unknown(f"cat along dimension {dim}")
    return {"op": "join"}


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
    "one_hot": lambda _, num_classes: {"op": "oneHot"},
    "cat": _join,
    **{name: _named(name) for name in ("relu", "silu", "tanh", "sigmoid")},
    **dict.fromkeys(("flatten", "unflatten", "view", "reshape", "to"), _named("same")),
}
