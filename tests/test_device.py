"""Another device gives the CPU's results: `on_device.py`, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import standin

CHECKS = Path(__file__).with_name("on_device.py")


@pytest.mark.slow
def test_results_are_those_of_the_cpu_on_another_device():
    """The device is the one that DEVICE names, or the stand-in where it names none but the CPU."""
    named = os.environ.get("DEVICE") or "cpu"
    device = standin.NAME if named == "cpu" else named
    done = subprocess.run(
        [sys.executable, "-m", "pytest", CHECKS, "-q", "--color=no"],
        env=os.environ | {"DEVICE": device},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
