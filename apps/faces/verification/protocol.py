"""How well vectors tell people apart: LFW's pairs, and every image against every other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from apps.faces.extraction.embedder import Vectors

FARS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
BLOCK = 2048  # images compared at once with all others
BINS = 1 << 16  # of the histogram that narrows an order statistic down
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class PairFigures:
    """Figures of a list of pairs.

    Args:
        accuracy: mean over the folds, each with the threshold that is best on the others.
        accuracy_se: standard error of that mean.
        auc: area under the ROC curve.
        eer: rate at which false accepts and false rejects are equally frequent.
        thresholds: one for each fold.
    """

    accuracy: float
    accuracy_se: float
    auc: float
    eer: float
    thresholds: tuple[float, ...]


@dataclass(frozen=True)
class Operating:
    """What is accepted at one rate of false accepts, all against all.

    Args:
        far: the rate aimed at.
        threshold: least similarity with which no larger share of impostor pairs is accepted.
        tar: share of genuine pairs accepted.
    """

    far: float
    threshold: float
    tar: float


def far_name(far: float) -> str:
    """A rate as in the names of figures: ``1e-4``."""
    mantissa, exponent = f"{far:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def pair_figures(similarities: Floats, same: Bools, folds: Ints) -> PairFigures:
    """LFW's protocol: a fold's accuracy is taken with the threshold that is best on the other folds.

    Args:
        similarities: (P,) cosines.
        same: (P,) whether a pair shows one person.
        folds: (P,) the fold of each pair.

    Raises:
        ValueError: fewer than two folds, or only pairs of one kind.

    Source: Huang et al. 2007, "Labeled Faces in the Wild", section 4, View 2.
    """
    names = np.unique(folds)
    if len(names) < 2:
        raise ValueError("a fold's threshold comes from the other folds, so two folds or more are needed")
    if same.all() or not same.any():
        raise ValueError("pairs of one person and pairs of two people are both needed")
    thresholds = [best_threshold(similarities[folds != name], same[folds != name]) for name in names]
    rates = [
        float(((similarities[folds == name] >= limit) == same[folds == name]).mean())
        for name, limit in zip(names, thresholds, strict=True)
    ]
    error = float(np.std(rates, ddof=1) / np.sqrt(len(rates)))
    return PairFigures(
        float(np.mean(rates)), error, float(roc_auc_score(same, similarities)),
        equal_error_rate(similarities, same), tuple(thresholds),
    )


def best_threshold(similarities: Floats, same: Bools) -> float:
    """The threshold with the most right answers: the middle of the best gap between two similarities."""
    order = np.argsort(-similarities, kind="stable")
    values, good = similarities[order], same[order]
    # accepting the first k: right are the genuine among them and the impostors behind
    right = np.concatenate([[0], np.cumsum(good)]) + (~good).sum() - np.concatenate([[0], np.cumsum(~good)])
    edges = np.concatenate([[values[0] + 1e-6], (values[:-1] + values[1:]) / 2, [values[-1] - 1e-6]])
    between = np.concatenate([[True], values[:-1] > values[1:], [True]])
    return float(edges[np.argmax(np.where(between, right, -1))])


def equal_error_rate(similarities: Floats, same: Bools) -> float:
    """Where the rates of false accepts and false rejects meet, by linear interpolation between them."""
    accepted, result, _ = roc_curve(same, similarities, drop_intermediate=False)
    gap = accepted - (1 - result)
    behind = int(np.argmax(gap >= 0))
    if behind == 0 or gap[behind] == gap[behind - 1]:
        return float(accepted[behind])
    share = -gap[behind - 1] / (gap[behind] - gap[behind - 1])
    return float(accepted[behind - 1] + share * (accepted[behind] - accepted[behind - 1]))


def pair_blocks(vectors: Vectors, labels: Ints) -> Iterator[tuple[Floats, Bools, Ints, Ints]]:
    """Every pair of images once, a block at a time: similarities, whether one person, and both images.

    Args:
        vectors: (N, D) unit vectors.
        labels: (N,) the person on each.
    """
    count = len(vectors)
    for start in range(0, count, BLOCK):
        rows = np.arange(start, min(start + BLOCK, count))
        for other in range(start, count, BLOCK):
            columns = np.arange(other, min(other + BLOCK, count))
            products = vectors[rows] @ vectors[columns].T
            first, second = np.meshgrid(rows, columns, indexing="ij")
            keep = np.ones_like(products, dtype=bool) if other > start else first < second
            first, second = first[keep], second[keep]
            yield products[keep], labels[first] == labels[second], first, second


def all_against_all(vectors: Vectors, labels: Ints, fars: Sequence[float] = FARS) -> list[Operating]:
    """TAR at FAR over all pairs of images, exactly, in bounded memory.

    A rate that would need fewer than one impostor pair is left out.

    Args:
        vectors: (N, D) unit vectors.
        labels: (N,) the person on each.
        fars: the rates, 0 to 1 exclusive.

    Raises:
        ValueError: there is no genuine or no impostor pair.
    """
    impostors, genuine = histograms(vectors, labels)
    if not impostors.sum() or not genuine.sum():
        raise ValueError("no two photos of one person, or none of two people: nothing to compare")
    allowed = {far: int(np.floor(far * impostors.sum() + 1e-9)) for far in fars}
    allowed = {far: count for far, count in allowed.items() if count >= 1}
    behind = np.cumsum(impostors[::-1])[::-1]  # impostors in this bin or above
    bins = {far: int(np.flatnonzero(behind > count).max(initial=0)) for far, count in allowed.items()}
    inside = _values_in(vectors, labels, set(bins.values()))
    results = []
    for far, count in allowed.items():
        chosen = bins[far]
        above = int(behind[chosen] - impostors[chosen])
        limit = _limit(inside[chosen, False], count - above)
        accepted = int(genuine[chosen + 1 :].sum() + (inside[chosen, True] >= limit).sum())
        results.append(Operating(far, limit, accepted / int(genuine.sum())))
    return results


def _limit(values: Floats, more: int) -> float:
    """The least similarity that accepts at most ``more`` of these impostors, ties all or none."""
    ordered = np.sort(values)[::-1]
    if more >= len(ordered):
        return float(ordered[-1])
    # ordered[more] is the first that must be refused
    return float(np.nextafter(np.float32(ordered[more]), np.float32(2)))


def _bin_of(similarities: Floats) -> Ints:
    return np.clip(((similarities + 1) * (BINS / 2)).astype(np.int64), 0, BINS - 1)


def listed_pairs(similarities: Floats, same: Bools, fars: Sequence[float] = FARS) -> list[Operating]:
    """TAR at FAR over a list of pairs, where nothing more is known; rates below one impostor are left out.

    Args:
        similarities: (P,) cosines.
        same: (P,) whether a pair shows one person.
        fars: the rates.
    """
    impostors, genuine = similarities[~same], similarities[same]
    allowed = [(far, int(np.floor(far * len(impostors) + 1e-9))) for far in fars]
    limits = [(far, _limit(impostors, count)) for far, count in allowed if count >= 1]
    return [Operating(far, limit, float((genuine >= limit).mean())) for far, limit in limits]


def histograms(vectors: Vectors, labels: Ints) -> tuple[Ints, Ints]:
    """How many impostor and genuine pairs there are in each bin of similarity from -1 to 1."""
    counts = np.zeros((2, BINS), dtype=np.int64)
    for similarities, same, _, _ in pair_blocks(vectors, labels):
        counts += histograms_of(similarities, same)
    return counts[0], counts[1]


def histograms_of(similarities: Floats, same: Bools) -> tuple[Ints, Ints]:
    """The same of a list of pairs."""
    places = _bin_of(similarities)
    return np.bincount(places[~same], minlength=BINS), np.bincount(places[same], minlength=BINS)


def _values_in(vectors: Vectors, labels: Ints, bins: set[int]) -> dict[tuple[int, bool], Floats]:
    """The similarities in some bins, by (bin, genuine)."""
    kept: dict[tuple[int, bool], list[Floats]] = {(b, kind): [] for b in bins for kind in (False, True)}
    for similarities, same, _, _ in pair_blocks(vectors, labels):
        places = _bin_of(similarities)
        for (number, kind), values in kept.items():
            values.append(similarities[(places == number) & (same == kind)])
    return {key: np.concatenate(values) for key, values in kept.items()}


def rank1(vectors: Vectors, labels: Ints) -> float:
    """Share of images whose nearest other image shows the same person.

    Only people with two images or more are looked for; all images stand in the way.

    Raises:
        ValueError: nobody has two images.
    """
    counts = np.bincount(labels)
    probes = np.flatnonzero(counts[labels] > 1)
    if not len(probes):
        raise ValueError("nobody has two photos, so nobody can be found again")
    right = 0
    for start in range(0, len(probes), BLOCK):
        some = probes[start : start + BLOCK]
        products = vectors[some] @ vectors.T
        products[np.arange(len(some)), some] = -np.inf
        right += int((labels[products.argmax(axis=1)] == labels[some]).sum())
    return right / len(probes)
