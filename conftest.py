"""What every run of pytest loads, of tests or of a single notebook."""

import os

import pytest

pytest_plugins = ["comparer"]  # tests/comparer.py, found by `pythonpath` in pyproject.toml


def pytest_collection_modifyitems(items):
    """Skip the notebook whose data are not in the repository where they are not on the machine; in CI let it fail."""
    asking = [item for item in items if item.path.name == "09_your_data.ipynb"]
    if not asking or os.environ.get("CI"):
        return
    from helpers.data import FASHION, missing_files  # here, because it imports torch

    if missing_files(FASHION):
        reason = (
            f"{FASHION.name} is not on this machine: `apt install {FASHION.package}`, "
            "or run the notebook once where there is a network"
        )
        for item in asking:
            item.add_marker(pytest.mark.skip(reason=reason))
