"""Features of a frozen backbone, computed once; the head then learns from them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from apps.engine.loader import BadPhoto, Loader
from apps.engine.train import StepHook, run_model
from apps.engine.world import World
from backbone import Backbone
from backbone.fold import folded


def pooled_features(
    network: Backbone, loader: Loader, *, stride: int, world: World | None = None,
    dtype: torch.dtype = torch.float32,
    on_step: StepHook = lambda _done, _tally: None,
) -> tuple[NDArray[np.float32], NDArray[np.int64], list[int], list[BadPhoto]]:
    """The map of one stride averaged over height and width, for each photo.

    Args:
        network: its batch-norm is folded into a copy that computes.
        loader: photos in order; each process brings its part.
        stride: of the map.
        world: the processes that share the work; all of them get all features.
        dtype: in which the network computes.
        on_step: called after each batch.

    Returns:
        (N, C) features, (N,) targets, the photos' indices, and those that could not be read.
    """
    fast = folded(network, dtype)

    def pool(images: Tensor) -> Tensor:
        return torch.as_tensor(fast(images)[stride]).float().mean(dim=(2, 3))

    features, targets, indices, bad = run_model(pool, loader.epoch(0), world=world, on_step=on_step)
    return features.numpy(), targets.numpy().astype(np.int64), indices, bad
