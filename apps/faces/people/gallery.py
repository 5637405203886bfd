"""Exact search in a table of faces that is mapped into memory, not loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from apps.faces.extraction.embedder import ModelInfo, Vectors
from apps.faces.extraction.table import About, read_about
from apps.faces.people.layout import laid_out, mapped, source_of

Rows = NDArray[np.int64]

OPENINGS = 5  # of a table that other processes replace meanwhile
PRODUCTS = 262_144  # computed at once: they stay in the processor's cache
GROUP = 32  # rows of which only the best is looked at first
QUERIES_AT_ONCE = 512
GATHERED = 64_000_000  # numbers copied out at once, 256 MB, when groups are opened


def _batches(file: Any | None) -> list[Any] | None:
    """The rows of a laid-out table; None where there is none, or it is damaged and must be laid out again."""
    try:
        batches = [] if file is None else [file.get_batch(i) for i in range(file.num_record_batches)]
        for batch in batches:
            batch.validate(full=True)  # else an offset that is damaged is followed out of the file
        whole = all(column.null_count == 0 for batch in batches for column in _filled(batch))
    except (OSError, KeyError, pa.ArrowException):
        return None
    return batches if file is not None and whole else None


def _filled(batch: Any) -> list[Any]:
    """The columns of a laid-out table that have no gaps."""
    columns = [batch.column(name) for name in ("path", "sha256", "face", "box", "vector")]
    return [*columns, *(column.flatten() for column in columns[-2:])]


@dataclass(frozen=True)
class Match:
    """A face of a gallery beside a query.

    Args:
        path: the image.
        face: its number in the image, 0 the largest.
        name: of the person, where enrolled.
        box: (x1, y1, x2, y2) pixels of the image.
        similarity: cosine of the two vectors, -1 to 1.
        sha256: of the image's bytes.
        date: when it was taken, as ISO 8601; None where unknown.
    """

    path: str
    face: int
    name: str | None
    box: tuple[float, ...]
    similarity: float
    sha256: str = ""
    date: str | None = None


class Gallery:
    """A table of faces, ready to be searched.

    Args:
        about: the model that made it.
        batches: its rows, each an Arrow record batch with the columns that are laid out.
        path: the table, for messages.
    """

    def __init__(self, about: About, batches: Sequence[Any], path: Path) -> None:
        self.about, self.path = about, path
        self.batches = [batch for batch in batches if batch.num_rows]
        self.starts = np.cumsum([0, *(batch.num_rows for batch in self.batches)])
        groups = [-(-batch.num_rows // GROUP) for batch in self.batches]
        self.first_groups = [sum(groups[:number]) for number in range(len(groups))]

    @classmethod
    def open(cls, table: Path) -> Gallery:
        """A table of ``embed-faces``; its vectors are checked and laid out for mapping once.

        Args:
            table: the Parquet file; beside it, ``NAME.arrow`` is made, and made again when it changes. Where
                that folder cannot be written, the rows are kept in a temporary file.

        Raises:
            FileNotFoundError: there is no table.
            ValueError: it is damaged or holds no face, or a vector is not finite or not of length 1.
        """
        for _ in range(OPENINGS):
            about, source = read_about(table), source_of(table)
            kept = _batches(mapped(table.with_suffix(".arrow"), source))
            batches = kept if kept is not None else _batches(laid_out(table, source))
            if source_of(table) == source:
                break  # else another process has just replaced it, so that what was read may be of two tables
        gallery = cls(about, batches or [], table)
        if not len(gallery):
            raise ValueError(f"{table} holds no face, so nobody can be found in it; embed photos first")
        return gallery

    def __len__(self) -> int:
        return int(self.starts[-1])

    def check_model(self, model: ModelInfo) -> None:
        """Hold a query's model against the gallery's.

        Raises:
            ValueError: it is another; the message names both.
        """
        custom = self.about.model
        if custom.fingerprint != model.fingerprint:
            raise ValueError(
                f"the gallery {self.path} was made by model {custom.fingerprint} ({custom.name}), the query "
                f"by {model.fingerprint} ({model.name}): their vectors cannot be compared; use the gallery's "
                f"weights {custom.weights or custom.checkpoint}, or embed the gallery again"
            )

    def search(self, queries: Vectors, top: int) -> tuple[Vectors, Any]:
        """The most similar faces of the gallery, exactly, for each query.

        Args:
            queries: (Q, D) unit vectors.
            top: how many, 1 or more; no more than there are faces are given.

        Returns:
            Similarities (Q, top), largest first, and the rows (Q, top) that have them.

        Raises:
            ValueError: a query is not finite, or has another length than the gallery's vectors.
        """
        dim = self.about.model.dim
        if queries.ndim != 2 or queries.shape[1] != dim:
            raise ValueError(f"queries must have {dim} numbers each, got shape {queries.shape}")
        if not np.isfinite(queries).all():
            raise ValueError("a query holds numbers that are not finite; embed its photo again")
        top = min(top, len(self))
        asked = np.ascontiguousarray(queries, dtype=np.float32)
        at_once = max(1, min(QUERIES_AT_ONCE, GATHERED // (top * GROUP * dim)))
        parts = [self._search_some(asked[n : n + at_once], top) for n in range(0, len(asked), at_once)]
        if not parts:
            return np.zeros((0, top), np.float32), np.zeros((0, top), np.int64)
        return np.concatenate([values for values, _ in parts]), np.concatenate([rows for _, rows in parts])

    def _search_some(self, queries: Vectors, top: int) -> tuple[Vectors, Rows]:
        """The best groups by their maxima, then the best rows in these groups."""
        turned = np.ascontiguousarray(queries.T)
        best, groups = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        for first, batch in zip(self.first_groups, self.batches, strict=True):
            maxima = group_maxima(_vectors(batch), turned).T
            numbers = np.broadcast_to(np.arange(maxima.shape[1]) + first, maxima.shape)
            best, groups = np.concatenate([best, maxima], axis=1), np.concatenate([groups, numbers], axis=1)
            best, kept = _topk(best, min(top, best.shape[1]))
            groups = np.take_along_axis(groups, kept, axis=1)
        values, rows = self._open_groups(queries, groups)
        values, kept = _topk(values, top)
        return values, np.take_along_axis(rows, kept, axis=1)

    def _open_groups(self, queries: Vectors, groups: Rows) -> tuple[Vectors, Rows]:
        """Similarities and rows of all members of each query's groups: both (Q, groups x GROUP)."""
        asked, flat = np.arange(len(queries)).repeat(groups.shape[1]), groups.ravel()
        values = np.full((len(flat), GROUP), -np.inf, np.float32)
        rows = np.zeros((len(flat), GROUP), np.int64)
        for first, start, batch in zip(self.first_groups, self.starts[:-1], self.batches, strict=True):
            vectors = _vectors(batch)
            here = np.flatnonzero((flat >= first) & (flat < first + -(-len(vectors) // GROUP)))
            inside = (flat[here] - first)[:, None] * GROUP + np.arange(GROUP)
            members = vectors[inside.clip(max=len(vectors) - 1)]
            products = (members @ queries[asked[here], :, None])[:, :, 0]
            values[here] = np.where(inside < len(vectors), products, -np.inf)
            rows[here] = inside + int(start)
        return values.reshape(len(queries), -1), rows.reshape(len(queries), -1)

    def vectors(self, rows: Any) -> Vectors:
        """The vectors of some rows, copied: (len(rows), D)."""
        result = np.empty((len(rows), self.about.model.dim), dtype=np.float32)
        for start, end, batch in zip(self.starts[:-1], self.starts[1:], self.batches, strict=True):
            here = (rows >= start) & (rows < end)
            if here.any():
                result[here] = _vectors(batch)[rows[here] - start]
        return result

    def rows(self, rows: Any) -> list[Match]:
        """What is known of some faces; as nobody asked, their similarity is 1."""
        return [self._match(int(row), 1.0) for row in rows]

    def matches(self, similarities: Vectors, rows: Any) -> list[Match]:
        """What one query found, in words."""
        return [self._match(int(row), float(s)) for row, s in zip(rows, similarities, strict=True)]

    def column(self, name: str) -> Any:
        """One column of all rows, as an Arrow array in chunks."""
        return pa.chunked_array([batch.column(name) for batch in self.batches])

    def boxes(self) -> Vectors:
        """(N, 4) boxes of all rows."""
        parts = [batch.column("box").flatten().to_numpy(zero_copy_only=False) for batch in self.batches]
        boxes: Vectors = np.concatenate(parts).reshape(-1, 4)
        return boxes

    def _match(self, row: int, similarity: float) -> Match:
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        values = self.batches[number].slice(row - int(self.starts[number]), 1).drop_columns(["vector"])
        (item,) = values.to_pylist()
        return Match(
            item["path"], item["face"], item["name"], tuple(item["box"]), similarity, item["sha256"],
            item["date"],
        )


def group_maxima(vectors: Vectors, turned: Vectors) -> Vectors:
    """The largest product of each query in each group of rows.

    The k best rows lie in at most k groups, and these are among the k groups with the best maxima: so all
    other rows can be let go unsorted, and the search stays exact.

    Shape:
        vectors: (N, D)
        turned: (D, Q)
        returns: (ceil(N / GROUP), Q)
    """
    queries = turned.shape[1]
    step = max(PRODUCTS // max(queries, 1) // GROUP, 32) * GROUP
    maxima = np.empty((-(-len(vectors) // GROUP), queries), np.float32)
    room = np.empty((min(step, len(vectors)), queries), np.float32)
    for first in range(0, len(vectors), step):
        some = vectors[first : first + step]
        products = np.matmul(some, turned, out=room[: len(some)])
        whole, group = len(products) // GROUP, first // GROUP
        grouped = products[: whole * GROUP].reshape(whole, GROUP, queries)
        np.max(grouped, axis=1, out=maxima[group : group + whole])
        if whole * GROUP < len(products):
            maxima[group + whole] = products[whole * GROUP :].max(axis=0)
    return maxima


def _topk(values: Vectors, top: int) -> tuple[Vectors, Rows]:
    """The largest values of each row, largest first, and their places; of equal ones the first is first."""
    kept = np.sort(np.argpartition(values, -top, axis=1)[:, -top:], axis=1)
    order = np.argsort(-np.take_along_axis(values, kept, axis=1), axis=1, kind="stable")
    kept = np.take_along_axis(kept, order, axis=1)
    return np.take_along_axis(values, kept, axis=1), kept


def _vectors(batch: Any) -> Vectors:
    """The vectors of a record batch where they lie; nothing is copied."""
    column = batch.column("vector")
    flat: Vectors = column.flatten().to_numpy(zero_copy_only=True)
    return flat.reshape(len(column), -1)
