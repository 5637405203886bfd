"""A learning rate by trial."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from apps.engine.training.lr_finder import LrCurve, find_lr, plot_lr


class Bowl:
    """Gradient descent on x**2 / 2 * slope: it diverges above a rate of 2 / slope."""

    def __init__(self, slope: float) -> None:
        self.slope, self.place, self.rates = slope, 1.0, list[float]()

    def __call__(self, lr: float) -> float:
        loss = 0.5 * self.slope * self.place**2 + 1.0
        self.rates.append(lr)
        self.place -= lr * self.slope * self.place
        return loss


@pytest.mark.parametrize("slope", [10.0, 100.0, 1000.0])
def test_the_suggestion_is_below_the_rate_that_diverges_and_not_far(slope: float) -> None:
    curve = find_lr(Bowl(slope), low=1e-6, high=10.0, steps=80)
    assert 2 / slope / 50 < curve.suggestion < 2 / slope


def test_rates_rise_by_one_factor_from_low_to_high() -> None:
    bowl = Bowl(1e-6)
    curve = find_lr(bowl, low=1e-4, high=1.0, steps=9)
    assert bowl.rates == pytest.approx([10 ** (-4 + n / 2) for n in range(9)])
    assert curve.lrs == tuple(bowl.rates)
    assert len(curve.losses) == 9


def test_it_stops_when_the_loss_is_four_times_its_best() -> None:
    bowl = Bowl(100.0)
    curve = find_lr(bowl, low=1e-5, high=1e3, steps=60)
    assert len(bowl.rates) < 60
    assert len(curve.lrs) == len(bowl.rates) - 1
    assert 2 / 100 < bowl.rates[-1] < 1


@pytest.mark.parametrize("broken", [math.nan, math.inf, "raise"])
def test_a_loss_that_is_not_finite_ends_the_trial(broken: float | str) -> None:
    calls: list[float] = []

    def step(lr: float) -> float:
        calls.append(lr)
        if len(calls) == 20:
            if broken == "raise":
                raise FloatingPointError("the loss is not finite")
            return float(broken)
        return 3.0 - 0.05 * len(calls)

    curve = find_lr(step, steps=60)
    assert len(calls) == 20
    assert len(curve.lrs) == 19
    assert curve.suggestion == pytest.approx(calls[18] / 10)


def test_one_noisy_step_does_not_decide() -> None:
    losses = [3.0 - 0.02 * n for n in range(60)]
    losses[5] = 1.9
    rest = iter(losses)
    curve = find_lr(lambda _: next(rest), low=1e-6, high=1.0, steps=60)
    assert curve.suggestion == pytest.approx(0.1)


def test_the_suggestion_is_never_below_the_rates_tried() -> None:
    rising = iter(range(1, 100))
    assert find_lr(lambda _: 1 + 0.01 * next(rising), low=1e-4, high=1.0, steps=20).suggestion == 1e-4


@pytest.mark.parametrize(("low", "high", "steps", "message"), [
    (0.0, 1.0, 60, "rise from above 0, got 0.0 to 1.0"), (1.0, 0.1, 60, "got 1.0 to 0.1"),
    (1e-6, math.inf, 60, "got 1e-06 to inf"), (1e-6, 1.0, 7, "needs 8 steps or more, got 7"),
])
def test_a_trial_that_makes_no_sense_is_refused(low: float, high: float, steps: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_lr(Bowl(1.0), low=low, high=high, steps=steps)


def test_a_loss_that_breaks_at_once_says_to_begin_lower() -> None:
    with pytest.raises(ValueError, match=r"broke at step 1, at a rate of 0.1: begin below 0.1"):
        find_lr(lambda _: math.nan, low=0.1, high=1.0)


def test_the_curve_is_drawn_and_no_figure_stays_open(tmp_path: Path) -> None:
    plot_lr(LrCurve((1e-3, 1e-2, 1e-1), (3.0, 2.0, 4.0), 1e-3), tmp_path / "lr.png")
    with Image.open(tmp_path / "lr.png") as image:
        assert image.size == (720, 480)
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 10
    assert plt.get_fignums() == []
