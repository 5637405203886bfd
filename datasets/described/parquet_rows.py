"""Hugging Face's Parquet files: a row a photo, its bytes in a column, its labels in others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.described.metadata import BOXES, CLASSES, FILE_NAME, LABELS
from datasets.packed import image_column, packed_path
from datasets.parquet import open_parquet, read_parquet

_WANTED = (*LABELS, "objects", "annotations", *BOXES, *CLASSES)
_FEATURES = b"huggingface"


def parquet_rows(files: Sequence[Path]) -> tuple[list[tuple[Path, dict[str, Any]]], list[str]]:
    """The photos of some Parquet files with their labels or objects; numbers of classes by their names.

    Names are those of ``ClassLabel`` in the features that Hugging Face's library keeps in the file.

    Raises:
        ValueError: a file is damaged, or several columns are classes and none is called label.
    """
    rows: list[tuple[Path, dict[str, Any]]] = []
    for path in files:
        schema = open_parquet(path, ()).schema_arrow
        features = _features(schema.metadata or {})
        column = image_column(schema)
        wanted = {name: name for name in schema.names if name in _WANTED and name != column}
        if not wanted:
            wanted = _class_column(path, schema.names, features)
        table = read_parquet(path, list(wanted))
        values = {key: table[name].to_pylist() for name, key in wanted.items()}
        names = {key: features.get(name) for name, key in wanted.items()}
        for row in range(table.num_rows):
            words = {key: _named(values[key][row], names[key], path) for key in values}
            rows.append((packed_path(path, row), {FILE_NAME: f"row {row}", **words}))
    return rows, []


def _class_column(path: Path, columns: Sequence[str], features: dict[str, Any]) -> dict[str, str]:
    """The one column that the features call a class, as ``label``."""
    classes = [name for name in columns if isinstance(features.get(name), dict) and _names(features[name])]
    if len(classes) > 1:
        raise ValueError(
            f"{path}: the columns {' and '.join(classes)} are classes; rename the one that counts to label"
        )
    return dict.fromkeys(classes, "label")


def _features(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """What Hugging Face's library keeps of the columns; nothing where another wrote the file."""
    try:
        result = json.loads(metadata.get(_FEATURES, b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return result if isinstance(result, dict) else {}


def _names(feature: Any) -> list[str]:
    """The names of a ``ClassLabel``; none of anything else."""
    is_class = isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    names = feature.get("names") if is_class else None
    return [str(name) for name in names] if isinstance(names, list) else []


def _named(value: Any, feature: Any, path: Path) -> Any:
    """A value with the names of classes for their numbers, however deep these lie."""
    if isinstance(feature, list) and len(feature) == 1:  # a list of one kind of thing
        feature = feature[0]
    if isinstance(feature, dict) and "feature" in feature and "_type" in feature:
        feature = feature["feature"]  # Sequence, List
    if isinstance(value, list):
        return [_named(item, feature, path) for item in value]
    if isinstance(value, dict):
        parts = feature if isinstance(feature, dict) else {}
        return {key: _named(item, parts.get(key), path) for key, item in value.items()}
    names = _names(feature)
    if not names or not isinstance(value, int) or value == -1:
        return value
    if not 0 <= value < len(names):
        raise ValueError(f"{path}: class {value} is none of the {len(names)} that the file names")
    return names[value]
