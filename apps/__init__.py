"""Applications: a dataset, a head, metrics and defaults each; the engine they share; the verbs.

``apps.load("runs/dogs").predict("dog.jpg")[0].name`` answers from Python.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apps.engine.inference.predictions import (
        AttributePrediction,
        ClassPrediction,
        EmbeddingPrediction,
        FailedPrediction,
        HeadsPrediction,
        ObjectsPrediction,
        PlacePrediction,
        Prediction,
    )
    from apps.engine.inference.predictor import Predictor, load

__all__ = [
    "AttributePrediction", "ClassPrediction", "EmbeddingPrediction", "FailedPrediction", "HeadsPrediction",
    "ObjectsPrediction", "PlacePrediction", "Prediction", "Predictor", "load",
]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are asked for: ``import apps`` alone costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    where = "predictions" if name.endswith("Prediction") else "predictor"
    return getattr(import_module(f"apps.engine.inference.{where}"), name)
