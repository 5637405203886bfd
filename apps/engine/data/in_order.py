"""Work on several threads whose results come in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def in_order(work: Callable[[T], U], items: Iterable[T], workers: int, ahead: int = 2) -> Iterator[U]:
    """``work`` of each item on ``workers`` threads, in the order of the items.

    Only ``ahead`` times as many results as threads are ever kept ahead, so memory stays bounded. Where nobody
    asks on, what has not been begun is dropped.
    """
    with ThreadPoolExecutor(workers) as pool:
        rest = iter(items)
        waiting: deque[Future[U]] = deque(pool.submit(work, item) for item in islice(rest, ahead * workers))
        try:
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(rest, 1))
                yield done
        finally:
            for future in waiting:
                future.cancel()
