"""Hugging Face's ``imagefolder``: ``metadata.jsonl`` or ``metadata.csv`` beside photos, a row a photo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasets.tables import clean_name, read_table
from datasets.validation import read_text, short

FILES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
FILE_NAME = "file_name"
LABELS = ("label", "labels", "class", "category", "text_label")


def metadata_of(folder: Path) -> Path | None:
    """The file that describes the photos of a folder; None where there is none."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def read_metadata(path: Path) -> list[dict[str, Any]]:
    """A dict a photo, with ``file_name``.

    Raises:
        ValueError: a line is no object, or names no photo.
    """
    if path.suffix == ".jsonl":
        lines = read_text(path).splitlines()
        rows = [(n, _object(line, f"{path}:{n}")) for n, line in enumerate(lines, start=1) if line.strip()]
    else:
        table = read_table(path)
        if FILE_NAME not in table.columns:
            raise ValueError(f"{path} has no column {FILE_NAME}, which names the photos; add it")
        cells = {key: table.texts(key) for key in table.columns}
        values = zip(*cells.values(), strict=True)
        rows = [
            (row + 1, dict(zip(cells, value, strict=True)))
            for row, value in zip(table.rows.tolist(), values, strict=True)
        ]
    for n, row in rows:
        if not isinstance(row.get(FILE_NAME), str) or not row[FILE_NAME].strip():
            raise ValueError(f"{path}:{n}: {FILE_NAME} must name a photo, got {short(row.get(FILE_NAME))}")
    return [row for _, row in rows]


def label_of(row: dict[str, Any], where: str) -> str:
    """The class of a photo.

    Raises:
        ValueError: the row has none.
    """
    value = next((row[name] for name in LABELS if row.get(name) not in (None, "")), None)
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"{where}: {row[FILE_NAME]} has no label; it has {', '.join(row)}")
    return clean_name(str(value))


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise ValueError(f"{where} is no JSON ({err}); write the file again") from err
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object, got {short(value)}")
    return value
