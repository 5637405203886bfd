"""Who belongs together: copies are one observation, the surest groups join first, corrections bind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from apps.faces.extraction.embedder import Vectors
from apps.faces.people.agglomerate import Bonds, Crowd, Doubt, Groups, Labels, Limits
from apps.faces.people.gallery import Gallery

WHOLE = 12_000  # faces clustered at once: their similarities take about 1 GB
NEIGHBOURS = 32
STEP = 0.02  # by which the similarity is raised until a connected part is small enough
COPY = 0.77  # share of the way from the threshold to 1 from which two faces are copies of one picture
BOUND = 2.0  # as similarity of faces that must be together: nothing parts them
AT_ONCE = 1024  # faces whose copies are looked for at once
NOBODY = -1


@dataclass(frozen=True)
class Clusters:
    """Faces by person.

    Args:
        labels: (N,) the cluster of each face, 0 the largest; -1 for those alone.
        observations: (N,) faces of one number are copies of one picture.
        doubts: pairs of faces, each of another cluster or alone, that may be of one person all the same.
    """

    labels: Labels
    observations: Labels
    doubts: list[Doubt] = field(default_factory=list)


def cluster_gallery(
    gallery: Gallery, threshold: float, *, min_size: int = 2, bonds: Bonds | None = None
) -> Clusters:
    """The faces of a gallery by person.

    Args:
        gallery: of any size.
        threshold: of one comparison, a cosine.
        min_size: pictures of the smallest cluster, 2 or more.
        bonds: what is known of the faces.
    """
    known = bonds or Bonds.none(len(gallery))
    if len(gallery) <= WHOLE:
        vectors = gallery.vectors(np.arange(len(gallery)))
        return cluster_vectors(vectors, threshold, min_size=min_size, bonds=known)
    labels, observations = (np.full(len(gallery), NOBODY, dtype=np.int64) for _ in range(2))
    doubts: list[Doubt] = []
    crowd = Crowd(_mean(gallery), len(gallery))
    for members in _portions(gallery, threshold, known):
        part = cluster_vectors(
            gallery.vectors(members), threshold, min_size=min_size, bonds=known.of(members), crowd=crowd
        )
        labels[members] = np.where(part.labels >= 0, part.labels + labels.max() + 1, NOBODY)
        observations[members] = part.observations + observations.max() + 1
        doubts += [Doubt(int(members[d.first]), int(members[d.second]), d.similarity) for d in part.doubts]
    return Clusters(by_size(labels, observations), observations, doubts)


def cluster_vectors(
    vectors: Vectors, threshold: float, *, min_size: int = 2, bonds: Bonds | None = None,
    crowd: Crowd | None = None,
) -> Clusters:
    """Vectors by person.

    Copies of a picture are found first and count once. Then the two groups that most exceed the similarity
    that their sizes need are joined, again and again. Two single faces must be nearer than the threshold, the
    more so the more pairs are compared; groups, whose average is steadier, need less.

    Args:
        vectors: (N, D) unit vectors, 12,000 at most.
        threshold: of one comparison, a cosine, -1 to 1.
        min_size: pictures of the smallest cluster, 2 or more.
        bonds: what is known of the faces.
        crowd: all faces that are compared; None for these.

    Raises:
        ValueError: a limit is out of range.

    Source: Sokal and Michener 1958 (average linkage).
    """
    if min_size < 2:
        raise ValueError(f"a cluster has 2 faces or more, got {min_size}")
    known = bonds or Bonds.none(len(vectors))
    copies = _copies(vectors, threshold + COPY * (1 - threshold), known)
    pictures = np.zeros((int(copies.max(initial=-1)) + 1, vectors.shape[1]), np.float32)
    np.add.at(pictures, copies, vectors)
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True).clip(min=1e-12)
    crowd = crowd or Crowd(pictures.mean(axis=0) if len(pictures) else pictures.sum(axis=0), len(pictures))
    limits = Limits.of(threshold, crowd.size)
    if len(vectors) < 2:
        return Clusters(np.full(len(vectors), NOBODY, dtype=np.int64), copies)
    start, of_rows = _bound(copies, known)
    groups = Groups(pictures, start, crowd)
    _keep_apart(groups, of_rows, known)
    groups.join(limits)
    labels = groups.into[of_rows]
    first = dict(zip(labels[::-1].tolist(), range(len(labels) - 1, -1, -1), strict=True))
    doubts = [Doubt(first[d.first], first[d.second], d.similarity) for d in groups.doubts(limits)]
    return Clusters(by_size(_large(labels, copies, min_size), copies), copies, doubts)


def _copies(vectors: Vectors, similarity: float, known: Bonds) -> Labels:
    """A number for each picture, from 0 in the order of the rows; copies share it.

    Each is near the first of its copies, so that no row of small steps leads from one person to another.
    """
    names = np.full(len(vectors), NOBODY, dtype=np.int64)
    apart, count = _apart_of(known), 0
    for start in range(0, len(vectors), AT_ONCE):
        near = vectors[start : start + AT_ONCE] @ vectors.T >= similarity
        for row in range(start, start + len(near)):
            if names[row] != NOBODY:
                continue
            free = np.flatnonzero(near[row - start] & (names == NOBODY))
            others: set[int] = set()
            for copy in [row, *free[free > row].tolist()]:
                person = int(known.together[copy])
                if person not in others:
                    names[copy] = count
                    others |= apart.get(person, set())
            count += 1
    return names


def _apart_of(known: Bonds) -> dict[int, set[int]]:
    """Which numbers each number is kept apart from."""
    apart: dict[int, set[int]] = {}
    for members in known.apart:
        for member in members:
            apart.setdefault(member, set()).update(set(members) - {member})
    return apart


def _bound(copies: Labels, known: Bonds) -> tuple[Labels, Labels]:
    """The group to start with of each picture, and of each row: what must be together is."""
    count = int(copies.max()) + 1
    persons = np.unique(known.together, return_inverse=True)[1] + count
    size = int(persons.max()) + 1
    links = coo_array((np.ones(len(copies)), (copies, persons)), shape=(size, size))
    names = connected_components(links, directed=False)[1]
    start = _numbered(names[:count])
    return start, start[copies]


def _keep_apart(groups: Groups, of_rows: Labels, known: Bonds) -> None:
    group_of = dict(zip(known.together.tolist(), of_rows.tolist(), strict=True))
    for members in known.apart:
        here = {group_of[member] for member in members if member in group_of}
        if len(here) > 1:
            groups.keep_apart(here)
    order = np.argsort(known.photo, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(known.photo[order])) + 1):
        if len(rows) > 1:
            groups.keep_apart(of_rows[rows].tolist())


def _large(labels: Labels, copies: Labels, min_size: int) -> Labels:
    """The labels of groups that are large enough; in others only copies of one picture share one."""
    pairs = np.unique(np.stack([labels, copies], axis=1), axis=0)
    pictures = np.bincount(pairs[:, 0], minlength=int(labels.max()) + 1)
    small = pictures[labels] < min_size
    alone = np.where(small, labels.max() + 1 + copies, labels)
    single = np.bincount(alone)[alone] < 2
    return np.where(single, NOBODY, alone)


def _numbered(names: Labels) -> Labels:
    """The same groups numbered from 0 in the order of their first members."""
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    numbers: Labels = np.argsort(np.argsort(first)).astype(np.int64)[inverse]
    return numbers


def by_size(labels: Labels, pictures: Labels | None = None) -> Labels:
    """The same clusters numbered by their pictures, largest 0; equal ones by their first face.

    Args:
        labels: (N,), -1 for faces alone.
        pictures: (N,) faces of one number are copies of one picture; None where there are no copies.
    """
    inside = np.flatnonzero(labels >= 0)
    seen = inside if pictures is None else pictures[inside]
    pairs = np.unique(np.stack([labels[inside], seen], axis=1), axis=0)
    names, first = np.unique(labels[inside], return_index=True)
    counts = np.unique(pairs[:, 0], return_counts=True)[1]
    order = np.lexsort((inside[first], -counts))
    renamed = np.full(int(labels.max(initial=NOBODY)) + 2, NOBODY, dtype=np.int64)
    renamed[names[order]] = np.arange(len(names))
    return renamed[labels]


def cohesion(vectors: Vectors) -> float:
    """Mean cosine of all pairs of a cluster's vectors; 1 for a single one."""
    count = len(vectors)
    if count < 2:
        return 1.0
    whole = vectors.astype(np.float64).sum(axis=0)
    return float((whole @ whole - count) / (count * (count - 1)))


def _mean(gallery: Gallery) -> Vectors:
    starts = range(0, len(gallery), WHOLE)
    sums = [gallery.vectors(np.arange(s, min(s + WHOLE, len(gallery)))).sum(axis=0) for s in starts]
    mean: Vectors = (np.sum(sums, axis=0) / len(gallery)).astype(np.float32)
    return mean


def _portions(gallery: Gallery, threshold: float, known: Bonds) -> Iterator[Labels]:
    """Packs of connected parts that no near neighbour, and nothing that is known, ties to the rest."""
    edges = _neighbours(gallery, known)
    pack: list[Labels] = []
    for part in _connected(edges, np.arange(len(gallery)), threshold):
        if sum(map(len, pack)) + len(part) > WHOLE:
            yield np.sort(np.concatenate(pack))
            pack = []
        pack.append(part)
    if pack:
        yield np.sort(np.concatenate(pack))


def _neighbours(gallery: Gallery, known: Bonds) -> coo_array:
    """The similarities of each face to its nearest ones; those that must be together are tied for good."""
    rows, columns, values = [], [], []
    for start in range(0, len(gallery), WHOLE):
        asked = np.arange(start, min(start + WHOLE, len(gallery)))
        similarities, result = gallery.search(gallery.vectors(asked), NEIGHBOURS)
        rows.append(np.repeat(asked, result.shape[1]))
        columns.append(result.ravel())
        values.append(similarities.ravel())
    order = np.argsort(known.together, kind="stable")
    tied = np.flatnonzero(np.diff(known.together[order]) == 0)
    rows.append(order[tied])
    columns.append(order[tied + 1])
    values.append(np.full(len(tied), BOUND, np.float32))
    shape = (len(gallery), len(gallery))
    return coo_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)


def _connected(edges: coo_array, members: Labels, threshold: float) -> Iterator[Labels]:
    """Parts tied by edges of ``threshold`` or more; a part that is too large, by stronger edges only."""
    strong = edges.data >= threshold
    links = coo_array((strong[strong], (edges.row[strong], edges.col[strong])), shape=edges.shape)
    _, names = connected_components(links.tocsr()[members][:, members], directed=False)
    order = np.argsort(names, kind="stable")
    for part in np.split(members[order], np.flatnonzero(np.diff(names[order])) + 1):
        if len(part) <= WHOLE:
            yield part
        elif threshold < 1:
            yield from _connected(edges, part, min(1.0, threshold + STEP))
        else:  # copies of one picture by the thousand: any cut will do
            yield from np.array_split(part, -(-len(part) // WHOLE))
