"""What a file of weights is, by its content, and what its name and its shapes say where it says nothing."""

from __future__ import annotations

import argparse
import json
import logging
import pathlib
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from backbone.pretrained import HALF_INPUT, IMAGENET, REGISTRY
from backbone.schema import regular_file, words_of

# Where a checkpoint of a training keeps the network's state; averaged ones come first, as timm loads them.
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
_STATES = (*_AVERAGED, "state_dict", "model_state_dict", "model", "net", "weights")
# What a network's names begin with inside those that wrap it: compiled, distributed, averaged, Lightning's.
_EACH = ("module.", "_orig_mod.")
_AROUND = ("ema.", "ema_model.", "model_ema.", "averaged_model.", "model.", "net.", "network.")
_COUNTERS = ("n_averaged", "num_updates", "decay")  # of averages, beside the tensors
# Values without code that trainings keep beside the tensors: options, paths, figures.
_PLAIN: list[Any] = [
    argparse.Namespace, np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType,
    *((type(np.float64(0)).__reduce__(np.float64(0))[0], f"numpy.{core}.multiarray.scalar")
      for core in ("core", "_core")),
    *((path, f"{module}.{pure}{path.__name__[4:]}") for module in ("pathlib", "pathlib._local")
      for pure in ("", "Pure") for path in (pathlib.PurePosixPath, pathlib.PureWindowsPath)),
]
_log = logging.getLogger(__name__)
BACKGROUND_CLASSES = 1001  # TensorFlow's label file: background first, then ImageNet's 1000 in wnid order


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file, or one line that says why not.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut off, is not a safetensors file, or holds a number that is not finite.
    """
    try:
        with safe_open(regular_file(path), framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise
    except Exception as err:  # besides its own, torch's on types of numbers that it does not have
        raise ValueError(
            f"{path} is not a whole safetensors file ({words_of(err)}); copy or download it again"
        ) from err
    check_finite(path, state)
    return state, metadata


def check_finite(path: Path, state: Mapping[str, Tensor]) -> None:
    """Refuse weights that would answer every image with nothing.

    Raises:
        ValueError: a number is not finite; the message names the tensor.
    """
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"{path}: {name} holds numbers that are not finite; copy or train it again")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The state dict in a ``.pt``, ``.pth`` or ``.bin`` file; nothing in it is ever run.

    Raises:
        ValueError: it is cut off, wants to run code, or holds no state dict.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own on old pickles
            with torch.serialization.safe_globals(_PLAIN):
                content = torch.load(regular_file(path), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as err:
        raise ValueError(
            f"{path} is a pickle that wants to run code, or is damaged; refused. "
            "Save the state dict alone, best as .safetensors"
        ) from err
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as err:  # torch follows a damaged file's numbers
        raise ValueError(f"{path} is not a whole PyTorch file; copy or download it again") from err
    while isinstance(content, dict) and (keys := [k for k in _STATES if isinstance(content.get(k), dict)]):
        if keys[0] in _AVERAGED and keys[-1] not in _AVERAGED:
            _log.warning("%s holds averaged weights beside the last ones: the averaged ones are taken", path)
        content = content[keys[0]]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"{path} holds no state dict (name -> tensor)")
    check_finite(path, content)
    return unwrapped(content)


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state with the network's own names, without what compiling, averaging or a trainer put before them.

    Args:
        state: name -> tensor; of a trainer that holds several networks, the averaged one is taken.
    """
    names = {key: value for key, value in state.items() if key not in _COUNTERS or value.ndim}
    if any(key.startswith(_EACH) for key in names):
        pattern = re.compile(f"^(?:{'|'.join(map(re.escape, _EACH))})+")
        return unwrapped({pattern.sub("", key): value for key, value in names.items()})
    for prefix in _AROUND:
        part = {key.removeprefix(prefix): value for key, value in names.items() if key.startswith(prefix)}
        whole = any(key.endswith("conv_stem.weight") for key in part) and "conv_stem.weight" not in names
        if part and (whole or len(part) == len(names)):
            return unwrapped(part)
    return names


def plain_classifier(weight: Any, bias: Any) -> tuple[Any, Any]:
    """A linear classifier: a 1 x 1 convolution loses its two axes, and of 1001 classes background goes.

    Args:
        weight: (K, C) or (K, C, 1, 1), a tensor or an array.
        bias: (K,), or of K numbers in more axes.

    Shape:
        returns: (K, C) and (K,); anything else comes back as it is, for the caller to refuse.
    """
    if weight.ndim == 4 and tuple(weight.shape[2:]) == (1, 1):
        weight = weight.reshape(tuple(weight.shape[:2]))
    if bias.ndim > 1 and int(bias.shape[0] if bias.ndim else 0) == weight.shape[0]:
        bias = bias.reshape(-1)
    if weight.ndim == 2 and weight.shape[0] == BACKGROUND_CLASSES == len(bias):
        return weight[1:], bias[1:]
    return weight, bias


def told_by_name(stem: str) -> dict[str, str]:
    """The metadata that a file's name tells: those of the registered weights whose name it begins with.

    Args:
        stem: such as ``mobilenetv1_0.25_128``, ``mobilenet_v1_0.5_160_best`` or ``mobilenetv1_100_r192``.
    """
    names = [name for name in REGISTRY if re.match(re.escape(name) + r"(?![0-9])", stem)]
    if names:
        known = REGISTRY[max(names, key=len)]
        return {"resolution": str(known.resolution), "padding": known.padding, "input": known.input}
    sized = re.search(r"mobilenet_?v?1?_\d(?:\.\d+)?_(\d{2,3})(?!\d)", stem)
    if sized and int(sized[1]) >= 32:
        return {"resolution": sized[1], "padding": "same"}  # TensorFlow's names: width_resolution
    rated = re.search(r"(?:^|[_.-])r(\d{3})(?!\d)", stem)
    return {"resolution": rated[1], "padding": "symmetric"} if rated else {}


def classes_in(metadata: Mapping[str, str], count: int) -> tuple[str, ...]:
    """What a classifier tells apart: ImageNet's 1000 classes, or the names that a file has for its own.

    Args:
        metadata: of the file; ``classes`` may be a JSON list of names, or words.
        count: of the classifier's classes; 0 without one.

    Returns:
        ``imagenet-1k``, a name a class, or nothing where there are none.
    """
    text = metadata.get("classes", "")
    names = json.loads(text) if text.startswith("[") else []
    if count and len(names) == count and all(isinstance(name, str) for name in names):
        return tuple(names)
    return (IMAGENET,) if count == BACKGROUND_CLASSES - 1 else ()


def completed(path: Path, metadata: Mapping[str, str]) -> tuple[dict[str, str], str | None]:
    """Metadata with what is missing taken from the file's name or from custom, and a line that says so.

    Args:
        path: of the file.
        metadata: of the file, perhaps none.

    Returns:
        The metadata, and None where the file itself tells resolution and padding.
    """
    usual = {"resolution": "224", "padding": "symmetric", "input": HALF_INPUT}
    named = told_by_name(path.stem)
    full = usual | named | dict(metadata)
    missing = [key for key in ("resolution", "padding") if key not in metadata]
    if not missing:
        return full, None
    if "input" not in metadata:
        missing.append("input")
    by_name = [f"{key} {full[key]}" for key in missing if key in named]
    assumed = [f"{key} {full[key]}" for key in missing if key not in named]
    parts = [f"{', '.join(by_name)} by its name"] if by_name else []
    parts += [f"{', '.join(assumed)} for want of better knowledge"] if assumed else []
    return full, (
        f"{path} does not say how it was trained: taken as {'; '.join(parts)}. If that is wrong: "
        f"python cli.py weights import {path} --resolution R --padding same|symmetric --input half|imagenet"
    )
