"""One training loop and one evaluation for every model, and the device they run on."""

import contextlib
import copy
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from helpers.data import Split
from helpers.models import eval_mode

Loss = Callable[[Any, Tensor, Tensor], Tensor]  # loss(model, x, y): a scalar, the mean over the batch
BAR_STEPS = 200  # of a progress bar; each is two messages, and a reader such as nbval queues only about a thousand
CHANNELS_LAST = ("cpu", "cuda")  # where that layout is the faster one for convolutions; on MPS it is not always right
FUSED = ("cpu", "cuda", "mps", "xpu")  # where torch brings AdamW as one kernel


def pick_device() -> torch.device:
    """Return the accelerator torch finds, else the CPU; the environment variable DEVICE overrides."""
    if name := os.environ.get("DEVICE"):
        try:
            return torch.empty(0, device=name).device
        except Exception as error:  # torch raises four kinds of them
            raise ValueError(f"DEVICE must name a device of this machine, got {name!r}: {error}") from error
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def seed_everything(seed: int) -> None:
    """Seed torch's global generators (weights, dropout, noise) on every device."""
    torch.manual_seed(seed)


def autocast(device: torch.device) -> contextlib.AbstractContextManager:
    """Return a context of mixed precision where `device` multiplies bfloat16 in hardware, else one of no effect."""
    return torch.autocast(device.type, torch.bfloat16) if _has_bfloat16(device) else contextlib.nullcontext()


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cpu":  # the first is what torch makes use of, the second what the processor has
        in_use = torch.backends.cpu.get_cpu_capability() == "AVX512"
        return in_use and torch.cpu.get_capabilities().get("avx512_bf16", False)
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):  # torch answers for the current one
        return torch.cuda.is_bf16_supported(including_emulation=False)


def random_shift(x: Tensor, pixels: int = 2) -> Tensor:
    """Move a whole batch by the same random offset of up to `pixels` each way; what enters is background.

    x: (n, 1, h, w) -> the same shape. One offset for the batch does as well as one for each image, and costs a slice.
    """
    if x.dim() != 4 or pixels < 0:
        raise ValueError(f"x must have shape (n, 1, h, w) and pixels be >= 0, got {tuple(x.shape)} and {pixels}")
    height, width = x.shape[-2:]
    top, left = torch.randint(0, 2 * pixels + 1, (2,)).tolist()
    return F.pad(x, (pixels,) * 4)[..., top : top + height, left : left + width]


def fit(
    model: nn.Module,
    loss: Loss,
    train: Split,
    valid: Split,
    *,
    epochs: int,
    lr: float,
    batch_size: int = 128,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
    augment: Callable[[Tensor], Tensor] | None = None,
    ema: float | None = None,
    metrics: Sequence[Loss] = (),
    seed: int = 0,
) -> dict[str, list[float]]:
    """Train `model` in place and return its history.

    AdamW under a one-cycle schedule that peaks at `lr` (Smith & Topin 2018). `augment(x)` changes each training batch.
    With `ema`, the weights are an exponential moving average with that decay over the batches.
    After every epoch the loss and the metrics are measured in eval mode on `valid` and on as many training images, so
    that the two curves can be compared.

    Returns a dict of lists with one number per epoch: train_loss, valid_loss, train_NAME and valid_NAME for each
    metric's name, seconds. Raises ValueError for settings out of range, FloatingPointError when the loss is no longer
    finite.
    """
    if epochs < 1 or batch_size < 1 or not lr > 0:
        raise ValueError(f"epochs, batch_size and lr must be positive, got {epochs}, {batch_size} and {lr}")
    if ema is not None and not 0 < ema < 1:
        raise ValueError(f"ema must be between 0 and 1, got {ema}")
    if not len(train) or not len(valid):
        raise ValueError(f"train and valid must hold images, got {len(train)} and {len(valid)}")
    device = train.x.device
    seed_everything(seed)
    order = torch.Generator().manual_seed(seed)
    model.to(device)
    if device.type in CHANNELS_LAST:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(model) if ema else model
    weights, means = _floats(model), _floats(averaged)
    fused = device.type in FUSED or None  # None: torch chooses
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, betas=betas, weight_decay=weight_decay, fused=fused)
    steps = epochs * math.ceil(len(train) / batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=lr, total_steps=steps, cycle_momentum=False)
    named = {"loss": loss} | {getattr(metric, "func", metric).__name__: metric for metric in metrics}  # or a partial
    history: dict[str, list[float]] = {}
    with tqdm(total=steps, unit="batch", desc=type(model).__name__, miniters=math.ceil(steps / BAR_STEPS)) as bar:
        for epoch in range(epochs):
            start = time.perf_counter()
            model.train()
            for x, y in train.batches(batch_size, generator=order):
                if augment:
                    x = augment(x)
                with autocast(device):
                    value = loss(model, x, y)
                optimiser.zero_grad()
                value.backward()
                optimiser.step()
                schedule.step()
                if ema:  # the average begins with the first trained weights
                    torch._foreach_lerp_(means, weights, 1.0 if schedule.last_epoch == 1 else 1 - ema)
                bar.update()
            row: dict[str, float] = {}
            for part, split in (("train", train[: len(valid)]), ("valid", valid)):
                with autocast(device):
                    row |= {f"{part}_{name}": mean for name, mean in evaluate(averaged, named, split).items()}
            row["seconds"] = time.perf_counter() - start
            if not math.isfinite(row["valid_loss"]):
                raise FloatingPointError(
                    f"the loss is {row['valid_loss']} after epoch {epoch + 1}: try a smaller lr than {lr}"
                )
            for name, number in row.items():
                history.setdefault(name, []).append(number)
            bar.set_postfix_str(f"epoch {epoch + 1}/{epochs}, valid loss {row['valid_loss']:.3f}")
    if ema:
        torch._foreach_copy_(weights, means)
    model.eval()
    return history


def _floats(model: nn.Module) -> list[Tensor]:
    """Return the weights and statistics of a model that can be averaged, as they change in place."""
    return [value for value in model.state_dict().values() if value.is_floating_point()]


@torch.inference_mode()
def evaluate(model: nn.Module, metrics: Mapping[str, Loss], split: Split, batch_size: int = 1000) -> dict[str, float]:
    """Average each metric over a split, in eval mode, with the same noise every time.

    `metrics` maps a name to a function `metric(model, x, y)` that returns a batch mean; batches count by their size.
    Raises ValueError for an empty split.
    """
    if not len(split) or not metrics or batch_size < 1:
        raise ValueError(f"need images, metrics and batch_size >= 1, got {split}, {list(metrics)} and {batch_size}")
    device = split.x.device
    totals = torch.zeros(len(metrics), device=device)
    with eval_mode(model), _same_noise(device):  # a VAE draws z: two calls must see the same draws
        for x, y in split.batches(batch_size):
            totals += len(x) * torch.stack([metric(model, x, y) for metric in metrics.values()])
    return dict(zip(metrics, (totals / len(split)).tolist(), strict=True))


@contextlib.contextmanager
def _same_noise(device: torch.device, seed: int = 0) -> Iterator[None]:
    """Draw the same numbers on `device` every time, and leave all random generators as they were."""
    # all devices are listed because seeding reaches them all
    devices = () if device.type == "cpu" else range(torch.get_device_module(device).device_count())
    with torch.random.fork_rng(devices, device_type=device.type):
        torch.manual_seed(seed)
        yield
