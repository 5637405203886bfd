"""Decoded images kept on disk and mapped into memory: the second epoch decodes nothing.

The key of an image is a hash of its bytes, of how it is cut and reduced and of the decoder's version. So a
changed image has another key, whatever its dates say, and a copied or touched one is found again. Because
reading and hashing cost time, a second key made of (device, inode, size, mtime, ctime) of the image's file
leads straight to its pixels. Nobody but the system's clock sets ctime: a change in place moves it, another
file put in its place has another inode. Only a change within one tick of the clock after reading could hide,
so the second key is used two seconds after the last change at the earliest; until then the bytes are hashed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import tempfile
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from apps.engine.core.files import write_json
from apps.engine.data.pixel_store import KEY_BYTES, PixelStore, StoreFullError
from datasets.image_io import DECODER, Box, Pixels, read_bytes
from datasets.packed import packed_identity

FORMAT = 2
FORMAT_FILE = "cache.json"
MAX_GB = 1_000_000
SETTLED_SECONDS = 2.0
KEPT_AS_IT_IS = 2.0  # times the side asked for: decoding brings a JPEG of up to 16 times the side below it
TESTED_BYTES = 1 << 16
RUN_PREFIX = ".run-"  # a file for each process that opened the cache: one byte, the first trouble of the run
FULL = 255  # the bound is reached; other values are error numbers, 0 is no trouble
LEFT_BEHIND_SECONDS = 30 * 86400.0
Reader = Callable[[bytes | None], Pixels]


class ImageCache:
    """A folder of decoded images, bounded in size, shared by any number of processes and runs.

    When it is full or the disk fails, images are read but no longer added, and :meth:`notes` says so.

    Args:
        root: the folder; made where it is missing.
        limit_gb: bound on the pixels in it, in 10^9 bytes, above 0 and below 1,000,000.

    Raises:
        ValueError: the limit is out of its range, or the folder is of another version or holds other files.
        OSError: the folder cannot be written, is full, or the system has no POSIX file locks.
    """

    def __init__(self, root: Path | str, limit_gb: float) -> None:
        if not 0 < limit_gb < MAX_GB:
            raise ValueError(f"--cache-gb must be above 0 and below {MAX_GB}, got {limit_gb:g}")
        self.root, self.limit_gb = Path(root), limit_gb
        self.closed = self.noted = False
        self.run = _prepare(self.root)
        weakref.finalize(self, _remove, self.run, os.getpid())
        self.store = PixelStore(self.root, int(limit_gb * 1e9))

    def notes(self) -> list[str]:
        """What a user should know, once: that nothing more is added, by any process of this run, and why."""
        trouble = self.run.read_bytes()[0] if self.run.exists() else 0
        if self.noted or not trouble:
            return []
        self.noted = True
        why, mend = f"takes no more photos ({os.strerror(trouble)})", "give another folder with --cache"
        if trouble == FULL:
            why, mend = f"is full ({self.limit_gb:g} GB)", "give a larger --cache-gb, or delete the folder"
        return [f"the cache {self.root} {why}: the other photos are decoded in every epoch; {mend}"]

    def pixels(self, path: Path, min_side: int | None, read: Reader, *, box: Box | None = None) -> Pixels:
        """The image's pixels, from the cache or else decoded and kept.

        Args:
            path: the image's file.
            min_side: short side in pixels that is enough; one of more than twice as much is reduced to it.
            read: bytes of the file -> pixels; gets None where it has to read the file itself.
            box: what ``read`` cuts out.

        Shape:
            returns: (H, W, 3) uint8, writable without effect on the cache.

        Raises:
            BadImageError: the image cannot be read; nothing is kept of it.
        """
        view = f"{min_side} {box} {DECODER}"
        before = _identity(path)
        file_key = None if before is None else _key(before, f"file {view}")
        if file_key is not None and (pixels := self.store.get(file_key)) is not None:
            return pixels
        data = read_bytes(path)
        if data is None:  # too large to be hashed as a whole
            return read(None)
        key = _key(data, view)
        pixels = self.store.get(key)
        keys = [key]
        if file_key is not None and _identity(path) == before:
            keys.append(file_key)
        if pixels is None:
            pixels = reduced(read(data), min_side)
        elif len(keys) == 1:
            return pixels
        self._keep(keys, pixels)
        return pixels

    def _keep(self, keys: list[bytes], pixels: Pixels) -> None:
        """Add pixels under their keys; the first trouble ends the adding."""
        if self.closed:
            return
        try:
            self.store.put(keys, pixels)
        except StoreFullError:
            self._close(FULL)
        except OSError as err:
            self._close(err.errno or errno.EIO)

    def _close(self, trouble: int) -> None:
        self.closed = True
        with suppress(FileNotFoundError), self.run.open("r+b") as file:
            file.write(bytes([trouble]))  # over a byte that is there: that needs no room on a full disk


def reduced(pixels: Pixels, min_side: int | None) -> Pixels:
    """An image with its short side at ``min_side`` pixels, unless it is at most twice as large.

    Bicubic with antialiasing: the crop that is resized from it once more should not be blurred twice.
    """
    short = min(pixels.shape[:2])
    if min_side is None or short <= KEPT_AS_IT_IS * min_side:
        return pixels
    import torch
    from torch.nn.functional import interpolate

    height, width = (max(round(side * min_side / short), min_side) for side in pixels.shape[:2])
    photo = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    small = interpolate(photo, (height, width), mode="bicubic", antialias=True)[0]
    return np.ascontiguousarray(small.permute(1, 2, 0).numpy())


def _identity(path: Path) -> bytes | None:
    """What changes whenever a file does; None if it changed just now or is no regular file."""
    try:
        status, name = packed_identity(path)
    except OSError:  # reading it says what is wrong
        return None
    if not stat.S_ISREG(status.st_mode) or time.time() - status.st_ctime < SETTLED_SECONDS:
        return None
    parts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return repr((*parts, name) if name else parts).encode()


def _key(data: bytes, view: str) -> bytes:
    digest = hashlib.blake2b(data, digest_size=KEY_BYTES)
    digest.update(f"\0{view}".encode())
    return digest.digest()


def _prepare(root: Path) -> Path:
    """Make the folder, see that it is a cache of this version and can be filled; returns the run's file."""
    if os.name != "posix":
        raise OSError("--cache needs the file locks of a POSIX system; leave it out here")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root) as file:
            file.write(bytes(TESTED_BYTES))
            file.flush()
            os.fsync(file.fileno())
        _check_format(root)
        for old in root.glob(f"{RUN_PREFIX}*"):
            if time.time() - old.stat().st_mtime > LEFT_BEHIND_SECONDS:
                old.unlink(missing_ok=True)
        handle, name = tempfile.mkstemp(dir=root, prefix=RUN_PREFIX)
        with os.fdopen(handle, "wb") as file:
            file.write(bytes(1))
    except OSError as err:
        raise OSError(
            f"cannot write to {root} ({err.strerror}); give another folder with --cache"
        ) from err
    return Path(name)


def _remove(run: Path, owner: int) -> None:
    """At the end of the process that opened the cache, not of the workers that it forked."""
    if os.getpid() == owner:
        run.unlink(missing_ok=True)


def _check_format(root: Path) -> None:
    mark = root / FORMAT_FILE
    if not mark.exists():
        others = [path.name for path in root.iterdir() if not path.name.startswith(".")]
        if others and not mark.exists():
            raise ValueError(
                f"{root} holds other files ({sorted(others)[0]}, ...) and no cache; "
                f"give an empty or a new folder with --cache"
            )
        write_json(mark, {"format": FORMAT})
    try:
        number = json.loads(mark.read_text("utf-8"))["format"]
    except (ValueError, KeyError, TypeError) as err:
        raise ValueError(f"{mark} is damaged; delete {root}, or give another folder with --cache") from err
    if number != FORMAT:
        raise ValueError(
            f"{root} is a cache of format {number}, this program writes {FORMAT}; "
            f"delete it, or give another folder with --cache"
        )
