"""What a table of faces keeps and lets go: names on changed photos, photos that are gone, the forgotten."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from apps.engine.core.console import Console, quantity
from apps.engine.core.files import write_whole
from apps.faces.extraction.manifest import read_ledger, write_ledger
from apps.faces.extraction.planning import Order
from apps.faces.extraction.resumable_job import ResumableJob
from apps.faces.extraction.sources import Source, holder_of, shard_index, time_in
from apps.faces.extraction.table import PHOTO, ImageRecord, read_batches, remove_rows
from apps.faces.people.corrections import Box, Corrections, FaceRef, edit_corrections, read_corrections

NAMED = ("path", "sha256", "name", "box")
OF_PHOTO = ("path", "sha256", *PHOTO.names, "error")  # columns of a part that say nothing of a face


def enrolled_names(table: Path) -> list[tuple[FaceRef, str]]:
    """The faces of a table that were enrolled under a name; none where there is no table."""
    if not table.exists():
        return []
    results = []
    for rows in read_batches(table, NAMED):
        for row in rows.filter(rows["name"].is_valid()).to_pylist():
            results.append((FaceRef(row["sha256"], _box(row["box"]), row["path"]), row["name"]))
    return results


def keep_changed_names(table: Path, before: Sequence[tuple[FaceRef, str]]) -> None:
    """Put names whose photo the table no longer holds into the corrections, to be offered again.

    Args:
        table: as it is now.
        before: of :func:`enrolled_names`, before it was changed.
    """
    if not before:
        return
    here = {face.sha256 for face, _ in enrolled_names(table)}
    lost = [(face, name) for face, name in before if face.sha256 not in here]
    if not lost:
        return
    with edit_corrections(table) as corrections:
        known = {(face.sha256, entry.name) for entry in corrections.entries for face in entry.faces}
        for face, name in lost:
            if (face.sha256, name) not in known:
                corrections.add("name", [face], name=name, source="enroll")


def gone_photos(table: Path) -> dict[str, ImageRecord]:
    """The photos of a table that are no longer where they were; what may not be looked at is not gone."""
    return {name: record for name, record in read_ledger(table).items() if _is_gone(record)}


def _is_gone(record: ImageRecord) -> bool:
    holder = holder_of(record.path)
    try:
        status = (holder or Path(record.path)).stat()
        same = (status.st_mtime_ns, status.st_ctime_ns) == (record.modified_ns, record.changed_ns)
        if holder is None or same:
            return False
        time = time_in(record.path)
        if time is None:
            return record.path not in shard_index(holder)
        return Source(record.path, holder, time=time).sha256() != record.sha256
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False


def counted(gone: dict[str, ImageRecord], order: Order, console: Console) -> dict[str, int]:
    """``{"photos", "faces"}`` that are gone, and a line that says so."""
    faces = sum(record.faces for record in gone.values())
    if gone:
        first = next(iter(gone))
        what = "their rows were removed" if order.prune else "--prune removes their rows"
        more = f"{first}, ..." if len(gone) > 1 else first
        lost = f"{quantity(len(gone), 'photo')} of {order.out} with {quantity(faces, 'face')}"
        console.say(f"{lost} {'is' if len(gone) == 1 else 'are'} gone ({more}); {what}")
    return {"photos": len(gone), "faces": faces}


def remove_photos(table: Path, gone: dict[str, ImageRecord]) -> None:
    """Take photos out of a table and its list, whole or not at all."""
    if not gone:
        return

    def keep(rows: Any) -> Any:
        return np.array([path not in gone for path in rows["path"].to_pylist()], dtype=bool)

    _rewrite(table, keep)
    rest = {name: record for name, record in read_ledger(table).items() if name not in gone}
    write_ledger(table, rest.values())


def forgotten_boxes(corrections: Corrections) -> dict[str, list[Box]]:
    """Sum of a photo -> boxes of faces that are never to be embedded again."""
    forgotten: dict[str, list[Box]] = {}
    for face in corrections.forgotten:
        forgotten.setdefault(face.sha256, []).append(face.box)
    return forgotten


def finish_forgetting(table: Path) -> None:
    """Remove what a killed ``people forget`` left of a person; the caller holds the table.

    Raises:
        OSError: the table cannot be written.
    """
    corrections = read_corrections(table)
    if not corrections.unfinished:
        return
    forgotten = forgotten_boxes(corrections)

    def keep(rows: Any) -> Any:
        pairs = zip(rows["sha256"].to_pylist(), rows["box"].to_pylist(), strict=True)
        among = [FaceRef(digest, _box(box), "").is_among(forgotten) for digest, box in pairs]
        return ~np.array(among, dtype=bool)

    if table.exists():
        _rewrite(table, keep)
        counts: Counter[str] = Counter()
        for rows in read_batches(table, ["path"]):
            counts.update(rows["path"].to_pylist())
        photos = {name: _nameless(item, forgotten, counts[name]) for name, item in read_ledger(table).items()}
        write_ledger(table, photos.values())
    _clean_parts(ResumableJob(table), forgotten)
    for half in table.parent.glob(f".{glob.escape(table.name)}.*{table.suffix}"):
        half.unlink()  # of a process that was killed while it wrote: this one has the table alone
    with edit_corrections(table) as changed:
        changed.unfinished = False


def _clean_parts(job: ResumableJob, forgotten: dict[str, list[Box]]) -> None:
    """The same in the parts of runs that were broken off: such a face is as if none had been there."""
    for name in job.names():
        part = job.folder / name
        table = pq.read_table(part, partitioning=None)
        rows = table.to_pylist()
        kept = [_without_face(row) if _is_of(row, forgotten) else row for row in rows]
        if kept != rows:
            left = pa.Table.from_pylist(kept, schema=table.schema)
            write_whole(part, lambda to, left=left: pq.write_table(left, to, compression="zstd"))  # type: ignore[misc]


def _is_of(row: dict[str, Any], forgotten: dict[str, list[Box]]) -> bool:
    return row["face"] is not None and FaceRef(row["sha256"], _box(row["box"]), "").is_among(forgotten)


def _without_face(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value if name in OF_PHOTO else None for name, value in row.items()}


def _nameless(record: ImageRecord, forgotten: dict[str, list[Box]], faces: int) -> ImageRecord:
    return replace(record, name=None, faces=faces) if record.sha256 in forgotten else record


def _rewrite(table: Path, keep: Any) -> None:
    """A table without some of its rows, and without the file that was laid out of it."""
    write_whole(table, lambda to: remove_rows(table, keep, to))
    table.with_suffix(".arrow").unlink(missing_ok=True)


def _box(values: Sequence[float]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in values)
    return x1, y1, x2, y2
