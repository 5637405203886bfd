"""Train and val parts of positions in which no neighbours sit on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from datasets.geo.positions import Floats, Ints, Positions

WAYS = ("distance", "author", "folder")
_EARTH_RADIUS_KM = 6371.0088
_CHUNK = 2048


def split_positions(
    positions: Positions, fraction: float, *, by: str = "distance", km: float = 1.0, seed: int = 0
) -> tuple[Ints, Ints]:
    """Which images are for training and which for evaluation, the same at every call with the same images.

    Images within ``km`` of each other stay together, directly or through others between them; with ``by``
    author or folder also all images of an author or a folder. Images without an author stay with their
    folder.

    Args:
        positions: two images or more.
        fraction: share that goes to val, 0 to 1 exclusive; met as closely as whole groups allow.
        by: ``distance``, ``author`` or ``folder``.
        km: 0 up; images that share a position stay together even with 0.
        seed: of the draw.

    Returns:
        indices of train and of val, ascending, neither empty.

    Raises:
        ValueError: an argument is out of range, names to split by are missing, or all images hang together.
    """
    if not 0 < fraction < 1 or not 0 <= km < np.inf:
        raise ValueError(f"expected 0 < fraction < 1 and km from 0 up, got {fraction:g} and {km:g}")
    groups = np.unique(linked(positions, by, km), return_inverse=True)[1]
    sizes = np.bincount(groups)
    if len(sizes) < 2:
        raise ValueError(
            f"all {len(positions)} photos hang together by {by} and {km:g} km, so none is left to evaluate "
            "on; give a smaller distance or photos from more places"
        )
    chosen = _draw(sizes, fraction * len(positions), seed)
    val = np.isin(groups, chosen)
    return np.flatnonzero(~val), np.flatnonzero(val)


def _draw(sizes: Ints, target: float, seed: int) -> list[int]:
    """Groups in random order until the target is met; one that would overshoot it is passed over."""
    order = np.random.default_rng(seed).permutation(len(sizes)).tolist()
    chosen: list[int] = []
    count = 0
    for group in order:
        if count + sizes[group] <= target:
            chosen.append(group)
            count += int(sizes[group])
    if not chosen:  # every group is larger than the target
        chosen = [int(sizes.argmin())]
    return chosen


def linked(positions: Positions, by: str, km: float) -> Ints:
    """A number for each image, equal for images that must stay together.

    Raises:
        ValueError: ``by`` is none of the ways, or the images have no paths or authors to split by.
    """
    if by not in WAYS:
        raise ValueError(f"a split is by one of {', '.join(WAYS)}, got {by!r}")
    near = near_each_other(positions.lat, positions.lon, km)
    if by == "distance":
        return near
    if by == "author" and not any(positions.authors):
        raise ValueError("no photo names its author; split by folder or distance")
    if by == "folder" and not positions.paths:
        raise ValueError("the positions have no paths; split by distance")
    folders = [str(PurePath(path).parent) for path in positions.paths] or [""] * len(positions)
    authors = positions.authors if by == "author" else [""] * len(positions)
    names = [f"author {author}" if author else f"folder {folder}"
             for author, folder in zip(authors, folders, strict=True)]
    return _joined(near, _numbered(names))


def _numbered(names: Sequence[str]) -> Ints:
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)


def _joined(numbers: Ints, other: Ints) -> Ints:
    """Groups that are connected through either of two groupings."""
    names, things = np.concatenate([numbers, numbers.max() + 1 + other]), np.tile(np.arange(len(numbers)), 2)
    return _components(names, things)


def _components(left: Ints, right: Ints) -> Ints:
    """Numbers of ``right``'s things, equal where chains of pairs (left, right) connect them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    things, names = int(right.max()) + 1, int(left.max()) + 1
    pairs = coo_array((np.ones(len(left), np.int8), (left + things, right)), shape=(things + names,) * 2)
    labels: Ints = connected_components(pairs, directed=False)[1].astype(np.int64)
    return labels[:things]


def near_each_other(lat: Floats, lon: Floats, km: float) -> Ints:
    """A number for each position, equal where steps of at most ``km`` from image to image connect them.

    Positions are first gathered in small cubes, so that crowds cost no pairs; therefore steps of up to twice
    ``km`` may connect too. It is right at the poles and the antimeridian.
    """
    from scipy.spatial import cKDTree

    phi, theta = np.radians(lat), np.radians(lon)
    points = np.stack([np.cos(theta) * np.cos(phi), np.sin(theta) * np.cos(phi), np.sin(phi)], axis=1)
    reach = 2 * np.sin(min(km / _EARTH_RADIUS_KM, np.pi) / 2)  # the chord of the arc
    side = max(reach / 4 / np.sqrt(3), 1e-9)
    _, first, cube = np.unique(
        np.floor(points / side).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    middles = points[first]
    tree = cKDTree(middles)
    labels = np.arange(len(middles))
    for start in range(0, len(middles), _CHUNK):
        result = tree.query_ball_point(middles[start : start + _CHUNK], 1.5 * reach + 1e-9)
        counts = np.array([len(item) for item in result])
        mine = np.repeat(np.arange(start, start + len(result)), counts)
        others = np.concatenate([np.asarray(item, np.int64) for item in result])
        everyone = np.arange(len(labels))
        labels = _components(
            np.concatenate([labels, labels[mine]]), np.concatenate([everyone, others])
        )
    out: Ints = labels[cube.ravel()]
    return out
