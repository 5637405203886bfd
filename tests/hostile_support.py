"""Damaged files for tests of readers: the same ones at every run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def mutants(data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Copies with a few bytes changed, left out or put in, or cut off."""
    draw = random.Random(seed)
    for _ in range(count):
        part = bytearray(data)
        for _ in range(draw.choice((1, 1, 2, 5))):
            at = draw.randrange(len(part) + 1)
            change = draw.randrange(5)
            if change == 0:
                part[at : at + 1] = bytes([draw.randrange(256)])
            elif change == 1:
                del part[at : at + draw.randrange(1, 9)]
            elif change == 2:
                part[at:at] = draw.randbytes(draw.randrange(1, 9))
            elif change == 3:
                part[at : at + 4] = draw.choice((0, 1, 2**31, 2**32 - 1)).to_bytes(4, "little")
            else:
                del part[at:]
        yield bytes(part)


def assert_read_or_refused(
    path: Path, data: bytes, read: Callable[[Path], object], count: int, seed: int = 0
) -> int:
    """Each mutant is read, or refused in one line that names the file; returns how many are refused."""
    refused = 0
    for content in mutants(data, count, seed):
        path.write_bytes(content)
        try:
            read(path)
        except ValueError as err:
            assert str(path) in str(err) and "\n" not in str(err), err
            assert type(err) is ValueError, repr(err)
            refused += 1
        except Exception as err:  # the test's subject
            pytest.fail(f"{type(err).__name__}: {err}")
    return refused
