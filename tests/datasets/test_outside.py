"""Files that others wrote: pipes, devices, bombs, and what parsers raise."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_support import assert_read_or_refused

from datasets.arrays import read_arrays
from datasets.file_kinds import first_bytes
from datasets.folders import find_images
from datasets.outside import check_unpacked, one_line, regular_file, shortened, whole_file
from datasets.parquet import batches, read_parquet
from datasets.tables import read_table


def test_pipes_and_devices_are_never_opened(tmp_path: Path) -> None:
    for name in ("pipe", "pipe.csv"):
        os.mkfifo(tmp_path / name)
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for read in (regular_file, whole_file, read_table, read_parquet):
            with pytest.raises(OSError, match="is a pipe or a device, not a regular file"):
                read(path)
        assert first_bytes(path) == b""
    (tmp_path / "photo").write_bytes(b"\xff\xd8\xff")
    assert list(find_images([tmp_path])) == [tmp_path / "photo"], "a pipe without suffix is not looked into"


def test_too_large_a_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "holes.csv"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match=r"holes.csv has more than 4,294,967,296 bytes, so it is not read"):
        read_table(path)


@pytest.mark.parametrize("error", [
    RecursionError("deep"), zipfile.BadZipFile("bad\nzip"), KeyError("vector"),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "no"),
    MemoryError(), OSError("Couldn't deserialize thrift\n"), ZeroDivisionError(), AssertionError(),
])
def test_what_a_parser_raises_is_one_line_that_names_the_file(error: Exception) -> None:
    with pytest.raises(ValueError, match=r"^a/b\.x .*; mend it$") as caught, one_line("a/b.x", "mend it"):
        raise error
    assert "\n" not in str(caught.value) and type(caught.value) is ValueError


def test_what_the_system_says_comes_without_its_number() -> None:
    error = OSError(5, "Input/output error", "/proc/self/mem")
    with pytest.raises(ValueError, match="cannot be read") as caught, one_line("a/b.x", "mend it"):
        raise error
    assert str(caught.value) == "a/b.x cannot be read (Input/output error); mend it"


def test_lines_of_ours_and_missing_files_pass() -> None:
    for error in (ValueError("a/b.x lacks a row"), FileNotFoundError(2, "x"), ImportError("no h5py")):
        with pytest.raises(type(error)) as caught, one_line("a/b.x", "mend it"):
            raise error
        assert caught.value is error


def test_a_table_that_would_fill_the_memory_is_refused_before_it_does(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(3000, np.int32)), pa.array(["x" * 1_000_000]))
    pq.write_table(pa.table({"path": long}), path)
    assert path.stat().st_size < 2_000_000
    with pytest.raises(ValueError, match=r"bomb.parquet would unpack to 3,000,000,000 bytes or more"):
        read_table(path)
    with pytest.raises(ValueError, match="above the 1,07"):
        check_unpacked(path, 1 << 40)


def parquet(rows: int = 40) -> bytes:
    buffer = io.BytesIO()
    columns = {"image": [f"{n}.jpg" for n in range(rows)], "Male": list(range(rows)), "x": [0.5] * rows}
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def test_damaged_tables_are_refused_in_one_line(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        table = read_table(path)
        for key in table.columns:
            table.texts(key)

    assert assert_read_or_refused(tmp_path / "a.parquet", parquet(), read, 250) > 150
    assert assert_read_or_refused(tmp_path / "a.csv", b'a;b\n1;"x"\n2;y\n', read, 150) > 10
    assert assert_read_or_refused(tmp_path / "b.parquet", parquet(), lambda p: list(batches(p, 8)), 150) > 90


def archive(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def arrays_of(path: Path) -> dict[str, object]:
    with one_line(path, "make it again"):
        return read_arrays(path, ("name", "vector"))


def test_archives_of_arrays_are_read_as_numpy_reads_them(tmp_path: Path) -> None:
    path, vectors = tmp_path / "a.npz", np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4))
    path.write_bytes(archive(name=np.array(["a", "ü", "c"]), vector=vectors, more=np.zeros(1)))
    result = read_arrays(path, ("name", "vector"))
    assert result["name"].tolist() == ["a", "ü", "c"]
    np.testing.assert_array_equal(result["vector"], vectors)


def test_damaged_archives_of_arrays_are_refused_in_one_line(tmp_path: Path) -> None:
    data = archive(name=np.array(["a", "b"]), vector=np.ones((2, 4), np.float32))
    assert assert_read_or_refused(tmp_path / "a.npz", data, arrays_of, 300) > 250


def test_arrays_of_objects_and_headers_that_promise_more_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(archive(name=np.array([{}, {}], object), vector=np.ones(2)))
    with pytest.raises(ValueError, match="holds objects, or is cut off"):
        arrays_of(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (2**40,)}
    )
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("name.npy", header.getvalue())
        file.writestr("vector.npy", header.getvalue())
    with pytest.raises(ValueError, match="holds objects, or is cut off"):
        arrays_of(path)


def test_a_long_message_keeps_what_is_wrong_and_how_to_mend_it() -> None:
    line = shortened(f"a.json: epochs must be a number, got {'x' * 10**7};\n give a number")
    assert line.startswith("a.json: epochs must be") and line.endswith("; give a number")
    assert len(line) < 1600 and "\n" not in line
    assert shortened("short\n line") == "short line"


@pytest.mark.parametrize("code", [0xD800, 0x110000, 0xFFFFFFFF])
def test_an_array_of_texts_holds_letters(code: int, tmp_path: Path) -> None:
    """numpy builds strings of any number, and Python's strings are then no strings."""
    path, good = tmp_path / "a.npz", np.array(["ab", "c"])
    bad = np.array([97, code, 0, 0], np.uint32).view("<U2")
    np.savez(path, name=bad)
    with pytest.raises(ValueError, match="holds numbers that are no letters"):
        read_arrays(path, ["name"])
    np.savez(path, name=good, other=good.astype(">U2"))
    assert {key: value.tolist() for key, value in read_arrays(path, ["name", "other"]).items()} == {
        "name": ["ab", "c"], "other": ["ab", "c"],
    }
