"""Keras' HDF5 files of ``keras.applications.MobileNet``, with and without the top."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.zoo.convert.source import Layer, Norm, RefusedError, Source, as_tensor, library
from backbone.pretrained import HALF_INPUT
from backbone.weights_files import plain_classifier

KERAS_EPS = 1e-3  # of keras.layers.BatchNormalization, which the file does not tell
PAIRS = 13
MAX_NUMBERS = 1 << 26
_OF_MOBILENET = re.compile(r"(conv1|conv_dw_\d+|conv_pw_\d+)(_bn)?|conv_preds")

Weights = dict[str, dict[str, Any]]


def read_keras(path: Path) -> Source:
    """The layers of a Keras weights file or of a whole saved model, found by their names.

    Args:
        path: an HDF5 file as Keras 2 writes it (and Keras 3 under the name ``.h5``).

    Raises:
        RefusedError: the file is cut off, is no Keras file, or lacks a layer of MobileNet.
        OSError: the library h5py is not installed.
    """
    h5py = library("h5py")
    try:
        with h5py.File(path, "r") as file:
            weights = _collect(path, file, h5py.Dataset)
    except RefusedError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as err:
        raise RefusedError(
            f"{path} is not a whole HDF5 file ({' '.join(str(err).split())}); copy or download it again"
        ) from err
    return _source(path, weights)


def _collect(path: Path, file: Any, dataset: Any) -> Weights:
    """layer -> variable -> array, whatever model was nested in which."""
    root = file.get("model_weights", file)
    if "layer_names" not in root.attrs:
        raise RefusedError(
            f"{path} is an HDF5 file without Keras' layer_names; save the weights with "
            "model.save_weights('x.h5') of Keras 2, or the model with model.save('x.h5') of Keras 3"
        )
    weights: Weights = {}
    left = MAX_NUMBERS
    for group_name in _texts(root.attrs["layer_names"]):
        group = root[group_name]
        for name in _texts(group.attrs.get("weight_names", ())):
            parts = name.rpartition(":")[0].split("/") if ":" in name else name.split("/")
            layer = parts[-2] if len(parts) > 1 else group_name
            weights.setdefault(layer, {})[parts[-1]] = _numbers(path, name, group[name], dataset)
            left -= weights[layer][parts[-1]].size
            if left < 0:
                raise RefusedError(f"{path} lists more than {MAX_NUMBERS:,} numbers, which no MobileNet has")
    return weights


def _numbers(path: Path, name: str, item: Any, dataset: Any) -> Any:
    """A table that lies in this file: HDF5 also knows tables whose numbers are in other files."""
    if not isinstance(item, dataset) or item.dtype.kind != "f" or item.size > MAX_NUMBERS:
        raise RefusedError(f"{path}: {name} is no table of floats of a size that MobileNet has")
    if item.is_virtual or item.external or Path(item.file.filename) != path:
        raise RefusedError(f"{path}: {name} lies in another file; save all weights in one")
    return item[()]


def _texts(values: Any) -> Iterator[str]:
    for value in values:
        yield value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _source(path: Path, weights: Weights) -> Source:
    names = ["conv1"]
    for number in range(1, PAIRS + 1):
        names += [f"conv_dw_{number}", f"conv_pw_{number}"]
    layers = tuple(_layer(path, weights, name) for name in names)
    left_out = sorted(name for name in weights if not _OF_MOBILENET.fullmatch(name))
    notes = (f"left out, as no part of MobileNet: {', '.join(left_out)}",) if left_out else ()
    result = re.search(r"_(\d{2,3})_tf", path.name)
    return Source(
        path, "keras-h5", layers, _classifier(weights), "same",
        resolution=int(result[1]) if result else None, input=HALF_INPUT, notes=notes,
    )


def _layer(path: Path, weights: Weights, name: str) -> Layer:
    variables, normed = weights.get(name), weights.get(f"{name}_bn")
    if variables is None or normed is None:
        missing = name if variables is None else f"{name}_bn"
        raise RefusedError(f"{path} is no Keras MobileNet: layer {missing} is missing")
    kernel = variables.get("depthwise_kernel", variables.get("kernel"))
    parts = [normed.get(key) for key in ("gamma", "beta", "moving_mean", "moving_variance")]
    if kernel is None or kernel.ndim != 4 or any(part is None for part in parts):
        raise RefusedError(f"{path}: layer {name} has no kernel of four axes or no whole batch-norm")
    bias = torch.as_tensor(variables["bias"]) if "bias" in variables else 0.0
    scale, shift, mean, var = (as_tensor(part) for part in parts)
    axes = (2, 3, 0, 1) if name.startswith("conv_dw_") else (3, 2, 0, 1)
    norm = Norm(scale, shift, mean - bias, var, KERAS_EPS)
    return Layer(name, as_tensor(kernel.transpose(axes)), norm=norm)


def _classifier(weights: Weights) -> tuple[Tensor, Tensor] | None:
    """``conv_preds`` is a 1 x 1 convolution over the pooled map."""
    top = weights.get("conv_preds")
    if top is None or "kernel" not in top:
        return None
    kernel = as_tensor(top["kernel"]).reshape(-1, top["kernel"].shape[-1])
    bias = as_tensor(top["bias"]) if "bias" in top else torch.zeros(kernel.shape[1])
    weight, bias = plain_classifier(kernel.T, bias)
    return weight.contiguous(), bias.contiguous()
