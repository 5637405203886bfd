"""K-fold cross-validation: which images a fold trains on and which it is evaluated on."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from datasets.base import ImageDataset

D = TypeVar("D", bound=ImageDataset)
_FOLD = re.compile(r"([1-9]\d{0,2})/([1-9]\d{0,2})")


def fold_numbers(fold: str) -> tuple[int, int]:
    """(2, 5) of ``2/5``.

    Raises:
        ValueError: it is no such text, or there are fewer than 2 folds.
    """
    match = _FOLD.fullmatch(fold)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if count < 2 or not 1 <= number <= count:
        raise ValueError(f"--fold must be a number of a fold and how many there are, as in 2/5, got {fold!r}")
    return number, count


def fold_rows(
    photos: int, fold: str, seed: int, *, labels: Sequence[int] | None = None,
    groups: Sequence[Any] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The images that a fold trains on and those that it is evaluated on, ascending.

    Each image is evaluated in exactly one fold.

    Args:
        photos: how many.
        fold: as ``2/5``.
        seed: of the draw.
        labels: classes, which every fold has the same share of as far as that goes.
        groups: images with the same one are in one fold, such as those of a person.

    Raises:
        ValueError: there are fewer images, or groups, than folds.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

    number, count = fold_numbers(fold)
    least, what = (photos, "photos") if groups is None else (len(set(groups)), "groups of photos")
    if least < count:
        raise ValueError(f"{count} folds need as many {what}, there are {least}; give fewer --folds")
    splitter: Any = KFold(count, shuffle=True, random_state=seed)
    if groups is not None:
        splitter = GroupKFold(count, shuffle=True, random_state=seed)
    elif labels is not None and np.bincount(labels).max() >= count:
        splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer images than folds
        parts = list(splitter.split(np.zeros((photos, 1)), labels, groups))
    train, val = parts[number - 1]
    return np.sort(train).astype(np.int64), np.sort(val).astype(np.int64)


def folded(
    train: D, val: D, split: str, fold: str, seed: int, *, groups: Sequence[Any] | None = None
) -> D:
    """The images of a split of a fold, drawn from those of both splits together.

    Args:
        train, val: the splits as the data set has them.
        split: ``train`` or ``val``.
        fold: as ``2/5``.
        seed: of the draw.
        groups: of the images of train and then val; None draws image by image.

    Raises:
        ValueError: as of :func:`fold_rows`.
    """
    every = train.joined(val)
    labels = [photo.label for photo in every.photos] if every.single_label else None
    rows = fold_rows(len(every), fold, seed, labels=labels, groups=groups)
    part = every.subset(rows[0 if split == "train" else 1].tolist())
    part.notes = [*train.notes, *val.notes] if split == "train" else []
    return part
