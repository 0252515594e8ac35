"""Damage IDX files in seeded ways: each must give the right array or IdxError, in less than 300 MB of memory.

python benchmarks/fuzz_idx.py --count 100000
"""

import argparse
import collections
import gzip
import hashlib
import random
import resource
import struct
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from helpers.idx import IdxError, read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
LIMIT_MB = 300


def header(code, shape):
    return struct.pack(f">4B{len(shape)}I", 0, 0, code, len(shape), *shape)


def originals(rng):
    """Yield (content, array) for every type, ranks 1 to 4, raw and packed."""
    for name, code in CODES.items():
        for rank in range(1, 5):
            array = np.frombuffer(rng.randbytes(8 * 5**rank), f">{name}")[: 5**rank].reshape([5] * rank)
            content = header(code, array.shape) + array.tobytes()
            yield content, array, content
            yield gzip.compress(content, mtime=0), array, content


def bombs():
    """Yield packed files of 1 GB of zeros under headers that promise less, more and exactly that."""
    zeros = gzip.compress(bytes(2**20))  # gzip files may be joined: 1,000 of these unpack to 1 GB
    for shape in [(0,), (3, 28, 28), (200_000_000,), (2**30,), (2**32 - 1,) * 3, (1,) * 60 + (2**31,)]:
        yield gzip.compress(header(0x08, shape)) + zeros * 2**10
    yield gzip.compress(header(0x08, (250 * 2**20,))) + zeros  # promises 250 MB, delivers 1


def damage(content, other, rng):
    """Return `content` changed in one of six ways, and the name of the way."""
    kind = rng.choice(["flip", "cut", "splice", "insert", "header", "noise"])
    place = rng.randrange(len(content))
    if kind == "flip":
        changed = bytearray(content)
        for _ in range(rng.choice([1, 1, 1, 8])):
            changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        return kind, bytes(changed)
    if kind == "cut":
        return kind, content[:place]
    if kind == "splice":
        return kind, content[:place] + other[rng.randrange(len(other)) :]
    if kind == "insert":
        return kind, content[:place] + rng.randbytes(rng.randint(1, 16)) + content[place:]
    if kind == "noise":
        return kind, rng.randbytes(rng.randrange(200))
    shape = [rng.choice([0, 1, 5, 2**16, 2**31, 2**32 - 1]) for _ in range(rng.choice([1, 2, 3, 4, 64, 255]))]
    changed = header(rng.choice([*CODES.values(), rng.randrange(256)]), shape) + content[16:]
    return kind, gzip.compress(changed, mtime=0) if content[:2] == b"\x1f\x8b" else changed


def peak_mb():
    """Return the most memory this process ever held."""
    try:  # Linux: getrusage would count the memory of the process that started this one
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**10
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    files = [(content, array, hashlib.sha256(plain).hexdigest()) for content, array, plain in originals(rng)]
    outcomes, wrong = collections.Counter(), []
    start = time.perf_counter()

    def check(path, kind, content, array, sha256):
        path.write_bytes(content)
        try:
            result = read_idx(path, sha256)
        except IdxError:
            outcomes[kind, "IdxError"] += 1
        except Exception as error:  # whatever else comes out is what this script looks for
            wrong.append((kind, content[:64], repr(error)))
        else:
            outcomes[kind, "array"] += 1
            if result.shape != array.shape or result.tobytes() != array.astype(result.dtype).tobytes():
                wrong.append((kind, content[:64], "another array"))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        for content, array, sha256 in files:
            check(path, "intact", content, array, sha256)
        for content in bombs():
            check(path, "bomb", content, np.empty(0), None)
        for _ in range(options.count):
            content, array, sha256 = rng.choice(files)
            kind, changed = damage(content, rng.choice(files)[0], rng)
            check(path, kind, changed, array, sha256)

    peak = peak_mb()
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"{kind:8} {outcome:9} {count:7,}")
    seconds = time.perf_counter() - start
    print(f"{options.count:,} mutations in {seconds:.0f} s, peak {peak:.0f} MB, {len(wrong)} wrong")
    for each in wrong[:10]:
        print(*each)
    if wrong or peak > LIMIT_MB or outcomes["intact", "array"] != len(files):
        sys.exit(1)


if __name__ == "__main__":
    main()
