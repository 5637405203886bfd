"""Names of figures: which way is better, and how one is written."""

from __future__ import annotations

import math

SMALLER_IS_BETTER = ("loss", "cross_entropy", "ece", "eer", "median_km", "seconds", "gap")


def smaller_is_better(name: str) -> bool:
    """Whether the lesser of two values is the better one; ``val/loss``, ``ece`` and their like.

    Args:
        name: of a figure, with or without what stands before its last ``/``.
    """
    last = name.rsplit("/", 1)[-1]
    return any(last == word or last.endswith("_" + word) for word in SMALLER_IS_BETTER)


def best_of(values: list[float], name: str) -> int:
    """The position of the best value; of equals the first. Values that are no number are never the best.

    Raises:
        ValueError: there is no number among the values.
    """
    numbers = [at for at, value in enumerate(values) if not math.isnan(value)]
    if not numbers:
        raise ValueError(f"there is no number among the {len(values)} values of {name}")
    sign = 1 if smaller_is_better(name) else -1
    return min(numbers, key=lambda at: (sign * values[at], at))


def written(value: float) -> str:
    """A figure in few characters: 0.874, 12.35, 1240, 1.2e-05."""
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size == 0 or 1e-3 <= size < 10:
        return f"{value:.3f}"
    return f"{value:.4g}" if size < 10_000 else f"{value:.0f}"
