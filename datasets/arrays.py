"""NumPy's archives of arrays that others wrote: bounded before they are unpacked, no pickle among them."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from datasets.outside import check_unpacked, regular_file


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Some arrays of a ``.npz`` file. A damaged one raises what its bytes lead to, of any kind.

    Args:
        path: of the file; call this within :func:`datasets.outside.one_line`.
        names: of the arrays.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an array is not there, holds objects, or would take all memory.
    """
    with zipfile.ZipFile(regular_file(path)) as archive:
        there = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        missing = [name for name in names if name not in there]
        if missing:
            raise ValueError(f"it has no array {', '.join(missing)}, only {', '.join(there) or 'nothing'}")
        check_unpacked(path, sum(there[name].file_size for name in names))
        return {name: _array(archive, there[name]) for name in names}


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Any:
    """An array whose header says no more than its entry of the archive holds."""
    with archive.open(entry) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, in_columns, dtype = read(file)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or size != entry.file_size - file.tell():
            raise ValueError(f"an array of shape {shape} holds objects, or is cut off")
        data = file.read(size)
        file.read(1)  # the sum over the entry is checked at its end
    if len(data) != size:
        raise ValueError(f"an array of {size:,} bytes has {len(data):,}; it is cut off")
    result = np.frombuffer(data, dtype).reshape(shape, order="F" if in_columns else "C")
    if dtype.kind == "U" and result.size and not _are_letters(data, dtype):
        raise ValueError(f"an array of {result.size} texts holds numbers that are no letters")
    return result


def _are_letters(data: bytes, dtype: Any) -> bool:
    """Whether texts are of code points that there are: Python builds strings of any number unlooked at."""
    codes = np.frombuffer(data, dtype.byteorder.replace("|", "=") + "u4")
    return bool(((codes < 0xD800) | ((codes > 0xDFFF) & (codes <= 0x10FFFF))).all())
