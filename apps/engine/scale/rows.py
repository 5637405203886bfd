"""Lines as rows of Parquet: one fixed schema for each kind of answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apps.engine.core.files import json_line

ROWS = "rows"  # of a line: several answers about one image


def columns_of(kinds: Sequence[str]) -> Any:
    """The Arrow schema of the lines of a model, without ``path`` and ``error``.

    Args:
        kinds: of its heads; the answers of several, and of kinds without a schema of their own, are JSON.
    """
    import pyarrow as pa

    score = pa.struct([("name", pa.string()), ("probability", pa.float64())])
    box = pa.struct([("name", pa.string()), ("score", pa.float64()), ("box", pa.list_(pa.float64()))])
    by_kind: dict[str, list[tuple[str, Any]]] = {
        "classes": [("predictions", pa.list_(score)), ("unknown", pa.bool_()), ("breed", score)],
        "detections": [("objects", pa.list_(box))],
        "embedding": [("embedding", pa.list_(pa.float64()))],
    }
    alone = kinds[0] if len(kinds) == 1 else ""
    return pa.schema(by_kind.get(alone, [("answer", pa.string())]))


def schema_of(columns: Any, about: Mapping[str, str]) -> Any:
    """The whole schema of a part: ``path``, the answer, ``error``.

    Args:
        columns: of the answer; Arrow's schema.
        about: texts that the file carries, beside those of ``columns``.
    """
    import pyarrow as pa

    fields = [pa.field("path", pa.string(), nullable=False), *columns, pa.field("error", pa.string())]
    return pa.schema(fields, metadata={**(columns.metadata or {}), **about})


def table_of(lines: Sequence[Mapping[str, Any]], schema: Any) -> Any:
    """Lines as an Arrow table; what has no column of its own goes into ``answer`` as JSON, if there is one.

    A line with :data:`ROWS` gives as many rows, each with what else it holds; where they are none, one.

    Raises:
        ValueError: a line holds what the schema has no column for.
    """
    import pyarrow as pa

    names = set(schema.names)
    rows: list[Mapping[str, Any]] = [
        {**line, **row} for line in lines for row in line.get(ROWS) or [dict[str, Any]()]
    ]
    return pa.Table.from_pylist([_row(row, names) for row in rows], schema=schema)


def _row(line: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    row = {name: value for name, value in line.items() if name in names}
    row["path"] = str(row["path"]).encode("utf-8", "backslashreplace").decode()
    rest = {name: value for name, value in line.items() if name not in names and name != ROWS}
    if rest and "answer" not in names:
        raise ValueError(f"an answer holds {', '.join(rest)}, for which its table has no column")
    if "answer" in names and "error" not in line:
        row["answer"] = json_line(rest)
    return row


def line_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The line that a row was made of, as a command prints it: without what is not there."""
    import json

    if row.get("error") is not None:
        return {"path": row["path"], "error": row["error"]}
    if "answer" in row:
        return {"path": row["path"], **json.loads(row["answer"])}
    line = {name: value for name, value in row.items() if name != "error"}
    if line.get("breed", "") is None:
        del line["breed"]
    return line
