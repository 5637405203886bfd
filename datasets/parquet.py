"""Parquet files that others wrote: bounded before they are unpacked, and refused in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets.outside import check_unpacked, one_line, regular_file

MEND, WHAT = "write it again", "cannot be read as Parquet"
_FEW_BYTES = 1 << 24
_ROWS_AT_ONCE = 65_536


def open_parquet(
    path: Path, columns: Sequence[str] | None = None, *, mend: str = MEND, what: str = WHAT, **options: Any
) -> Any:
    """A Parquet file whose rows are not read yet, held against what they may unpack to.

    Args:
        path: of the file.
        columns: that will be read; None for all.
        mend: as of :func:`datasets.outside.one_line`, as is ``what``.
        what: the file is not.
        options: of ``pyarrow.parquet.ParquetFile``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or unpacks to more than 1 GiB and 30 times its size; in one line.
    """
    from pyarrow import parquet

    with one_line(path, mend, what):
        file = parquet.ParquetFile(regular_file(path), **options)
        count = len(file.schema_arrow.names if columns is None else columns)
        check_unpacked(path, 8 * file.metadata.num_rows * max(count, 1))
        return file


def read_parquet(path: Path, columns: Sequence[str] | None = None, *, schema: Any = None) -> Any:
    """The rows of a Parquet file as an Arrow table; columns of texts may be coded by a dictionary.

    Args:
        path: of the file.
        columns: which; None for all.
        schema: that its columns must have, by name and type; None for any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as of :func:`open_parquet`, or it has other columns.
    """
    import pyarrow as pa

    with one_line(path, MEND, WHAT):
        names = open_parquet(path, columns).schema_arrow
        texts = [field.name for field in names if pa.types.is_string(field.type)]
        file = open_parquet(path, columns, read_dictionary=texts)
        if schema is not None and not names.equals(schema):
            raise ValueError(f"its columns are {', '.join(names.names)}, not {', '.join(schema.names)}")
        parts, total = [], 0
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=None if columns is None else list(columns)):
            total += sum(map(_unpacked, batch.columns))
            check_unpacked(path, total)
            parts.append(batch)
        fields = [file.schema_arrow.field(name) for name in (columns or file.schema_arrow.names)]
        empty = pa.schema(fields)
        table = pa.Table.from_batches(parts, parts[0].schema if parts else empty)
        table.validate(full=True)  # texts may be no UTF-8
        return table if schema is None else table.cast(schema)


def batches(path: Path, rows: int, columns: Sequence[str] | None = None) -> Iterator[Any]:
    """The rows of a file, a bounded number at a time, so that a large one is never whole in memory.

    Raises:
        ValueError: it is damaged; in one line.
    """
    with one_line(path, MEND, WHAT):
        file = open_parquet(path, columns, memory_map=True)
        parts = file.iter_batches(rows, columns=None if columns is None else list(columns))
    while True:
        with one_line(path, MEND, WHAT):
            batch = next(parts, None)
        if batch is None:
            return
        yield batch


def metadata_of(path: Path) -> dict[bytes, bytes]:
    """What a file says of itself beside its rows.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged; in one line.
    """
    return dict(open_parquet(path, ()).schema_arrow.metadata or {})


def _unpacked(column: Any) -> int:
    """Bytes of a column without its dictionary, which may name one long text in every row."""
    import pyarrow as pa
    from pyarrow import compute

    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = compute.binary_length(column.dictionary)
    longest = compute.max(lengths).as_py() or 0
    if longest * len(column) < _FEW_BYTES:
        return longest * len(column)
    return compute.sum(lengths.cast(pa.int64()).take(column.indices)).as_py() or 0
