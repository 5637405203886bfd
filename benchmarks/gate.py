"""The child's half of a benchmark in slices: a loop goes on when told to, and says how long it took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, TypeVar

from benchmarks.machine import peak_memory

T = TypeVar("T")
END = object()


class Gate:
    """Lets batches through to a loop in slices that another process orders.

    A slice begins before its first batch is fetched and ends when the loop asks for the batch after
    its last, so it holds the reading of its batches and all that the loop does with them.

    Args:
        orders: a line with a number of steps for each slice; an empty line or the end stops the process.
        answers: gets a line of JSON a slice.
    """

    def __init__(self, orders: TextIO, answers: TextIO) -> None:
        self.orders, self.answers = orders, answers
        self.left, self.amount = 0, 0.0
        self.open = False
        self.wall = self.cpu = 0.0

    def say(self, values: dict[str, Any]) -> None:
        """One line of JSON to the other process."""
        self.answers.write(json.dumps(values) + "\n")
        self.answers.flush()

    def through(self, batches: Iterable[T], amount: Callable[[T], float]) -> Iterator[T]:
        """The batches, each when its turn comes.

        Args:
            batches: of one epoch; a slice may go over its end into the next call's.
            amount: what a batch adds to the slice's work, such as its number of photos.

        Raises:
            SystemExit: no further slice is wanted.
        """
        source = iter(batches)
        while True:
            if not self.left:
                self._next_slice()
            batch: Any = next(source, END)
            if batch is END:
                return
            self.left -= 1
            self.amount += amount(batch)
            yield batch

    def _next_slice(self) -> None:
        if self.open:
            wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
            self.say({"amount": self.amount, "wall": wall, "cpu": cpu, "memory": peak_memory()})
        order = self.orders.readline().strip()
        if not order:
            raise SystemExit(0)
        self.left, self.amount, self.open = int(order), 0.0, True
        self.wall, self.cpu = time.perf_counter(), time.process_time()
