"""Verification files of insightface (``lfw.bin``, ``cfp_fp.bin``): pickles, read without running anything."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from datasets.faces.pickled_lists import PickleError, UnsafeError, as_flags, read_lists
from datasets.image_io import MAX_PIXELS, BadImageError
from datasets.outside import whole_file

_FORMATS = ("JPEG", "PNG")


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
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path} is missing; give a verification file such as lfw.bin")
        images, same = self._read()
        self.images: list[Any] = images
        self.same = as_flags(same)
        if not self.same or len(self.images) != 2 * len(self.same):
            raise ValueError(
                f"{self.path}: {len(self.images)} images for {len(self.same)} pairs; expected two a pair"
            )

    def _read(self) -> tuple[list[Any], Any]:
        try:
            parts = read_lists(whole_file(self.path))
        except UnsafeError as err:
            raise ValueError(
                f"{self.path} is a pickle that wants to run code, or is damaged ({err}); refused"
            ) from err
        except PickleError as err:
            raise ValueError(
                f"{self.path} is not a whole verification file of insightface ({err}); copy it again"
            ) from err
        if not isinstance(parts, list) or len(parts) != 2 or not isinstance(parts[0], list):
            raise ValueError(f"{self.path} is not a whole verification file of insightface; copy it again")
        images, same = parts
        if not isinstance(same, list | bytes):
            raise ValueError(f"{self.path} does not say which pairs are one person; copy it again")
        return images, same

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
            if not isinstance(data, bytes):
                raise BadImageError(name, "it holds a number in place of an image")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise BadImageError(name, f"more than {MAX_PIXELS} pixels")
                return image.convert("RGB")
        except BadImageError:
            raise
        except Exception as err:  # broken bytes surface as SyntaxError, struct.error and others
            raise BadImageError(name, f"damaged: {type(err).__name__}") from err
