"""Vectors of labelled faces, evaluated: drawn pairs, and all against all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from apps.faces.extraction.embedder import Vectors
from apps.faces.extraction.extractor import Extraction
from apps.faces.verification.intervals import tar_intervals
from apps.faces.verification.protocol import (
    Ints,
    Operating,
    PairFigures,
    all_against_all,
    far_name,
    pair_figures,
    rank1,
)
from apps.faces.verification.results import VerificationResult
from apps.faces.verification.verification_set import FOLDS, PAIRS_A_FOLD, VerificationSet
from datasets.faces.identities import draw_pairs


@dataclass(frozen=True)
class FaceEvaluation:
    """A student's vectors of images whose people are known.

    Args:
        vectors: (N, D) unit vectors.
        people: (N,) the person on each.
        paths: of the images.
    """

    vectors: Vectors
    people: Ints
    paths: tuple[str, ...]

    @cached_property
    def _labels(self) -> Ints:
        """(N,) people from 0 upwards, without gaps where images could not be read."""
        return np.unique(self.people, return_inverse=True)[1]

    @cached_property
    def points(self) -> list[Operating]:
        """TAR at each FAR, all against all."""
        return all_against_all(self.vectors, self._labels)

    @cached_property
    def _pairs(self) -> tuple[Ints, Ints, Ints, Ints]:
        several = int((np.bincount(self._labels) > 1).sum())
        folds = max(2, min(FOLDS, several // 2, int(self._labels.max() + 1) // 2))
        drawn = draw_pairs(self._labels.tolist(), folds=folds, each=PAIRS_A_FOLD, seed=0)
        first, second, same, fold = (np.array(column) for column in zip(*drawn, strict=True))
        return first, second, same, fold

    @cached_property
    def pairs(self) -> PairFigures:
        """Figures of pairs drawn as LFW has them."""
        first, second, same, fold = self._pairs
        cosines = np.einsum("nd,nd->n", self.vectors[first], self.vectors[second]).astype(np.float64)
        return pair_figures(cosines, same.astype(bool), fold)

    def __len__(self) -> int:
        return len(self.people)

    def metrics(self) -> dict[str, float]:
        """The figures by the names of the design."""
        return self.verification("").metrics()

    def intervals(self) -> dict[str, list[float]]:
        """95 % intervals of the rates."""
        spread = tar_intervals(self.vectors, self._labels, self.points)
        return {f"tar@far={far_name(far)}": between for far, between in spread.items()}

    def verification(self, name: str) -> VerificationResult:
        """The same as ``evaluate faces`` has it; its images cannot be looked at again."""
        first, second, same, fold = self._pairs
        trial = VerificationSet(self.paths, _never, self._labels, first, second, same.astype(bool), fold)
        return VerificationResult(
            name, trial, self.vectors, self.pairs, self.points, rank1(self.vectors, self._labels), {}, {}, 0
        )


def _never(*_: object) -> Extraction:
    raise ValueError("these photos were evaluated already")
