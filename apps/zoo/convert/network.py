"""Which MobileNetV1 a file holds, known by the shapes and strides of its layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from apps.zoo.convert.source import Layer, RefusedError, Source
from backbone import MobileNetV1
from backbone.mobilenet import BATCH_NORM_EPS, STEM_CHANNELS
from backbone.weights import LAST_CHANNELS
from heads import SSD


@dataclass(frozen=True)
class Slot:
    """A convolution of our network and the batch-norm behind it, by their names in the state."""

    conv: str
    norm: str
    shape: tuple[int, ...]
    stride: int
    eps: float = BATCH_NORM_EPS


def slots(width: float) -> tuple[Slot, ...]:
    """The 27 convolutions in the order in which an image meets them."""
    with torch.device("meta"):
        network = MobileNetV1(width)
    pairs = [("conv_stem", "bn1")]
    for name, _ in network.blocks.named_modules(prefix="blocks"):
        if name.count(".") == 2:
            pairs += [(f"{name}.conv_dw", f"{name}.bn1"), (f"{name}.conv_pw", f"{name}.bn2")]
    return tuple(_slot(network, conv, norm) for conv, norm in pairs)


def added_slots(width: float) -> tuple[Slot, ...]:
    """The eight convolutions that an SSD adds, in their order."""
    with torch.device("meta"):
        channels = MobileNetV1(width).channels
        head = nn.ModuleDict({"head": SSD([channels[16], channels[32]], 1, width=width)})
    places = [(f"head.extras.{extra}", at) for extra in range(4) for at in (0, 3)]
    return tuple(_slot(head, f"{extra}.{at}", f"{extra}.{at + 1}") for extra, at in places)


def _slot(network: nn.Module, conv: str, norm: str) -> Slot:
    convolution, batch_norm = network.get_submodule(conv), network.get_submodule(norm)
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(batch_norm, nn.BatchNorm2d)
    return Slot(conv, norm, tuple(convolution.weight.shape), convolution.stride[0], batch_norm.eps)


def recognise(source: Source, width: float | None = None) -> tuple[float, tuple[Slot, ...]]:
    """The width of the network in a file, and where each of its layers goes.

    Args:
        source: the file's content.
        width: what it must be; None tries what the channels suggest.

    Returns:
        The width, and the slots of the trunk, behind them those of the layers that an SSD adds.

    Raises:
        RefusedError: it is another network, or of another width.
    """
    wanted = slots(1.0)
    added = 0 if source.detector is None else len(added_slots(1.0))
    if len(source.layers) != len(wanted) + added:
        raise RefusedError(
            f"{source.path} is no MobileNetV1: {len(source.layers)} convolutions before the pooling, "
            f"MobileNetV1 has {len(wanted)}"
        )
    first, last = source.layers[0].weight.shape[0], source.layers[len(wanted) - 1].weight.shape[0]
    exact = last / LAST_CHANNELS
    candidates = [width] if width is not None else [exact, round(exact, 2), first / STEM_CHANNELS]
    faults = []
    for candidate in candidates:
        wanted = slots(candidate) + (added_slots(candidate) if added else ())
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
    if source.detector is not None and not all(map(_finite, source.detector.predictors)):
        raise RefusedError(f"{source.path}: a predictor has numbers that are not finite")


def _finite(layer: tuple[Tensor, Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in layer)


def _check_classifier(source: Source, weight: Tensor, bias: Tensor) -> None:
    channels = source.layers[-1].weight.shape[0]
    if weight.ndim != 2 or weight.shape[1] != channels or bias.shape != weight.shape[:1]:
        raise RefusedError(
            f"{source.path}: the classifier has shapes {tuple(weight.shape)} and {tuple(bias.shape)}, "
            f"not (classes, {channels}) and (classes,)"
        )
    if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise RefusedError(f"{source.path}: the classifier has numbers that are not finite")
