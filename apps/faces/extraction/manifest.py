"""Which photos a table of faces knows: beside ``faces.parquet``, ``faces.photos.parquet``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from apps.engine.core.files import write_text, write_whole
from apps.faces.extraction.table import ImageRecord, read_batches
from datasets.outside import one_line
from datasets.parquet import read_parquet

_TYPES = {"str": pa.string(), "str | None": pa.string(), "int": pa.int64(), "bool": pa.bool_()}
SCHEMA: Any = pa.schema([(field.name, _TYPES[str(field.type)]) for field in fields(ImageRecord)])


def ledger_path(table: Path) -> Path:
    """Of the list of photos beside a table."""
    return table.with_name(f"{table.stem}.photos.parquet")


def problems_path(table: Path) -> Path:
    """Of the list of photos that gave no face, and why."""
    return table.with_name(f"{table.stem}.problems.jsonl")


def read_ledger(table: Path) -> dict[str, ImageRecord]:
    """The photos that a table knows, by path; from the table itself where the list is lost.

    Raises:
        ValueError: the list is damaged.
    """
    path = ledger_path(table)
    if not table.exists():
        return {}
    if not path.exists():
        return _from_table(table)
    with one_line(path, "remove it, and all photos are compared by content", "is damaged"):
        rows = read_parquet(path, schema=SCHEMA).to_pylist()
        return {row["path"]: ImageRecord(**row) for row in rows}


def _from_table(table: Path) -> dict[str, ImageRecord]:
    results: dict[str, ImageRecord] = {}
    for rows in read_batches(table, ["path", "sha256", "face", "name"]):
        for row in rows.to_pylist():
            known = results.get(row["path"])
            count = 1 + (known.faces if known else 0)
            results[row["path"]] = ImageRecord(row["path"], row["sha256"], -1, 0, 0, None, row["name"], count)
    return results


def write_ledger(table: Path, photos: Iterable[ImageRecord], refused: Iterable[ImageRecord] = ()) -> None:
    """The list of photos, and in words the ones that gave no face.

    Args:
        table: that they are of.
        photos: that it knows.
        refused: photos that were turned away this time, in words only.
    """
    rows = sorted(photos, key=lambda seen: seen.path)
    listing = pa.table({name: [getattr(seen, name) for seen in rows] for name in SCHEMA.names}, schema=SCHEMA)
    problems = {seen.path: seen.problem for seen in (*rows, *refused) if seen.problem}
    lines = [json.dumps({"path": path, "reason": problem}) for path, problem in sorted(problems.items())]
    write_text(problems_path(table), "".join(f"{line}\n" for line in lines))
    write_whole(ledger_path(table), lambda path: pq.write_table(listing, path))
