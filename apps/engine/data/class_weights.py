"""Classes of unequal size: weights that make each count the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

KINDS = ("none", "balanced")


def class_weights(counts: Sequence[int], kind: Literal["none", "balanced"] = "balanced") -> Tensor:
    """A weight for each class, with mean 1 over the images, so that the loss keeps its size.

    ``balanced`` is N / (P * count): scikit-learn's rule over the P classes that have images. A class
    without images weighs 0: it is no image's target, and label smoothing must not lift it.

    Args:
        counts: images of each class, in the order of the classes.
        kind: ``none`` for ones.

    Shape:
        returns: (K,) float32.

    Raises:
        ValueError: the kind is unknown, a count is negative, or there are no images.
    """
    if kind not in KINDS:
        raise ValueError(f"--class-weights must be one of {', '.join(KINDS)}, got {kind!r}")
    numbers = torch.as_tensor(list(counts), dtype=torch.float64)
    if bool((numbers < 0).any()) or numbers.sum() == 0:
        raise ValueError(f"class weights need counts of 0 or more and some photo, got {list(counts)[:8]}")
    if kind == "none":
        return torch.ones(len(numbers))
    present = numbers > 0
    weights = numbers.sum() / (present.sum() * numbers)
    return torch.where(present, weights, 0.0).float()
