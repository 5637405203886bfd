"""Answers as rows of a table whose columns do not change with what is answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from apps.engine.results.images import Line

PLACE = ("path", "time", "frame")
OBJECTS = (*PLACE, "name", "score", "x1", "y1", "x2", "y2", "error")
TRACKED = (*PLACE, "id", *OBJECTS[len(PLACE) :])
CLASSES = (*PLACE, "rank", "name", "probability", "unknown", "error")


def answer_rows(
    lines: Iterable[Line], *, objects: bool = False, tracked: bool = False
) -> Iterator[dict[str, Any]]:
    """A row an object or a class; for other answers a row a line, with a column a value.

    An image without objects has a row without a name, one that cannot be read a row with its error.

    Args:
        lines: of ``predict`` or ``detect``.
        objects: they are of ``detect``, even where all are errors.
        tracked: these have a column for ids.
    """
    waiting: list[Line] = []  # errors, until an answer shows what the columns are
    columns: tuple[str, ...] = (TRACKED if tracked else OBJECTS) if objects else ()
    others: list[dict[str, Any]] = []
    for line in lines:
        if not columns and "error" in line:
            waiting.append(line)
            continue
        if not columns and not others:
            columns = OBJECTS if "objects" in line else CLASSES if "predictions" in line else ()
        if not columns:
            others += [_flat(item) for item in (*waiting, line)]
            waiting.clear()
            continue
        for item in (*waiting, line):
            yield from _of(item, columns)
        waiting.clear()
    if others:
        names = list(dict.fromkeys(name for row in others for name in row if name != "error"))
        yield from ({name: row.get(name) for name in (*names, "error")} for row in others)
    for item in waiting:
        yield from _of(item, columns or CLASSES)


def _of(line: Line, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The rows of a line."""
    place = {name: line.get(name) for name in (*PLACE, "error")}
    parts: list[dict[str, Any]]
    if columns in (OBJECTS, TRACKED):
        parts = [
            item | dict(zip(("x1", "y1", "x2", "y2"), item["box"], strict=True))
            for item in line.get("objects", ())
        ]
    else:
        parts = [
            {"rank": rank, "unknown": line.get("unknown"), **item}
            for rank, item in enumerate(line.get("predictions", ()), start=1)
        ]
    for part in parts or [{}]:
        yield {name: (place | part).get(name) for name in columns}


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Values of objects in objects by names with dots; lists stay what they are."""
    result: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            result |= _flat(item, f"{before}{name}.")
        else:
            result[f"{before}{name}"] = item
    return result
