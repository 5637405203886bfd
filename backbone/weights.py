"""Weights and what must travel with them: architecture, preprocessing, classes, licence, source."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from backbone.base import Backbone, Preprocessing
from backbone.pretrained import FACES_INPUT, HALF_INPUT, IMAGENET_INPUT, REGISTRY, TIMM_DEFAULT
from backbone.weights_files import (
    completed,
    foreign_kind,
    is_safetensors,
    plain_classifier,
    read_safetensors,
    read_state_dict,
    unwrapped,
)

MIRROR_VARIABLE = "MOBILENET_WEIGHTS"
LAST_CHANNELS = 1024
IMAGENET = "imagenet-1k"
# How the `input` line of a weights file reads, and the preprocessing that it means.
INPUTS: dict[str, dict[str, Any]] = {
    HALF_INPUT: {},
    FACES_INPUT: {
        "mean": (103.939 / 255, 116.779 / 255, 123.68 / 255), "std": (1 / 255,) * 3, "order": "bgr",
    },
    IMAGENET_INPUT: {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
}
MIRRORED = tuple(name for name, entry in REGISTRY.items() if entry.kind != "timm")
SUFFIX = ".safetensors"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightsInfo:
    """What a set of weights is, and all that is needed to use it rightly.

    Args:
        name: a registered name, or the file's name without its suffix.
        arch: ``mobilenetv1``, or ``timm:NAME``.
        arguments: of the network's constructor, such as width and padding.
        preprocessing: what the network expects of its input.
        classes: of a classifier that comes along: ``imagenet-1k``, or the names; empty without one.
        source: where the weights come from.
        licence: of the weights, as an SPDX name where there is one.
    """

    name: str
    arch: str = "mobilenetv1"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    classes: tuple[str, ...] = ()
    source: str = "unknown"
    licence: str = "unknown"

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, as written into a checkpoint's ``config.json``."""
        values = asdict(self)
        return values | {"preprocessing": self.preprocessing.to_dict(), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> WeightsInfo:
        """The inverse of :meth:`to_dict`."""
        preprocessing = Preprocessing.from_dict(values["preprocessing"])
        return cls(**{**values, "preprocessing": preprocessing, "classes": tuple(values["classes"])})


@dataclass(frozen=True)
class Weights:
    """A state for the backbone, the classifier that came with it, and what they are."""

    info: WeightsInfo
    state: dict[str, Tensor]
    classifier: dict[str, Tensor]


def load_weights(spec: str | Path) -> Weights:
    """Weights by path or by registered name.

    Args:
        spec: a ``.safetensors`` file; a ``.pt``/``.pth``/``.bin`` state dict; a folder made by
            ``finetune``; a name in the mirror folder that MOBILENET_WEIGHTS names, with or without
            ``.safetensors``; or a timm name such as ``mobilenetv1_100.ra4_e3600_r224_in1k``, which timm's hub
            loader downloads once.

    Raises:
        FileNotFoundError: neither a file nor a registered name.
        ValueError: it is damaged, or holds another network, or is a pickle that wants to run code.
    """
    path = locate_weights(spec)
    if path is None:
        return _from_timm(str(spec).removesuffix(SUFFIX))
    return _from_run(path) if path.is_dir() else _from_file(path)


def locate_weights(spec: str | Path) -> Path | None:
    """Where weights are, without reading them: a file or a run's folder; None if timm downloads them.

    Args:
        spec: as of :func:`load_weights`; a name may end in ``.safetensors``.

    Raises:
        FileNotFoundError: neither a file nor a registered name.
        ValueError: by its content the file is of another kind, such as TFLite.
    """
    path, name = Path(spec), str(spec).removesuffix(SUFFIX)
    if path.exists():
        if path.is_file() and (foreign := foreign_kind(path)):
            raise ValueError(foreign)
        return path
    plain, mirror = path.name == str(spec), os.environ.get(MIRROR_VARIABLE)
    if plain and mirror and (Path(mirror) / f"{name}{SUFFIX}").is_file():
        return Path(mirror) / f"{name}{SUFFIX}"
    if name in MIRRORED:
        raise _not_in_mirror(name, mirror)
    if name not in REGISTRY and (path.suffix in (SUFFIX, ".pt", ".pth", ".bin", ".ckpt") or not plain):
        raise FileNotFoundError(f"there is no weights file {spec}; check the path")
    _check_timm_name(name)
    return None


def _not_in_mirror(name: str, folder: str | None) -> FileNotFoundError:
    if not folder:
        return FileNotFoundError(
            f"weights {name} are read from a folder: set {MIRROR_VARIABLE} to the one that holds "
            f"{name}{SUFFIX} (python cli.py weights fetch {name} --to DIR), or give the file's path"
        )
    path = Path(folder) / f"{name}{SUFFIX}"
    return FileNotFoundError(f"{path} is missing; {MIRROR_VARIABLE}={folder} should hold it")


def _from_file(path: Path) -> Weights:
    if is_safetensors(path) or path.suffix == SUFFIX:
        state, metadata = read_safetensors(path)
        state = unwrapped(state)
    else:
        state, metadata = read_state_dict(path), {}
    return weights_from(path, state, metadata)


def weights_from(path: Path, state: dict[str, Tensor], metadata: Mapping[str, str]) -> Weights:
    """Weights from a file's tensors and metadata.

    Args:
        path: of the file, for its name and for messages.
        state: name -> tensor.
        metadata: ``input``, ``width``, ``padding``, ``resolution``, ``act``, ``eps``, ``source``,
            ``licence``; what is missing is taken as PyTorch's networks have it.

    Raises:
        ValueError: it is no MobileNetV1, or wants an input or an activation that is not known.
    """
    if "mobilenet_apps" in metadata:
        info = WeightsInfo.from_dict(json.loads(metadata["mobilenet_apps"]))
    else:
        state = _plain(state)
        full, note = completed(path, metadata)
        info = _describe(path, state, full)
        if note:
            _log.warning(note)
    return _split(info, state)


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state with its classifier as a matrix of the classes without background."""
    weight, bias = state.get("classifier.weight"), state.get("classifier.bias")
    if weight is None or bias is None:
        return state
    weight, bias = plain_classifier(weight, bias)
    return state | {"classifier.weight": weight, "classifier.bias": bias}


def _describe(path: Path, state: dict[str, Tensor], metadata: Mapping[str, str]) -> WeightsInfo:
    """Width from the shapes; the rest from the file's metadata."""
    last = state.get("blocks.4.1.conv_pw.weight")
    if any(name.startswith("backbone.") for name in state):
        raise ValueError(f"{path} is the model of a run; give the run's folder, {path.parent}")
    if last is None or "conv_stem.weight" not in state:
        raise ValueError(
            f"{path} holds no MobileNetV1 with timm's names: conv_stem or blocks.4.1.conv_pw is missing; of "
            f"other names `python cli.py weights import {path}` may make one"
        )
    wanted = metadata.get("input", HALF_INPUT)
    if wanted not in INPUTS:
        raise ValueError(f"{path} wants an unknown input {wanted!r}; known: {', '.join(map(repr, INPUTS))}")
    if metadata.get("act", "relu6") != "relu6":
        raise ValueError(f"{path} was trained with {metadata['act']}; the network here has relu6")
    preprocessing = Preprocessing(**INPUTS[wanted], resolution=int(metadata.get("resolution", 224)))
    labels = state.get("classifier.weight")
    return WeightsInfo(
        name=path.stem, arguments=_arguments(metadata, width=last.shape[0] / LAST_CHANNELS),
        preprocessing=preprocessing,
        classes=(IMAGENET,) if labels is not None and labels.shape[0] == 1000 else (),
        source=metadata.get("source", f"file {path.name}"),
        licence=metadata.get("licence", licence_in(metadata.get("source", ""))),
    )


def _arguments(metadata: Mapping[str, str], *, width: float) -> dict[str, Any]:
    """Of the network's constructor; eps only where it is not the usual one."""
    arguments: dict[str, Any] = {
        "width": float(metadata.get("width", width)), "padding": metadata.get("padding", "symmetric"),
    }
    return arguments | ({"eps": float(metadata["eps"])} if "eps" in metadata else {})


def licence_in(source: str) -> str:
    """The licence that a line about a file's origin names, or ``unknown``."""
    return next((name for name in ("Apache-2.0", "MIT") if name in source), "unknown")


def _from_run(folder: Path) -> Weights:
    config = folder / "config.json"
    if not config.is_file():
        raise FileNotFoundError(f"{config} is missing: {folder} is no run of `finetune`; give its folder")
    described = json.loads(config.read_text(encoding="utf-8"))["backbone"]
    info = WeightsInfo.from_dict(described)
    state, _ = read_safetensors(folder / "model.safetensors")
    prefix = "backbone."
    trunk = {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
    return Weights(info, trunk, {})


def _from_timm(name: str) -> Weights:
    import timm

    from backbone.timm_backbone import TimmBackbone, preprocessing_of

    cfg = _timm_config(name)
    source, licence = f"timm hub: {cfg.get('hf_hub_id')}", cfg.get("license") or "unknown"
    if name in REGISTRY:
        state = timm.create_model(name, pretrained=True).state_dict()
        info = WeightsInfo(
            name, arguments={"width": REGISTRY[name].width, "padding": "symmetric"},
            preprocessing=preprocessing_of(cfg),
            classes=(IMAGENET,), source=source, licence=licence,
        )
        return _split(info, state)
    network = TimmBackbone(name, pretrained=True)
    info = WeightsInfo(
        name, arch=f"timm:{name}", preprocessing=network.preprocessing, source=source, licence=licence
    )
    return Weights(info, network.state_dict(), {})


def _check_timm_name(name: str) -> None:
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise FileNotFoundError(
            f"{name!r} is neither a file nor a known name; known: {', '.join(MIRRORED[:4])}, ... "
            f"(python cli.py weights list), and every pretrained name of timm, such as {TIMM_DEFAULT}"
        )
    _timm_config(name)


def _timm_config(name: str) -> dict[str, Any]:
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise FileNotFoundError(f"timm has no pretrained weights called {name!r}")
    values: dict[str, Any] = config.to_dict()
    return values


def _split(info: WeightsInfo, state: dict[str, Tensor]) -> Weights:
    classifier = {k: v for k, v in state.items() if k.startswith("classifier.")}
    trunk_names = ("conv_stem.", "bn1.", "blocks.")
    trunk = {k: v for k, v in state.items() if k.startswith(trunk_names)}
    return Weights(info, trunk, {k.removeprefix("classifier."): v for k, v in classifier.items()})


def load_state(network: Backbone, weights: Weights) -> None:
    """Put ``weights`` into ``network``, every tensor or none.

    Raises:
        ValueError: a tensor is missing or has another shape; the message names the first.
    """
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        got = weights.state.get(name)
        if got is None or got.shape != value.shape:
            what = "is missing" if got is None else f"has shape {tuple(got.shape)}, not {tuple(value.shape)}"
            raise ValueError(
                f"weights {weights.info.name} do not fit this network: {name} {what}; "
                f"they are of {weights.info.arch} {dict(weights.info.arguments)}"
            )
    network.load_state_dict({name: weights.state.get(name, value) for name, value in state.items()})
