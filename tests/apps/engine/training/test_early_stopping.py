"""The best epoch, and when to stop."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.engine.training.early_stopping import EarlyStopping


def test_the_first_of_equal_values_is_kept() -> None:
    best = EarlyStopping("top1", higher_is_better=True)
    seen = [best.improved({"top1": value}, epoch) for epoch, value in enumerate([0.5, 0.7, 0.7, 0.6])]
    assert seen == [True, True, False, False]
    assert (best.value, best.epoch, best.waited) == (0.7, 1, 2)


def test_a_lower_loss_is_better() -> None:
    best = EarlyStopping("val/loss", higher_is_better=False)
    assert [best.improved({"val/loss": v}, n) for n, v in enumerate([2.0, 3.0, 1.0])] == [True, False, True]
    assert best.value == 1.0


def test_a_value_that_is_not_finite_is_never_the_best() -> None:
    best = EarlyStopping("loss", higher_is_better=False)
    values = [float("nan"), float("-inf"), 2.0, float("nan")]
    seen = [best.improved({"loss": value}, n) for n, value in enumerate(values)]
    assert seen == [False, False, True, False]
    assert (best.value, best.epoch, best.waited) == (2.0, 2, 1)


def test_patience_is_the_number_of_epochs_without_a_better_one() -> None:
    best = EarlyStopping("top1", higher_is_better=True)
    stops = []
    for epoch, value in enumerate([0.5, 0.4, 0.6, 0.6, 0.5]):
        best.improved({"top1": value}, epoch)
        stops.append(best.exhausted(2))
    assert stops == [False, False, False, False, True]
    assert not best.exhausted(None)


def test_the_state_goes_through_json_and_goes_on() -> None:
    best = EarlyStopping("top1", higher_is_better=True)
    best.improved({"top1": 0.5}, 0)
    best.improved({"top1": 0.4}, 1)
    again = EarlyStopping("top1", higher_is_better=True)
    again.load_state_dict(json.loads(json.dumps(best.state_dict())))
    assert vars(again) == vars(best)
    assert not again.improved({"top1": 0.5}, 2)


def test_a_figure_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="there is no figure 'top2'; there are: top1, top5"):
        EarlyStopping("top2", higher_is_better=True).improved({"top5": 1.0, "top1": 0.5}, 0)


def test_a_state_of_another_figure_is_refused() -> None:
    with pytest.raises(ValueError, match="started with the best epoch by 'top1', not 'loss'"):
        EarlyStopping("loss", higher_is_better=False).load_state_dict(
            EarlyStopping("top1", higher_is_better=True).state_dict()
        )


def test_a_figure_that_is_not_defined_is_never_the_best() -> None:
    """An attribute that no validation photo shows has no AP; the run goes on."""
    best = EarlyStopping("mean_ap", higher_is_better=True)
    figures: list[dict[str, Any]] = [{"mean_ap": None}, {"mean_ap": 0.5}, {"mean_ap": None}]
    assert [best.improved(one, n) for n, one in enumerate(figures)] == [False, True, False]
    assert (best.value, best.epoch, best.waited) == (0.5, 1, 1)
