from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax as scipy_log_softmax
from scipy.stats import binomtest
from sklearn.metrics import (
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from apps.engine.evaluation.classification import (
    ConfusedPair,
    Predictions,
    classification_metrics,
    confusion,
    intervals,
    log_softmax,
    most_confused,
    per_class,
    reliability,
    softmax,
    top_k_accuracy,
    wilson_interval,
)

pytestmark = pytest.mark.computes


def answers(logits, targets, temperature=1.0):
    logits, targets = np.asarray(logits, np.float32), np.asarray(targets, np.int64)
    n, k = logits.shape if logits.ndim == 2 else (0, 0)
    names = tuple(f"class {i}" for i in range(k))
    return Predictions(logits, targets, tuple(f"{i}.jpg" for i in range(n)), names, temperature)


@pytest.fixture
def noisy():
    """400 photos of 8 classes, about half of them right, all classes present."""
    rng = np.random.default_rng(0)
    targets = np.arange(400) % 8
    logits = rng.normal(0, 1, (400, 8))
    logits[np.arange(400), targets] += 1.5
    return answers(logits, targets)


def test_top_k_and_cross_entropy_are_those_of_scikit_learn(noisy):
    labels = range(8)
    for k in (1, 5):
        expected = top_k_accuracy_score(noisy.targets, noisy.logits, k=k, labels=labels)
        assert top_k_accuracy(noisy, k) == pytest.approx(expected, abs=1e-12)
    assert classification_metrics(noisy)["cross_entropy"] == pytest.approx(
        log_loss(noisy.targets, noisy.probabilities, labels=list(labels)), abs=1e-9
    )


def test_confusion_precision_recall_and_f1_are_those_of_scikit_learn(noisy):
    assert (confusion(noisy) == confusion_matrix(noisy.targets, noisy.predicted)).all()
    precision, recall, f1, n = precision_recall_fscore_support(noisy.targets, noisy.predicted)
    rows = per_class(noisy)
    assert [r["precision"] for r in rows] == pytest.approx(precision)
    assert [r["recall"] for r in rows] == pytest.approx(recall)
    assert [r["f1"] for r in rows] == pytest.approx(f1)
    assert [r["n"] for r in rows] == list(n)


def test_calibration_error_equals_the_naive_loop_over_fifteen_bins(noisy):
    edges, error = np.linspace(0, 1, 16), 0.0
    for low, high in pairwise(edges):
        mine = [i for i, c in enumerate(noisy.confidence) if low < c <= high]
        if mine:
            right = sum(bool(noisy.right[i]) for i in mine) / len(mine)
            said = sum(float(noisy.confidence[i]) for i in mine) / len(mine)
            error += len(mine) / len(noisy.targets) * abs(right - said)
    assert error > 0.01
    assert classification_metrics(noisy)["ece"] == pytest.approx(error, abs=1e-12)


def test_a_confidence_on_an_edge_belongs_to_the_lower_bin_and_none_is_lost():
    bins = reliability(np.array([0.0, 0.2, 1.0]), np.array([True, False, True]), bins=5)
    assert bins.count.tolist() == [2, 0, 0, 0, 1]
    assert bins.right.tolist() == [1, 0, 0, 0, 1]


def test_a_network_that_says_the_same_of_every_class_does_not_score_full_marks():
    """Counting a tie as a hit would say 100 %; here it is right on the first k classes only."""
    constant = answers(np.zeros((12, 6)), np.arange(12) % 6)
    assert top_k_accuracy(constant, 1) == pytest.approx(1 / 6)
    assert top_k_accuracy(constant, 5) == pytest.approx(5 / 6)
    assert top_k_accuracy(constant, 1) == np.trace(confusion(constant)) / 12


@given(hnp.arrays(np.float32, (20, 6), elements=st.integers(-2, 2).map(float)))
@settings(deadline=None, max_examples=50)
def test_top_1_is_the_diagonal_of_the_confusion_matrix_whatever_the_ties(logits):
    p = answers(logits, np.arange(20) % 6)
    assert top_k_accuracy(p, 1) == np.trace(confusion(p)) / 20
    assert top_k_accuracy(p, 6) == 1.0


def test_five_classes_or_fewer_have_no_top_5():
    """It would always be 100 %."""
    few = answers(np.eye(5), range(5))
    assert set(classification_metrics(few)) == {"top1", "ece", "cross_entropy"}
    assert set(intervals(few)) == {"top1"}
    assert "top5" in classification_metrics(answers(np.eye(6), range(6)))


@pytest.mark.parametrize(("right", "n"), [(0, 1), (0, 10), (7, 10), (283, 300), (300, 300), (1, 8580)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_wilson_interval_is_that_of_scipy(right, n, level):
    expected = binomtest(right, n).proportion_ci(level, method="wilson")
    assert wilson_interval(right, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_of_no_photo_is_everything_and_nonsense_is_refused():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    for arguments in ((3, 2), (-1, 2), (1, 2, 1.0)):
        with pytest.raises(ValueError, match="0 <= right <= n"):
            wilson_interval(*arguments)


def test_a_class_without_photos_or_answers_has_no_precision_rather_than_none_right():
    rows = per_class(answers([[5, 0, 0], [5, 0, 0]], [0, 1]))
    assert rows[0] == {
        "name": "class 0", "n": 1, "right": 1, "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3)
    }
    assert (rows[1]["precision"], rows[1]["recall"], rows[1]["f1"]) == (None, 0.0, 0.0)
    assert (rows[2]["precision"], rows[2]["recall"], rows[2]["f1"]) == (None, None, None)


def test_the_most_confused_pair_counts_both_directions():
    said = np.eye(4)[[1, 1, 0, 3, 3, 2, 3]]
    p = answers(said, [0, 0, 1, 2, 3, 2, 3])
    assert most_confused(p, 9) == [ConfusedPair(0, 1, 2, 1), ConfusedPair(2, 3, 1, 0)]
    assert most_confused(p, 1)[0].count == 3
    assert most_confused(answers(np.eye(3), range(3)), 5) == []


def test_probabilities_survive_huge_logits_and_follow_the_temperature():
    p = answers([[1e30, 0.0], [2.0, 0.0]], [0, 0], temperature=2.0)
    assert p.probabilities[0].tolist() == [1.0, 0.0]
    assert p.probabilities[1, 0] == pytest.approx(1 / (1 + np.exp(-1.0)), abs=1e-15)
    assert p.probabilities.dtype == np.float64
    rows = np.random.default_rng(1).normal(0, 300, (5, 7))
    assert np.allclose(log_softmax(rows), scipy_log_softmax(rows, axis=1), atol=1e-9)
    assert softmax(rows).sum(axis=1) == pytest.approx(np.ones(5))


@pytest.mark.parametrize(
    ("logits", "targets", "words"),
    [
        ([[0.0, np.nan], [0.0, 1.0]], [0, 1], "photo 0 are not finite"),
        ([[0.0, 1.0], [np.inf, 1.0]], [0, 1], "photo 1 are not finite"),
        ([[0.0, 1.0]], [2], "from 0 to 1"),
        ([[0.0, 1.0]], [-1], "from 0 to 1"),
        ([[0.0, 1.0]], [0, 1], "targets of shape"),
        (np.zeros((0, 3)), [], "N and K from 1 up"),
    ],
)
def test_broken_answers_are_refused_and_named(logits, targets, words):
    with pytest.raises(ValueError, match=words):
        answers(logits, targets)


def test_names_paths_and_temperature_must_fit():
    logits, targets = np.eye(2, dtype=np.float32), np.arange(2)
    with pytest.raises(ValueError, match="one path for each of 2 photos, got 1"):
        Predictions(logits, targets, ("a",), ("x", "y"))
    with pytest.raises(ValueError, match="one name for each of 2 classes, got 3"):
        Predictions(logits, targets, ("a", "b"), ("x", "y", "z"))
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="temperature above 0"):
            Predictions(logits, targets, ("a", "b"), ("x", "y"), temperature)
