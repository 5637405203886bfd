"""Applications: a dataset, a head, metrics and defaults each; the engine they share; the verbs.

``apps.load("runs/dogs").predict("dog.jpg")[0].name`` answers from Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apps.engine.inference.predictions import Prediction
    from apps.engine.inference.predictor import Predictor, load

__all__ = ["Prediction", "Predictor", "load"]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are asked for: ``import apps`` alone costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from apps.engine.inference import predictor

    return getattr(predictor, name)
