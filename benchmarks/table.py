"""Measure everything and write one table, benchmarks/results/MACHINE.md.

python benchmarks/table.py             a quarter of an hour on two CPU cores
python benchmarks/table.py --series    the whole series too, with the shipped weights and from scratch
"""

import argparse
import os
import platform
import re
import traceback
from pathlib import Path

import classifier
import growth
import hover
import joblib
import loading
import series
import torch
import vae
from measure import Row, show

from helpers.training import autocast, pick_device

HERE = Path(__file__).parent


def machine():
    """Describe the machine, the processor first."""
    device = pick_device()
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    name = (names or [platform.machine()])[0]
    if device.type != "cpu":
        name = getattr(torch.get_device_module(device), "get_device_name", str)(device)  # MPS has no names
    with autocast(device):
        precision = "bfloat16" if torch.is_autocast_enabled(device.type) else "float32"
    versions = f"Python {platform.python_version()}, PyTorch {torch.__version__}"
    return f"{name}, {joblib.cpu_count()} cores, {platform.system()}; training in {precision} on {device}; {versions}"


def guarded(name, rows):
    """Yield the rows; a browser or a notebook can fail in many ways, and the other rows took minutes."""
    try:
        yield from rows()
    except Exception:
        traceback.print_exc()
        yield Row(name, "failed, see above", "")


def without_series():
    yield Row("whole series with the shipped weights", "not measured (--series)", "<= 8 min")
    yield Row("whole series from scratch", "not measured (--series)", "<= 25 min")


PARTS = {
    "loading": loading.rows,
    "VAE": vae.rows,
    "growth": growth.rows,
    "classifier": classifier.rows,
    "explorer": hover.rows,
    "series": without_series,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", action="store_true", help="run the notebooks too: half an hour more")
    options = parser.parse_args()
    measure(PARTS | ({"series": series.rows} if options.series else {}))


def measure(parts):
    """Measure the parts, each a function that yields rows, and write and return the rows."""
    os.environ.pop("RETRAIN", None)  # here it would retrain what is to be measured
    print(machine())
    rows = [row for name, part in parts.items() for row in show(guarded(name, part))]
    table = "\n".join(f"| {' | '.join(row)} |" for row in [("what", "measured", "target"), ("---",) * 3, *rows])
    name = re.sub("[^a-z0-9]+", "-", machine().split(";")[0].lower()).strip("-")
    path = HERE / "results" / f"{name}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{machine()}\n\nEach pair was measured in turn in one run; medians.\n\n{table}\n", "utf-8")
    print(path)
    return rows


if __name__ == "__main__":
    main()
