"""What of an image is compared with others: the hash of its file, and a small grey copy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from apps.engine.core.machine import usable_cores
from datasets.file_kinds import image_kind
from datasets.image_io import BadImageError, image_size, read_bytes, read_pixels

SIDE = 48  # px of the small copy
AT_ONCE = 256  # files that wait for a thread
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif"), "PNG": (".png", ".apng"), "GIF": (".gif",),
    "WebP": (".webp",), "TIFF": (".tif", ".tiff"), "BMP": (".bmp", ".dib"), "AVIF": (".avif",),
    "HEIC": (".heic", ".heif", ".hif"),
}
Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Fingerprint:
    """What a check keeps of an image.

    Args:
        path: of the file.
        digest: of its bytes; empty where it cannot be read.
        grey: (SIDE, SIDE), the whole image without its shape; None where it cannot be read.
        size: width and height in pixels, upright.
        spread: greatest standard deviation of a colour, 0 to 128.
        kind: such as JPEG, by its content, where its name says another one; else empty.
        fault: why it cannot be read; empty where it can.
    """

    path: Path
    digest: str = ""
    grey: Grey | None = None
    size: tuple[int, int] = (0, 0)
    spread: float = 0.0
    kind: str = ""
    fault: str = ""


def fingerprints(
    paths: Sequence[Path], on_done: Callable[[int], None] = lambda _: None
) -> list[Fingerprint]:
    """The fingerprint of each file, in their order; files are read by several threads.

    Args:
        paths: of images.
        on_done: gets the number of those that are done.
    """
    results: list[Fingerprint] = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, len(paths), AT_ONCE):
            results += pool.map(fingerprint, paths[start : start + AT_ONCE])
            on_done(len(results))
    return results


def fingerprint(path: Path) -> Fingerprint:
    """That of one file; what is wrong with it is in ``fault``."""
    try:
        data = read_bytes(path)
        digest = "" if data is None else hashlib.blake2b(data, digest_size=16).hexdigest()
        size = image_size(path)
        pixels = read_pixels(path, min_side=2 * SIDE, data=data)
    except BadImageError as err:
        return Fingerprint(path, fault=err.reason)
    image = Image.fromarray(pixels)
    grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))
    return Fingerprint(path, digest, grey, size, _spread(image), _misnamed(path, data))


def _spread(image: Image.Image) -> float:
    """The greatest standard deviation of a colour, counted from the histogram."""
    counts = np.array(image.histogram(), np.float64).reshape(3, 256)
    shares, levels = counts / counts.sum(axis=1, keepdims=True), np.arange(256.0)
    means = shares @ levels
    return float(np.sqrt(np.maximum(shares @ levels**2 - means**2, 0)).max())


def _misnamed(path: Path, data: bytes | None) -> str:
    """The kind of a file whose name says another kind; empty where they agree or nothing is known."""
    kind = image_kind((data or b"")[:512]) or ""
    suffix, known = path.suffix.lower(), {name for names in SUFFIXES.values() for name in names}
    return kind if suffix in known and kind in SUFFIXES and suffix not in SUFFIXES[kind] else ""
