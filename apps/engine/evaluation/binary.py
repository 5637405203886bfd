"""Metrics of one yes/no answer: average precision, balanced accuracy, and the best threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apps.engine.evaluation.classification import Floats


def average_precision(scores: Floats, labels: Floats, weights: Floats | None = None) -> float | None:
    """The area under the steps of precision over recall; None where there is no positive.

    Args:
        scores: (N,) of which a higher one says yes; equal scores make one step.
        labels: (N,) 0 or 1.
        weights: (N,) how often each image counts; None for once.

    Source: scikit-learn's ``average_precision_score``, to which it is equal.
    """
    counted = np.ones(len(scores)) if weights is None else weights
    positive = counted * labels
    total = positive.sum()
    if not total > 0:
        return None
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of each run of equal scores
    right, called = np.cumsum(positive[order])[last], np.cumsum(counted[order])[last]
    steps = np.diff(right, prepend=0.0)
    return float((steps * right / np.maximum(called, 1e-300)).sum() / total)


def balanced_accuracy(array: NDArray[np.bool_], labels: Floats) -> float | None:
    """The mean of the shares of yes and of no that were found; None where one of them is missing."""
    yes, no = labels == 1, labels == 0
    if not yes.any() or not no.any():
        return None
    return float((array[yes].mean() + 1 - array[no].mean()) / 2)


def best_threshold(scores: Floats, labels: Floats) -> float:
    """The threshold with the highest balanced accuracy, in the middle between two scores; else 0.5."""
    yes, no = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    if not len(yes) or not len(no):
        return 0.5
    every = np.unique(scores)
    cuts = np.concatenate([[every[0] / 2], (every[1:] + every[:-1]) / 2])
    result = (1 - np.searchsorted(yes, cuts) / len(yes) + np.searchsorted(no, cuts) / len(no)) / 2
    best = np.flatnonzero(result >= result.max() - 1e-12)
    return float(cuts[best[np.argmin(abs(cuts[best] - 0.5))]])
