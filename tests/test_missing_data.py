"""Where the data of a notebook are missing, its cells are skipped, and one sentence says why."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", ["notebooks/09_your_data.ipynb", "notebooks/solutions/09_your_data.ipynb"])
def test_without_its_data_a_notebook_is_skipped_and_says_why(tmp_path, notebook):
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "PYTEST_ADDOPTS")}
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", notebook]
    done = subprocess.run(
        command, cwd=ROOT, env=environment | {"FASHION_DIR": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0 and re.search(r"^\d+ skipped in", done.stdout, re.MULTILINE), done.stdout
    assert "Fashion-MNIST is not on this machine: `apt install dataset-fashion-mnist`, or" in done.stdout
    assert not list(tmp_path.iterdir()), "nothing is downloaded on the way"
