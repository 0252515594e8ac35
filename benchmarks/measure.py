"""What every benchmark shares: a row of the table, timing in turn, and how time grows with work."""

import statistics
import time
from typing import NamedTuple

import numpy as np
import torch

from helpers.training import pick_device


class Row(NamedTuple):
    """One line of the table, in words."""

    what: str
    measured: str
    target: str


def seconds(function):
    """Return how long a call takes, and what it returns; an accelerator's queue is empty before and after."""
    synchronise()
    start = time.perf_counter()
    result = function()
    synchronise()
    return time.perf_counter() - start, result


def synchronise():
    device = pick_device()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def in_turn(*functions, rounds=3):
    """Time functions in turn, A B A B, so that a busy moment hits all of them; return each one's median seconds."""
    times = [[seconds(function)[0] for function in functions] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times)]


def slope(sizes, times):
    """Return the exponent e of time ~ size^e, fitted on logarithms: 1 is linear."""
    return np.polyfit(np.log(sizes), np.log(times), 1)[0]


def show(rows):
    """Print rows as they come, and return them."""
    shown = []
    for row in rows:
        print(f"{row.what:<68}{row.measured:<42}  {row.target}", flush=True)
        shown.append(row)
    return shown
