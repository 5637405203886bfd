"""SSD on MobileNetV1 in a TensorFlow Lite file, with or without its post-processing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from apps.zoo.convert.source import Detector, RefusedError, Source, as_tensor, library
from apps.zoo.convert.tflite import ChainWalk
from apps.zoo.convert.tflite_file import TFLiteFile
from heads.default_boxes import tensorflow_boxes

POST_PROCESS = "TFLite_Detection_PostProcess"
SCORES: dict[str, Literal["sigmoid", "softmax"]] = {"LOGISTIC": "sigmoid", "SOFTMAX": "softmax"}
VARIANCES = {"x_scale": 10.0, "y_scale": 10.0, "w_scale": 5.0, "h_scale": 5.0}  # of the head's coder
NMS_THRESH = 0.6  # TensorFlow's, where the file does not tell
LAYERS = 35  # 27 of the trunk, 8 that SSD adds
MAPS = (22, 26, 28, 30, 32, 34)  # the layers whose maps have predictors
_NO_VALUES = ("RESHAPE", "SQUEEZE", "QUANTIZE", "DEQUANTIZE")  # operators that change no value
_POST_PROCESSING = ("POSTPROCESS", "NONMAXSUPPRESSION")  # parts of the names of operators that choose boxes


@dataclass(frozen=True)
class Ends:
    """Tensors of an SSD before boxes are chosen, and what is said of the choice."""

    boxes: int
    scores: int
    anchors: int | None
    options: dict[str, Any]


def is_detector(file: TFLiteFile) -> bool:
    """Whether a file gives boxes: it has several outputs, or an operator that chooses boxes."""
    numbers = range(file.graph.OperatorsLength())
    return file.graph.OutputsLength() > 1 or any(_chooses(_called(file, number)) for number in numbers)


def _called(file: TFLiteFile, number: int) -> str:
    name, operator = file.operator(number)
    return file.custom_code(operator) or name


def _chooses(name: str) -> bool:
    return any(part in name.upper().replace("_", "") for part in _POST_PROCESSING)


class DetectorWalk(ChainWalk):
    """From the outputs to the predictors, and from the image to the last map below them."""

    def __init__(self, path: Path, schema: Any, data: bytes) -> None:
        super().__init__(path, schema, data)
        self.makers: dict[int, int] = {}
        for number in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(number)
            self.makers |= {operator.Outputs(at): number for at in range(operator.OutputsLength())}

    def source(self) -> Source:
        """What the file holds.

        Raises:
            RefusedError: it chooses boxes in another way, or is no SSD on MobileNetV1.
        """
        ends = self._find_ends()
        name, operator = self.operator(self._maker(ends.scores))
        classes = self._predictors(operator.Inputs(0) if name in SCORES else ends.scores)
        boxes = self._predictors(ends.boxes)
        maps = self._maps(boxes[-1].Inputs(0))
        if [[layer.Inputs(0) for layer in layers] for layers in (classes, boxes)] != [maps, maps]:
            raise self._no_ssd("its predictors stand on other maps")
        detector = Detector(
            tuple(map(self._layer, classes)), tuple(self._moves(layer, ends.options) for layer in boxes),
            SCORES.get(name, "sigmoid"), self._anchors(ends.anchors, maps),
            round(float(ends.options.get("nms_iou_threshold", NMS_THRESH)), 6), (ends.boxes, ends.scores),
        )
        return self._source(None, detector)

    def _find_ends(self) -> Ends:
        for number in range(self.graph.OperatorsLength()):
            operator, called = self.graph.Operators(number), _called(self, number)
            if called == POST_PROCESS:
                boxes, scores, anchors = (operator.Inputs(at) for at in range(3))
                return Ends(boxes, scores, anchors, self._custom_options(operator))
            if _chooses(called):
                raise self._other_end(called)
        outputs = [self.graph.Outputs(at) for at in range(self.graph.OutputsLength())]
        shapes = [self._shape(tensor) for tensor in outputs]
        if len(outputs) != 2 or {len(shape) for shape in shapes} != {3} or 4 not in {s[-1] for s in shapes}:
            raise self._other_end(f"outputs of shapes {', '.join(map(str, shapes))}")
        boxes, scores = outputs if shapes[0][-1] == 4 else outputs[::-1]
        return Ends(boxes, scores, None, dict(VARIANCES))

    def _custom_options(self, operator: Any) -> dict[str, Any]:
        flexbuffers = library("flatbuffers.flexbuffers")
        options: Any = flexbuffers.GetRoot(bytearray(operator.CustomOptionsAsNumpy().tobytes())).Value
        if not isinstance(options, dict) or not VARIANCES.keys() <= options.keys():
            raise self._other_end(f"{POST_PROCESS} without {', '.join(VARIANCES)}")
        return options

    def _maker(self, tensor: int) -> int:
        """The operator that computes a tensor's values."""
        for _ in self.makers:
            number = self.makers.get(tensor)
            if number is None:
                raise self._no_ssd(f"nothing computes {self._name(tensor)}")
            name, operator = self.operator(number)
            if name not in _NO_VALUES:
                return number
            tensor = operator.Inputs(0)
        raise self._no_ssd("its operators stand in a circle")

    def _predictors(self, tensor: int) -> list[Any]:
        """The convolutions, one a map, whose outputs make a tensor."""
        number = self._maker(tensor)
        name, joined = self.operator(number)
        if name != "CONCATENATION":
            raise self._refused(number)
        numbers = [self._maker(joined.Inputs(at)) for at in range(joined.InputsLength())]
        for number in numbers:
            if self.operator(number)[0] != "CONV_2D":
                raise self._refused(number)
        if len(numbers) != len(MAPS):
            raise self._no_ssd(f"it has predictors on {len(numbers)} maps, not {len(MAPS)}")
        return [self.graph.Operators(number) for number in numbers]

    def _maps(self, last: int) -> list[int]:
        """The maps that predictors stand on; reads the chain of convolutions up to the last of them."""
        chain: list[int] = []
        while last in self.makers and len(chain) < len(self.makers):
            chain.append(self.makers[last])
            last = self.graph.Operators(chain[-1]).Inputs(0)
        behind: dict[int, int] = {}
        for number in reversed(chain):
            self._take(number)
            behind[len(self.layers) - 1] = self.current
        if len(self.layers) != LAYERS:
            raise self._no_ssd(f"{len(self.layers)} convolutions before the last predictor, not {LAYERS}")
        self._check_activated("the predictors")
        return [behind[number] for number in MAPS]

    def _layer(self, operator: Any) -> tuple[Tensor, Tensor]:
        """Weight (out, in, 1, 1) and bias (out,) of a predictor."""
        weight = self._constant(operator.Inputs(1)).transpose(0, 3, 1, 2)
        options = self._options(operator, self.schema.Conv2DOptions)
        if weight.shape[2:] != (1, 1) or options.StrideW() != 1 or options.FusedActivationFunction() != 0:
            raise self._no_ssd(f"{self._name(operator.Inputs(1))} is no plain 1 x 1 convolution")
        return as_tensor(weight), as_tensor(self._bias(operator, weight))

    def _moves(self, operator: Any, options: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """A predictor of TensorFlow's y, x, h, w as one of x, y, w, h, over the head's own variances."""
        weight, bias = self._layer(operator)
        factors = torch.tensor([VARIANCES[key] / options[key] for key in VARIANCES])  # x, y, w, h
        order = [1, 0, 3, 2]
        weight = weight.view(-1, 4, *weight.shape[1:])[:, order] * factors.view(1, 4, 1, 1, 1)
        return weight.flatten(0, 1), (bias.view(-1, 4)[:, order] * factors).flatten()

    def _anchors(self, tensor: int | None, maps: list[int]) -> Tensor | None:
        """The stored default boxes, where they are not those of the formula within what integers can say."""
        if tensor is None:
            return None
        y, x, height, width = as_tensor(self._constant(tensor)).view(-1, 4).unbind(1)
        stored = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)
        formula = tensorflow_boxes([self._shape(number)[1] for number in maps])
        steps = self._quantisation(tensor)[0]
        near = float(steps.max()) if steps.size else 1e-5  # half a step of a centre, half of half a side's
        same = formula.shape == stored.shape and bool((formula - stored).abs().max() <= near)
        return None if same else stored

    def _no_ssd(self, why: str) -> RefusedError:
        return RefusedError(f"{self.path} is no SSD on MobileNetV1: {why}")

    def _other_end(self, end: str) -> RefusedError:
        return RefusedError(
            f"{self.path} ends in {end}, which is not read here; give an SSD that ends in {POST_PROCESS}, or "
            "in raw boxes (1, A, 4) and scores (1, A, classes and background)"
        )
