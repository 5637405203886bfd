"""Targets and outputs that are more than one tensor: dicts by key, tuples by place, lists by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def stacked(targets: Sequence[Any]) -> Any:
    """The targets of the images of a batch, images first.

    Args:
        targets: one an image. Numbers and arrays of one shape become a tensor; dicts of them a dict of
            tensors; tuples, whose arrays may differ in shape, stay a list with a tuple of tensors an image.
    """
    if not targets:
        return torch.empty(0, dtype=torch.int64)
    first = targets[0]
    if isinstance(first, dict):
        return {key: stacked([target[key] for target in targets]) for key in first}
    if isinstance(first, tuple):
        return [tuple(torch.as_tensor(part) for part in target) for target in targets]
    return torch.as_tensor(np.asarray(targets))


def mapped(function: Callable[[Tensor], Tensor], nested: Any) -> Any:
    """The same structure with ``function`` applied to each tensor in it; anything else stays."""
    if isinstance(nested, Tensor):
        return function(nested)
    if isinstance(nested, dict):
        return {key: mapped(function, value) for key, value in nested.items()}
    if isinstance(nested, tuple | list):
        return type(nested)(mapped(function, item) for item in nested)
    return nested


def joined(parts: Sequence[Any]) -> Any:
    """The structures of several batches as one, images first."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, dict):
        return {key: joined([part[key] for part in parts]) for key in first}
    if isinstance(first, tuple):
        return tuple(joined(places) for places in zip(*parts, strict=True))
    return [item for part in parts for item in part]


def taken(nested: Any, rows: Sequence[int]) -> Any:
    """The structure with only these images, in this order."""
    if isinstance(nested, list):
        return [nested[row] for row in rows]
    if isinstance(nested, dict):
        return {key: taken(value, rows) for key, value in nested.items()}
    if isinstance(nested, tuple):
        return tuple(taken(item, rows) for item in nested)
    return nested[np.asarray(rows, np.int64)]


def all_finite(nested: Any) -> bool:
    """Whether no tensor in the structure has a value that is not finite."""
    if isinstance(nested, Tensor):
        return bool(torch.isfinite(nested).all())
    parts = nested.values() if isinstance(nested, dict) else nested
    return not isinstance(nested, dict | tuple | list) or all(all_finite(part) for part in parts)
