"""Rates at each step."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from apps.engine.training.optim.optimizers import cosine
from apps.engine.training.optim.schedule import Schedule, make_schedule


def two_groups() -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.3, 0.07)])


def rates(schedule: Schedule, optimizer: torch.optim.Optimizer, step: int) -> list[float]:
    schedule.set_step(step)
    return [group["lr"] for group in optimizer.param_groups]


def make(name: str, **options: Any) -> tuple[Schedule, torch.optim.Optimizer]:
    optimizer = two_groups()
    options = {"steps_per_epoch": 7, "epochs": 10, "warmup_epochs": 1.5} | options
    return make_schedule(optimizer, name=name, **options), optimizer


@pytest.mark.parametrize(("epochs", "warmup"), [(10, 1.5), (10, 0.0), (1, 3.0)])
def test_the_cosine_is_that_of_earlier_runs_to_the_last_bit(epochs: int, warmup: float) -> None:
    schedule, optimizer = make("cosine", epochs=epochs, warmup_epochs=warmup)
    other = two_groups()
    old = cosine(other, steps=7 * epochs, warmup=round(7 * warmup))
    for step in range(7 * epochs):
        old.step_update(step)
        assert rates(schedule, optimizer, step) == [group["lr"] for group in other.param_groups]


@pytest.mark.parametrize("name", ["cosine", "step", "plateau", "constant"])
def test_a_rate_hangs_on_the_step_alone(name: str) -> None:
    """A run that is resumed in the middle of an epoch, or asks twice, gets the same rates."""
    schedule, optimizer = make(name, step_epochs=2, min_lr_share=0.05)
    in_order = [rates(schedule, optimizer, step) for step in range(70)]
    fresh, other = make(name, step_epochs=2, min_lr_share=0.05)
    for step in (69, 3, 40, 40, 11, 0):
        assert rates(fresh, other, step) == in_order[step]
    assert in_order[0] == [0.0, 0.0]
    assert in_order[5] == pytest.approx([0.3 * 0.5, 0.07 * 0.5])
    assert in_order[10] == pytest.approx([0.3, 0.07])


def test_a_schedule_made_after_the_optimizers_state_is_loaded_keeps_the_full_rates() -> None:
    """The state holds the rates of the step at which it was saved: no full rates."""
    schedule, optimizer = make("cosine")
    expected = rates(schedule, optimizer, 50)
    schedule.set_step(60)
    resumed = two_groups()
    resumed.load_state_dict(optimizer.state_dict())
    again = make_schedule(resumed, name="cosine", steps_per_epoch=7, epochs=10, warmup_epochs=1.5)
    assert rates(again, resumed, 50) == expected


@pytest.mark.parametrize("name", ["cosine", "step"])
def test_no_group_falls_below_its_share(name: str) -> None:
    schedule, optimizer = make(name, step_epochs=2, min_lr_share=0.1)
    assert rates(schedule, optimizer, 69) == pytest.approx([0.03, 0.007], rel=0.02)
    assert min(rates(schedule, optimizer, 69)) >= 0.007


def test_steps_fall_at_whole_multiples_from_the_start_of_the_run() -> None:
    schedule, optimizer = make("step", step_epochs=3, step_rate=0.5, warmup_epochs=1)
    first = [rates(schedule, optimizer, 7 * epoch)[0] / 0.3 for epoch in range(10)]
    assert first == pytest.approx([0, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125])
    assert rates(schedule, optimizer, 20)[0] == pytest.approx(0.3)


def test_a_constant_rate_stays() -> None:
    schedule, optimizer = make("constant", warmup_epochs=0)
    assert [rates(schedule, optimizer, step) for step in (0, 35, 69)] == [[0.3, 0.07]] * 3


@pytest.mark.parametrize(("higher", "figures"), [
    (True, [0.5, 0.6, 0.6, 0.1, float("nan"), 0.7, 0.7]), (False, [5, 4, 4, 9, float("nan"), 3, 3]),
])
def test_a_plateau_lowers_the_rate_after_more_than_patience_and_remembers(
    higher: bool, figures: list[float]
) -> None:
    options = {"patience": 2, "step_rate": 0.1, "warmup_epochs": 0, "higher_is_better": higher}
    schedule, optimizer = make("plateau", **options)
    fell = []
    for epoch, figure in enumerate(figures):
        fell.append(schedule.epoch_end(figure))
        state = json.loads(json.dumps(schedule.state_dict()))  # stopped and resumed after each epoch
        schedule, optimizer = make("plateau", **options)
        schedule.load_state_dict(state)
        assert rates(schedule, optimizer, 7 * epoch + 7)[0] == pytest.approx(0.03 if epoch >= 4 else 0.3)
    assert fell == [False, False, False, False, True, False, False]


def test_only_a_plateau_listens_to_figures() -> None:
    schedule, _ = make("cosine")
    assert not any(schedule.epoch_end(0.0) for _ in range(20))
    assert schedule.state_dict() == {}
    schedule.load_state_dict({})


@pytest.mark.parametrize(("options", "message"), [
    ({"name": "cosin"}, "there is no schedule 'cosin'; there are: cosine, step, plateau, constant"),
    ({"step_epochs": 0}, "--step-epochs must be above 0, got 0"),
    ({"step_rate": 1.0}, "--step-rate must be between 0 and 1, got 1.0"),
    ({"min_lr_share": 2}, "--min-lr-share must be 0 to 1, got 2"),
    ({"patience": -1}, "--patience must be 0 or more, got -1"),
])
def test_a_schedule_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**({"name": "step"} | options))
