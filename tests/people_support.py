"""What the tests of people share: a table of drawn people, and who is in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from faces_support import unit_vectors
from support import Cli

from apps.faces.people.identity import face_id

COUNTS = (5, 3, 1, 1)  # photos of four people


def crowd(counts: tuple[int, ...] = COUNTS, *, spread: float = 0.6) -> np.ndarray:
    """Vectors around one direction a person, none a copy of another."""
    labels = np.repeat(np.arange(len(counts)), counts)
    vectors = unit_vectors(len(counts), 64)[labels] + spread * unit_vectors(len(labels), 64, seed=1)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def sign(table: Path, row: int) -> str:
    rows = pq.read_table(table, columns=["sha256", "face"]).to_pylist()
    return face_id(rows[row]["sha256"], rows[row]["face"])


def names(cli: Cli, table: Path) -> dict[str | None, int]:
    """Name -> faces, of all people that are listed."""
    return {line["name"]: line["faces"] for line in cli("people", "list", table).lines}
