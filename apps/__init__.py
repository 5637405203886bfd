"""Applications: a dataset, a head, metrics and defaults each; the engine they share; the verbs.

``apps.load("runs/dogs").predict("dog.jpg")[0].name`` answers from Python.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from apps.engine.inference import predictions
from apps.engine.inference.predictions import *  # noqa: F403

if TYPE_CHECKING:
    from apps.engine.inference.predictor import Predictor, load

__all__ = ["Predictor", "load"]
__all__ += predictions.__all__


def __getattr__(name: str) -> Any:
    """What answers, imported when it is asked for: ``import apps`` alone imports no library."""
    if name not in ("Predictor", "load"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("apps.engine.inference.predictor"), name)
