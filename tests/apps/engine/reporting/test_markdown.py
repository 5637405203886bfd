"""Tables in Markdown."""

from __future__ import annotations

import pytest

from apps.engine.reporting.markdown import markdown_table


def test_numbers_stand_right_and_a_bar_in_a_cell_ends_no_cell() -> None:
    assert markdown_table(("name", "n"), [("a|b", 3), ("c", 4.5)], numeric={1}) == [
        "| name | n |", "| --- | ---: |", "| a\\|b | 3 |", "| c | 4.5 |",
    ]


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 cells in a row of the table, got 1"):
        markdown_table(("name", "n"), [("a",)])
