"""TensorFlow Lite files: a classifier or an SSD on MobileNetV1."""

from __future__ import annotations

import struct
from pathlib import Path

from apps.zoo.convert.source import RefusedError, Source, library
from apps.zoo.convert.tflite import ChainWalk
from apps.zoo.convert.tflite_ssd import DetectorWalk, is_detector

_DAMAGE = (
    struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError, KeyError, MemoryError,
)


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
        chain = ChainWalk(path, schema, data)
        return DetectorWalk(path, schema, data).source() if is_detector(chain) else chain.source()
    except RefusedError:
        raise
    except _DAMAGE as err:
        raise RefusedError(
            f"{path} is not a whole TFLite file ({type(err).__name__}); copy or download it again"
        ) from err
