"""Weights and what must travel with them: architecture, preprocessing, classes, licence, source."""

from __future__ import annotations

import json
import os
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from backbone.base import Backbone, Preprocessing
from backbone.pretrained import FACES_INPUT, HALF_INPUT, IMAGENET_INPUT, REGISTRY, TIMM_DEFAULT

_DAMAGE = (
    RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
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
            ``.safetensors``; or a timm name
            such as ``mobilenetv1_100.ra4_e3600_r224_in1k``, which timm's hub loader downloads once.

    Raises:
        FileNotFoundError: neither a file nor a registered name.
        ValueError: the file is damaged, or holds another network, or is a pickle that wants to run code.
    """
    path = Path(spec)
    if path.is_dir():
        return _from_run(path)
    if path.is_file():
        return _from_file(path)
    name = str(spec)
    if name.removesuffix(".safetensors") in MIRRORED:
        return _from_file(_mirrored(name.removesuffix(".safetensors")))
    if path.suffix in (".safetensors", ".pt", ".pth", ".bin", ".ckpt") or "/" in name:
        raise FileNotFoundError(f"there is no weights file {name}; check the path")
    return _from_timm(name)


def _mirrored(name: str) -> Path:
    folder = os.environ.get(MIRROR_VARIABLE)
    if not folder:
        raise FileNotFoundError(
            f"weights {name} are read from a folder: set {MIRROR_VARIABLE} to the one that holds "
            f"{name}.safetensors (python cli.py weights fetch {name} --to DIR), or give the file's path"
        )
    path = Path(folder) / f"{name}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {MIRROR_VARIABLE}={folder} should hold it")
    return path


def _from_file(path: Path) -> Weights:
    if path.suffix == ".safetensors":
        state, metadata = read_safetensors(path)
    else:
        state, metadata = read_state_dict(path), {"padding": "symmetric"}
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
        info = _describe(path, state, metadata)
    return _split(info, state)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file, or one line that says why not.

    Raises:
        ValueError: the file is cut off or is not a safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as err:
        raise ValueError(
            f"{path} is not a whole safetensors file ({err}); copy or download it again"
        ) from err


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The state dict in a ``.pt``, ``.pth`` or ``.bin`` file; nothing in it is ever run.

    Raises:
        ValueError: it is cut off, wants to run code, or holds no state dict.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own on old pickles
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as err:
        raise ValueError(
            f"{path} is a pickle that wants to run code, or is damaged; refused. "
            "Save the state dict alone, best as .safetensors"
        ) from err
    except (FileNotFoundError, PermissionError):
        raise
    except _DAMAGE as err:
        raise ValueError(f"{path} is not a whole PyTorch file; copy or download it again") from err
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"{path} holds no state dict (name -> tensor)")
    return {key.removeprefix("module."): value for key, value in content.items()}


def _describe(path: Path, state: dict[str, Tensor], metadata: Mapping[str, str]) -> WeightsInfo:
    """Width from the shapes; the rest from the file's metadata."""
    last = state.get("blocks.4.1.conv_pw.weight")
    if any(name.startswith("backbone.") for name in state):
        raise ValueError(f"{path} is the model of a run; give the run's folder, {path.parent}")
    if last is None or "conv_stem.weight" not in state:
        raise ValueError(f"{path} holds no MobileNetV1: conv_stem or blocks.4.1.conv_pw is missing")
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

    if not timm.is_model(name.partition(".")[0]):
        raise FileNotFoundError(
            f"{name!r} is neither a file nor a known name; known: {', '.join(MIRRORED[:4])}, ... "
            f"(python cli.py weights list), and every pretrained name of timm, such as {TIMM_DEFAULT}"
        )
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
