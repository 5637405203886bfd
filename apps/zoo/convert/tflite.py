"""MobileNetV1 in a TensorFlow Lite file: float, half float, uint8 and int8, per tensor and per channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from apps.zoo.convert.source import (
    Detector,
    Layer,
    RefusedError,
    Source,
    as_tensor,
    padding_of,
    padding_of_all,
)
from apps.zoo.convert.tflite_file import Array, TFLiteFile
from backbone.mobilenet import Activation
from backbone.pretrained import HALF_INPUT
from backbone.weights_files import plain_classifier

MAX_OPERATORS = 1000
_PASSED = ("RESHAPE", "SQUEEZE", "SOFTMAX", "QUANTIZE")


class ChainWalk(TFLiteFile):
    """One pass over the operators; each handler takes what it knows and refuses the rest.

    Raises:
        RefusedError: the file holds several graphs.
    """

    def __init__(self, path: Path, schema: Any, data: bytes) -> None:
        super().__init__(path, schema, data)
        self.layers: list[Layer] = []
        self.unactivated: str | None = None
        self.pad: list[list[int]] | None = None
        self.pooled = False
        self.classifier: tuple[Array, Array] | None = None
        self.weight_type = ""
        self.activation = ""
        self.current = self.graph.Inputs(0) if self.graph.InputsLength() else -1
        self.handlers: dict[str, Callable[[Any], None]] = {
            "CONV_2D": self._conv_2d, "DEPTHWISE_CONV_2D": self._depthwise_conv_2d, "MEAN": self._mean,
            "FULLY_CONNECTED": self._fully_connected, "AVERAGE_POOL_2D": self._average_pool_2d,
            "PAD": self._take_pad, "DEQUANTIZE": self._dequantize,
            "RELU6": lambda _: self._activated("RELU6"), "RELU": lambda _: self._activated("RELU"),
        }

    def source(self) -> Source:
        """Walk over all operators and put together what they say.

        Raises:
            RefusedError: it holds an operator that MobileNetV1 does not have.
        """
        if self.graph.InputsLength() != 1 or self.graph.OperatorsLength() > MAX_OPERATORS:
            raise RefusedError(f"{self.path} is no MobileNetV1: it has more inputs or operators")
        for number in range(self.graph.OperatorsLength()):
            self._take(number)
        if not self.pooled:
            raise RefusedError(f"{self.path} is no MobileNetV1: it has no pooling behind its convolutions")
        self._check_activated("the pooling")
        return self._source(self._labels())

    def _source(self, classifier: Any, detector: Detector | None = None) -> Source:
        height, width = self._shape(self.graph.Inputs(0))[1:3]
        if height != width:
            raise RefusedError(f"{self.path} wants images of {width} x {height}; square ones are read here")
        activation: Activation = "relu" if self.activation == "RELU" else "relu6"
        if detector is not None and activation == "relu":
            raise RefusedError(f"{self.path}: an SSD here has RELU6 behind its convolutions, not RELU")
        return Source(
            self.path, f"tflite-{self.weight_type}", tuple(self.layers), classifier,
            padding_of_all(self.layers, self.path), resolution=height, input=HALF_INPUT,
            detector=detector, activation=activation,
        )

    def _take(self, number: int) -> None:
        name, operator = self.operator(number)
        if name not in self.handlers and name not in _PASSED:
            raise self._refused(number)
        self._follow(number, name, operator)
        self.handlers.get(name, lambda _: None)(operator)

    def _refused(self, number: int) -> RefusedError:
        """Of an operator that has no place in the network."""
        name, operator = self.operator(number)
        if "edgetpu" in self.custom_code(operator):
            return RefusedError(
                f"{self.path} is compiled for the Edge TPU; give the file that it was compiled from"
            )
        return RefusedError(
            f"{self.path} is no MobileNetV1: operator {number} is {name}, which MobileNetV1 does not have"
        )

    def _follow(self, number: int, name: str, operator: Any) -> None:
        """MobileNetV1 is a chain: each operator takes what the one before it made."""
        if self._is_constant(operator.Inputs(0)):
            return
        if operator.Inputs(0) != self.current:
            raise RefusedError(
                f"{self.path} is no MobileNetV1: operator {number}, {name}, leaves the chain of the others"
            )
        self.current = operator.Outputs(0)

    def _conv_2d(self, operator: Any) -> None:
        options = self._options(operator, self.schema.Conv2DOptions)
        weight = self._constant(operator.Inputs(1)).transpose(0, 3, 1, 2)
        if self.pooled:
            self._classify(operator, options, weight.reshape(weight.shape[0], -1))
        else:
            self._convolve(operator, options, weight)

    def _depthwise_conv_2d(self, operator: Any) -> None:
        options = self._options(operator, self.schema.DepthwiseConv2DOptions)
        weight = self._constant(operator.Inputs(1)).transpose(3, 0, 1, 2)
        self._convolve(operator, options, weight)

    def _fully_connected(self, operator: Any) -> None:
        options = self._options(operator, self.schema.FullyConnectedOptions)
        self._classify(operator, options, self._constant(operator.Inputs(1)))

    def _take_pad(self, operator: Any) -> None:
        self.pad = self._constant(operator.Inputs(1)).astype(int).tolist()

    def _average_pool_2d(self, operator: Any) -> None:
        if self._shape(operator.Outputs(0))[1:3] != (1, 1):
            raise RefusedError(f"{self.path} is no MobileNetV1: it pools to more than one pixel")
        self.pooled = True

    def _mean(self, _: Any) -> None:
        self.pooled = True

    def _activated(self, activation: str) -> None:
        """Take note of what follows a convolution; all have the same."""
        if activation not in ("RELU6", "RELU") or self.activation not in ("", activation):
            raise RefusedError(
                f"{self.path}: {self.unactivated} has activation {activation}; the network here has RELU6 "
                "behind every convolution, or RELU behind every one"
            )
        self.activation, self.unactivated = activation, None

    def _dequantize(self, operator: Any) -> None:
        """Half-float files keep their weights so; the output stands for a constant then."""
        if self._is_constant(operator.Inputs(0)):
            self.constants[operator.Outputs(0)] = self._constant(operator.Inputs(0))

    def _convolve(self, operator: Any, options: Any, weight: Array) -> None:
        name = self._name(operator.Inputs(1))
        if self.pooled:
            raise RefusedError(f"{self.path} is no MobileNetV1: {name} comes after the pooling")
        self._check_activated(name)
        if options.DilationWFactor() != 1 or options.StrideH() != options.StrideW():
            raise RefusedError(f"{self.path}: {name} is dilated or has two strides; MobileNetV1 has neither")
        stride, bias = options.StrideW(), self._bias(operator, weight)
        pads, self.pad = self.pad, None
        same = options.Padding() != self.schema.Padding.VALID
        padding = padding_of(pads, f"{self.path}: {name}", same=same, kernel=weight.shape[-1], stride=stride)
        layer = Layer(name, as_tensor(weight), as_tensor(bias), stride=stride, padding=padding)
        self.layers.append(layer)
        activation, self.unactivated = self.activations.get(options.FusedActivationFunction(), "?"), name
        if activation != "NONE" or self._ends_at_six(operator):
            self._activated("RELU6" if activation == "NONE" else activation)
        self.weight_type = self.weight_type or self._type(operator.Inputs(1))

    def _classify(self, operator: Any, options: Any, weight: Array) -> None:
        if self.classifier is not None or options.FusedActivationFunction() != 0:
            raise RefusedError(f"{self.path} is no MobileNetV1: it has more than a linear classifier")
        self.classifier = weight, self._bias(operator, weight)

    def _check_activated(self, before: str) -> None:
        if self.unactivated is not None:
            raise RefusedError(f"{self.path}: {self.unactivated} has no ReLU6 or ReLU before {before}")

    def _ends_at_six(self, operator: Any) -> bool:
        """Whether integers have a range of 0 to 6, which cuts off as ReLU6 does."""
        scale, zero = self._quantisation(operator.Outputs(0))[:2]
        steps = {"UINT8": (0, 255), "INT8": (-128, 127)}.get(self._type_name(operator.Outputs(0)))
        if steps is None or scale.size != 1:
            return False
        low, high = ((step - int(zero[0])) * float(scale[0]) for step in steps)
        return abs(low) < 0.05 and abs(high - 6) < 0.05

    def _labels(self) -> Any:
        if self.classifier is None:
            return None
        weight, bias = plain_classifier(*self.classifier)
        return as_tensor(weight), as_tensor(bias)
