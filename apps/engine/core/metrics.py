"""Figures: the best of some, and how one is written."""

from __future__ import annotations

import math


def best_of(values: list[float], name: str, *, higher_is_better: bool) -> int:
    """The position of the best value; of equals the first. Values that are no number are never the best.

    Args:
        values: one or more.
        name: of the metric, for the message.
        higher_is_better: as its table says.

    Raises:
        ValueError: there is no number among the values.
    """
    numbers = [at for at, value in enumerate(values) if not math.isnan(value)]
    if not numbers:
        raise ValueError(f"there is no number among the {len(values)} values of {name}")
    sign = -1 if higher_is_better else 1
    return min(numbers, key=lambda at: (sign * values[at], at))


def written(value: float) -> str:
    """A figure in few characters: 0.874, 12.35, 1240, 1.2e-05."""
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size == 0 or 1e-3 <= size < 10:
        return f"{value:.3f}"
    return f"{value:.4g}" if size < 10_000 else f"{value:.0f}"
