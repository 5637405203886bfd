"""Work on threads in the order of its items, a bounded way ahead."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from apps.engine.data.in_order import in_order


def test_results_come_in_the_order_of_the_items_and_few_items_are_read_ahead() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            read.append(number)
            yield number

    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    for at, result in enumerate(in_order(work, items(), workers=3, ahead=2)):
        assert result == at * at
        assert len(read) <= at + 1 + 2 * 3
    assert len(read) == 50


def test_where_nobody_asks_on_the_rest_is_dropped_and_errors_reach_who_asks() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.02)
        if number == 1:
            raise ValueError("one")
        return number

    results = in_order(work, range(100), workers=1, ahead=20)
    assert next(results) == 0
    with pytest.raises(ValueError, match="one"):
        next(results)
    assert len(begun) < 10
