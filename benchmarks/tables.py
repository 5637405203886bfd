"""Tables in Markdown for the pages of the benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from apps.engine.reporting.markdown import markdown_table

BATCH = 32
TIMM, OURS = "timm eager", "ours, torch"
PEAK = "matrix product"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table whose first column is words and whose others are figures."""
    return markdown_table(head, rows, range(1, len(head)))


def without_empty(
    head: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Head and rows without the columns in which no row has a word."""
    kept = [number for number in range(len(head)) if any(row[number] for row in rows)]
    return [head[number] for number in kept], [[row[number] for number in kept] for row in rows]
