"""State dicts of PyTorch: timm's names, or any network whose layers come in MobileNetV1's order."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from apps.zoo.convert.network import slots
from apps.zoo.convert.source import Layer, Norm, Padding, RefusedError, Source
from backbone.mobilenet import ACTIVATIONS, BATCH_NORM_EPS
from backbone.pretrained import HALF_INPUT, IMAGENET_INPUT
from backbone.storage import is_safetensors
from backbone.weights_files import (
    completed,
    plain_classifier,
    read_safetensors,
    read_state_dict,
)

KNOWN = ("input", "width", "padding", "resolution", "classes", "act", "eps", "calibrated")
Modules = dict[str, dict[str, Tensor]]
_ASSUMED_INPUT = (
    "the file does not say how its input is normalised: taken as torchvision's mean and standard deviation "
    "of ImageNet; else give --input half"
)


def read_pytorch(path: Path) -> Source:
    """The layers of a ``.pt``/``.pth``/``.bin``/``.safetensors`` state dict; a pickle is never run.

    Args:
        path: the file.

    Raises:
        RefusedError: it holds another network.
        ValueError: it is cut off, or a pickle that wants to run code.
    """
    if is_safetensors(path):
        state, reported = read_safetensors(path)
    else:
        state, reported = read_state_dict(path), {}
    modules: Modules = {}
    for name, value in state.items():
        prefix, _, leaf = name.rpartition(".")
        if leaf != "num_batches_tracked":
            modules.setdefault(prefix, {})[leaf] = value.to(torch.float32)
    if "conv_stem" in modules:
        return _from_timm_names(path, modules, reported)
    if is_safetensors(path):  # the file keeps its tensors by name, not in the network's order
        modules = dict(sorted(modules.items(), key=lambda item: _natural(item[0])))
    return _from_order(path, modules, reported)


def _natural(name: str) -> list[tuple[int, str]]:
    """Order ``layer.2`` before ``layer.10``."""
    parts = [part for part in re.split(r"[.]|(\d+)", name) if part]
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _from_timm_names(path: Path, modules: Modules, results: dict[str, str]) -> Source:
    eps = _number(path, results, "eps", BATCH_NORM_EPS)
    layers = []
    for slot in slots(1.0):
        weight = modules.get(slot.conv, {}).get("weight")
        if weight is None or weight.ndim != 4:
            raise RefusedError(f"{path} is no MobileNetV1: {slot.conv}.weight is missing or no convolution")
        layers.append(_layer(path, slot.conv, modules[slot.conv], modules.get(slot.norm), eps))
    return _assemble(path, "timm", layers, modules.get("classifier"), results)


def _from_order(path: Path, modules: Modules, results: dict[str, str]) -> Source:
    """Each convolution is followed by its batch-norm; a last linear layer, or one of 1 x 1, classifies."""
    layers: list[Layer] = []
    waiting: str | None = None
    classifier: dict[str, Tensor] | None = None
    for name, parts in modules.items():
        axes = parts["weight"].ndim if "weight" in parts else 0
        if axes == 4 and waiting is None and classifier is None:
            waiting = name
        elif "running_mean" in parts and waiting is not None:
            layers.append(_layer(path, waiting, modules[waiting], parts, BATCH_NORM_EPS))
            waiting = None
        elif axes == 2 and waiting is None and classifier is None:
            classifier = parts
        else:
            raise RefusedError(
                f"{path} is no MobileNetV1: {name or 'its first tensor'} does not come where MobileNetV1 has "
                "convolution, batch-norm, convolution, batch-norm, ..., linear"
            )
    if waiting is not None and "bias" in modules[waiting] and classifier is None:
        classifier, waiting = modules[waiting], None  # a classifier stored as a convolution
    if waiting is not None:
        raise RefusedError(f"{path}: no whole batch-norm belongs to {waiting}")
    guessed = results.get("input", IMAGENET_INPUT) == IMAGENET_INPUT
    results = {"input": IMAGENET_INPUT} | results
    return _assemble(path, "pytorch", layers, classifier, results, guessed=guessed)


def _layer(
    path: Path, name: str, convolution: dict[str, Tensor], norm: dict[str, Tensor] | None, eps: float
) -> Layer:
    keys = ("weight", "bias", "running_mean", "running_var")
    if norm is None or any(key not in norm for key in keys):
        raise RefusedError(f"{path}: no whole batch-norm belongs to {name}")
    scale, shift, mean, var = (norm[key] for key in keys)
    if "bias" in convolution:
        mean = mean - convolution["bias"]
    return Layer(name, convolution["weight"], norm=Norm(scale, shift, mean, var, eps))


def _assemble(
    path: Path, kind: str, layers: list[Layer], top: dict[str, Tensor] | None, results: dict[str, str], *,
    guessed: bool = False,
) -> Source:
    classifier = None
    if top is not None and "weight" in top:
        classifier = plain_classifier(top["weight"], top.get("bias", torch.zeros(len(top["weight"]))))
    results, assumed = completed(path, results)
    padding: Padding = "same" if results.get("padding") == "same" else "symmetric"
    if results.get("act", "relu6") not in ACTIVATIONS:
        raise RefusedError(f"{path} was trained with {results['act']}; the network here has relu6 or relu")
    resolution = int(_number(path, results, "resolution", 0)) or None
    kept = tuple((key, value) for key, value in results.items() if key not in KNOWN)
    return Source(
        path, kind, tuple(layers), classifier, padding, resolution=resolution,
        input=results.get("input", HALF_INPUT), declared=kept, assumed=assumed,
        activation="relu" if results.get("act") == "relu" else "relu6",
        input_note=_ASSUMED_INPUT if guessed else None,
    )


def _number(path: Path, results: dict[str, str], key: str, default: float) -> float:
    try:
        return float(results.get(key, default))
    except ValueError as err:
        raise RefusedError(f"{path}: its metadata say {key}={results[key]!r}, which is no number") from err
