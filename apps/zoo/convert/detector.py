"""The SSD of a file: the names of its columns, its state, and whether it answers as its source does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection import SSD300_VGG16_Weights

from apps.engine.core.model import pretrained_ssd
from apps.zoo.convert.network import Slot
from apps.zoo.convert.parity import DIRECT_IMAGES, direct_answer, feed, interpreter_name, open_interpreter
from apps.zoo.convert.source import Detector, RefusedError, Source, maps_directly
from apps.zoo.convert.tflite_ssd import MAPS
from backbone import MobileNetV1, Weights, load_state
from datasets.validation import read_text
from heads import SSD

LABELS = "labelmap.txt"  # beside a file, as TensorFlow packs it
NO_CLASS = ("", "???", "N/A", "__background__")  # names of columns that no class has
COCO_COLUMNS = 91
SURE = 0.1  # least score that is compared
State = dict[str, Tensor]


@dataclass(frozen=True)
class Columns:
    """Which columns of the scores are classes.

    Args:
        names: of the classes.
        numbers: of their columns, which are the numbers of COCO's categories, 1 or more.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]

    def metadata(self, arguments: dict[str, Any]) -> dict[str, str]:
        """What a file of weights says of its detector.

        Args:
            arguments: of ``heads.SSD``.
        """
        head = {
            "kind": "ssd", "arguments": arguments, "classes": self.names, "category_ids": self.numbers,
        }
        return {"head": json.dumps(head, allow_nan=False), "classes": f"{len(self.names)} classes of boxes"}


def find_columns(source: Source, labels: Path | None) -> Columns:
    """The names of the columns: of a file of labels, of one beside the weights, or COCO's where there are 91.

    Args:
        source: with a detector.
        labels: a line for each column, the first for the background; ``???`` is no class.

    Raises:
        FileNotFoundError: there is no such file of labels.
        ValueError: it has another number of lines, no name or one twice, or there are no names at all.
    """
    columns, names = _detector(source).columns, _detector(source).names
    beside = source.path.with_name(LABELS)
    path = labels or (beside if beside.is_file() else None)
    if path is not None:
        lines = [line.strip() for line in read_text(path).splitlines()]
    elif names:
        lines = list(names)
    elif columns == COCO_COLUMNS:
        lines = list(SSD300_VGG16_Weights.COCO_V1.meta["categories"])
    else:
        raise ValueError(
            f"{source.path} has {columns} columns without names: give --labels F with a line for each, the "
            "first for the background"
        )
    if len(lines) != columns:
        raise ValueError(
            f"{path} has {len(lines)} lines, {source.path} has {columns} columns; give --labels F with a "
            "line for each, the first for the background"
        )
    classes = {number: name for number, name in enumerate(lines) if number and name not in NO_CLASS}
    if not classes or len(set(classes.values())) != len(classes):
        raise ValueError(f"{path} names no class, or one twice; each column needs a name of its own, or ???")
    return Columns(tuple(classes.values()), tuple(classes))


def head_arguments(source: Source, width: float) -> dict[str, Any]:
    """Of ``heads.SSD``, without its channels and classes."""
    detector = _detector(source)
    return {
        "size": source.resolution, "width": width, "padding": source.padding,
        "anchors": "tensorflow" if detector.anchors is None else "stored",
        "score_converter": detector.score_converter, "nms_thresh": detector.nms_thresh,
    }


def to_head_state(source: Source, columns: Columns) -> State:
    """The predictors, of which columns that are no class are left out, and stored default boxes."""
    detector = _detector(source)
    state: State = {} if detector.anchors is None else {"head.anchors": detector.anchors}
    kept = torch.tensor([0, *columns.numbers])
    for number, (weight, bias) in enumerate(detector.classification):
        parts = (part.view(-1, detector.columns, *part.shape[1:])[:, kept] for part in (weight, bias))
        state |= _named(f"head.classification.{number}", *(part.flatten(0, 1) for part in parts))
    for number, layer in enumerate(detector.box_regression):
        state |= _named(f"head.box_regression.{number}", *layer)
    return {key: value.contiguous() for key, value in state.items()}


def _named(name: str, weight: Tensor, bias: Tensor) -> State:
    return {f"{name}.weight": weight, f"{name}.bias": bias}


@dataclass(frozen=True)
class ImportedDetector:
    """The imported network, ready to answer.

    Args:
        network: below the head.
        head: the SSD.
        columns: of the file, that are its classes.
    """

    network: MobileNetV1
    head: SSD
    columns: Columns

    @classmethod
    def of(cls, source: Source, weights: Weights, columns: Columns) -> ImportedDetector:
        """Build it from weights as ``load_weights`` gives them.

        Raises:
            RefusedError: the predictors do not fit the maps.
        """
        network = MobileNetV1(**weights.info.arguments, preprocessing=weights.info.preprocessing)
        load_state(network, weights)
        try:
            head = pretrained_ssd(weights, network.channels)
        except ValueError as err:
            raise RefusedError(f"{source.path} is no SSD on MobileNetV1: {err}") from err
        return cls(network.eval(), head, columns)

    @torch.inference_mode()
    def answer(self, images: Tensor) -> dict[str, Tensor]:
        """The head's output for images in [0, 1]."""
        maps = self.network(images)
        output: dict[str, Tensor] = self.head(*(maps[stride] for stride in self.head.strides))
        return output


@torch.inference_mode()
def check_direct(
    source: Source, slots: tuple[Slot, ...], imported: ImportedDetector, images: Tensor
) -> dict[str, Any]:
    """Hold the network against the file's own numbers, computed layer by layer in double precision.

    Args:
        source: the file's content.
        slots: of its layers.
        imported: what was made of it.
        images: (B, 3, H, W) in [0, 1]; the first eight are used.

    Returns:
        ``{"max_difference", "images"}``, of logits and offsets.

    Raises:
        RefusedError: they differ by more than 1e-3.
    """
    detector, few = _detector(source), images[:DIRECT_IMAGES]
    strides = tuple(slot.stride for slot in slots)
    apart: list[Tensor] = []
    for image in torch.split(few, 1):  # all at once, their maps in double precision would take gigabytes
        every = maps_directly(source, strides, imported.network.normalise(image).double())
        kept = {number: values for number, values in enumerate(every) if number in MAPS}
        maps, output = [kept[number] for number in MAPS], imported.answer(image)
        logits = _joined(detector.classification, maps, detector.columns)[..., [0, *imported.columns.numbers]]
        offsets = _joined(detector.box_regression, maps, 4)
        apart += [logits - output["cls_logits"], offsets - output["bbox_regression"]]
    most = torch.stack([part.abs().max() for part in apart]).max()
    return direct_answer(source, most.item(), len(few))


def _joined(layers: Sequence[tuple[Tensor, Tensor]], maps: Sequence[Tensor], last: int) -> Tensor:
    """(B, A, last): the predictors' outputs in the order of the default boxes."""
    outputs = [
        F.conv2d(x, weight.double(), bias.double()).permute(0, 2, 3, 1).reshape(len(x), -1, last)
        for (weight, bias), x in zip(layers, maps, strict=True)
    ]
    return torch.cat(outputs, 1)


@torch.inference_mode()
def check_interpreter(source: Source, imported: ImportedDetector, pixels: Tensor) -> dict[str, Any] | None:
    """Run a TFLite file in its own interpreter, if that is installed, and compare scores before suppression.

    Args:
        source: the file's content.
        imported: what was made of it.
        pixels: (B, 3, H, W) uint8.

    Returns:
        ``{"name", "score_difference", "images"}``: the mean absolute difference of the scores that either
        puts at 0.1 or more; None if there is no such file, interpreter, image or score.
    """
    detector = _detector(source)
    interpreter = open_interpreter(source.path, raw=True) if detector.tensors and len(pixels) else None
    if interpreter is None:
        return None
    differences = []
    for image in pixels:
        theirs = raw_outputs(interpreter, detector, imported.network, image)[1][:, imported.columns.numbers]
        ours = imported.head.scores(imported.answer(image[None].float() / 255)["cls_logits"])[0].numpy()
        differences.append(np.abs(ours - theirs)[np.maximum(ours, theirs) >= SURE])
    every = np.concatenate(differences)
    if not len(every):
        return None
    return {
        "name": interpreter_name(), "score_difference": round(float(every.mean()), 4), "images": len(pixels)
    }


def raw_outputs(interpreter: Any, detector: Detector, network: MobileNetV1, image: Tensor) -> tuple[Any, Any]:
    """What a TFLite file computes for an image before its post-processing.

    Args:
        interpreter: of :func:`apps.zoo.convert.parity.open_interpreter` with ``raw``.
        detector: of the file.
        network: for the normalisation of files that take floats.
        image: (3, H, W) uint8.

    Shape:
        returns: offsets (A, 4), in the order of the file, and scores (A, C), floats.
    """
    feed(interpreter, image, network)
    details = {entry["index"]: entry for entry in interpreter.get_tensor_details()}
    results = []
    for number in detector.tensors or ():
        values = interpreter.get_tensor(number)[0]
        scale, zero = details[number]["quantization"]
        results.append((values.astype(np.float64) - zero) * scale if scale else values.astype(np.float64))
    return results[0], results[1]


def _detector(source: Source) -> Detector:
    assert source.detector is not None
    return source.detector
