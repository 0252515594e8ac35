"""One training loop and one evaluation for every model, and the device they run on."""

import contextlib
import copy
import math
import os
import time

import torch
from tqdm.auto import tqdm

from helpers.models import eval_mode

BAR_STEPS = 200
CHANNELS_LAST = ("cpu", "cuda")  # where that layout is the faster one for convolutions; on MPS it is not always right
FUSED = ("cpu", "cuda", "mps", "xpu")  # where torch brings AdamW as one kernel


def pick_device():
    """Return the accelerator torch finds, else the CPU; the environment variable DEVICE overrides."""
    if name := os.environ.get("DEVICE"):
        try:
            return torch.empty(0, device=name).device
        except Exception as error:  # torch raises four kinds of them
            raise ValueError(f"DEVICE must name a device of this machine, got {name!r}: {error}") from error
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def seed_everything(seed):
    """Seed torch's global generators (weights, dropout, noise) on every device."""
    torch.manual_seed(seed)


def autocast(device):
    """Mixed precision where `device` multiplies bfloat16 in hardware; elsewhere it would only cost time."""
    return torch.autocast(device.type, torch.bfloat16) if _has_bfloat16(device) else contextlib.nullcontext()


def _has_bfloat16(device):
    if device.type == "cpu":
        return torch.cpu.get_capabilities().get("avx512_bf16", False)
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):  # torch answers for the current one
        return torch.cuda.is_bf16_supported(including_emulation=False)


def fit(
    model,
    loss,
    train,
    valid,
    *,
    epochs,
    lr,
    batch_size=128,
    betas=(0.9, 0.999),
    weight_decay=0.0,
    augment=None,
    ema=None,
    metrics=(),
    seed=0,
):
    """Train `model` in place and return its history.

    AdamW under a one-cycle schedule that peaks at `lr` (Smith & Topin 2018). `augment(x)` changes each training batch.
    With `ema`, the weights are an exponential moving average with that decay over the batches.
    After every epoch the loss and the metrics are measured in eval mode on `valid` and on as many training images, so
    that the two curves can be compared.

    Returns a dict of lists with one number an epoch: train_loss, valid_loss, train_NAME and valid_NAME for each
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
        model.to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(model) if ema else model
    weights, means = _floats(model), _floats(averaged)
    fused = device.type in FUSED or None  # None: torch chooses
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, betas=betas, weight_decay=weight_decay, fused=fused)
    steps = epochs * math.ceil(len(train) / batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=lr, total_steps=steps, cycle_momentum=False)
    measures = {"loss": loss} | {metric.__name__: metric for metric in metrics}
    history = {}
    # Each step of a notebook's bar is two messages; who waits for the cell's end before reading any, as nbval does, has
    # room for about a thousand.
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
                if ema:  # a mean begins with the first weights that were trained
                    torch._foreach_lerp_(means, weights, 1.0 if schedule.last_epoch == 1 else 1 - ema)
                bar.update()
            row = {}
            for part, split in (("train", train[: len(valid)]), ("valid", valid)):
                with autocast(device):
                    row |= {f"{part}_{name}": mean for name, mean in evaluate(averaged, measures, split).items()}
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


def _floats(model):
    """Return the weights and statistics of a model that an average can be taken of, as they change in place."""
    return [value for value in model.state_dict().values() if value.is_floating_point()]


@torch.inference_mode()
def evaluate(model, measures, split, batch_size=1000):
    """Average each measure over a split, in eval mode, with the same noise every time.

    `measures` maps a name to a function `measure(model, x, y)` that returns a batch mean; batches count by their size.
    Returns a dict of floats. Raises ValueError for an empty split.
    """
    if not len(split) or not measures or batch_size < 1:
        raise ValueError(f"need images, measures and batch_size >= 1, got {split}, {list(measures)} and {batch_size}")
    device = split.x.device
    totals = torch.zeros(len(measures), device=device)
    with eval_mode(model), _same_noise(device):  # a VAE draws z: two calls must see the same draws
        for x, y in split.batches(batch_size):
            totals += len(x) * torch.stack([measure(model, x, y) for measure in measures.values()])
    return dict(zip(measures, (totals / len(split)).tolist(), strict=True))


@contextlib.contextmanager
def _same_noise(device, seed=0):
    """Draw the same numbers on `device` every time, and leave all random generators as they were."""
    # every device's generator, because seeding reaches them all
    devices = () if device.type == "cpu" else range(torch.get_device_module(device).device_count())
    with torch.random.fork_rng(devices, device_type=device.type):
        torch.manual_seed(seed)
        yield
