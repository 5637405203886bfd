"""The faces of a table as people: sorted, named, corrected, with the pairs that are doubtful."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.core.files import write_whole
from apps.faces.extraction.table import read_about
from apps.faces.people.agglomerate import Doubt, Labels
from apps.faces.people.cluster import NOBODY, Clusters, cluster_gallery, cohesion
from apps.faces.people.corrections import Corrections, read_corrections
from apps.faces.people.gallery import Gallery, Match
from apps.faces.people.identity import Known, face_id, known_of
from apps.faces.verification.thresholds import Threshold, find_threshold
from datasets.arrays import read_arrays
from datasets.outside import DiskError, one_line

MIN_SIZE = 2
FORMAT = 1  # of the file that keeps clusters


@dataclass(frozen=True, eq=False)
class Person:
    """One person's faces, as far as vectors and corrections tell.

    Args:
        number: 0 the largest; those with too few pictures come last.
        id: of the most typical face.
        rows: of the gallery, the most typical face first.
        pictures: how many there are; copies of one count once.
        cohesion: mean cosine of all pairs of faces, -1 to 1.
        name: that its faces were given; the most frequent one of those that were enrolled.
        corrected: how many of the faces a correction speaks of.
    """

    number: int
    id: str
    rows: Labels
    pictures: int
    cohesion: float
    name: str | None
    corrected: int


@dataclass(frozen=True)
class Offer:
    """A name for a face of a photo that was edited since the name was given.

    Args:
        row: of the face.
        name: that the face had before.
    """

    row: int
    name: str


@dataclass(frozen=True)
class Album:
    """A table sorted by person.

    Args:
        gallery: the table.
        corrections: that bind it.
        known: what they and enrolled names say.
        people: all of them, clusters first.
        clusters: how many of the people have enough pictures.
        doubts: pairs of people, and how alike they are.
        offers: names that faces of edited photos had.
        limit: the threshold of one comparison.
        min_size: pictures of the smallest cluster.
    """

    gallery: Gallery
    corrections: Corrections
    known: Known
    people: list[Person]
    clusters: int
    doubts: list[tuple[Person, Person, float]]
    offers: list[Offer]
    limit: Threshold
    min_size: int

    def person_of(self, row: int) -> Person:
        """Whose face a row is."""
        return next(person for person in self.people if row in person.rows)

    def faces(self, rows: Any) -> list[Match]:
        """What is known of some rows."""
        return self.gallery.rows(rows)


def open_album(
    table: Path, *, far: float | None = None, threshold: float | None = None, min_size: int | None = None
) -> Album:
    """Sort the faces of a table by person; where nothing has changed, as they were sorted the last time.

    Args:
        table: made by ``embed-faces``.
        far: accepted rate of false accepts a comparison; None for that of the last time, else the usual one.
        threshold: of one comparison, a cosine, instead of ``far``.
        min_size: pictures of the smallest cluster, 2 or more; None for that of the last time, else 2.

    Raises:
        OSError: the table is missing.
        ValueError: it or its corrections are damaged, it is empty, or no threshold is known for its model.
    """
    about, corrections = read_about(table), read_corrections(table)
    before = corrections.settings
    if far is None and threshold is None:
        far, threshold = before.get("far"), before.get("threshold")
    least = int(min_size or before.get("min_size") or MIN_SIZE)
    limit = find_threshold(about.model, about.align, far=far, threshold=threshold)
    gallery = Gallery.open(table)
    known = known_of(gallery, corrections)
    clusters = _clusters(gallery, corrections, known, limit.similarity, least)
    people, count = _people(gallery, clusters, known, least)
    by_row = {int(row): person for person in people for row in person.rows}
    doubts = [(by_row[d.first], by_row[d.second], d.similarity) for d in clusters.doubts]
    return Album(gallery, corrections, known, people, count, doubts, _offers(gallery, known), limit, least)


def clusters_path(table: Path) -> Path:
    """Of the clusters kept beside a table; made again where it is lost."""
    return table.with_name(f"{table.stem}.clusters.npz")


def _kept(path: Path, key: str) -> Clusters | None:
    """The clusters of a file; None where it has none with this key, or is damaged: it is a cache."""
    try:
        with one_line(path, "it is made again"):
            arrays = read_arrays(path, ("key", "labels", "observations", "pairs", "similarities"))
            if str(arrays["key"]) != key:
                return None
            doubts = [
                Doubt(int(first), int(second), float(similarity))
                for (first, second), similarity in zip(arrays["pairs"], arrays["similarities"], strict=True)
            ]
            return Clusters(arrays["labels"], arrays["observations"], doubts)
    except (OSError, ValueError):
        return None


def _clusters(
    gallery: Gallery, corrections: Corrections, known: Known, threshold: float, min_size: int
) -> Clusters:
    """As kept, where the table, what is known, and the limits are the same; else sorted anew, and kept."""
    path, status = clusters_path(gallery.path), gallery.path.stat()
    stamp = [FORMAT, status.st_size, status.st_mtime_ns, status.st_ino, len(gallery)]
    key = json.dumps([stamp, corrections.digest(), threshold, min_size])
    kept = _kept(path, key)
    if kept is not None:
        return kept
    made = cluster_gallery(gallery, threshold, min_size=min_size, bonds=known.bonds)

    def write(to: Path) -> None:
        np.savez(
            to, key=np.array(key), labels=made.labels, observations=made.observations,
            pairs=np.array([(d.first, d.second) for d in made.doubts], dtype=np.int64).reshape(-1, 2),
            similarities=np.array([d.similarity for d in made.doubts]),
        )

    with suppress(PermissionError, DiskError):  # else it is sorted again the next time
        write_whole(path, write)
    return made


def _people(gallery: Gallery, clusters: Clusters, known: Known, min_size: int) -> tuple[list[Person], int]:
    """All people, those with enough pictures first, and how many these are."""
    labels = clusters.labels.copy()
    alone = labels == NOBODY
    labels[alone] = labels.max(initial=NOBODY) + 1 + np.arange(int(alone.sum()))
    order = np.argsort(labels, kind="stable")
    sizes = {}
    parts = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    for number, rows in enumerate(parts):
        sizes[number] = len(np.unique(clusters.observations[rows]))
    large = sorted(sizes, key=lambda number: (sizes[number] < min_size, number))
    people = [
        _person(gallery, number, parts[part], sizes[part], known) for number, part in enumerate(large)
    ]
    return people, sum(size >= min_size for size in sizes.values())


def _person(gallery: Gallery, number: int, rows: Labels, pictures: int, known: Known) -> Person:
    vectors = gallery.vectors(rows)
    typical = rows[np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable")]
    names = Counter(known.names[row] for row in rows.tolist() if row in known.names)
    (face,) = gallery.rows(typical[:1])
    return Person(
        number, face_id(face.sha256, face.face), typical, pictures, cohesion(vectors),
        names.most_common(1)[0][0] if names else None,
        len(known.corrected.intersection(rows.tolist())),
    )


def _offers(gallery: Gallery, known: Known) -> list[Offer]:
    """Names given on photos whose content has changed since, for the faces that are there now."""
    by_path: dict[str, list[int]] = {}
    paths = {ref.path for ref, entry in known.lost if entry.verb == "name"}
    if not paths:
        return []
    for row, path in enumerate(gallery.column("path").to_pylist()):
        if path in paths:
            by_path.setdefault(path, []).append(row)
    offers: dict[int, str] = {}
    for ref, entry in known.lost:
        rows = [row for row in by_path.get(ref.path, ()) if row not in known.names]
        if entry.verb == "name" and entry.name is not None and rows:
            offers[_nearest(gallery, rows, ref.box)] = entry.name
    return [Offer(row, name) for row, name in sorted(offers.items())]


def _nearest(gallery: Gallery, rows: Sequence[int], box: Sequence[float]) -> int:
    """The row whose box lies nearest; a photo that was cut keeps at least the order of its faces."""
    faces = gallery.rows(rows)
    middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    middles = np.array([[(f.box[0] + f.box[2]) / 2, (f.box[1] + f.box[3]) / 2] for f in faces])
    return rows[int(np.abs(middles - middle).sum(axis=1).argmin())]
