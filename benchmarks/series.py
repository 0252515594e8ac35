"""How long does the whole series take, with the shipped weights and from scratch? Half an hour in all."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Row, show

ROOT = Path(__file__).parents[1]


def run(**environment):
    """Execute the chapters and return the seconds that tools/run.py prints; the copies go to build/."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "run.py", "0"],  # not solutions/
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(re.search(r"notebooks ok in (\d+) s", done.stdout)[1])


def rows():
    yield Row("whole series with the shipped weights", f"{run() / 60:.1f} min", "<= 8 min")
    with tempfile.TemporaryDirectory() as folder:
        yield Row("whole series from scratch", f"{run(RETRAIN='1', MODELS_DIR=folder) / 60:.1f} min", "<= 25 min")


if __name__ == "__main__":
    show(rows())
