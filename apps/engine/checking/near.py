"""Near duplicates: pictures that are others cut, resized, recoloured or compressed again.

Small grey copies are compared: each whole one with windows of all others, coarsely, and what is alike is laid
over each other precisely. No network is needed, and no hash that a cut of a tenth would change.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from apps.engine.checking.fingerprints import SIDE, Grey

COARSE, FINE = 12, 24  # sides at which pictures are compared
ALIKE, SAME = 0.82, 0.97  # correlations from which on a pair is looked at, and is a duplicate
CUTS = ((0.0, 0.0), (0.0, 0.14), (0.14, 0.0), (0.07, 0.07))  # shares of a side cut off before and behind
DEEPEST = 0.35  # cut off one side
STEPS = {0.04: 0.9, 0.02: 0.95, 0.01: SAME}  # by which sides are moved -> the correlation to go on with
ROUNDS = 5  # of improvements with a step
MOST = 4000  # pairs that are laid over each other, the likeliest; of faces in one frame all are alike
FLAT = 4.0  # levels of spread below which a picture shows nothing to compare
ROWS = 1024  # of a block of comparisons
Floats = NDArray[np.float32]
Windows = NDArray[np.float64]  # (M, 4): cut off above, below, left and right
WHOLE: Windows = np.zeros((1, 4))


def near_pairs(greys: NDArray[np.uint8]) -> list[tuple[int, int, float]]:
    """The pairs of pictures of which one shows the other, or a large part of it.

    Args:
        greys: (N, SIDE, SIDE) uint8.

    Returns:
        (i, j, correlation) with i < j, the surest first.
    """
    lively = np.flatnonzero(greys.reshape(len(greys), SIDE * SIDE).std(axis=1) >= FLAT)
    pictures = greys[lively].astype(np.float32)
    pairs, windows = _alike(pictures)
    if not len(pairs):
        return []
    scores = _laid_over(pictures[pairs[:, 0]], pictures[pairs[:, 1]], windows)
    best: dict[tuple[int, int], float] = {}
    for (a, b), score in zip(lively[pairs].tolist(), scores.tolist(), strict=True):
        key = (min(a, b), max(a, b))
        best[key] = max(best.get(key, 0.0), score)
    results = [(a, b, score) for (a, b), score in best.items() if score >= SAME]
    return sorted(results, key=lambda result: -result[2])


def _alike(pictures: Floats) -> tuple[NDArray[np.int64], Windows]:
    """Pairs (whole, windowed) that look alike at a coarse glance, each with its best window."""
    wholes = _seen(pictures, WHOLE, COARSE)
    best: dict[tuple[int, int], tuple[float, int]] = {}
    choices = np.array([(*y, *x) for y, x in product(CUTS, CUTS)])
    least = ALIKE
    for number, window in enumerate(choices):
        seen = _seen(pictures, window[None], COARSE)
        for start in range(0, len(wholes), ROWS):
            scores = wholes[start : start + ROWS] @ seen.T
            rows, columns = np.nonzero(scores > least)
            values = scores[rows, columns]
            if len(values) > MOST:
                likeliest = np.argpartition(values, -MOST)[-MOST:]
                rows, columns, values = rows[likeliest], columns[likeliest], values[likeliest]
            for a, b, score in zip((rows + start).tolist(), columns.tolist(), values.tolist(), strict=True):
                if a != b and score > best.get((a, b), (0.0, 0))[0]:
                    best[a, b] = score, number
            if len(best) > 4 * MOST:
                least = float(np.partition([score for score, _ in best.values()], -MOST)[-MOST])
                best = {key: value for key, value in best.items() if value[0] >= least}
    kept = sorted(best.items(), key=lambda item: -item[1][0])[:MOST]
    pairs = np.array([pair for pair, _ in kept], np.int64).reshape(-1, 2)
    return pairs, choices[[number for _, (_, number) in kept]]


def _laid_over(wholes: Floats, others: Floats, windows: Windows) -> Floats:
    """The best correlation of each whole picture with a window of its other, near the given one.

    What is still far from a duplicate after a step is not followed further.
    """
    result, places = np.zeros(len(wholes), np.float32), np.arange(len(wholes))
    for step, least in STEPS.items():
        best, windows = _improved(_seen(wholes[places], WHOLE, FINE), others[places], windows, step)
        result[places] = best
        places, windows = places[best >= least], windows[best >= least]
    return result


def _improved(targets: Floats, others: Floats, windows: Windows, step: float) -> tuple[Floats, Windows]:
    """The windows with their sides moved by steps for as long as that makes them more alike."""
    def scores_of(places: Windows) -> Floats:
        result: Floats = (targets * _seen(others, places, FINE)).sum(axis=1)
        return result

    best, windows = scores_of(windows), windows.copy()
    for _ in range(ROUNDS):
        before = best.copy()
        for side, change in product(range(4), (-step, step)):
            tried = windows.copy()
            tried[:, side] = np.clip(tried[:, side] + change, 0, DEEPEST)
            scores = scores_of(tried)
            better = scores > best
            windows[better], best[better] = tried[better], scores[better]
        if (best - before).max(initial=0) < 1e-3:
            break
    return best, windows


def _seen(pictures: Floats, windows: Windows, side: int) -> Floats:
    """(N, side * side) unit vectors of a window of each picture, or of one window of all, less the mean."""
    rows = _averages(windows[:, 0], windows[:, 1], side)
    columns = _averages(windows[:, 2], windows[:, 3], side).transpose(0, 2, 1)
    seen = np.matmul(np.matmul(rows, pictures), columns).reshape(len(pictures), side * side)
    seen -= seen.mean(axis=1, keepdims=True)
    unit: Floats = seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-6)
    return unit


def _averages(before: NDArray[np.float64], behind: NDArray[np.float64], side: int) -> Floats:
    """(M, side, SIDE) matrices that average SIDE pixels without what is cut off into ``side`` ones."""
    steps = np.linspace(0, 1, side + 1)
    edges = SIDE * (before[:, None] + (1 - before - behind)[:, None] * steps)
    pixels = np.arange(SIDE)
    upper, lower = edges[:, 1:, None], edges[:, :-1, None]
    shared = np.clip(np.minimum(upper, pixels + 1) - np.maximum(lower, pixels), 0, None)
    shares: Floats = (shared / shared.sum(axis=2, keepdims=True)).astype(np.float32)
    return shares


def stacked(greys: list[Grey]) -> NDArray[np.uint8]:
    """(N, SIDE, SIDE) of some pictures, also of none."""
    return np.stack(greys) if greys else np.zeros((0, SIDE, SIDE), np.uint8)
