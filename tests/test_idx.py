"""An IDX file becomes its array, or one IdxError: nothing else, whatever the bytes."""

import gzip
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from helpers.idx import IdxError, read_idx

REPOSITORY = Path(__file__).parents[1]
ARRAYS = st.sampled_from(["u1", "i1", "i2", "i4", "f4", "f8"]).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=1, max_dims=6, min_side=0, max_side=4))
)
IMAGES = np.arange(2 * 3 * 4, dtype="u1").reshape(2, 3, 4)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "digits with spaces äß.idx"


@given(ARRAYS, st.booleans())
def test_reads_back_every_type_and_rank(idx_bytes, path, array, packed):
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content) if packed else content)
    result = read_idx(path, hashlib.sha256(content).hexdigest())
    assert result.dtype == array.dtype and result.dtype.isnative
    assert result.shape == array.shape
    assert result.tobytes() == array.tobytes()  # bytes, so that NaN equals NaN
    assert result.flags.writeable


@settings(max_examples=500)
@given(ARRAYS, st.booleans(), st.data())
def test_damaged_file_gives_the_same_array_or_an_idx_error(idx_bytes, path, array, packed, data):
    content = idx_bytes(array)
    damaged = bytearray(gzip.compress(content) if packed else content)
    start = data.draw(st.integers(0, len(damaged)))
    damaged[start : start + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    path.write_bytes(damaged)
    try:
        result = read_idx(path, hashlib.sha256(content).hexdigest())
    except IdxError as error:
        assert str(path) in str(error) and "expected" in str(error) and "found" in str(error)
    else:
        assert result.tobytes() == array.tobytes() and result.shape == array.shape


@given(st.binary(max_size=40), st.booleans())
def test_any_bytes_give_an_idx_error_or_the_array_they_spell(idx_bytes, path, content, valid_start):
    content = b"\0\0\x08\x01" + content if valid_start else content
    path.write_bytes(content)
    try:
        result = read_idx(path)
    except IdxError:
        return
    assert idx_bytes(result) == content


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "no bytes"),
        (b"\0\0\x08", "00 00 08"),
        (b"\x01\0\x08\x01\0\0\0\0", "01 00 08 01"),
        (b"\0\0\x0a\x01\0\0\0\0", "00 00 0a 01"),
        (b"\0\0\x08\x00\x07", "00 00 08 00"),
        (b"\0\0\x08\x03" + bytes(11), "11 bytes"),
        (b"\0\0\x08\x01\0\0\0\x05four", "12"),
        (b"\0\0\x08\x01\0\0\0\x03four", "12"),
        (b"\0\0\x0e\x03" + b"\xff" * 12, "promises 633825299671392843082401579000"),
        (b"\0\0\x08\x41" + bytes(4 * 65), "65 dimensions"),
        (b"\0\0\x08\x05" + b"\xff" * 16 + bytes(4), "5 dimensions"),
        (b"<!DOCTYPE html>", "3c 21 44 4f"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_bad_content_is_named(path, content, found, packed):
    path.write_bytes(gzip.compress(content) if packed else content)
    if packed and found == "12":  # the length of a gzip file is not known in advance
        found = "4" if content[7] == 5 else "more"
    with pytest.raises(IdxError, match=f"expected .*, found .*{found}") as error:
        read_idx(path)
    assert str(path) in str(error.value)


def test_every_cut_of_a_gzip_file_is_refused(idx_bytes, path):
    packed = gzip.compress(idx_bytes(IMAGES))
    for length in range(len(packed)):
        path.write_bytes(packed[:length])
        with pytest.raises(IdxError):
            read_idx(path)


def test_wrong_digest_is_refused(idx_bytes, path):
    path.write_bytes(idx_bytes(IMAGES))
    with pytest.raises(IdxError, match=r"expected SHA-256 0000, found [0-9a-f]{64}"):
        read_idx(path, "0000")


def test_things_that_are_not_files(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path, loop, tmp_path / "missing", Path(os.devnull)):
        with pytest.raises(IdxError, match=f"^{re.escape(str(path))}: expected"):
            read_idx(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(IdxError, match="pipe: expected a file"):
        read_idx(tmp_path / "pipe")


def test_a_file_without_permission_is_named(open_folder, idx_bytes, unprivileged):
    locked = open_folder / "locked"
    locked.write_bytes(idx_bytes(IMAGES))
    locked.chmod(0)
    with unprivileged(), pytest.raises(IdxError, match=f"^{locked}: expected .* Permission denied"):
        read_idx(locked)


@pytest.mark.slow
@pytest.mark.parametrize(("options", "most"), [([], 100_000), (["-O"], 10_000)], ids=["", "python -O"])
def test_mutations_and_gzip_bombs_in_little_memory(rounds, options, most):
    """A process of its own, so that its peak memory is its own; it uses no assert, which -O would drop."""
    count = rounds(most)
    script = [*options, REPOSITORY / "benchmarks" / "fuzz_idx.py", "--count", str(count)]
    run = subprocess.run([sys.executable, *script], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{count:,} mutations in" in run.stdout
