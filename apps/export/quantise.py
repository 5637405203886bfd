"""int8 by static quantisation: scales a channel, ranges from the user's own photos."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.core.spec import INPUT
from apps.engine.inference.engines import Engine
from apps.export.tail import tail
from datasets.image_io import BadImageError, list_photos

PHOTOS = 200  # that the ranges are taken from
FEW = 50  # photos that are too few to take ranges from
BITS = 7  # of weights
PLAIN = 2  # first convolutions that stay in fp32


def calibration_photos(folder: Path, most: int = PHOTOS) -> list[Path]:
    """Photos of a folder, evenly spread over it.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no photo.
    """
    result = list_photos(
        [folder], "--calibrate wants a folder with some hundred photos like those that the model will see"
    )
    return result[:: -(-len(result) // most)]


class _Reader:
    """Photos one by one, as ONNX Runtime's quantiser asks for them."""

    def __init__(self, model: Engine, paths: list[Path]) -> None:
        self.model, self.paths = model, paths
        self.rest = self._inputs()

    def _inputs(self) -> Iterator[dict[str, NDArray[np.uint8]]]:
        for path in self.paths:
            yield {INPUT: self.model.photo(path)}

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next photo, or None at the end."""
        return next(self.rest, None)


def readable(
    model: Engine, paths: list[Path], say: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Those of the photos that can be read; the others are named.

    Raises:
        ValueError: none can.
    """
    good: list[Path] = []
    last: BadImageError | None = None
    for path in paths:
        try:
            model.photo(path)
            good.append(path)
        except BadImageError as err:
            last = err
            say(f"skipped: {err}")
    if not good:
        raise ValueError(f"no photo of --calibrate can be read; the last: {last}")
    return good


def first_nodes(proto: Any, convolutions: int = PLAIN) -> list[str]:
    """Names of all nodes before the convolution that follows the first ones; all where there is none."""
    names: list[str] = []
    for node in proto.graph.node:
        convolutions -= node.op_type == "Conv"
        if convolutions < 0:
            break
        names.append(node.name)
    return names


def quantised(
    proto: Any, model: Engine, photos: list[Path], say: Callable[[str], None] = lambda _: None, *,
    bits: int = BITS,
) -> Any:
    """The model in int8: weights a channel, activations by their range over the photos.

    Weights have 7 bits where nobody asks for 8: x86 processors without VNNI add products of bytes in pairs
    of 16 bits, which 8-bit weights overflow (five points of top-1 were lost so), and the file is to give
    one answer everywhere.
    The first two convolutions stay in fp32: they have few channels on large maps, where a runtime's int8
    is slower than its fp32.

    Args:
        proto: the fp32 ``ModelProto``.
        model: the same, ready to answer.
        photos: to take the ranges from.
        say: takes a line of words on each photo that cannot be read.
        bits: of weights, 7 or 8.

    Source: Krishnamoorthi 2018, Quantizing deep convolutional networks, section 3.1 (per-channel weights).
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    kept = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder:
            plain, ready, made = (Path(folder) / f"{name}.onnx" for name in ("plain", "ready", "made"))
            onnx.save(proto, plain)
            quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
            prepared = onnx.load(ready)
            quantize_static(
                str(ready), str(made), _Reader(model, readable(model, photos, say)),
                quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=bits == BITS,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                nodes_to_exclude=[*first_nodes(prepared), *tail(prepared.graph)],
            )
            return onnx.load(made)
    finally:
        logging.disable(kept)
