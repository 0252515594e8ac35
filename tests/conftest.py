"""Fixtures that several test files share."""

import os
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("shared machine", deadline=None)  # a slow moment is not a failure
settings.load_profile("shared machine")

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def pytest_addoption(parser):
    parser.addoption("--stress", action="store_true", help="the hardship tests at full length, ten times the usual")


@pytest.fixture(scope="session")
def rounds(request):
    """Return the function that shortens a long test: the full count with --stress, a tenth of it without."""
    return lambda count: count if request.config.getoption("--stress") else count // 10


@pytest.fixture(scope="session")
def idx_bytes():
    """Return the function that writes an array as the bytes of its IDX file."""

    def write(array):
        header = struct.pack(f">4B{array.ndim}I", 0, 0, CODES[array.dtype.str[1:]], array.ndim, *array.shape)
        return header + array.astype(array.dtype.newbyteorder(">")).tobytes()

    return write


@pytest.fixture(autouse=True)
def free_to_train(monkeypatch):
    """Undo RETRAIN=0 of `make test`: it is for the notebooks."""
    monkeypatch.delenv("RETRAIN", raising=False)


@pytest.fixture
def open_folder():
    """Return a new folder that other users may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        Path(folder).chmod(0o755)


@pytest.fixture
def unprivileged():
    """Return a context in which permissions hold for this process, even if root started it."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has other permissions")

    @contextmanager
    def context():
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # nobody
        try:
            yield
        finally:
            os.seteuid(user)

    return context
