"""MobileNetV1 and anything that keeps its contract: images in [0, 1] -> {stride: map}; weights; cost.

Importing it changes nothing elsewhere and costs nothing: torch is imported where one of these names is used,
timm where a network of timm is asked for; timm gets the names of this package by
:func:`register_timm_models`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backbone._cpu.layers import optimize_for_training
    from backbone.base import Backbone, Preprocessing
    from backbone.complexity import Cost, cost
    from backbone.factory import build, create
    from backbone.inference import inference_model
    from backbone.mobilenet import MobileNetV1
    from backbone.timm_models import register_timm_models
    from backbone.weights import Weights, WeightsInfo, load_state, load_weights

_MODULES = {
    "_cpu.layers": ("optimize_for_training",),
    "base": ("Backbone", "Preprocessing"),
    "complexity": ("Cost", "cost"),
    "factory": ("build", "create"),
    "inference": ("inference_model",),
    "mobilenet": ("MobileNetV1",),
    "timm_models": ("register_timm_models",),
    "weights": ("Weights", "WeightsInfo", "load_state", "load_weights"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Backbone",
    "Cost",
    "MobileNetV1",
    "Preprocessing",
    "Weights",
    "WeightsInfo",
    "build",
    "cost",
    "create",
    "inference_model",
    "load_state",
    "load_weights",
    "optimize_for_training",
    "register_timm_models",
]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"backbone.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
