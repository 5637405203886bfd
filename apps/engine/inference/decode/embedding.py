"""Vectors, brought to length 1."""

from __future__ import annotations

import numpy as np

from apps.engine.core.spec import HeadSpec
from apps.engine.inference.decode import Outputs, Sizes
from apps.engine.inference.predictions import EmbeddingPrediction, Prediction


def decode(head: HeadSpec, outputs: Outputs, sizes: Sizes, top: int) -> list[Prediction]:
    """Vectors (B, D), normalised in double precision."""
    del head, sizes, top
    vectors = outputs[0].astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [EmbeddingPrediction(tuple(row)) for row in vectors.tolist()]
