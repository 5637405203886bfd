"""MobileNetV1 and anything that keeps its contract: images in [0, 1] -> {stride: map}; weights; cost.

Importing it changes nothing elsewhere: timm is imported where a network of timm is asked for, and gets the
names of this package by :func:`register_timm_models`.
"""

from backbone._cpu.layers import optimize_for_training
from backbone.base import Backbone, Preprocessing
from backbone.complexity import Cost, cost
from backbone.factory import build, create
from backbone.inference import inference_model
from backbone.mobilenet import MobileNetV1
from backbone.timm_models import register_timm_models
from backbone.weights import Weights, WeightsInfo, load_state, load_weights

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
