"""How well a student repeats its teacher: the measure of the paper's section 4.5."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.attributes.names import Layout

LEAST = 1e-7  # a probability is not taken for smaller than this


def emulation(student: NDArray[Any], teacher: NDArray[Any], layout: Layout) -> dict[str, float | None]:
    """The student's cross-entropy to the teacher, in nats, averaged over photos, then over attributes.

    Args:
        student: (N, columns of ``layout``) probabilities.
        teacher: the same; NaN where it says nothing.
        layout: of both.

    Returns:
        ``cross_entropy`` and ``entropy``, the least that a student can have (the teacher's own doubt), and
        both by name; None where the teacher says nothing. ``agreement/NAME`` is the share of photos on which
        both decide alike at 0.5, or for the same class.

    Source:
        Howard et al. 2017, arXiv:1704.04861, section 4.5.
    """
    found: dict[str, float | None] = {"cross_entropy": None, "entropy": None}
    start = 0
    for name, width in [*((one, 1) for one in layout.names), *layout.groups.items()]:
        said, wanted = (every[:, start : start + width].astype(float) for every in (student, teacher))
        start += width
        known = ~np.isnan(wanted).any(axis=1)
        if not known.any():
            continue
        said, wanted = said[known], wanted[known]
        if width == 1:
            said, wanted = np.hstack([said, 1 - said]), np.hstack([wanted, 1 - wanted])
            alike = (said[:, 0] >= said[:, 1]) == (wanted[:, 0] >= wanted[:, 1])
        else:
            alike = said.argmax(axis=1) == wanted.argmax(axis=1)
        found |= {
            f"cross_entropy/{name}": _cross_entropy(wanted, said),
            f"entropy/{name}": _cross_entropy(wanted, wanted), f"agreement/{name}": float(alike.mean()),
        }
    for what in ("cross_entropy", "entropy"):
        parts = [value for key, value in found.items() if key.startswith(f"{what}/") and value is not None]
        found[what] = float(np.mean(parts)) if parts else None
    return found


def _cross_entropy(wanted: NDArray[Any], said: NDArray[Any]) -> float:
    return float(-(wanted * np.log(np.maximum(said, LEAST))).sum(axis=1).mean())
