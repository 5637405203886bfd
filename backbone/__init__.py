"""MobileNetV1 and anything that keeps its contract: images in [0, 1] -> {stride: map}; weights; cost."""

from backbone.base import Backbone, Preprocessing
from backbone.mobilenet import MobileNetV1
from backbone.timm_models import offer_to_timm
from backbone.weights import Weights, WeightsInfo, load_state, load_weights

__all__ = [
    "Backbone",
    "MobileNetV1",
    "Preprocessing",
    "Weights",
    "WeightsInfo",
    "build",
    "load_state",
    "load_weights",
]


offer_to_timm()


def build(info: WeightsInfo) -> Backbone:
    """The network that ``info`` describes, without its weights."""
    if info.arch == "mobilenetv1":
        return MobileNetV1(**info.arguments, preprocessing=info.preprocessing)
    from backbone.timm_backbone import TimmBackbone

    return TimmBackbone(info.arch.removeprefix("timm:"), **info.arguments)
