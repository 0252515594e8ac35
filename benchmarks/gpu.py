"""Do all that needs a GPU in one go, without a network, and write one table, benchmarks/results/MACHINE.md.

    python benchmarks/gpu.py               on the GPU that torch finds; DEVICE=cuda:1 names another

First the checks: does this machine run it, are the results those of the CPU, do all notebooks run and their asserts
hold? Their outputs are not compared: those are the CPU's. Then the measurements of table.py, on the GPU as well. The
exit code is 1 if a check failed; its rows stand in the table either way.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import table
from measure import Row

from helpers.training import pick_device

ROOT = Path(__file__).parents[1]
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
CHECKS = {
    "test.py: this machine is ready": ("test.py",),
    "results are those of the CPU": (*PYTEST, "tests/on_device.py"),
    "every notebook runs and its asserts hold": (*PYTEST, "--nbval-lax", "notebooks"),
}


def rows():
    """Yield a row for each check, made on the device that DEVICE names; what failed is shown above it."""
    for what, command in CHECKS.items():
        start = time.perf_counter()
        failed = subprocess.run([sys.executable, *command], cwd=ROOT).returncode
        yield Row(what, f"{'FAILED' if failed else 'ok'}, {time.perf_counter() - start:.0f} s", "ok")


def main():
    device = pick_device()
    if device.type == "cpu":
        sys.exit("torch finds no GPU here; `make bench` measures the CPU")
    os.environ["DEVICE"] = str(device)  # for every process to come
    found = table.measure({"checks": rows} | table.PARTS)
    return int(any(row.measured.startswith("FAILED") for row in found))


if __name__ == "__main__":
    sys.exit(main())
