"""MATLAB's lists, read as scipy writes them; damaged ones are refused and end no process."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_support import assert_read_or_refused
from scipy.io import savemat

from datasets.classification import mat_lists
from datasets.classification.mat_lists import read_mat
from datasets.outside import one_line


def cells(*texts: str) -> Any:
    return np.array([[text] for text in texts], object)


def content() -> dict[str, Any]:
    table = np.zeros((2, 1), [("ID", object), ("WNID", object)])
    for row, (number, name) in enumerate(((1, "n01440764"), (2, "n01443537"))):
        table[row, 0] = (np.array([[number]], np.uint16), name)
    return {"files": cells("a/b.jpg", "ü.jpg"), "labels": np.array([[1.0], [2.0]]), "synsets": table}


def read(path: Path) -> dict[str, Any]:
    with one_line(path, "unpack it again"):
        return read_mat(path)


@pytest.mark.parametrize("packed", [True, False])
def test_cells_structures_texts_and_numbers_are_read(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "a.mat"
    savemat(path, content(), do_compression=packed)
    result = read_mat(path)
    assert result["files"] == ["a/b.jpg", "ü.jpg"] and result["labels"] == [1, 2]
    assert result["synsets"] == [{"ID": [1], "WNID": "n01440764"}, {"ID": [2], "WNID": "n01443537"}]


@pytest.mark.parametrize("packed", [True, False])
def test_damaged_lists_are_refused_and_no_process_dies(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "a.mat"
    savemat(path, content(), do_compression=packed)
    assert assert_read_or_refused(path, path.read_bytes(), read, 400) > 200


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mat_lists, "_MOST_BYTES", 1 << 20)
    path, header = tmp_path / "a.mat", b" " * 124 + b"\x00\x01IM"
    packed = zlib.compress(bytes(2 << 20))
    path.write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(ValueError, match="unpacks to more than 1,048,576 bytes"):
        read(path)
    path.write_bytes(header + struct.pack("<II", 14, 2**31) + bytes(8))
    with pytest.raises(ValueError, match=r"an element of 2,147,483,648 bytes has 8"):
        read(path)
    path.write_bytes(b"MATLAB 7.3" + bytes(200))
    with pytest.raises(ValueError, match="no MATLAB file of level 5"):
        read(path)
