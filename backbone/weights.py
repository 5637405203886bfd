"""Weights and what must travel with them: architecture, preprocessing, classes, licence, source."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from backbone import schema
from backbone.base import Backbone, Preprocessing
from backbone.pretrained import FACES_INPUT, HALF_INPUT, IMAGENET, IMAGENET_INPUT, REGISTRY, UNIT_INPUT
from backbone.reach import check_hub, check_timm_name, timm_config
from backbone.storage import MIRRORED, SUFFIX, is_safetensors, local_weights
from backbone.weights_files import (
    classes_in,
    completed,
    plain_classifier,
    read_safetensors,
    read_state_dict,
    unwrapped,
)

LAST_CHANNELS = 1024
# How the `input` line of a weights file reads, and the preprocessing that it means.
INPUTS: dict[str, dict[str, Any]] = {
    HALF_INPUT: {},
    FACES_INPUT: {
        "mean": (103.939 / 255, 116.779 / 255, 123.68 / 255), "std": (1 / 255,) * 3, "order": "bgr",
    },
    IMAGENET_INPUT: {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    UNIT_INPUT: {"mean": (0.0,) * 3, "std": (1.0,) * 3},
}
SAYS = "import or fetch it again"
TRUNK, TOP = ("conv_stem.", "bn1.", "blocks."), "classifier."
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
        head: of a detector that comes along: ``kind``, ``arguments``, ``classes``, ``category_ids``.
    """

    name: str
    arch: str = "mobilenetv1"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    classes: tuple[str, ...] = ()
    source: str = "unknown"
    licence: str = "unknown"
    head: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, as written into a checkpoint's ``config.json``."""
        values = asdict(self)
        return values | {"preprocessing": self.preprocessing.to_dict(), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> WeightsInfo:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: a value is of another type, out of bounds, or not known.
        """
        plain = schema.checked(values, schema.INFO, "the description", needed=("name", "preprocessing"))
        preprocessing = Preprocessing.from_dict(plain["preprocessing"])
        return cls(**{**plain, "preprocessing": preprocessing, "classes": tuple(plain.get("classes", ()))})


@dataclass(frozen=True)
class Weights:
    """A state for the backbone, the classifier and the other heads that came with it, and what they are."""

    info: WeightsInfo
    state: dict[str, Tensor]
    classifier: dict[str, Tensor]
    others: dict[str, Tensor] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many numbers the state has."""
        return sum(value.numel() for value in self.state.values())


def load_weights(spec: str | Path) -> Weights:
    """Weights by path or by registered name.

    Args:
        spec: a ``.safetensors`` file; a ``.pt``/``.pth``/``.bin`` state dict; a folder made by
            ``finetune``; a name in the mirror folder that MOBILENET_WEIGHTS names, or in the cache that
            ``weights fetch`` fills, with or without ``.safetensors``; or a timm name such as
            ``mobilenetv1_100.ra4_e3600_r224_in1k``, which timm's hub loader downloads once.

    Raises:
        FileNotFoundError: neither a file nor a registered name.
        ConnectionError: timm's hub has the weights and cannot be reached.
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
    path = local_weights(spec)
    if path is None:
        check_timm_name(str(spec).removesuffix(SUFFIX), MIRRORED)
    return path


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
            ``licence``, ``head``; what is missing is taken as PyTorch's networks have it.

    Raises:
        ValueError: it is no MobileNetV1, or wants an input or an activation that is not known.
    """
    note = None
    with schema.one_line(path, SAYS):
        if "mobilenet_apps" in metadata:
            info = WeightsInfo.from_dict(schema.parse_json(metadata["mobilenet_apps"], "its description"))
        else:
            state = _plain(state)
            full, note = completed(path, metadata)
            info = _describe(path, state, full)
        schema.check_architecture(info.arch, info.arguments)
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
    if metadata.get("act", "relu6") not in ("relu6", "relu"):
        raise ValueError(f"{path} was trained with {metadata['act']}; the network here has relu6 or relu")
    seen: dict[str, Any] = {"resolution": int(metadata.get("resolution", 224))}
    seen |= {"resize": "squash"} if metadata.get("resize") == "squash" else {}
    preprocessing = Preprocessing(**INPUTS[wanted], **schema.checked(seen, schema.PREPROCESSING, str(path)))
    labels = state.get("classifier.weight")
    return WeightsInfo(
        name=path.stem, arguments=_arguments(metadata, width=last.shape[0] / LAST_CHANNELS),
        preprocessing=preprocessing,
        classes=classes_in(metadata, 0 if labels is None else len(labels)),
        source=metadata.get("source", f"file {path.name}"),
        licence=metadata.get("licence", licence_in(metadata.get("source", ""))),
        head=schema.head_in(path, metadata),
    )


def _arguments(metadata: Mapping[str, str], *, width: float) -> dict[str, Any]:
    """Of the network's constructor; eps and activation only where they are not the usual ones."""
    arguments: dict[str, Any] = {
        "width": float(metadata.get("width", width)), "padding": metadata.get("padding", "symmetric"),
    }
    arguments |= {"eps": float(metadata["eps"])} if "eps" in metadata else {}
    return arguments | ({"activation": "relu"} if metadata.get("act") == "relu" else {})


def licence_in(source: str) -> str:
    """The licence that a line about a file's origin names, or ``unknown``."""
    return next((name for name in ("Apache-2.0", "MIT") if name in source), "unknown")


def _from_run(folder: Path) -> Weights:
    config = folder / "config.json"
    if not config.is_file():
        raise FileNotFoundError(f"{config} is missing: {folder} is no run of `finetune`; give its folder")
    with schema.one_line(config, "copy the run again, or train again"):
        content = schema.regular_file(config).read_bytes()
        info = WeightsInfo.from_dict(schema.parse_json(content, config)["backbone"])
        schema.check_architecture(info.arch, info.arguments)
    state, prefix = read_safetensors(folder / "model.safetensors")[0], "backbone."
    trunk = {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
    return Weights(info, trunk, {})


def _from_timm(name: str) -> Weights:
    import timm

    from backbone.timm_backbone import TimmBackbone, preprocessing_of

    cfg = timm_config(name)
    if cfg.get("hf_hub_id"):
        check_hub(name, str(cfg["hf_hub_id"]))
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


def _split(info: WeightsInfo, state: dict[str, Tensor]) -> Weights:
    trunk = {key: value for key, value in state.items() if key.startswith(TRUNK)}
    top = {key.removeprefix(TOP): value for key, value in state.items() if key.startswith(TOP)}
    others = {key: value for key, value in state.items() if not key.startswith((*TRUNK, TOP))}
    return Weights(info, trunk, top, others)


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
