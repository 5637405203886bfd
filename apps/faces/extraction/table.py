"""Tables of faces on disk: a row a face; parts of them with what was found in each photo, merged in order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from apps.engine.scale.rows import schema_of
from apps.faces import NO_FACE
from apps.faces.extraction.embedder import ALIGNMENTS, Align, ModelInfo
from backbone.schema import TABLE, checked, choice, parse_json
from datasets.file_kinds import first_bytes, image_kind
from datasets.outside import one_line
from datasets.parquet import batches, open_parquet, read_parquet

ABOUT = b"mobilenet_apps_faces"
PHOTO: Any = pa.schema([
    ("bytes", pa.int64()), ("modified_ns", pa.int64()), ("changed_ns", pa.int64()), ("which", pa.string()),
    ("problem", pa.string()),
])
AGAIN = "remove it and make it again with embed-faces"
PARTS_AT_ONCE = 4
ROWS = 8192  # a row group: 32 MB of vectors of 1024
KEYS = ("path", "face")
ABOUT_RULES = {"model": TABLE, "align": choice(*ALIGNMENTS)}


@dataclass(frozen=True)
class About:
    """What holds for all rows of a table.

    Args:
        model: that made the vectors.
        align: how the faces were cut out.
    """

    model: ModelInfo
    align: Align

    def to_json(self) -> str:
        """As kept in the Parquet file's metadata."""
        return json.dumps(
            {"model": self.model.to_dict(), "align": self.align}, sort_keys=True, allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str) -> About:
        """The inverse of :meth:`to_json`."""
        values = checked(parse_json(text, "its description"), ABOUT_RULES, "it", needed=("model", "align"))
        return cls(ModelInfo.from_dict(values["model"]), values["align"])


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One photo that was looked at, whether or not it shows a face.

    Args:
        path: its name.
        sha256: of its bytes.
        bytes: its size.
        modified_ns: when its content changed, as the file system says.
        changed_ns: when its entry in the file system changed.
        which: faces asked for; None where it is not known.
        name: of the person it was enrolled for.
        faces: rows in the table.
        problem: why there is none, or the empty text.
        readable: False where the photo itself is at fault.
    """

    path: str
    sha256: str
    bytes: int
    modified_ns: int
    changed_ns: int
    which: str | None
    name: str | None
    faces: int
    problem: str = ""
    readable: bool = True

    @property
    def refused(self) -> bool:
        """Whether the photo was turned away, so that what a table knows of it stays as it is.

        A photo without a face was looked at, unless it was to show the person who is enrolled.
        """
        looked_at = self.readable and self.name is None and self.problem == NO_FACE
        return bool(self.problem) and not looked_at


def face_schema(about: About) -> Any:
    """The columns of a table of faces; ``vector`` is as long as the model's."""
    columns = [
        ("path", pa.string()), ("sha256", pa.string()), ("face", pa.int32()), ("name", pa.string()),
        ("box", pa.list_(pa.float32(), 4)), ("landmarks", pa.list_(pa.float32(), 10)),
        ("probability", pa.float32()), ("size_px", pa.float32()), ("sharpness", pa.float32()),
        ("pose", pa.float32()), ("date", pa.string()), ("time", pa.float64()),
        ("vector", pa.list_(pa.float32(), about.model.dim)),
        ("model", pa.string()),
    ]
    return pa.schema(columns, metadata={ABOUT: about.to_json()})


def conform(rows: Any, schema: Any) -> Any:
    """The columns of a schema; one that tables written before do not have is null."""
    columns = [
        rows[item.name].cast(item.type) if item.name in rows.column_names else pa.nulls(len(rows), item.type)
        for item in schema
    ]
    return pa.table(columns, schema=schema)


def part_columns(about: About) -> Any:
    """The columns of a part, without ``path`` and ``error``: a table's, and what is known of the photo.

    A photo without a face has a row, too, in which ``face`` is null.
    """
    schema = face_schema(about)
    return pa.schema([*schema, *PHOTO], metadata=schema.metadata).remove(schema.get_field_index("path"))


def read_records(part: Path) -> list[ImageRecord]:
    """The photos of a part, in its order; of one that was given up unread the sum is empty, the size -1."""
    names = ("path", "sha256", "name", "face", *PHOTO.names, "error")
    records: dict[str, ImageRecord] = {}
    with one_line(part, f"remove {part.parent}, and start again", "is damaged"):
        for row in read_parquet(part, columns=names).to_pylist():
            known = records.get(row["path"])
            records[row["path"]] = ImageRecord(
                row["path"], row["sha256"] or "", *_stamp(row), row["which"], row["name"],
                (row["face"] is not None) + (known.faces if known else 0),
                row["error"] or row["problem"] or "", row["error"] is None,
            )
    return list(records.values())


def _stamp(row: dict[str, Any]) -> tuple[int, int, int]:
    size, modified, changed = (row[name] for name in ("bytes", "modified_ns", "changed_ns"))
    return (-1, 0, 0) if size is None else (size, modified, changed)


def tables_of(path: Path) -> list[Path]:
    """The Parquet files of a table: itself, or the parts in its folder; none where there is none."""
    return sorted(path.glob("part-*.parquet")) if path.is_dir() else [path] if path.exists() else []


def read_about(path: Path) -> About:
    """What holds for all rows of a table, a file or a folder of parts.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or no table of faces.
    """
    files = tables_of(path)
    if not files:
        raise FileNotFoundError(f"{path} is missing; make it: python cli.py embed-faces PHOTOS --out {path}")
    if image_kind(first_bytes(files[0])) is not None:
        raise ValueError(f"{path} is a photo; make a table of faces first: python cli.py embed-faces {path}")
    schema = open_parquet(files[0], (), mend=AGAIN, what="is not a whole Parquet file").schema_arrow
    if ABOUT not in (schema.metadata or {}):
        raise ValueError(f"{path} is no table of faces; make one with embed-faces")
    with one_line(path, AGAIN, "is no whole table of faces"):
        about = About.from_json(schema.metadata[ABOUT].decode())
        part = set(PHOTO.names) <= set(schema.names)
        known = schema_of(part_columns(about), {}) if part else face_schema(about)
        odd = [f.name for f in schema if f.name not in known.names or known.field(f.name).type != f.type]
        if odd or not {"path", "face", "vector"} <= set(schema.names):
            raise ValueError(f"its columns are others than it says: {', '.join(odd) or 'some are missing'}")
        return about


def count_faces(path: Path) -> int:
    """The rows of a table; 0 where there is none."""
    return int(pq.read_metadata(path).num_rows) if path.exists() else 0


def read_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[Any]:
    """The faces of a table, a bounded number at a time; without columns that it does not have."""
    for file in tables_of(path):
        there = open_parquet(file, ()).schema_arrow.names
        more = ["face"] if set(PHOTO.names) <= set(there) else []  # null in a part where there is none
        wanted = None if columns is None else [name for name in there if name in {*columns, *more}]
        for batch in batches(file, ROWS, wanted):
            with one_line(file, AGAIN, "is not a whole Parquet file"):
                rows = pa.Table.from_batches([batch])
                rows.validate(full=True)  # texts may be no UTF-8, and lists of another length
            yield rows.filter(rows["face"].is_valid()) if more else rows


def merge(table: Path, parts: Sequence[Path], about: About, to: Path) -> None:
    """The table with the rows of the parts instead of those of the same photos; sorted, in bounded memory.

    Rows of photos that were refused this time stay.

    Args:
        table: what was there before; may be missing.
        parts: each sorted by path; of a photo that several hold the last has the rows.
        about: of the result.
        to: file to write.
    """
    holders = {seen.path: part for part in parts for seen in read_records(part) if not seen.refused}
    schema = face_schema(about)
    _write(to, schema, _in_order(_old_rows(table, holders, schema), _new_rows(holders, schema)))


def remove_rows(table: Path, keep: Callable[[Any], Any], to: Path) -> None:
    """A table without some of its rows; its metadata stay.

    Args:
        table: to read.
        keep: which rows of a batch stay, a mask.
        to: file to write.
    """
    schema = pq.read_schema(table)
    left = (rows.filter(pa.array(keep(rows))).replace_schema_metadata(None) for rows in read_batches(table))
    _write(to, schema, left)


def _write(to: Path, schema: Any, tables: Iterable[Any]) -> None:
    with pq.ParquetWriter(to, schema, use_dictionary=["path", "sha256", "name", "model"]) as writer:
        for rows in _regrouped(tables):
            writer.write_table(rows.replace_schema_metadata(schema.metadata), row_group_size=ROWS)


def _old_rows(table: Path, holders: Mapping[str, Path], schema: Any) -> Iterator[Any]:
    if not table.exists():
        return
    for rows in read_batches(table):
        keep = np.array([path not in holders for path in rows["path"].to_pylist()], dtype=bool)
        yield conform(rows.filter(pa.array(keep)), schema).replace_schema_metadata(None)


def _new_rows(holders: Mapping[str, Path], schema: Any) -> Iterator[Any]:
    """The faces of the parts in the order of their paths; a few parts are in memory."""

    @lru_cache(maxsize=PARTS_AT_ONCE)
    def faces(part: Path) -> Any:
        rows = [conform(some, schema) for some in read_batches(part)]
        return pa.concat_tables([schema.empty_table(), *rows]).replace_schema_metadata(None)

    for part, paths in groupby(sorted(holders), key=holders.__getitem__):
        mine = set(paths)
        keep = np.array([path in mine for path in faces(part)["path"].to_pylist()], dtype=bool)
        yield faces(part).filter(pa.array(keep))


def _in_order(old: Iterator[Any], parts: Iterable[Any]) -> Iterator[Any]:
    """Old rows and new ones in the order of their paths; only one of each is in memory."""
    waiting: list[Any] = []
    for new in parts:
        if not new.num_rows:
            continue
        last = new["path"][-1].as_py()
        while not waiting or waiting[-1]["path"][-1].as_py() <= last:
            more = next((rows for rows in old if rows.num_rows), None)
            if more is None:
                break
            waiting.append(more)
        before, waiting = _split(waiting, last)
        together = pa.concat_tables([new, *before])
        yield together.sort_by([(key, "ascending") for key in KEYS]) if before else new
    yield from waiting
    yield from old


def _split(tables: list[Any], last: str) -> tuple[list[Any], list[Any]]:
    """Rows up to the path ``last``, and rows behind it."""
    before, behind = [], []
    for rows in tables:
        count = sum(path <= last for path in rows["path"].to_pylist())
        before += [rows.slice(0, count)] if count else []
        behind += [rows.slice(count)] if count < rows.num_rows else []
    return before, behind


def _regrouped(tables: Iterable[Any]) -> Iterator[Any]:
    """The same rows in groups of one size, so that a file does not depend on how its rows came."""
    kept: list[Any] = []
    for rows in tables:
        kept.append(rows)
        if sum(item.num_rows for item in kept) >= ROWS:
            whole = pa.concat_tables(kept)
            full = whole.num_rows // ROWS * ROWS
            yield whole.slice(0, full)
            kept = [whole.slice(full)]
    if kept:
        yield pa.concat_tables(kept)
