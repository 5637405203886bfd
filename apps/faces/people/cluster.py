"""Who belongs together: HDBSCAN, held against average similarity so that chains do not merge people."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist

from apps.faces.extraction.embedder import Vectors
from apps.faces.people.gallery import Gallery

Labels = NDArray[np.int64]
WHOLE = 12_000  # faces clustered at once: their distances take about 1 GB
NEIGHBOURS = 32
STEP = 0.02  # by which the similarity is raised until a connected part is small enough
CAUTION = 0.15  # share of the way from the threshold to 1 that groups must be nearer to be joined
NOBODY = -1


def cluster_gallery(gallery: Gallery, threshold: float, *, min_size: int = 2) -> Labels:
    """The cluster of each face of a gallery, largest cluster 0; -1 for faces alone.

    Args:
        gallery: of any size.
        threshold: least average similarity of two parts of a cluster, a cosine.
        min_size: faces of the smallest cluster, 2 or more.
    """
    labels = np.full(len(gallery), NOBODY, dtype=np.int64)
    offset = 0
    for members in _portions(gallery, threshold):
        result = cluster_vectors(gallery.vectors(members), threshold, min_size=min_size)
        labels[members] = np.where(result >= 0, result + offset, NOBODY)
        offset += int(result.max(initial=NOBODY)) + 1
    return by_size(labels)


def cluster_vectors(vectors: Vectors, threshold: float, *, min_size: int = 2) -> Labels:
    """The cluster of each vector, largest first; -1 for those alone.

    HDBSCAN proposes. What it took together although two parts of it are less alike than ``threshold`` on
    average is parted again: a chain of look-alikes from one person to another has no such average.
    Then groups and lone faces that are clearly more alike than that are joined, for HDBSCAN never sees that
    all faces are of one person, or all but a few.

    Args:
        vectors: (N, D) unit vectors, 12,000 at most.
        threshold: a cosine, -1 to 1.
        min_size: faces of the smallest cluster, 2 or more.

    Raises:
        ValueError: a limit is out of range.

    Source: Campello, Moulavi and Sander 2013, "Density-based clustering based on hierarchical density
    estimates" (HDBSCAN); Sokal and Michener 1958 (average linkage).
    """
    if not -1 <= threshold <= 1:
        raise ValueError(f"the threshold is a cosine, -1 to 1, got {threshold}")
    if min_size < 2:
        raise ValueError(f"a cluster has 2 faces or more, got {min_size}")
    if len(vectors) < 2:
        return np.full(len(vectors), NOBODY, dtype=np.int64)
    labels = part_chains(vectors, _propose(vectors), threshold)
    joined = join_alike(vectors, labels, threshold + CAUTION * (1 - threshold))
    small = np.bincount(joined)[joined] < min_size
    return by_size(np.where(small, NOBODY, joined))


def _propose(vectors: Vectors) -> Labels:
    from sklearn.cluster import HDBSCAN

    model = HDBSCAN(min_cluster_size=2, min_samples=1, algorithm="brute", copy=True)
    labels: Labels = model.fit_predict(vectors).astype(np.int64)
    return labels


def part_chains(vectors: Vectors, labels: Labels, threshold: float) -> Labels:
    """Each cluster cut where its parts are less alike than ``threshold`` on average; lone faces get -1."""
    parted, free = np.full(len(labels), NOBODY, dtype=np.int64), 0
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            continue
        tree = linkage(pdist(vectors[members].astype(np.float64), "cosine"), "average")
        parts = fcluster(tree, 1 - threshold, "distance")
        for part in np.unique(parts):
            inside = members[parts == part]
            if len(inside) > 1:
                parted[inside], free = free, free + 1
    return parted


def join_alike(vectors: Vectors, labels: Labels, threshold: float) -> Labels:
    """Groups joined, the most alike first, while two are ``threshold`` alike on average.

    Returns:
        A group for every face, from 0; lone faces are groups of their own.
    """
    alone = labels < 0
    groups = np.where(alone, labels.max(initial=NOBODY) + np.cumsum(alone), labels)
    count = int(groups.max()) + 1
    sizes = np.bincount(groups, minlength=count).astype(np.float32)
    means = np.zeros((count, vectors.shape[1]), dtype=np.float32)
    np.add.at(means, groups, vectors)
    means /= sizes[:, None]
    alike = means @ means.T  # the mean over all pairs, as products are linear
    np.fill_diagonal(alike, -np.inf)
    best = alike.max(axis=1)
    into = np.arange(count)
    while (largest := int(best.argmax())) >= 0 and best[largest] >= threshold:
        other = int(alike[largest].argmax())
        keep, gone = min(largest, other), max(largest, other)
        _merge(alike, best, sizes, keep, gone)
        into[into == gone] = keep
    joined: Labels = np.unique(into[groups], return_inverse=True)[1].astype(np.int64)
    return joined


def _merge(alike: Vectors, best: Vectors, sizes: Vectors, keep: int, gone: int) -> None:
    """Put one group into another: averages weigh by the number of faces."""
    total = sizes[keep] + sizes[gone]
    row = (sizes[keep] * alike[keep] + sizes[gone] * alike[gone]) / total
    row[[keep, gone]] = -np.inf
    stale = np.flatnonzero((best == alike[:, keep]) | (best == alike[:, gone]))
    alike[keep], alike[:, keep] = row, row
    alike[gone], alike[:, gone] = -np.inf, -np.inf
    sizes[keep] = total
    np.maximum(best, row, out=best)
    best[stale] = alike[stale].max(axis=1)
    best[keep], best[gone] = row.max(), -np.inf


def by_size(labels: Labels) -> Labels:
    """The same clusters numbered by size, largest 0; equal ones by their first face."""
    names, first, counts = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
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


def _portions(gallery: Gallery, threshold: float) -> Iterator[Labels]:
    """All faces at once, or packs of connected parts that no near neighbour ties to the rest."""
    if len(gallery) <= WHOLE:
        yield np.arange(len(gallery))
        return
    edges = _neighbours(gallery)
    pack: list[Labels] = []
    for part in _connected(edges, np.arange(len(gallery)), threshold):
        if sum(map(len, pack)) + len(part) > WHOLE:
            yield np.sort(np.concatenate(pack))
            pack = []
        pack.append(part)
    if pack:
        yield np.sort(np.concatenate(pack))


def _neighbours(gallery: Gallery) -> coo_array:
    """The similarities of each face to its nearest ones."""
    rows, columns, values = [], [], []
    for start in range(0, len(gallery), WHOLE):
        asked = np.arange(start, min(start + WHOLE, len(gallery)))
        similarities, result = gallery.search(gallery.vectors(asked), NEIGHBOURS)
        rows.append(np.repeat(asked, result.shape[1]))
        columns.append(result.ravel())
        values.append(similarities.ravel())
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
