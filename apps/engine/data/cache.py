"""Decoded, reduced photos kept on disk and mapped into memory: the second epoch decodes nothing.

A photo is one file: ``pixels/ab/<name>``, its name a hash of the photo's bytes, of how it is cut and
reduced and of the decoder's version. So a changed photo has another name, whatever its dates say, and
a copied or touched one is found again. Because hashing costs a tenth of decoding, a link
``known/cd/<name>`` leads from (device, inode, size, mtime, ctime) of the photo's file straight to its
pixels. Nobody but the system's clock sets ctime: a change in place moves it, another file put in its
place has another inode. Only a change within one tick of the clock after reading could hide, so a
link is made two seconds after the last change at the earliest; until then the bytes are hashed.

One file a photo, not shards with an index: to find, open and map one takes 60 us, a fraction of
what the cheapest transform does with it, and for that a crash can hurt one photo only, runs that share the
folder need no common index, and evicting is unlinking: what another process has mapped stays readable.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.data.cache_room import CacheRoom
from datasets.image_io import DECODER, Box, Pixels, read_bytes

HEAD = struct.Struct("<8sIIQ8x")
MAGIC = b"photo 1\n"
MAX_GB = 1_000_000
SETTLED_SECONDS = 2.0
KEPT_AS_IT_IS = 1.25  # times the side asked for; above it, reducing saves more than a third of the bytes
Reader = Callable[[bytes | None], Pixels]


class PhotoCache:
    """A folder of decoded photos, bounded in size, shared by any number of processes and runs.

    Opening it makes room: the photos not used for longest go, never one that a running process has
    used. When it is full meanwhile, photos are read but no longer added, and :meth:`notes` says so.

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
        self.room = CacheRoom(Path(root), int(limit_gb * 1e9))
        self.seen: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process, which goes on in the same room but has checked nothing yet."""
        return self.__dict__ | {"seen": set()}

    @property
    def root(self) -> Path:
        """The folder."""
        return self.room.root

    def notes(self) -> list[str]:
        """What a user should know, each sentence once: that nothing more is added, and why."""
        return self.room.notes()

    def pixels(self, path: Path, min_side: int | None, read: Reader, *, box: Box | None = None) -> Pixels:
        """The photo's pixels, from the cache or else decoded and kept.

        Args:
            path: the photo's file.
            min_side: short side in pixels that is enough; a longer one is reduced to it, unless the
                photo is hardly larger.
            read: bytes of the file -> pixels; gets None where it has to read the file itself.
            box: what ``read`` cuts out.

        Shape:
            returns: (H, W, 3) uint8, writable without effect on the cache.

        Raises:
            BadPhotoError: the photo cannot be read; nothing is kept of it.
        """
        before = _identity(path)
        view = f"{min_side} {box} {DECODER}"
        link = None if before is None else self.room.known(_name(before, view))
        if link is not None and (found := self._map(link)) is not None:
            return found
        data = read_bytes(path)
        if data is None:  # too large to be hashed as a whole
            return read(None)
        place = self.room.place(_name(data, view))
        pixels = self._map(place)
        if pixels is None:
            pixels = reduced(read(data), min_side)
            if not self.room.add(place, _packed(pixels)):
                return pixels
        if link is not None and _identity(path) == before:
            self.room.link(link, place)
        return pixels

    def _map(self, path: Path) -> Pixels | None:
        """The pixels in a file of the cache; None if it is not there or damaged."""
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            size = os.fstat(handle).st_size
            if size <= HEAD.size:
                return None
            memory = mmap.mmap(handle, size, access=mmap.ACCESS_COPY)
        finally:
            os.close(handle)
        magic, height, width, checksum = HEAD.unpack_from(memory)
        count = height * width * 3
        if magic != MAGIC or size != HEAD.size + count + -count % 8:
            return None
        if path.name not in self.seen:
            if _checksum(np.frombuffer(memory, np.uint64, offset=HEAD.size)) != checksum:
                return None
            with suppress(FileNotFoundError):  # evicted at this moment; what is mapped stays
                os.utime(path)  # used now: not to be evicted while this run lives
            self.seen.add(path.name)
        return np.frombuffer(memory, np.uint8, count, HEAD.size).reshape(height, width, 3)


def reduced(pixels: Pixels, min_side: int | None) -> Pixels:
    """A photo with its short side at ``min_side`` pixels, unless it is hardly larger.

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
        status = path.stat()
    except OSError:  # reading it says what is wrong
        return None
    if not stat.S_ISREG(status.st_mode) or time.time() - status.st_ctime < SETTLED_SECONDS:
        return None
    parts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return repr(parts).encode()


def _name(data: bytes, view: str) -> str:
    digest = hashlib.blake2b(data, digest_size=20)
    digest.update(f"\0{view}".encode())
    return digest.hexdigest()


def _packed(pixels: Pixels) -> bytes:
    body = pixels.tobytes()
    body += bytes(-len(body) % 8)
    checksum = _checksum(np.frombuffer(body, np.uint64))
    return HEAD.pack(MAGIC, pixels.shape[0], pixels.shape[1], checksum) + body


def _checksum(words: NDArray[np.uint64]) -> int:
    """The sum of the words modulo 2^64: as fast as memory, and a lost block or a changed byte shows."""
    return int(words.sum(dtype=np.uint64))
