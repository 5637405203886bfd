"""A linear classifier on cached features: convex, so it has one answer and needs no rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from heads import Classifier

Array = NDArray[np.floating[Any]]
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
FOLDS = 5
MAX_ITERATIONS = 300


@dataclass(frozen=True)
class Probe:
    """What cross-validation found: the inverse strength of the L2 penalty, and the accuracy of each."""

    strength: float
    accuracy_by_strength: dict[float, float]
    folds: int


def fit_probe(head: Classifier, features: Array, targets: NDArray[np.int64], *, seed: int = 0) -> Probe:
    """Put an L2-regularised logistic regression on standardised features into a classifier head.

    The penalty is the strongest whose cross-validated accuracy lies within one standard error of
    the best: with fewer images than features the plain best is too often too weak.

    Args:
        head: takes (B, C, H, W); its linear layer is overwritten.
        features: (N, C) pooled.
        targets: (N,) class numbers; classes without an image keep a score far below the others'.
        seed: of the folds.

    Source:
        Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3 (one standard error).
    """
    mean, std = features.mean(axis=0), features.std(axis=0) + 1e-6
    scaled = (features - mean) / std
    folds = min(FOLDS, int(np.bincount(targets)[np.unique(targets)].min()))
    with threadpool_limits(1):  # two BLAS threads on a busy machine were fifty times slower than one
        scores = _cross_validate(scaled, targets, folds, seed) if folds > 1 else {}
        strength = _one_standard_error(scores, len(targets)) if scores else 1e-3
        model = _regression(strength).fit(scaled, targets)
    coefficients, intercept = _both_rows(model)
    weight = coefficients / std
    bias = intercept - weight @ mean
    with torch.no_grad():
        present = torch.as_tensor(model.classes_)
        head.linear.weight.zero_()
        head.linear.bias.fill_(float(bias.min()) - 20.0)
        head.linear.weight[present] = torch.as_tensor(weight, dtype=torch.float32)
        head.linear.bias[present] = torch.as_tensor(bias, dtype=torch.float32)
    return Probe(strength, scores, folds)


def _regression(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)


def _cross_validate(scaled: Array, targets: NDArray[np.int64], folds: int, seed: int) -> dict[float, float]:
    right = dict.fromkeys(STRENGTHS, 0)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for learn, test in splitter.split(scaled, targets):
        model = _regression(STRENGTHS[0]).set_params(warm_start=True)
        for strength in STRENGTHS:  # each starts from the one before
            answer = model.set_params(C=strength).fit(scaled[learn], targets[learn]).predict(scaled[test])
            right[strength] += int((answer == targets[test]).sum())
    return {strength: count / len(targets) for strength, count in right.items()}


def _one_standard_error(scores: dict[float, float], count: int) -> float:
    best = max(scores.values())
    error = (best * (1 - best) / count) ** 0.5
    return min(strength for strength, score in scores.items() if score >= best - error)


def _both_rows(model: LogisticRegression) -> tuple[Array, Array]:
    """One row a class, also for two classes, where scikit-learn keeps one row in all."""
    if model.coef_.shape[0] > 1:
        return model.coef_, model.intercept_
    halves = np.array([[-0.5], [0.5]])
    return halves @ model.coef_, halves[:, 0] * model.intercept_
