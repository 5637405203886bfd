import json
from math import log

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from apps.engine.evaluation.calibration import (
    SCORES,
    UnknownRule,
    cross_fitted_ece,
    energy,
    fit_temperature,
    fit_unknown_rule,
    max_softmax,
    unknown_flags,
)
from apps.engine.evaluation.classification import cross_entropy, reliability, softmax

pytestmark = pytest.mark.computes


def honest(n, k=5, spread=2.0, seed=0):
    """Logits whose softmax is the truth: each target is drawn from it."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (n, k)).astype(np.float32)
    targets = (softmax(logits).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return logits, targets.astype(np.int64)


@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_the_temperature_undoes_the_scale_of_honest_logits(scale):
    logits, targets = honest(20_000)
    assert fit_temperature(logits * scale, targets) == pytest.approx(scale, rel=0.03)


def test_no_other_temperature_has_a_lower_cross_entropy():
    logits, targets = honest(500, seed=3)
    best = fit_temperature(logits * 3, targets)
    here = cross_entropy(logits * 3, targets, best)
    assert all(cross_entropy(logits * 3, targets, best * f) > here for f in (0.5, 0.97, 1.03, 2.0))


def test_one_right_photo_does_not_make_the_network_certain():
    """The likelihood alone would choose temperature 0; the rule of succession says two in three."""
    logits = np.array([[3.0, 0.0]], np.float32)
    temperature = fit_temperature(logits, np.array([0]))
    assert temperature == pytest.approx(3 / log(2), rel=1e-6)
    assert softmax(logits, temperature).max() == pytest.approx(2 / 3)


def test_with_every_photo_right_the_mean_confidence_is_that_of_one_mistake_to_come():
    logits = np.eye(4, dtype=np.float32)[np.arange(40) % 4] * np.linspace(1, 9, 40, dtype=np.float32)[:, None]
    temperature = fit_temperature(logits, np.arange(40) % 4)
    assert softmax(logits, temperature).max(axis=1).mean() == pytest.approx(41 / 42)


def test_logits_that_say_nothing_and_logits_that_are_always_wrong_stay_in_bounds():
    assert fit_temperature(np.zeros((3, 4), np.float32), np.arange(3)) == 1.0
    assert fit_temperature(np.array([[3.0, 0.0]], np.float32), np.array([1])) == pytest.approx(100, rel=0.01)


def test_the_cross_fitted_error_equals_the_naive_loop_and_repeats():
    logits, targets = honest(203, seed=5)
    fold = np.random.default_rng(7).permutation(203) % 4
    confidence = np.zeros(203)
    for held_out in range(4):
        others = [i for i in range(203) if fold[i] != held_out]
        temperature = fit_temperature(logits[others], targets[others])
        for i in np.flatnonzero(fold == held_out):
            confidence[i] = softmax(logits[i], temperature).max()
    expected = reliability(confidence, logits.argmax(1) == targets).error
    assert cross_fitted_ece(logits, targets, 4, 7) == pytest.approx(expected, abs=1e-12)
    assert cross_fitted_ece(logits, targets, 4, 7) == cross_fitted_ece(logits, targets, 4, 7)


def test_cross_fitting_mends_an_overconfident_network():
    logits, targets = honest(4000, seed=6)
    before = reliability(softmax(logits * 5).max(axis=1), logits.argmax(1) == targets).error
    assert before > 0.1
    assert cross_fitted_ece(logits * 5, targets) < 0.03


def test_one_photo_cannot_be_cross_fitted_and_two_can():
    with pytest.raises(ValueError, match="2 photos and 2 folds or more, got 1 and 5"):
        cross_fitted_ece(np.zeros((1, 2), np.float32), np.array([0]))
    assert 0 <= cross_fitted_ece(np.eye(2, dtype=np.float32), np.arange(2)) <= 1


def test_energy_is_the_scaled_log_sum_exp():
    logits = np.random.default_rng(0).normal(0, 50, (9, 6)).astype(np.float32)
    assert np.allclose(energy(logits, 0.7), 0.7 * logsumexp(logits.astype(float) / 0.7, axis=1), rtol=1e-12)


@pytest.mark.parametrize("score", sorted(SCORES))
@pytest.mark.parametrize("keep", [0.8, 0.95])
def test_the_rule_keeps_about_the_wanted_share_of_known_photos(score, keep):
    logits, targets = honest(1000)
    rule = fit_unknown_rule(logits, targets, 1.3, keep=keep, score=score)
    assert 1 - rule.is_unknown(logits).mean() == pytest.approx(keep, abs=0.002)
    fresh, _ = honest(20_000, seed=99)
    assert 1 - rule.is_unknown(fresh).mean() == pytest.approx(keep, abs=0.03)


def test_a_handful_of_photos_still_gives_a_rule_that_keeps_them_all():
    logits, targets = honest(4)
    assert not fit_unknown_rule(logits, targets, 1.0).is_unknown(logits).any()


def test_energy_sees_weak_evidence_that_the_softmax_forgets():
    """Subtracting a constant from all logits leaves the softmax as it was; the energy falls with it."""
    known = np.array([[9.0, 2.0, 1.0]], np.float32)
    foreign = known - 8
    assert max_softmax(known, 1.0) == pytest.approx(max_softmax(foreign, 1.0))
    rule = UnknownRule("energy", 5.0)
    assert rule.is_unknown(np.concatenate([known, foreign])).tolist() == [False, True]


def test_energy_separates_photos_without_any_feature_of_the_classes():
    rng = np.random.default_rng(0)
    known = rng.normal(-2, 1, (300, 10))
    known[np.arange(300), np.arange(300) % 10] += 8
    foreign = rng.normal(-2, 1, (300, 10))
    labels = np.r_[np.ones(300), np.zeros(300)]
    assert roc_auc_score(labels, energy(np.concatenate([known, foreign]), 1.0)) > 0.99


def test_a_rule_survives_json_to_the_last_bit():
    logits, targets = honest(100)
    rule = fit_unknown_rule(logits, targets, 0.7)
    assert UnknownRule.from_dict(json.loads(json.dumps(rule.to_dict()))) == rule


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"score": "luck", "threshold": 0.5}, "'luck'; there are energy, known_share, max_logit, "),
        ({"score": "energy", "threshold": float("nan")}, "finite threshold"),
        ({"score": "energy", "threshold": 1.0, "temperature": 0.0}, "temperature above 0"),
        ({"score": "energy"}, "expected score, threshold and temperature"),
        ({"score": "energy", "threshold": 1.0, "colour": 2}, "colour"),
    ],
)
def test_a_broken_rule_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        UnknownRule.from_dict(values)


def test_unusable_arguments_are_refused():
    logits, targets = honest(10)
    with pytest.raises(ValueError, match="keep between 0 and 1"):
        fit_unknown_rule(logits, targets, 1.0, keep=1.0)
    with pytest.raises(ValueError, match="targets of shape"):
        fit_unknown_rule(logits, targets[:3], 1.0)
    with pytest.raises(ValueError, match="photo 0 are not finite"):
        fit_temperature(np.full((2, 2), np.nan), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="finite logits"):
        UnknownRule("energy", 0.0).is_unknown(np.full((2, 2), np.nan))


def test_without_a_rule_nothing_is_called_known() -> None:
    logits = np.array([[9.0, 0.0], [0.1, 0.0]])
    assert unknown_flags(None, logits) == unknown_flags({}, logits) == [None, None]
    rule = UnknownRule("max_logit", 1.0).to_dict()
    assert unknown_flags(rule, logits) == [False, True]
    assert all(isinstance(flag, bool) for flag in unknown_flags(rule, logits)), "JSON takes no numpy"
