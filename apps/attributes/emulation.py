"""How well a student repeats its teacher: the measure of the paper's section 4.5."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.attributes.names import Layout

LEAST = 1e-7  # a probability is not taken for smaller than this


def emulation(student: NDArray[Any], teacher: NDArray[Any], layout: Layout) -> dict[str, float | None]:
    """The student's cross-entropy to the teacher, in nats, averaged over images, then over attributes.

    Args:
        student: (N, columns of ``layout``) probabilities.
        teacher: the same; NaN where it says nothing.
        layout: of both.

    Returns:
        ``cross_entropy`` and ``entropy``, the least that a student can have (the teacher's own doubt), and
        both by name; None where the teacher says nothing. ``agreement/NAME`` is the share of images on which
        both decide alike at 0.5, or for the same class.

    Source:
        Howard et al. 2017, arXiv:1704.04861, section 4.5.
    """
    results: dict[str, float | None] = {"cross_entropy": None, "entropy": None}
    start = 0
    for name, width in [*((item, 1) for item in layout.names), *layout.groups.items()]:
        answer, wanted = (every[:, start : start + width].astype(float) for every in (student, teacher))
        start += width
        known = ~np.isnan(wanted).any(axis=1)
        if not known.any():
            continue
        answer, wanted = answer[known], wanted[known]
        if width == 1:
            answer, wanted = np.hstack([answer, 1 - answer]), np.hstack([wanted, 1 - wanted])
            alike = (answer[:, 0] >= answer[:, 1]) == (wanted[:, 0] >= wanted[:, 1])
        else:
            alike = answer.argmax(axis=1) == wanted.argmax(axis=1)
        results |= {
            f"cross_entropy/{name}": _cross_entropy(wanted, answer),
            f"entropy/{name}": _cross_entropy(wanted, wanted), f"agreement/{name}": float(alike.mean()),
        }
    for what in ("cross_entropy", "entropy"):
        parts = [value for key, value in results.items() if key.startswith(f"{what}/") and value is not None]
        results[what] = float(np.mean(parts)) if parts else None
    return results


def _cross_entropy(wanted: NDArray[Any], array: NDArray[Any]) -> float:
    return float(-(wanted * np.log(np.maximum(array, LEAST))).sum(axis=1).mean())
