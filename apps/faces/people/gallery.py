"""Exact search in a table of faces that is mapped into memory, not loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from apps.faces.extraction.embedder import ModelInfo, Vectors
from apps.faces.extraction.table import About, read_about
from apps.faces.nearest import Block, nearest
from apps.faces.people.layout import laid_out, laid_path, mapped, source_of

MATCHED = ["path", "face", "name", "box", "sha256", "date"]
OPENINGS = 5  # of a table that other processes replace meanwhile
QUERIES_AT_ONCE = 512


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
    names = ("path", "sha256", "face", "scale", "box", "vector", "codes")
    columns = [batch.column(name) for name in names]
    return [*columns, *(column.flatten() for column in columns[-3:])]


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

    @classmethod
    def open(cls, table: Path) -> Gallery:
        """A table of ``embed-faces``; its vectors are checked and laid out for mapping once.

        Args:
            table: the Parquet file, or a folder of parts; beside it, ``NAME.arrow`` is made, and made again
                when it changes. Where that folder cannot be written, the rows are kept in a temporary file.

        Raises:
            FileNotFoundError: there is no table.
            ValueError: it is damaged or holds no face, or a vector is not finite or not of length 1.
        """
        for _ in range(OPENINGS):
            about, source = read_about(table), source_of(table)
            kept = _batches(mapped(laid_path(table), source))
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
        blocks = [_block(batch) for batch in self.batches]
        starts = range(0, len(asked), QUERIES_AT_ONCE)
        parts = [nearest(asked[n : n + QUERIES_AT_ONCE], blocks, top) for n in starts]
        if not parts:
            return np.zeros((0, top), np.float32), np.zeros((0, top), np.int64)
        return np.concatenate([values for values, _ in parts]), np.concatenate([rows for _, rows in parts])

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
        values = self.batches[number].slice(row - int(self.starts[number]), 1).select(MATCHED)
        (item,) = values.to_pylist()
        return Match(
            item["path"], item["face"], item["name"], tuple(item["box"]), similarity, item["sha256"],
            item["date"],
        )


def _block(batch: Any) -> Block:
    """The vectors of a record batch with their codes, where it has them; nothing is copied."""
    vectors = _vectors(batch)
    if "codes" not in batch.schema.names:
        return Block(vectors)
    codes = batch.column("codes").flatten().to_numpy(zero_copy_only=True).reshape(vectors.shape)
    return Block(vectors, codes, batch.column("scale").to_numpy(zero_copy_only=True))


def _vectors(batch: Any) -> Vectors:
    """The vectors of a record batch where they lie; nothing is copied."""
    column = batch.column("vector")
    flat: Vectors = column.flatten().to_numpy(zero_copy_only=True)
    return flat.reshape(len(column), -1)
