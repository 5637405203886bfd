"""Which rows of a table corrections speak of, and what they say: names, and who belongs together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from apps.engine.inference.decode.overlap import box_iou
from apps.faces.extraction.embedder import Vectors
from apps.faces.people.agglomerate import Bonds, Labels
from apps.faces.people.corrections import OVERLAP, Box, Correction, Corrections, FaceRef
from apps.faces.people.gallery import Gallery


class Ties:
    """Faces tied together or kept apart, each tie only where it contradicts none that was made before.

    Args:
        count: of faces.
    """

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))
        self.apart: dict[int, set[int]] = {}
        self.refused = 0

    def root(self, face: int) -> int:
        """The first of those that a face is tied to."""
        while self.parent[face] != face:
            self.parent[face] = self.parent[self.parent[face]]
            face = self.parent[face]
        return face

    def tie(self, faces: Sequence[int]) -> None:
        """They are of one person."""
        for face in faces[1:]:
            first, second = self.root(faces[0]), self.root(face)
            if first == second:
                continue
            if second in self.apart.get(first, ()):
                self.refused += 1
                continue
            self.parent[second] = first
            others = self.apart.pop(second, set())
            self.apart.setdefault(first, set()).update(others)
            for other in others:
                self.apart[other].discard(second)
                self.apart[other].add(first)

    def part(self, faces: Iterable[int], others: Iterable[int]) -> None:
        """None of the faces is of the person of one of the others."""
        firsts, seconds = {self.root(face) for face in faces}, {self.root(face) for face in others}
        for first in firsts:
            for second in seconds:
                if first == second:
                    self.refused += 1
                    continue
                self.apart.setdefault(first, set()).add(second)
                self.apart.setdefault(second, set()).add(first)


class Finder:
    """The rows of faces by content.

    Args:
        gallery: to look in.
        refs: that will be asked for; others are not found.
    """

    def __init__(self, gallery: Gallery, refs: Iterable[FaceRef]) -> None:
        wanted = pa.array(sorted({ref.sha256 for ref in refs}), pa.string())
        self.by_sum: dict[str, list[tuple[int, str, Box]]] = {}
        start = 0
        for batch in gallery.batches:
            inside = pc.is_in(batch.column("sha256"), value_set=wanted)
            here = np.flatnonzero(inside.to_numpy(zero_copy_only=False))
            rows = batch.select(["sha256", "path", "box"]).take(pa.array(here)).to_pylist()
            for place, row in zip(here, rows, strict=True):
                x1, y1, x2, y2 = row["box"]
                item = (start + int(place), row["path"], (x1, y1, x2, y2))
                self.by_sum.setdefault(row["sha256"], []).append(item)
            start += batch.num_rows

    def rows(self, ref: FaceRef) -> list[int]:
        """The rows of a face, one for each place where a copy of its photo lies."""
        best: dict[str, tuple[float, int]] = {}
        for row, path, box in self.by_sum.get(ref.sha256, ()):
            common = float(box_iou(ref.box, box))
            if common >= OVERLAP and common > best.get(path, (0.0, 0))[0]:
                best[path] = common, row
        return sorted(row for _, row in best.values())

    def all_rows(self, refs: Iterable[FaceRef]) -> list[int]:
        """The rows of several faces."""
        return sorted({row for ref in refs for row in self.rows(ref)})


@dataclass(frozen=True)
class Known:
    """What is known of the faces of a table beside their vectors.

    Args:
        names: row -> name, for rows that have one.
        corrected: rows that a correction speaks of.
        bonds: who belongs together and who does not.
        contradictions: ties that were left out, as later ones say the opposite.
        lost: faces that corrections speak of and the table does not hold.
    """

    names: dict[int, str]
    corrected: set[int]
    bonds: Bonds
    contradictions: int
    lost: list[tuple[FaceRef, Correction]]


def refs_of(corrections: Corrections) -> list[FaceRef]:
    """All faces that corrections speak of."""
    return [ref for e in corrections.entries for ref in (*e.faces, *e.others, *e.unnamed)]


def names_of(gallery: Gallery, corrections: Corrections, finder: Finder | None = None) -> dict[int, str]:
    """Row -> name: as the last correction says, else as enrolled; rows without a name are left out."""
    finder = finder or Finder(gallery, refs_of(corrections))
    given: dict[int, str | None] = {}
    for entry in reversed(corrections.entries):
        for row in finder.all_rows(entry.unnamed):
            given.setdefault(row, None)
        if entry.verb == "name":
            for row in finder.all_rows(entry.faces):
                given.setdefault(row, entry.name)
    column = gallery.column("name")
    for row in np.flatnonzero(column.is_valid().to_numpy()).tolist():
        given.setdefault(row, column[row].as_py())
    return {row: name for row, name in given.items() if name is not None}


def known_of(gallery: Gallery, corrections: Corrections) -> Known:
    """What corrections and enrolled names say of all rows of a table."""
    finder = Finder(gallery, refs_of(corrections))
    names = names_of(gallery, corrections, finder)
    sums = np.unique(gallery.column("sha256").to_numpy(), return_inverse=True)[1].astype(np.int64)
    ties = Ties(len(gallery))
    _tie_copies(gallery, sums, ties)
    corrected: set[int] = set()
    for entry in reversed(corrections.entries):
        faces, others = finder.all_rows(entry.faces), finder.all_rows(entry.others)
        corrected.update(faces, others)
        if entry.verb in ("same", "split"):
            ties.tie(faces)
        if entry.verb in ("not-same", "split"):
            ties.part(faces, others)
    by_name: dict[str, list[int]] = {}
    for row, name in sorted(names.items()):
        by_name.setdefault(name, []).append(row)
    for rows in by_name.values():
        ties.tie(rows)
    together = np.array([ties.root(row) for row in range(len(gallery))], dtype=np.int64)
    apart: list[tuple[int, ...]] = [(a, b) for a, others in ties.apart.items() for b in others if a < b]
    named = tuple(sorted({int(together[row]) for row in names}))
    bonds = Bonds(together, [*apart, named] if len(named) > 1 else apart, sums)
    lost = [(ref, e) for e in corrections.entries for ref in e.faces if not finder.rows(ref)]
    return Known(names, corrected, bonds, ties.refused, lost)


def _tie_copies(gallery: Gallery, sums: Labels, ties: Ties) -> None:
    """The same face of the same photo in several places is one face."""
    order = np.argsort(sums, kind="stable")
    boxes, paths = gallery.boxes(), gallery.column("path")
    for rows in np.split(order, np.flatnonzero(np.diff(sums[order])) + 1):
        if len(rows) < 2:
            continue
        places = [paths[int(row)].as_py() for row in rows]
        first = rows[[place == places[0] for place in places]]
        for row in rows[[place != places[0] for place in places]].tolist():
            shares = box_iou(boxes[row], boxes[first])
            common, near = float(shares.max()), int(first[shares.argmax()])
            if common >= OVERLAP:
                ties.tie([near, row])


def _box(values: Vectors) -> Box:
    x1, y1, x2, y2 = (float(value) for value in values)
    return x1, y1, x2, y2


def ref_of(gallery: Gallery, row: int) -> FaceRef:
    """A row's face by content."""
    (face,) = gallery.rows([row])
    x1, y1, x2, y2 = face.box
    return FaceRef(face.sha256, (x1, y1, x2, y2), face.path)


def face_id(sha256: str, face: int) -> str:
    """What a face is called on a command line: the beginning of its photo's sum, and its number."""
    return f"{sha256[:12]}-{face}"
