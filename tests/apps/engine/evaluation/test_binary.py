"""Metrics of one yes/no answer are those of scikit-learn, and the best threshold beats all others."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from apps.engine.evaluation.binary import average_precision, balanced_accuracy, best_threshold


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_average_precision_is_that_of_scikit_learn_ties_and_weights_included(levels):
    rng = np.random.default_rng(levels)
    for _ in range(20):
        scores = rng.integers(levels, size=60) / levels
        labels = (rng.random(60) < 0.3).astype(float)
        weights = rng.integers(4, size=60).astype(float)
        labels[0], weights[0] = 1, 1
        assert average_precision(scores, labels) == pytest.approx(average_precision_score(labels, scores))
        expected = average_precision_score(labels, scores, sample_weight=weights)
        assert average_precision(scores, labels, weights) == pytest.approx(expected)


def test_balanced_accuracy_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    said, labels = rng.random(50) < 0.4, (rng.random(50) < 0.2).astype(float)
    assert balanced_accuracy(said, labels) == pytest.approx(balanced_accuracy_score(labels, said))


def test_the_best_threshold_beats_all_others_tried_one_by_one():
    rng = np.random.default_rng(3)
    scores = rng.integers(20, size=80) / 20
    labels = (rng.random(80) < scores).astype(float)
    chosen = balanced_accuracy(scores >= best_threshold(scores, labels), labels)
    every = [balanced_accuracy(scores >= cut, labels) for cut in np.linspace(-0.01, 1.01, 500)]
    assert chosen == pytest.approx(max(every))
