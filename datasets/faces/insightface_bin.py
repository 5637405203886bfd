"""Verification files of insightface (``lfw.bin``, ``cfp_fp.bin``): pickles, read without running anything."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from datasets.image_io import MAX_PIXELS, BadImageError

_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
_ALLOWED = {
    ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"), ("builtins", "bytearray"),
    ("__builtin__", "bytearray"), *((module, "_reconstruct") for module in _NUMPY),
    *((module, "scalar") for module in _NUMPY), *((module, "_frombuffer") for module in _NUMPY),
}
_FORMATS = ("JPEG", "PNG")


class _Restricted(pickle.Unpickler):
    """Arrays, bytes and plain values; any other name in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


class VerificationBin:
    """Pairs of aligned face crops in one file.

    Args:
        path: of the ``.bin`` file: a pickle of (encoded images, two a pair; whether the pair is one person).

    Attributes:
        same: one bool a pair.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, is something else, or wants to run code.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path} is missing; give a verification file such as lfw.bin")
        images, same = self._read()
        self.images: list[Any] = list(images)
        self.same = [bool(item) for item in same]
        if not self.same or len(self.images) != 2 * len(self.same):
            raise ValueError(
                f"{self.path}: {len(self.images)} images for {len(self.same)} pairs; expected two a pair"
            )

    def _read(self) -> tuple[Any, Any]:
        try:
            with self.path.open("rb") as file:
                images, same = _Restricted(file, encoding="bytes").load()
                len(images), len(same)
                return images, same
        except pickle.UnpicklingError as err:
            raise ValueError(
                f"{self.path} is a pickle that wants to run code, or is damaged ({err}); refused"
            ) from err
        except (EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError,
                MemoryError, OverflowError) as err:
            raise ValueError(
                f"{self.path} is not a whole verification file of insightface; copy it again"
            ) from err

    def __len__(self) -> int:
        """The number of images; images 2 i and 2 i + 1 are a pair."""
        return len(self.images)

    def __getitem__(self, index: int) -> Image.Image:
        """One image in RGB.

        Raises:
            BadImageError: it cannot be decoded.
        """
        name, data = f"{self.path}#{index}", self.images[index]
        try:
            raw = data.tobytes() if isinstance(data, np.ndarray) else bytes(data)
            with Image.open(io.BytesIO(raw), formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise BadImageError(name, f"more than {MAX_PIXELS} pixels")
                return image.convert("RGB")
        except (UnidentifiedImageError, OSError, SyntaxError, TypeError, ValueError) as err:
            if isinstance(err, BadImageError):
                raise
            raise BadImageError(name, f"damaged: {type(err).__name__}") from err
