"""Tables of faces on disk: a row a face, a row a photo, written in parts and merged in order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from apps.faces import NO_FACE
from apps.faces.extraction.embedder import ALIGNMENTS, Align, ModelInfo, Vectors
from apps.faces.extraction.extractor import Extraction
from backbone.schema import TABLE, checked, choice, parse_json
from datasets.outside import one_line
from datasets.parquet import batches, metadata_of, open_parquet, read_parquet

ABOUT, PHOTOS = b"mobilenet_apps_faces", b"mobilenet_apps_photos"
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


def face_rows(
    looks: Sequence[Extraction], vectors: Vectors, about: About, names: Sequence[str | None]
) -> Any:
    """Rows for the faces of some photos, in their order.

    Args:
        looks: the photos; their crops need no pictures any more.
        vectors: (N, D), one for each crop, photo by photo.
        about: the table that the rows are for.
        names: for each photo, of the person whom it shows, or None.
    """
    by_look = {id(look): name for look, name in zip(looks, names, strict=True)}
    results = [(look, number, crop) for look in looks for number, crop in enumerate(look.crops)]
    points = [None if c.face.landmarks is None else c.face.landmarks.ravel().tolist() for _, _, c in results]
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    columns = {
        "path": [look.source.name for look, _, _ in results],
        "sha256": [look.sha256 for look, _, _ in results],
        "face": [number for _, number, _ in results],
        "name": [by_look[id(look)] for look, _, _ in results],
        "box": [list(c.face.box) for _, _, c in results],
        "landmarks": points,
        "probability": [c.face.probability for _, _, c in results],
        "size_px": [c.quality.size_px for _, _, c in results],
        "sharpness": [c.quality.sharpness for _, _, c in results],
        "pose": [c.quality.pose for _, _, c in results],
        "date": [look.date for look, _, _ in results],
        "time": [look.source.time for look, _, _ in results],
        "vector": pa.FixedSizeListArray.from_arrays(flat, about.model.dim),
        "model": [about.model.fingerprint] * len(results),
    }
    schema = face_schema(about)
    return pa.table({key: pa.array(v, schema.field(key).type) if isinstance(v, list) else v
                     for key, v in columns.items()}, schema=schema)


def seen_rows(looks: Iterable[Extraction], which: str, names: Iterable[str | None]) -> list[ImageRecord]:
    """What is kept of the photos themselves."""
    return [
        ImageRecord(look.source.name, look.sha256, *look.stamp, which, name, len(look.crops), look.problem,
             look.readable)
        for look, name in zip(looks, names, strict=True)
    ]


def write_part(path: Path, rows: Any, seen: Sequence[ImageRecord]) -> None:
    """One chunk's rows with its photos in one file; the caller puts it in its place."""
    photos = json.dumps([asdict(record) for record in seen])
    pq.write_table(rows.replace_schema_metadata({**rows.schema.metadata, PHOTOS: photos}), path)


def read_part(path: Path) -> list[ImageRecord]:
    """The photos of a part."""
    with one_line(path, f"remove {path.parent}, and start again", "is damaged"):
        return [ImageRecord(**load) for load in json.loads(metadata_of(path)[PHOTOS])]


def read_about(path: Path) -> About:
    """What holds for all rows of a table.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or no table of faces.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; make it: python cli.py embed-faces PHOTOS --out {path}")
    again, what = "remove it and make it again with embed-faces", "is not a whole Parquet file"
    schema = open_parquet(path, (), mend=again, what=what).schema_arrow
    if ABOUT not in (schema.metadata or {}):
        raise ValueError(f"{path} is no table of faces; make one with embed-faces")
    with one_line(path, "remove it and make it again with embed-faces", "is no whole table of faces"):
        about = About.from_json(schema.metadata[ABOUT].decode())
        known = face_schema(about)
        odd = [f.name for f in schema if f.name not in known.names or known.field(f.name).type != f.type]
        if odd or not {"path", "face", "vector"} <= set(schema.names):
            raise ValueError(f"its columns are others than it says: {', '.join(odd) or 'some are missing'}")
        return about


def count_faces(path: Path) -> int:
    """The rows of a table; 0 where there is none."""
    return int(pq.read_metadata(path).num_rows) if path.exists() else 0


def read_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[Any]:
    """The rows of a table, a bounded number at a time; without columns that it does not have."""
    there = open_parquet(path, ()).schema_arrow.names
    wanted = None if columns is None else [name for name in columns if name in there]
    for batch in batches(path, ROWS, wanted):
        with one_line(path, "remove it and make it again with embed-faces", "is not a whole Parquet file"):
            rows = pa.Table.from_batches([batch])
            rows.validate(full=True)  # texts may be no UTF-8, and lists of another length
        yield rows


def merge(table: Path, parts: Sequence[Path], about: About, to: Path) -> None:
    """The table with the rows of the parts instead of those of the same photos; sorted, in bounded memory.

    Rows of photos that were refused this time stay.

    Args:
        table: what was there before; may be missing.
        parts: each sorted by path, and after the one before it.
        about: of the result.
        to: file to write.
    """
    redone = {seen.path for part in parts for seen in read_part(part) if not seen.refused}
    schema = face_schema(about)
    with pq.ParquetWriter(to, schema, use_dictionary=["path", "sha256", "name", "model"]) as writer:
        for rows in _regrouped(_in_order(_old_rows(table, redone, schema), parts, schema)):
            writer.write_table(rows.replace_schema_metadata(schema.metadata), row_group_size=ROWS)


def remove_rows(table: Path, keep: Callable[[Any], Any], to: Path) -> None:
    """A table, or a part of one, without some of its rows; its metadata stay.

    Args:
        table: to read.
        keep: which rows of a batch stay, a mask.
        to: file to write.
    """
    schema = pq.read_schema(table)
    left = (rows.filter(pa.array(keep(rows))).replace_schema_metadata(None) for rows in read_batches(table))
    with pq.ParquetWriter(to, schema, use_dictionary=["path", "sha256", "name", "model"]) as writer:
        for rows in _regrouped(left):
            writer.write_table(rows.replace_schema_metadata(schema.metadata), row_group_size=ROWS)


def _old_rows(table: Path, redone: set[str], schema: Any) -> Iterator[Any]:
    if not table.exists():
        return
    for rows in read_batches(table):
        keep = np.array([path not in redone for path in rows["path"].to_pylist()], dtype=bool)
        yield conform(rows.filter(pa.array(keep)), schema).replace_schema_metadata(None)


def _in_order(old: Iterator[Any], parts: Sequence[Path], schema: Any) -> Iterator[Any]:
    """Old rows and those of the parts in the order of their paths; only one of each is in memory."""
    waiting: list[Any] = []
    for part in parts:
        rows = read_parquet(part, schema=pq.read_schema(part))
        new = conform(rows, schema).replace_schema_metadata(None)
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
