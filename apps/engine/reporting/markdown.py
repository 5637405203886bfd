"""Tables in Markdown, and in plain text."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[object]], numeric: Container[int] = ()
) -> list[str]:
    """The lines of a table.

    Args:
        head: titles of its columns.
        rows: cells, as many as there are columns; a bar in one is escaped.
        numeric: positions of the columns to align to the right, from 0.

    Raises:
        ValueError: a row has more or fewer cells than there are columns.
    """
    ruler = ["---:" if column in numeric else "---" for column in range(len(head))]
    lines = [_line(head), f"| {' | '.join(ruler)} |"]
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"expected {len(head)} cells in a row of the table, got {len(row)}: {row}")
        lines.append(_line(row))
    return lines


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def aligned(rows: Sequence[Sequence[str]], left: Container[int] = (0,)) -> list[str]:
    """Rows of as many cells each as lines of text, a column below the other.

    Args:
        rows: the heading, too.
        left: columns of words; the others are figures, which end below each other.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip() for row in rows
    ]
