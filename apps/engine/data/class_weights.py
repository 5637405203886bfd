"""Classes of unequal size: weights that make each count the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

KINDS = ("none", "balanced")


def class_weights(counts: Sequence[int], kind: Literal["none", "balanced"] = "balanced") -> Tensor:
    """A weight for each class, with mean 1 over the photos, so that the loss keeps its size.

    ``balanced`` is N / (P * count): scikit-learn's rule over the P classes that have photos. A class
    without photos weighs 0: it is no photo's target, and label smoothing must not lift it.

    Args:
        counts: photos of each class, in the order of the classes.
        kind: ``none`` for ones.

    Shape:
        returns: (K,) float32.

    Raises:
        ValueError: the kind is unknown, a count is negative, or there are no photos.
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


def balanced_order(targets: Sequence[int], *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Positions for one epoch in which every class that has photos is drawn as often, within one.

    As long as the data: a class with more photos than its share gives some of them, others in each
    epoch; one with fewer gives all of its photos, and gives them again until it has its share.

    Args:
        targets: class of each photo.
        seed: of the run.
        epoch: from 0; the order hangs on the two alone.

    Shape:
        returns: (N,) positions in ``targets``.

    Raises:
        ValueError: there are no photos.
    """
    classes = np.asarray(targets, dtype=np.int64)
    if classes.size == 0:
        raise ValueError("balanced sampling needs photos, got none")
    random = np.random.default_rng((seed, epoch))
    present = random.permutation(np.unique(classes))  # who gets the photos that do not divide: by chance
    share, more = divmod(len(classes), len(present))
    drawn = []
    for rank, one in enumerate(present):
        members, wanted = np.flatnonzero(classes == one), share + (rank < more)
        rounds = [random.permutation(members) for _ in range(-(-wanted // len(members)))]
        drawn.append(np.concatenate([*rounds, members[:0]])[:wanted])
    return random.permutation(np.concatenate(drawn))
