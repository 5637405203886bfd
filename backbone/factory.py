"""A backbone by name, with or without its published weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from backbone.base import MIN_SIZE_PX, Backbone, Preprocessing
from backbone.mobilenet import MobileNetV1
from backbone.pretrained import REGISTRY, Registered
from backbone.schema import LARGEST_PARAMETERS, TIMM, check_architecture
from backbone.weights import INPUTS, Weights, WeightsInfo, load_state, load_weights

KERAS_EPS = 1e-3  # of the batch-norm of Keras' files
_MOBILENET = re.compile(r"mobilenetv1(?:_(?P<width>\d(?:\.\d+)?))?(?:_(?P<resolution>\d+))?")


def create(name: str, *, pretrained: bool = False, **arguments: Any) -> Backbone:
    """A backbone by its name, in training mode.

    Args:
        name: registered weights (``mobilenetv1_0.25_128``, also with ``.safetensors`` behind it, or
            ``mobilenetv1_100.ra4_e3600_r224_in1k``); a pattern, ``mobilenetv1_WIDTH`` or
            ``mobilenetv1_WIDTH_RESOLUTION``,
            of a width above 0 and below 10 and a resolution from 32 px up; or a network of timm, such as
            ``resnet18.a1_in1k``. With ``pretrained`` also what else :func:`backbone.load_weights` takes: a
            file, or the folder of a run.
        pretrained: load the weights. Registered files are read from the folder that MOBILENET_WEIGHTS names,
            those of timm through its own hub loader, which downloads them once.
        arguments: of the network's constructor, such as ``output_stride``; they win over those of the name.

    Shape:
        images: (B, 3, H, W) in [0, 1], RGB, or uint8; H and W from 32 up.
        returns: {stride: (B, channels[stride], ceil(H / stride), ceil(W / stride))}

    Returns:
        The network; its ``preprocessing`` is what the weights of that name expect, its ``channels`` say how
        many channels the map of each stride has.

    Raises:
        FileNotFoundError: with ``pretrained``, there are no weights of that name, or their file is not in the
            folder.
        ValueError: there is no such network, an argument is out of its range, or the weights do not fit.
    """
    if pretrained:
        return _with_weights(load_weights(name), arguments)
    known = name.removesuffix(".safetensors")
    if known in REGISTRY:
        return _registered(REGISTRY[known], arguments)
    match = _MOBILENET.fullmatch(known)
    if match is not None:
        return _from_pattern(known, match, arguments)
    if name != known or "/" in name:
        raise ValueError(f"{name!r} names a file: give pretrained=True to load it")
    from backbone.timm_backbone import TimmBackbone

    try:
        return TimmBackbone(name, **arguments)
    except ValueError as err:
        raise ValueError(
            f"{err}. Names here are mobilenetv1_WIDTH_RESOLUTION, such as mobilenetv1_0.25_128, those of "
            "backbone.pretrained.REGISTRY, and timm's"
        ) from err


def build(info: WeightsInfo, *, most: int = LARGEST_PARAMETERS) -> Backbone:
    """The network that ``info`` describes, without its weights; nothing is fetched, and no other file read.

    Args:
        info: what a file says of its network.
        most: parameters that a network of timm may have; where its weights are at hand, as many as they are.

    Raises:
        ValueError: there is no such network, it may not be built with such arguments, or it is larger.
    """
    check_architecture(info.arch, info.arguments)
    if info.arch == "mobilenetv1":
        return MobileNetV1(**info.arguments, preprocessing=info.preprocessing)
    from backbone.timm_backbone import TimmBackbone

    name = info.arch.removeprefix(TIMM)
    with torch.device("meta"):  # counted before memory is taken
        count = sum(item.numel() for item in TimmBackbone(name, **info.arguments).parameters())
    if count > most:
        raise ValueError(
            f"{name} has {count:,} parameters, above the {most:,} that are allowed here: a file may ask for "
            "no larger network than it brings weights for"
        )
    return TimmBackbone(name, **info.arguments)


def _with_weights(weights: Weights, arguments: Mapping[str, Any]) -> Backbone:
    preprocessing = arguments.get("preprocessing", weights.info.preprocessing)
    others = {key: value for key, value in arguments.items() if key != "preprocessing"}
    info = replace(
        weights.info, arguments={**weights.info.arguments, **others}, preprocessing=preprocessing
    )
    network = build(info, most=weights.count)
    load_state(network, weights)
    return network


def _registered(entry: Registered, arguments: Mapping[str, Any]) -> MobileNetV1:
    defaults: dict[str, Any] = {
        "width": entry.width, "padding": entry.padding, "activation": entry.activation,
        "preprocessing": Preprocessing(
            **INPUTS[entry.input], resolution=entry.resolution, resize=entry.resize
        ),
    }
    if entry.kind == "h5":
        defaults["eps"] = KERAS_EPS
    return MobileNetV1(**{**defaults, **arguments})


def _from_pattern(name: str, match: re.Match[str], arguments: Mapping[str, Any]) -> MobileNetV1:
    width, resolution = float(match["width"] or 1), int(match["resolution"] or Preprocessing.resolution)
    if width == 0 or resolution < MIN_SIZE_PX:
        raise ValueError(
            f"{name!r}: expected a width above 0 and a resolution from {MIN_SIZE_PX} px up, "
            f"got {width:g} and {resolution}"
        )
    return MobileNetV1(**{"width": width, "preprocessing": Preprocessing(resolution=resolution), **arguments})
