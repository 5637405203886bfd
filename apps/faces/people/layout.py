"""A table of faces laid out to be mapped into memory, checked on the way."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from apps.engine.core.files import write_whole
from apps.faces.extraction.embedder import Vectors
from apps.faces.extraction.table import conform, read_about, read_batches, tables_of
from apps.faces.nearest import quantised
from datasets.outside import DiskError

SOURCE = b"mobilenet_apps_source"
COLUMNS = ("path", "sha256", "face", "name", "box", "date", "vector")
LAYOUT = 3  # of the mapped file: another is made again
BATCH_ROWS = 65_536  # rows of the mapped file that lie together
LENGTH_TOLERANCE = 1e-3


def source_of(table: Path) -> str:
    """Tells whether a laid-out file is of the table as it is now."""
    files = [file.stat() for file in tables_of(table)]
    values = [[status.st_size, status.st_mtime_ns, status.st_ino] for status in files]
    return hashlib.sha256(json.dumps([LAYOUT, values]).encode()).hexdigest()


def laid_path(table: Path) -> Path:
    """The laid-out file of a table, beside it, or in its folder of parts."""
    return table / "faces.arrow" if table.is_dir() else table.with_suffix(".arrow")


def mapped(path: Path, source: str) -> Any:
    """A laid-out file in memory; None where there is none of this table, or only a part of it."""
    try:
        file = pa.ipc.open_file(pa.memory_map(str(path)))
    except (OSError, pa.ArrowException):
        return None
    return file if (file.schema.metadata or {}).get(SOURCE) == source.encode() else None


def laid_out(table: Path, source: str) -> Any:
    """The table laid out beside itself, in memory; elsewhere, and gone then, where it may not be written."""
    made: list[Any] = []

    def write(path: Path) -> None:
        _lay_out(table, path, source)
        made.append(pa.ipc.open_file(pa.memory_map(str(path))))  # stays what it is, whoever replaces it

    try:
        write_whole(laid_path(table), write)
    except (PermissionError, DiskError):
        with tempfile.TemporaryDirectory(prefix="gallery-", ignore_cleanup_errors=True) as folder:
            write(Path(folder) / laid_path(table).name)
    return made[-1]


def laid_out_schema(dim: int, source: str) -> Any:
    """The columns of a laid-out table of vectors of ``dim`` numbers."""
    return pa.schema([
        ("path", pa.string()), ("sha256", pa.string()), ("face", pa.int32()), ("name", pa.string()),
        ("box", pa.list_(pa.float32(), 4)), ("date", pa.string()), ("vector", pa.list_(pa.float32(), dim)),
        ("codes", pa.list_(pa.int8(), dim)), ("scale", pa.float32()),
    ], metadata={SOURCE: source})


def _lay_out(table: Path, to: Path, source: str) -> None:
    """The rows as an Arrow file, checked."""
    schema = laid_out_schema(read_about(table).model.dim, source)
    with pa.OSFile(str(to), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        waiting: list[Any] = []
        for rows in read_batches(table, COLUMNS):
            _check(rows, table)
            waiting.append(conform(rows, schema))
            if sum(len(item) for item in waiting) >= BATCH_ROWS:
                _write(writer, waiting)
        _write(writer, waiting)


def _write(writer: Any, waiting: list[Any]) -> None:
    if waiting:
        writer.write_table(with_codes(pa.concat_tables(waiting).combine_chunks()))
        waiting.clear()


def with_codes(rows: Any) -> Any:
    """Rows with ``codes`` and ``scale``, which a search scans instead of their vectors."""
    codes, scales = quantised(_vectors(rows))
    flat = pa.FixedSizeListArray.from_arrays(pa.array(codes.ravel()), codes.shape[1])
    for name, values in (("codes", flat), ("scale", pa.array(scales))):
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)
    return rows


def _vectors(rows: Any) -> Vectors:
    column = rows["vector"].combine_chunks()
    vectors: Vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    return vectors


def _check(rows: Any, table: Path) -> None:
    """Refuse vectors that would spoil every search.

    Raises:
        ValueError: one is not finite, or not of length 1.
    """
    lengths = np.linalg.norm(_vectors(rows).astype(np.float64), axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= LENGTH_TOLERANCE))
    if len(wrong):
        row = int(wrong[0])
        what = "is not finite" if not np.isfinite(lengths[row]) else f"has length {lengths[row]:.4g}, not 1"
        raise ValueError(
            f"{table}: the vector of face {rows['face'][row].as_py()} of {rows['path'][row].as_py()} {what}; "
            "remove the table and embed again"
        )
