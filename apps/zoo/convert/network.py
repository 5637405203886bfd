"""Which MobileNetV1 a file holds, told by the shapes and strides of its layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from apps.zoo.convert.source import Layer, RefusedError, Source
from backbone import MobileNetV1
from backbone.mobilenet import STEM_CHANNELS
from backbone.weights import LAST_CHANNELS


@dataclass(frozen=True)
class Slot:
    """A convolution of our network and the batch-norm behind it, by their names in the state."""

    conv: str
    norm: str
    shape: tuple[int, ...]
    stride: int


def slots(width: float) -> tuple[Slot, ...]:
    """The 27 convolutions in the order in which an image meets them."""
    with torch.device("meta"):
        network = MobileNetV1(width)
    pairs = [("conv_stem", "bn1")]
    for name, _ in network.blocks.named_modules(prefix="blocks"):
        if name.count(".") == 2:
            pairs += [(f"{name}.conv_dw", f"{name}.bn1"), (f"{name}.conv_pw", f"{name}.bn2")]
    results = []
    for conv, norm in pairs:
        module = network.get_submodule(conv)
        assert isinstance(module, nn.Conv2d)
        results.append(Slot(conv, norm, tuple(module.weight.shape), module.stride[0]))
    return tuple(results)


def recognise(source: Source, width: float | None = None) -> tuple[float, tuple[Slot, ...]]:
    """The width of the network in a file, and where each of its layers goes.

    Args:
        source: the file's content.
        width: what it must be; None tries what the channels suggest.

    Raises:
        RefusedError: it is another network, or of another width.
    """
    wanted = slots(1.0)
    if len(source.layers) != len(wanted):
        raise RefusedError(
            f"{source.path} is no MobileNetV1: {len(source.layers)} convolutions before the pooling, "
            f"MobileNetV1 has {len(wanted)}"
        )
    first, last = source.layers[0].weight.shape[0], source.layers[-1].weight.shape[0]
    exact = last / LAST_CHANNELS
    candidates = [width] if width is not None else [exact, round(exact, 2), first / STEM_CHANNELS]
    faults = []
    for candidate in candidates:
        wanted = slots(candidate)
        fault = _first_fault(source.layers, wanted)
        if fault is None:
            return candidate, wanted
        faults.append(f"{source.path} is no MobileNetV1 of width {candidate:g}: {fault}")
    hint = "" if width is not None else "; if it is one of an odd width, give it with --width"
    raise RefusedError(faults[0] + hint)


def _first_fault(layers: tuple[Layer, ...], wanted: tuple[Slot, ...]) -> str | None:
    for number, (layer, slot) in enumerate(zip(layers, wanted, strict=True), start=1):
        if tuple(layer.weight.shape) != slot.shape:
            got = tuple(layer.weight.shape)
            return f"convolution {number} ({layer.name}) has shape {got}, not {slot.shape}"
        if layer.stride is not None and layer.stride != slot.stride:
            return f"convolution {number} ({layer.name}) has stride {layer.stride}, not {slot.stride}"
    return None


def check_numbers(source: Source) -> None:
    """Refuse a file with a number that is not finite, or a classifier that does not fit.

    Raises:
        RefusedError: it names the layer.
    """
    for layer in source.layers:
        n = layer.norm
        tensors = (layer.weight, layer.bias, *((n.scale, n.shift, n.mean, n.var) if n else ()))
        for tensor in tensors:
            if tensor is None:
                continue
            if not torch.isfinite(tensor).all():
                raise RefusedError(f"{source.path}: {layer.name} has numbers that are not finite")
            if tensor.ndim == 1 and tensor.shape[0] != layer.weight.shape[0]:
                raise RefusedError(
                    f"{source.path}: {layer.name} has {layer.weight.shape[0]} channels, "
                    f"but {tensor.shape[0]} numbers beside them"
                )
    for name, tensor in source.extras.items():
        if not torch.isfinite(tensor).all():
            raise RefusedError(f"{source.path}: {name} has numbers that are not finite")
    if source.classifier is not None:
        _check_classifier(source, *source.classifier)


def _check_classifier(source: Source, weight: Tensor, bias: Tensor) -> None:
    channels = source.layers[-1].weight.shape[0]
    if weight.ndim != 2 or weight.shape[1] != channels or bias.shape != weight.shape[:1]:
        raise RefusedError(
            f"{source.path}: the classifier has shapes {tuple(weight.shape)} and {tuple(bias.shape)}, "
            f"not (classes, {channels}) and (classes,)"
        )
    if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise RefusedError(f"{source.path}: the classifier has numbers that are not finite")
