"""Lists in MATLAB's files of level 5: cells, structures, texts and numbers, and nothing else of them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datasets.outside import whole_file

_MOST_BYTES = 1 << 28  # of a file and of what it unpacks to; the largest of the lists has 3 MB
_DEEPEST = 4  # arrays in arrays: the lists have two
_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMERIC = range(6, 16)  # classes of arrays: double to uint64
_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # types of data
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
_COMPLEX = 0x0800  # flag of an array
Order = Literal["little", "big"]


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a file by name.

    A cell array is a list of its cells, a structure a list of dictionaries, a text a string, numbers a list
    of numbers; each column after column.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another level's, too large, or holds something else. A damaged one raises what its
            bytes lead to, of any kind: call it within :func:`datasets.outside.one_line`.
    """
    data = whole_file(path, _MOST_BYTES)
    if len(data) < _HEADER or data[126:128] not in (b"IM", b"MI"):
        raise ValueError("it is no MATLAB file of level 5")
    order: Order = "little" if data[126:128] == b"IM" else "big"
    variables: dict[str, Any] = {}
    left = _MOST_BYTES
    for code, content in _elements(data[_HEADER:], order):
        part = code, content
        if code == _COMPRESSED:
            plain = _unpacked(content, left)
            left -= len(plain)
            part = next(_elements(plain, order))
        name, value = _array(_matrix(part), order, _DEEPEST)
        variables[name] = value
    return variables


def _unpacked(content: bytes, most: int) -> bytes:
    packed = zlib.decompressobj()
    data = packed.decompress(content, most)
    if not packed.eof:
        raise ValueError(f"it is cut off, or unpacks to more than {most:,} bytes")
    return data


def _elements(data: bytes, order: Order) -> Iterator[tuple[int, bytes]]:
    """(type, content) of each element; small ones have both in eight bytes."""
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise ValueError("it is cut off")
        code, size = (int.from_bytes(data[at + n : at + n + 4], order) for n in (0, 4))
        small = code >> 16
        if small:
            if small > 4:
                raise ValueError(f"it has a small element of {small} bytes")
            yield code & 0xFFFF, data[at + 4 : at + 4 + small]
            at += 8
            continue
        if at + 8 + size > len(data):
            raise ValueError(f"it is cut off: an element of {size:,} bytes has {len(data) - at - 8:,}")
        yield code, data[at + 8 : at + 8 + size]
        at += 8 + size + (0 if code == _COMPRESSED else -size % 8)


def _array(content: bytes, order: Order, deep: int) -> tuple[str, Any]:
    """The name and the value of an array."""
    if not content:
        return "", []  # as MATLAB writes an empty cell
    if not deep:
        raise ValueError("it has arrays nested too deep")
    parts = _elements(content, order)
    flags, shape, name = (_next(parts) for _ in range(3))
    flag = int.from_bytes(flags[1][:4], order)
    count = math.prod(_numbers(*shape, order))
    what = flag & 0xFF
    if flag & _COMPLEX:
        raise ValueError("it has complex numbers")
    title = name[1].decode("latin-1")
    if what == _CELL:
        cells = [_array(_matrix(part), order, deep - 1)[1] for part in parts]
        _check_count(len(cells), count)
        return title, cells
    if what == _STRUCT:
        return title, _structures(parts, order, deep, count)
    if what == _CHAR:
        code, text = _next(parts) if count else (1, b"")
        if code not in _TEXTS:
            raise ValueError(f"it has a text of type {code}")
        encoding = f"{_TEXTS[code]}-{order[0]}e" if _TEXTS[code] == "utf-16" else _TEXTS[code]
        return title, text.decode(encoding)
    if what not in _NUMERIC:
        raise ValueError(f"it has an array of class {what}, which lists do not need")
    values = _numbers(*_next(parts), order) if count else []
    _check_count(len(values), count)
    return title, values


def _structures(
    parts: Iterator[tuple[int, bytes]], order: Order, deep: int, count: int
) -> list[dict[str, Any]]:
    (length,) = _numbers(*_next(parts), order)
    names = _next(parts)[1]
    if not 0 < length <= 64 or len(names) % length:
        raise ValueError("the fields of a structure have no names")
    fields = [
        names[at : at + length].split(b"\0")[0].decode("latin-1") for at in range(0, len(names), length)
    ]
    values = [_array(_matrix(part), order, deep - 1)[1] for part in parts]
    _check_count(len(values), count * len(fields))
    rows = range(0, len(values), len(fields)) if fields else range(0)
    return [dict(zip(fields, values[at : at + len(fields)], strict=True)) for at in rows]


def _next(parts: Iterator[tuple[int, bytes]]) -> tuple[int, bytes]:
    part = next(parts, None)
    if part is None:
        raise ValueError("an array in it lacks a part")
    return part


def _matrix(part: tuple[int, bytes]) -> bytes:
    if part[0] != _MATRIX:
        raise ValueError(f"it has an element of type {part[0]} in place of an array")
    return part[1]


def _numbers(code: int, data: bytes, order: Order) -> list[Any]:
    if code not in _NUMBERS:
        raise ValueError(f"it has numbers of type {code}")
    values: list[Any] = np.frombuffer(data, np.dtype(_NUMBERS[code]).newbyteorder(order)).tolist()
    return values


def _check_count(got: int, expected: int) -> None:
    if got != expected:
        raise ValueError(f"an array in it has {got:,} values where its shape says {expected:,}")
