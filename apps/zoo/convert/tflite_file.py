"""What any TensorFlow Lite file is made of: its operators, and its constants as floats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.zoo.convert.source import RefusedError

_DTYPES = {"FLOAT32": "<f4", "FLOAT16": "<f2", "INT32": "<i4", "UINT8": "u1", "INT64": "<i8", "INT8": "i1"}

Array = npt.NDArray[Any]


def _names(enum: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int)}


class TFLiteFile:
    """The one graph of a file.

    Args:
        path: for messages.
        schema: the library tflite.
        data: content of the file.

    Raises:
        RefusedError: it holds several graphs.
    """

    def __init__(self, path: Path, schema: Any, data: bytes) -> None:
        self.path, self.schema = path, schema
        self.model = schema.Model.GetRootAsModel(data, 0)
        if self.model.SubgraphsLength() != 1:
            raise RefusedError(f"{path} holds {self.model.SubgraphsLength()} graphs; MobileNetV1 is one")
        self.graph = self.model.Subgraphs(0)
        self.operators = _names(schema.BuiltinOperator)
        self.types, self.activations = _names(schema.TensorType), _names(schema.ActivationFunctionType)
        self.constants: dict[int, Array] = {}

    def operator(self, number: int) -> tuple[str, Any]:
        """(name, operator) of a place in the file."""
        operator = self.graph.Operators(number)
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        return self.operators.get(builtin, str(builtin)), operator

    def custom_code(self, operator: Any) -> str:
        """What a CUSTOM operator calls itself; empty of others."""
        code: bytes = self.model.OperatorCodes(operator.OpcodeIndex()).CustomCode() or b""
        return code.decode("utf-8", "replace")

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
