"""95 % intervals of the all-against-all figures: people are drawn again, not images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apps.faces.extraction.embedder import Vectors
from apps.faces.verification.protocol import Floats, Ints, Operating, pair_blocks

DRAWS = 500
TAIL = 3.0  # impostors kept, as a multiple of those that the largest rate accepts
MOST_KEPT = 20_000_000


@dataclass(frozen=True)
class Tail:
    """The impostor pairs that come near being accepted, and all genuine pairs.

    Args:
        impostors: similarities, largest first.
        people: (M, 2) the people of each of them.
        genuine: similarities.
        owners: the person of each genuine pair.
        photos: how many images each person has.
        floor: least similarity of the impostors kept.
    """

    impostors: Floats
    people: Ints
    genuine: Floats
    owners: Ints
    photos: Ints
    floor: float


def tar_intervals(
    vectors: Vectors, labels: Ints, points: Sequence[Operating], *, draws: int = DRAWS, seed: int = 0
) -> dict[float, list[float]]:
    """For each FAR the interval of the TAR, by bootstrap over people.

    In a draw, a person drawn k times counts k times in its genuine pairs, and k times l with a person drawn
    l times in impostor pairs; the threshold is found anew.

    Args:
        vectors: (N, D) unit vectors.
        labels: (N,) the person on each, 0 to K - 1.
        points: what :func:`apps.faces.verification.protocol.all_against_all` found.
        draws: how many, 1 or more.
        seed: of the draws.

    Returns:
        {far: [low, high]}.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (percentile interval).
    """
    if not points:
        return {}
    tail = _tail(vectors, labels, points)
    rng, count = np.random.default_rng(seed), len(tail.photos)
    results: dict[float, list[float]] = {point.far: [] for point in points}
    for _ in range(draws):
        drawn = np.bincount(rng.integers(0, count, count), minlength=count)
        for point in points:
            results[point.far].append(_tar(tail, drawn, point.far))
    return {far: [float(v) for v in np.nanquantile(tars, (0.025, 0.975))] for far, tars in results.items()}


def _tail(vectors: Vectors, labels: Ints, points: Sequence[Operating]) -> Tail:
    """Collect in one pass; the floor lies below the lowest threshold that a draw may want."""
    least = min(point.threshold for point in points)
    floor, kept = least, _collect(vectors, labels, least)
    wanted = TAIL * len(kept[0])
    while len(kept[0]) < wanted and floor > -1 and len(kept[0]) < MOST_KEPT:
        floor = max(-1.0, floor - 0.02)
        kept = _collect(vectors, labels, floor)
    similarities, people, genuine, owners = kept
    order = np.argsort(-similarities, kind="stable")
    return Tail(similarities[order], people[order], genuine, owners, np.bincount(labels), floor)


def _collect(vectors: Vectors, labels: Ints, floor: float) -> tuple[Floats, Ints, Floats, Ints]:
    impostors, people, genuine, owners = [], [], [], []
    for similarities, same, first, second in pair_blocks(vectors, labels):
        near = ~same & (similarities >= floor)
        impostors.append(similarities[near])
        people.append(np.column_stack([labels[first[near]], labels[second[near]]]))
        genuine.append(similarities[same])
        owners.append(labels[first[same]])
    return tuple(np.concatenate(item) for item in (impostors, people, genuine, owners))  # type: ignore[return-value]


def _tar(tail: Tail, drawn: Ints, far: float) -> float:
    """The TAR of one draw; NaN where it has no genuine pair."""
    photos = drawn * tail.photos
    pairs = (photos.sum() ** 2 - (photos**2).sum()) / 2
    weights = drawn[tail.people[:, 0]] * drawn[tail.people[:, 1]]
    over = np.cumsum(weights) > far * pairs
    first = int(np.argmax(over)) if over.any() else len(over)
    limit = tail.impostors[first] if first < len(over) else tail.floor
    genuine = drawn[tail.owners]
    total = genuine.sum()
    return float(genuine[tail.genuine > limit].sum() / total) if total else float("nan")
