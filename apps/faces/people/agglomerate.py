"""Groups of faces joined by average similarity, the surest first, within what must and must not be."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.faces.extraction.embedder import Vectors

Labels = NDArray[np.int64]
CAUTION = 0.15  # share of the way from a threshold to 1 that makes false accepts about ten times rarer
PAIRS_A_DECADE = 1e4  # for each such factor in the pairs compared, two single faces must be that much nearer
EASE = 0.145  # of the threshold: large groups, whose average is steadier, may be that much less alike
HUBS, HALF_HUBS = 0.5, 400  # share of what a face has in common with all others that is taken away
SHOWN_DOUBTS = 1000


@dataclass(frozen=True)
class Limits:
    """How alike two groups must be on average, by their sizes.

    Args:
        pair: of two single faces, a cosine.
        group: of two very large groups, a cosine.
        doubt: what is short of the limit by no more than this is doubtful.
    """

    pair: float
    group: float
    doubt: float

    @classmethod
    def of(cls, threshold: float, observations: int) -> Limits:
        """For a number of faces compared with each other.

        The more pairs are compared, the more strangers reach a threshold by chance; so that of two single
        faces rises with the logarithm of their number.

        Args:
            threshold: of one comparison, a cosine, -1 to 1.
            observations: faces that are no copies of each other.

        Raises:
            ValueError: the threshold is no cosine.
        """
        if not -1 <= threshold <= 1:
            raise ValueError(f"the threshold is a cosine, -1 to 1, got {threshold}")
        step = CAUTION * (1 - threshold)
        pairs = max(observations * (observations - 1) / 2, 1)
        decades = math.log10(pairs) / math.log10(PAIRS_A_DECADE)
        return cls(threshold + step * decades, threshold - EASE * max(threshold, 0.0), step)

    def between(self, size: float, sizes: Vectors) -> Vectors:
        """The least average similarity of a group of ``size`` faces with groups of ``sizes``."""
        limit: Vectors = (self.group + (self.pair - self.group) / np.sqrt(size * sizes)).astype(np.float32)
        return limit


@dataclass(frozen=True)
class Bonds:
    """What is known of faces beside their vectors.

    Args:
        together: (N,) faces of one number are of one person.
        apart: sets of such numbers; no two of a set are of one person.
        photo: (N,) faces of one photo are of two people, unless they are copies of each other.
    """

    together: Labels
    apart: list[tuple[int, ...]]
    photo: Labels

    @classmethod
    def none(cls, count: int) -> Bonds:
        """Nothing is known."""
        return cls(np.arange(count), [], np.arange(count))

    def of(self, rows: Labels) -> Bonds:
        """What is known of some of the faces."""
        return Bonds(self.together[rows], self.apart, self.photo[rows])


@dataclass(frozen=True)
class Doubt:
    """Two groups that are nearly alike enough, and were kept apart.

    Args:
        first: number of a group.
        second: of another.
        similarity: on average, as compared with the limit.
    """

    first: int
    second: int
    similarity: float


@dataclass(frozen=True)
class Crowd:
    """All faces that are compared, and what a face has in common with them.

    Blurred faces, and those in the middle of the crowd, are alike to everybody: a share of that is taken
    away. Of a few faces the mean says more about who they are than about the crowd, so little of it is taken.

    Args:
        mean: (D,), of their vectors.
        size: how many.

    Source: hubs are corrected as in Conneau et al. 2018, "Word translation without parallel data" (CSLS).
    """

    mean: Vectors
    size: int

    @property
    def share(self) -> np.float32:
        """How much is taken away, 0 to 0.5."""
        return np.float32(HUBS * self.size / (self.size + HALF_HUBS))


class Groups:
    """Groups that grow by joining.

    Args:
        vectors: (N, D) unit vectors, one for each observation.
        start: the group of each, numbers from 0 without gaps.
        crowd: all faces that are compared.
    """

    def __init__(self, vectors: Vectors, start: Labels, crowd: Crowd) -> None:
        count = int(start.max(initial=-1)) + 1
        self.sizes = np.bincount(start, minlength=count).astype(np.float32)
        self.into = np.arange(count)
        sums = np.zeros((count, vectors.shape[1]), dtype=np.float32)
        np.add.at(sums, start, vectors)
        self.alike = sums @ sums.T  # sums over all pairs of two groups, as products are linear
        near = crowd.share * (sums @ crowd.mean - self.sizes * (crowd.mean @ crowd.mean))
        self.alike -= near[:, None] * self.sizes + near * self.sizes[:, None]
        np.fill_diagonal(self.alike, -np.inf)

    def keep_apart(self, members: Iterable[int]) -> None:
        """No two of these groups are ever joined, nor what they are joined with."""
        numbers = np.array(sorted(set(members)))
        self.alike[np.ix_(numbers, numbers)] = -np.inf

    def join(self, limits: Limits) -> None:
        """Join the two groups that are surest, again and again, while any two reach their limit."""
        best, where = self._best(limits)
        while len(best) and best[first := int(best.argmax())] >= 0:
            other = int(where[first])
            keep, gone = min(first, other), max(first, other)
            self._merge(keep, gone)
            row = self._over(keep, limits)
            best[gone] = -np.inf
            stale = np.flatnonzero(((where == keep) | (where == gone)) & (best > -np.inf))
            nearer = np.flatnonzero((row > best) & (best > -np.inf))
            best[nearer], where[nearer] = row[nearer], keep
            for number in {keep, *stale.tolist()}:
                over = row if number == keep else self._over(number, limits)
                where[number] = over.argmax()
                best[number] = over[where[number]]

    def doubts(self, limits: Limits) -> list[Doubt]:
        """Pairs of groups that miss their limit by little, the nearest first."""
        results = []
        for number in np.unique(self.into):
            over = self._over(int(number), limits)
            for other in np.flatnonzero(over[: int(number)] >= -limits.doubt):
                pairs = self.sizes[number] * self.sizes[other]
                results.append((float(over[other]), int(other), int(number), pairs))
        results.sort(key=lambda item: (-item[0], item[1], item[2]))
        return [
            Doubt(first, second, float(self.alike[first, second] / pairs))
            for _, first, second, pairs in results[:SHOWN_DOUBTS]
        ]

    def _best(self, limits: Limits) -> tuple[Vectors, Labels]:
        best, where = np.full(len(self.into), -np.inf, np.float32), np.zeros(len(self.into), np.int64)
        for number in range(len(best)):
            over = self._over(number, limits)
            where[number] = over.argmax()
            best[number] = over[where[number]]
        return best, where

    def _over(self, number: int, limits: Limits) -> Vectors:
        """By how much each group is nearer to this one than it must be."""
        size = self.sizes[number]
        over: Vectors = self.alike[number] / (size * self.sizes) - limits.between(size, self.sizes)
        return over

    def _merge(self, keep: int, gone: int) -> None:
        self.alike[keep] += self.alike[gone]
        self.alike[keep, keep] = -np.inf
        self.alike[:, keep] = self.alike[keep]
        self.alike[gone], self.alike[:, gone] = -np.inf, -np.inf
        self.sizes[keep] += self.sizes[gone]
        self.into[self.into == gone] = keep
