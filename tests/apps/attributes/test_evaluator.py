"""Figures of attributes: average precision, thresholds, calibration, groups."""

from __future__ import annotations

import numpy as np
import pytest

from apps.attributes.evaluator import AttributeEvaluation
from apps.engine.evaluation.binary import balanced_accuracy


def _judged(probabilities, labels, **more) -> AttributeEvaluation:
    values, truth = np.array(probabilities, float), np.array(labels, float)
    names = tuple("abcdef"[: values.shape[1]])
    paths = more.pop("paths", [f"p{n // 2}/{n}.jpg" for n in range(len(values))])
    return AttributeEvaluation(values, truth, names, tuple(paths), **more)


def test_an_attribute_without_a_positive_is_undefined_and_left_out_of_the_mean():
    found = _judged([[0.9, 0.5], [0.1, 0.6], [0.2, 0.1]], [[1, 0], [0, 0], [0, np.nan]]).metrics()
    assert found["ap/a"] == 1
    assert found["ap/b"] is None
    assert found["balanced_accuracy/b"] is None
    assert found["mean_ap"] == 1
    assert found["prevalence/a"] == pytest.approx(1 / 3)


def test_unknown_labels_count_in_no_figure():
    blank = _judged([[0.9], [0.8], [0.1], [0.99]], [[1], [0], [0], [np.nan]]).metrics()
    without = _judged([[0.9], [0.8], [0.1]], [[1], [0], [0]]).metrics()
    assert blank == without


def test_calibration_error_of_one_who_says_80_and_is_right_half_the_time():
    scores, labels = np.full(10, 0.8), np.array([1, 0] * 5, float)
    judged = _judged(scores[:, None], labels[:, None])
    assert judged.metrics()["ece/a"] == pytest.approx(0.3)


def test_thresholds_are_judged_on_people_they_were_not_chosen_on():
    """Noise judged where its threshold was chosen looks better than chance."""
    rng = np.random.default_rng(0)
    flattered, cross_validated = [], []
    for _ in range(30):
        one = _judged(rng.random((40, 1)), rng.integers(2, size=(40, 1)))
        scores, labels, _ = one.known("a")
        cut = one.chosen_thresholds()["a"]
        flattered.append(balanced_accuracy(scores >= cut, labels))
        cross_validated.append(one.crossed()["balanced_accuracy@chosen/a"])
    assert np.mean(flattered) > 0.58
    assert abs(np.mean(cross_validated) - 0.5) < 0.05


def test_intervals_draw_people_and_hold_the_figure():
    rng = np.random.default_rng(1)
    labels = rng.integers(2, size=(200, 1)).astype(float)
    scores = np.clip(0.4 * labels + 0.6 * rng.random((200, 1)), 0, 1)
    one = _judged(scores, labels, paths=[f"p{n // 4}/{n}.jpg" for n in range(200)])
    low, high = one.intervals()["ap/a"]
    assert low < one.metrics()["ap/a"] < high
    assert one.intervals() == one.intervals()
    alone = _judged(scores, labels, paths=[f"all/{n}.jpg" for n in range(200)])
    assert len(np.unique(alone.people)) == 200, "one folder says nothing about people"


def test_the_breakdown_tells_the_errors_among_those_with_another_attribute():
    one = _judged([[0.9, 0], [0.9, 0], [0.1, 1], [0.9, 1]], [[1, 0], [0, 0], [0, 1], [1, 1]])
    rows = {(r["attribute"], r["by"], r["value"]): r for r in one.breakdown()}
    assert rows["a", "b", 0]["error"] == 0.5
    assert rows["a", "b", 0]["false_positive_rate"] == 1
    assert rows["a", "b", 1]["error"] == 0
    assert rows["a", "b", 1]["n"] == 2


def test_a_group_is_judged_by_its_mean_error():
    values = {"age": (np.array([30.0, 41.0, 7.0]), np.array([33.0, 40.0, np.nan]))}
    assert _judged([[0.1]] * 3, [[0]] * 3, values=values).metrics()["mae/age"] == 2
