"""TensorFlow Lite files of MobileNetV1: float, half float, uint8 and int8, per tensor and per channel."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.zoo.convert.source import Layer, Padding, RefusedError, Source, as_tensor, library
from backbone.pretrained import HALF_INPUT
from backbone.weights_files import plain_classifier

MAX_OPERATORS = 1000
_DAMAGE = (
    struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError, KeyError, MemoryError,
)
_PASSED = ("RESHAPE", "SQUEEZE", "SOFTMAX", "QUANTIZE")
_DTYPES = {"FLOAT32": "<f4", "FLOAT16": "<f2", "INT32": "<i4", "UINT8": "u1", "INT64": "<i8", "INT8": "i1"}

Array = npt.NDArray[Any]


def read_tflite(path: Path) -> Source:
    """The convolutions of a TFLite file as floats, in the order of its operators.

    Integers become ``(q - zero_point) * scale``; of 1001 classes the first, background, is dropped.

    Args:
        path: a file that begins as a TFLite file.

    Raises:
        RefusedError: the file is cut off, or holds an operator that MobileNetV1 does not have.
        OSError: the library tflite is not installed, or the file cannot be read.
    """
    schema = library("tflite")
    data = path.read_bytes()
    try:
        return _Walk(path, schema, data).source()
    except RefusedError:
        raise
    except _DAMAGE as err:
        raise RefusedError(
            f"{path} is not a whole TFLite file ({type(err).__name__}); copy or download it again"
        ) from err


def _names(enum: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int)}


class _Walk:
    """One pass over the operators; each handler takes what it knows and refuses the rest."""

    def __init__(self, path: Path, schema: Any, data: bytes) -> None:
        self.path, self.schema = path, schema
        self.model = schema.Model.GetRootAsModel(data, 0)
        if self.model.SubgraphsLength() != 1:
            raise RefusedError(f"{path} holds {self.model.SubgraphsLength()} graphs; MobileNetV1 is one")
        self.graph = self.model.Subgraphs(0)
        self.operators = _names(schema.BuiltinOperator)
        self.types, self.activations = _names(schema.TensorType), _names(schema.ActivationFunctionType)
        self.layers: list[Layer] = []
        self.unactivated: str | None = None
        self.constants: dict[int, Array] = {}
        self.pad: list[list[int]] | None = None
        self.pooled = False
        self.classifier: tuple[Array, Array] | None = None
        self.weight_type = ""
        self.current = self.graph.Inputs(0) if self.graph.InputsLength() else -1
        self.handlers = {
            "CONV_2D": self._conv_2d, "DEPTHWISE_CONV_2D": self._depthwise_conv_2d, "MEAN": self._mean,
            "FULLY_CONNECTED": self._fully_connected, "AVERAGE_POOL_2D": self._average_pool_2d,
            "PAD": self._take_pad, "RELU6": self._relu6, "DEQUANTIZE": self._dequantize,
        }

    def source(self) -> Source:
        """Walk over all operators and put together what they told."""
        if self.graph.InputsLength() != 1 or self.graph.OperatorsLength() > MAX_OPERATORS:
            raise RefusedError(f"{self.path} is no MobileNetV1: it has more inputs or operators")
        for number in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(number)
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            self._take(number, self.operators.get(builtin, str(builtin)), operator, code)
        if not self.pooled:
            raise RefusedError(f"{self.path} is no MobileNetV1: it has no pooling behind its convolutions")
        self._check_activated("the pooling")
        height, width = self._shape(self.graph.Inputs(0))[1:3]
        if height != width:
            raise RefusedError(f"{self.path} wants images of {width} x {height}; square ones are read here")
        return Source(
            self.path, f"tflite-{self.weight_type}", tuple(self.layers), self._labels(), self._padding(),
            resolution=height, input=HALF_INPUT,
        )

    def _take(self, number: int, name: str, operator: Any, code: Any) -> None:
        if name in self.handlers or name in _PASSED:
            self._follow(number, name, operator)
            self.handlers.get(name, lambda _: None)(operator)
        elif name == "CUSTOM" and b"edgetpu" in (code.CustomCode() or b""):
            raise RefusedError(
                f"{self.path} is compiled for the Edge TPU; give the file that it was compiled from"
            )
        else:
            raise RefusedError(
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

    def _relu6(self, _: Any) -> None:
        self.unactivated = None

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
        padding = self._padding_of(options, weight.shape[-1], stride, name)
        layer = Layer(name, as_tensor(weight), as_tensor(bias), stride=stride, padding=padding)
        self.layers.append(layer)
        activation = self.activations.get(options.FusedActivationFunction(), "?")
        self.unactivated = None if self._ends_in_relu6(activation, operator) else name
        if activation not in ("NONE", "RELU6"):
            raise RefusedError(
                f"{self.path}: {name} has activation {activation}; the network here has RELU6"
            )
        self.weight_type = self.weight_type or self._type(operator.Inputs(1))

    def _classify(self, operator: Any, options: Any, weight: Array) -> None:
        if self.classifier is not None or options.FusedActivationFunction() != 0:
            raise RefusedError(f"{self.path} is no MobileNetV1: it has more than a linear classifier")
        self.classifier = weight, self._bias(operator, weight)

    def _check_activated(self, before: str) -> None:
        if self.unactivated is not None:
            raise RefusedError(f"{self.path}: {self.unactivated} has no ReLU6 before {before}")

    def _ends_in_relu6(self, activation: str, operator: Any) -> bool:
        """Fused, or by an integer range of 0 to 6, which cuts off just so."""
        if activation == "RELU6":
            return True
        scale, zero = self._quantisation(operator.Outputs(0))[:2]
        steps = {"UINT8": (0, 255), "INT8": (-128, 127)}.get(self._type_name(operator.Outputs(0)))
        if steps is None or scale.size != 1:
            return False
        low, high = ((step - int(zero[0])) * float(scale[0]) for step in steps)
        return abs(low) < 0.05 and abs(high - 6) < 0.05

    def _padding_of(self, options: Any, kernel: int, stride: int, name: str) -> Padding | None:
        """None where both kinds pad alike."""
        valid = options.Padding() == self.schema.Padding.VALID
        pad, self.pad = self.pad, None
        if kernel == 1 and pad is None:
            return None
        if not valid and pad is None:
            return "same" if stride > 1 else None
        if valid and pad == [[0, 0], [1, 1], [1, 1], [0, 0]]:
            return "symmetric" if stride > 1 else None
        if valid and pad == [[0, 0], [0, 1], [0, 1], [0, 0]] and stride == 2:
            return "same"  # Keras pads so itself; at even sizes it is SAME
        raise RefusedError(f"{self.path}: {name} is padded by {pad}, which no MobileNetV1 here is")

    def _padding(self) -> Padding:
        results = {layer.padding for layer in self.layers if layer.padding}
        if len(results) > 1:
            raise RefusedError(f"{self.path} pads some layers as TensorFlow and some as PyTorch do")
        return results.pop() if results else "same"

    def _labels(self) -> Any:
        if self.classifier is None:
            return None
        weight, bias = plain_classifier(*self.classifier)
        return as_tensor(weight), as_tensor(bias)

    def _bias(self, operator: Any, weight: Array) -> Array:
        channels = weight.shape[0]
        if operator.InputsLength() < 3 or operator.Inputs(2) < 0:
            return np.zeros(channels, np.float32)
        index = operator.Inputs(2)
        if self._type_name(index) == "INT32" and not self._quantisation(index)[0].size:
            scale = self._quantisation(operator.Inputs(0))[0] * self._quantisation(operator.Inputs(1))[0]
            return np.asarray(self._raw(index) * scale.astype(np.float64), np.float32)
        return self._constant(index).reshape(-1)

    def _constant(self, index: int) -> Array:
        """A constant tensor as float32, or as integers if it is not quantised."""
        if index in self.constants:
            return self.constants[index]
        raw = self._raw(index)
        scale, zero, axis = self._quantisation(index)
        if raw.dtype.kind == "f" or not scale.size:
            self._check_plain(index, raw)
            return raw.astype(np.float32) if raw.dtype.kind == "f" else raw
        if scale.size > 1:
            along = [1] * raw.ndim
            along[axis] = -1
            scale, zero = scale.reshape(along), zero.reshape(along)
        return np.asarray((raw.astype(np.float64) - zero) * scale.astype(np.float64), np.float32)

    def _check_plain(self, index: int, raw: Array) -> None:
        if raw.dtype.kind != "f" and raw.ndim > 1 and self._type_name(index) in ("UINT8", "INT8"):
            kind = self._type_name(index)
            raise RefusedError(f"{self.path}: {self._name(index)} is {kind} without a scale")

    def _raw(self, index: int) -> Array:
        tensor = self.graph.Tensors(index)
        kind = _DTYPES.get(self._type_name(index))
        if kind is None or not self._is_constant(index) or tensor.Sparsity() is not None:
            raise RefusedError(
                f"{self.path}: {self._name(index)} is no plain constant ({self._type_name(index)})"
            )
        data: Array = self.model.Buffers(tensor.Buffer()).DataAsNumpy()
        return data.view(kind).reshape(self._shape(index))

    def _is_constant(self, index: int) -> bool:
        return bool(self.model.Buffers(self.graph.Tensors(index).Buffer()).DataLength())

    def _quantisation(self, index: int) -> tuple[Array, Array, int]:
        """(scales, zero points, axis); empty without quantisation."""
        quantization = self.graph.Tensors(index).Quantization()
        if quantization is None or not quantization.ScaleLength():
            return np.empty(0, np.float32), np.empty(0, np.int64), 0
        zero = (
            quantization.ZeroPointAsNumpy()
            if quantization.ZeroPointLength()
            else np.zeros(quantization.ScaleLength(), np.int64)
        )
        return quantization.ScaleAsNumpy(), zero, int(quantization.QuantizedDimension())

    def _options(self, operator: Any, kind: Any) -> Any:
        table, options = operator.BuiltinOptions(), kind()
        options.Init(table.Bytes, table.Pos)
        return options

    def _shape(self, index: int) -> tuple[int, ...]:
        tensor = self.graph.Tensors(index)
        return tuple(int(tensor.Shape(axis)) for axis in range(tensor.ShapeLength()))

    def _name(self, index: int) -> str:
        name: bytes = self.graph.Tensors(index).Name() or b""
        return name.decode("utf-8", "replace").partition(";")[0] or f"tensor {index}"

    def _type_name(self, index: int) -> str:
        return self.types.get(self.graph.Tensors(index).Type(), "?")

    def _type(self, index: int) -> str:
        if index in self.constants:
            return "float16"
        return self._type_name(index).lower()
