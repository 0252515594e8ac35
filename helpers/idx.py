"""Read IDX, the file format of MNIST: four bytes of type and rank, the sizes, then the values, big-endian."""

import gzip
import hashlib
import math
import os
import stat
import struct
import zlib
from typing import BinaryIO, cast

import numpy as np

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CHUNK = 2**20  # bytes unpacked at a time


class IdxError(ValueError):
    """A file that is not good IDX; the message names the file, what was expected and what was found."""


def read_idx(path: str | os.PathLike, sha256: str | None = None, max_bytes: int = 2**28) -> np.ndarray:
    """Return the array stored in an IDX file, raw or gzip, in native byte order and writable.

    `sha256`, when given, is the hex digest that the unpacked file must have. `max_bytes` bounds the array
    (256 MiB; MNIST's largest needs 47 MB), so that a small gzip file cannot fill the memory.
    Every file that cannot be read, for whatever reason, raises `IdxError`.

    Format: the end of http://yann.lecun.com/exdb/mnist/, kept at https://web.archive.org.
    """
    path = os.fspath(path)
    try:
        # asked before opening, because opening a named pipe would wait for a writer
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise _error(path, "a file", "a directory or a device")
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if packed:
                with gzip.open(file) as unpacked:
                    return _read(cast(BinaryIO, unpacked), path, None, sha256, max_bytes)
            return _read(file, path, os.fstat(file.fileno()).st_size, sha256, max_bytes)
    except (OSError, EOFError, zlib.error) as problem:  # EOFError: gzip stopped half-way
        raise _error(path, "a readable IDX file", getattr(problem, "strerror", None) or problem) from problem


def _read(file: BinaryIO, path: str, length: int | None, sha256: str | None, max_bytes: int) -> np.ndarray:
    """Read one array from an open file of `length` bytes, None where that is not known before it is unpacked."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or magic[3] == 0:
        expected = "00 00, a type (08 09 0b 0c 0d 0e) and the number of dimensions"
        raise _error(path, expected, magic.hex(" ") or "no bytes")
    dtype, rank = np.dtype(TYPES[magic[2]]), magic[3]

    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise _error(path, f"{rank} sizes ({4 * rank} bytes)", f"{len(sizes)} bytes")
    shape = struct.unpack(f">{rank}I", sizes)
    promised = math.prod(shape) * dtype.itemsize  # Python integers: cannot overflow
    if promised > max_bytes:
        raise _error(path, f"at most {max_bytes} bytes of values", f"a header that promises {promised}, shape {shape}")
    if length is not None and length != 4 + 4 * rank + promised:
        raise _error(path, f"{4 + 4 * rank + promised} bytes for shape {shape}", f"{length}")

    digest = hashlib.sha256(magic + sizes)
    values = bytearray()  # grows with what arrives: a false promise allocates nothing
    while len(values) < promised:
        chunk = file.read(min(CHUNK, promised - len(values)))
        if not chunk:
            raise _error(path, f"{promised} bytes of values for shape {shape}", f"{len(values)}")
        digest.update(chunk)
        values += chunk
    if file.read(1):
        raise _error(path, f"{promised} bytes of values for shape {shape}", "more")
    if sha256 is not None and digest.hexdigest() != sha256:
        raise _error(path, f"SHA-256 {sha256}", digest.hexdigest())

    try:
        array = np.frombuffer(values, dtype).reshape(shape)
    except ValueError as problem:  # more than 64 dimensions, or sizes that only a zero keeps small
        raise _error(path, "a shape that NumPy can hold", f"{rank} dimensions {shape}") from problem
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return array


def _error(path: str, expected: str, found: object) -> IdxError:
    return IdxError(f"{path}: expected {expected}, found {found}")
