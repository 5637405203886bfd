"""The most similar of many vectors, exactly: one byte a number is scanned, a few groups are compared in full.

A vector is nearly ``scale x codes``, and by how much at most is known: half a step a number. So a scan of
the codes bounds every similarity from both sides, and only groups that may hold one of the best are opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.faces.extraction.embedder import Vectors

Rows = NDArray[np.int64]
Codes = NDArray[np.int8]

PRODUCTS = 262_144  # computed at once: they stay in the processor's cache
GROUP = 32  # rows of which only the best is looked at first
WIDEST = 2048  # rows whose codes are numbers at once
GATHERED = 64_000_000  # numbers copied out at once, 256 MB, when groups are opened
WAITING = 4_000_000  # groups that wait to be opened, of all queries together
LEVELS = 127
ROUNDING = 1e-5  # of float32 sums


@dataclass(frozen=True)
class Block:
    """Vectors that lie together.

    Args:
        vectors: (N, D).
        codes: (N, D); None where the vectors themselves are scanned.
        scales: (N,), of the codes.
    """

    vectors: Vectors
    codes: Codes | None = None
    scales: Vectors | None = None

    @property
    def error(self) -> float:
        """The most by which the scan is wrong on a similarity to a vector of length 1."""
        if self.scales is None:
            return ROUNDING
        return float(self.scales.max(initial=0)) * float(self.vectors.shape[1] ** 0.5) / 2 + ROUNDING


class _Hits(NamedTuple):
    """Similarities with their query and row, in the order of the queries, the best of each first."""

    queries: Rows
    rows: Rows
    values: Vectors


class _Groups(NamedTuple):
    """Groups that may hold one of the best rows, with their query and a bound on their similarities."""

    queries: Rows
    numbers: Rows
    bounds: Vectors


def quantised(vectors: Vectors) -> tuple[Codes, Vectors]:
    """Vectors as whole numbers from -127 to 127 and a scale each.

    Shape:
        vectors: (N, D)
        returns: (N, D) and (N,)
    """
    scales = np.abs(vectors).max(axis=1, initial=0) / np.float32(LEVELS)
    steps = np.where(scales > 0, scales, np.float32(1))
    return np.rint(vectors / steps[:, None]).astype(np.int8), scales.astype(np.float32)


def nearest(queries: Vectors, blocks: Sequence[Block], top: int) -> tuple[Vectors, Rows]:
    """The largest products of each query, exactly, and their rows; of equal ones the first rows.

    Args:
        queries: (Q, D), finite.
        blocks: their rows are numbered through.
        top: how many, 1 to the number of rows.

    Returns:
        Products (Q, top), largest first, and rows (Q, top).
    """
    starts = np.cumsum([0, *(len(block.vectors) for block in blocks)], dtype=np.int64)
    firsts = np.cumsum([0, *(-(-len(block.vectors) // GROUP) for block in blocks)], dtype=np.int64)
    turned = np.ascontiguousarray(queries.T)
    lengths = np.linalg.norm(queries, axis=1)[:, None]
    least = np.full((len(queries), 0), -np.inf, np.float32)  # that some rows reach, the best `top` of them
    floor = np.full(len(queries), -np.inf, np.float32)
    hits = _Hits(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    waiting: list[_Groups] = []
    for first, block in zip(firsts[:-1], blocks, strict=True):
        maxima, error = group_maxima(block, turned).T, block.error * lengths
        least = np.concatenate([least, maxima - error], axis=1)
        if least.shape[1] >= top:
            least = np.partition(least, -top, axis=1)[:, -top:]
            floor = np.maximum(floor, least[:, 0])
        bounds = maxima + error
        asked, groups = np.nonzero(bounds >= floor[:, None])
        waiting.append(_Groups(asked, groups + first, bounds[asked, groups]))
        if sum(len(item.numbers) for item in waiting) > WAITING:
            hits = _opened(hits, _still(waiting, floor), queries, blocks, starts, firsts, top)
            waiting.clear()
    hits = _opened(hits, _still(waiting, floor), queries, blocks, starts, firsts, top)
    return hits.values.reshape(len(queries), top), hits.rows.reshape(len(queries), top)


def group_maxima(block: Block, turned: Vectors) -> Vectors:
    """The largest product of each query in each group of rows, as the scan sees it.

    Shape:
        turned: (D, Q)
        returns: (ceil(N / GROUP), Q)
    """
    count, queries = len(block.vectors), turned.shape[1]
    step = max(PRODUCTS // max(queries, 1) // GROUP, 32) * GROUP
    step = step if block.codes is None else min(step, WIDEST)
    maxima = np.empty((-(-count // GROUP), queries), np.float32)
    room = np.empty((min(step, count), queries), np.float32)
    numbers = np.empty((0 if block.codes is None else min(step, count), len(turned)), np.float32)
    for first in range(0, count, step):
        some = block.vectors[first : first + step]
        if block.codes is not None:
            numbers[: len(some)] = block.codes[first : first + step]
            some = numbers[: len(some)]
        products = np.matmul(some, turned, out=room[: len(some)])
        if block.scales is not None:
            products *= block.scales[first : first + step, None]
        whole, group = len(products) // GROUP, first // GROUP
        grouped = products[: whole * GROUP].reshape(whole, GROUP, queries)
        np.max(grouped, axis=1, out=maxima[group : group + whole])
        if whole * GROUP < len(products):
            maxima[group + whole] = products[whole * GROUP :].max(axis=0)
    return maxima


def _still(waiting: Sequence[_Groups], floor: Vectors) -> _Groups:
    """Those of the groups that may still hold one of the best rows, in the order of the rows."""
    queries, numbers, bounds = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
    kept = np.flatnonzero(bounds >= floor[queries])
    kept = kept[np.argsort(numbers[kept], kind="stable")]
    return _Groups(queries[kept], numbers[kept], bounds[kept])


def _opened(
    hits: _Hits, groups: _Groups, queries: Vectors, blocks: Sequence[Block], starts: Rows, firsts: Rows,
    top: int,
) -> _Hits:
    """The best of what is known and of all rows in some groups."""
    at_once = max(1, GATHERED // (GROUP * queries.shape[1]))
    cuts = np.searchsorted(groups.numbers, firsts)
    for number in np.flatnonzero(np.diff(cuts)).tolist():
        vectors = blocks[number].vectors
        for first in range(cuts[number], cuts[number + 1], at_once):
            part = slice(first, min(first + at_once, cuts[number + 1]))
            inside = (groups.numbers[part] - firsts[number])[:, None] * GROUP + np.arange(GROUP)
            asked = groups.queries[part]
            members = vectors[inside.clip(max=len(vectors) - 1)]
            values = (members @ queries[asked, :, None])[:, :, 0]
            there = inside < len(vectors)
            of_rows = np.broadcast_to(asked[:, None], there.shape)
            hits = _Hits(
                np.concatenate([hits.queries, of_rows[there]]),
                np.concatenate([hits.rows, (inside + starts[number])[there]]),
                np.concatenate([hits.values, values[there]]),
            )
            hits = _best(hits, top)
    return hits


def _best(hits: _Hits, top: int) -> _Hits:
    """The best of each query."""
    order = np.lexsort((hits.rows, -hits.values, hits.queries))
    queries = hits.queries[order]
    rank = np.arange(len(order)) - np.searchsorted(queries, queries)
    kept = order[rank < top]
    return _Hits(hits.queries[kept], hits.rows[kept], hits.values[kept])
