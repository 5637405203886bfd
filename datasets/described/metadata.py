"""Hugging Face's ``imagefolder``: ``metadata.jsonl`` or ``metadata.csv`` beside photos, a row a photo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasets.tables import clean_name, read_table
from datasets.validation import read_text, short

FILES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
FILE_NAME = "file_name"
BOXES = ("bbox", "bboxes", "boxes")
CLASSES = ("categories", "category", "labels", "label", "names")
LABELS = ("label", "labels", "class", "category", "text_label")
UNLABELLED = (None, "", -1, "-1")  # Hugging Face writes -1 where the labels of a test are kept back


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


def label_of(row: dict[str, Any]) -> str | None:
    """The class of a photo; None where it has none."""
    values = [row[name] for name in LABELS if isinstance(row.get(name), str | int)]
    words = [v for v in values if not isinstance(v, bool) and v not in UNLABELLED]
    return clean_name(str(words[0])) if words else None


def by_number(name: str) -> tuple[bool, int, str]:
    """Sorts names: numbers by size, however long they are, then words."""
    digits = name.lstrip("0") if name.isascii() and name.isdecimal() else ""
    return not name.isdecimal(), len(digits), digits or name


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise ValueError(f"{where} is no JSON ({err}); write the file again") from err
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object, got {short(value)}")
    return value
