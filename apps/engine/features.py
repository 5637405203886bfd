"""Features of a frozen backbone, computed once; the head then learns from them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from apps.engine.loader import BadPhoto, Loader
from apps.engine.train import StepHook, run_model
from backbone import Backbone


def pooled_features(
    network: Backbone, loader: Loader, *, stride: int, on_step: StepHook = lambda _done, _tally: None,
) -> tuple[NDArray[np.float32], NDArray[np.int64], list[int], list[BadPhoto]]:
    """The map of one stride averaged over height and width, for each photo.

    Returns:
        (N, C) features, (N,) targets, the photos' indices, and those that could not be read.
    """
    network.eval()

    def pool(images: Tensor) -> Tensor:
        return torch.as_tensor(network(images)[stride]).mean(dim=(2, 3))

    features, targets, indices, bad = run_model(pool, loader.epoch(0), on_step=on_step)
    return features.numpy(), targets.numpy().astype(np.int64), indices, bad
