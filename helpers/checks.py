"""Refuse images, codes and classes that would be taken without a word and answered with nonsense."""

import torch
from torch import Tensor, nn


def check_images(name: str, x: Tensor, shape: tuple[int, ...] = (1, 28, 28)) -> None:
    """Raise ValueError unless x holds images: at least one, (n, *shape), of floats in [0, 1]."""
    if x.shape[1:] != shape or not len(x):
        expected = ", ".join(map(str, ("n", *shape)))
        raise ValueError(f"{name} must have shape ({expected}) with n >= 1, got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"{name} must be floats in [0, 1], got {x.dtype}")
    low, high = torch.stack(x.aminmax()).tolist()  # one transfer from a GPU, not two
    if not (low >= 0 and high <= 1):  # NaN is refused as well
        raise ValueError(f"{name} must be in [0, 1], got values from {low:.3g} to {high:.3g}")


def check_codes(name: str, z: Tensor, size: int | None = None) -> None:
    """Raise ValueError unless z holds codes: at least one, (n, size), of finite floats."""
    if z.dim() != 2 or not len(z) or z.shape[1] != (size or z.shape[1]):
        raise ValueError(f"{name} must have shape (n, {size or 'd'}) with n >= 1, got {tuple(z.shape)}")
    if not z.is_floating_point():
        raise ValueError(f"{name} must be floats, got {z.dtype}")
    if not z.isfinite().all():
        raise ValueError(f"{name} must be finite, got {z[~z.isfinite()][0]:.3g}")


def check_classes(name: str, y: Tensor, classes: int = 10) -> None:
    """Raise ValueError unless y holds classes: at least one, (n,), of whole numbers from 0 to classes - 1."""
    if y.dim() != 1 or not len(y):
        raise ValueError(f"{name} must have shape (n,) with n >= 1, got {tuple(y.shape)}")
    if y.is_floating_point():
        raise ValueError(f"{name} must be whole numbers, got {y.dtype}")
    low, high = torch.stack(y.aminmax()).tolist()
    if low < 0 or high >= classes:
        raise ValueError(f"{name} must be from 0 to {classes - 1}, got values from {low} to {high}")


def check_device(model: nn.Module, **others: Tensor | nn.Module) -> None:
    """Raise ValueError unless all others, tensors or networks, are on the device of the model's weights."""
    device = _device_of(model)
    for name, other in others.items():
        found = _device_of(other)
        if None not in (device, found) and found != device:
            raise ValueError(f"{name} must be on {device}, like the {type(model).__name__}, got {found}")


def _device_of(value: Tensor | nn.Module) -> torch.device | None:
    """Return the device of a tensor or of a network's weights, or None for a network without weights."""
    return value.device if isinstance(value, Tensor) else next((w.device for w in value.parameters()), None)
