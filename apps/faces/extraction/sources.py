"""Photos by name: folders, files, patterns, lists and tar shards, each photo with a name that lasts."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TextIO

from PIL import Image

from apps.faces.extraction.dates import date_taken
from datasets.folders import warn
from datasets.image_io import IMAGE_SUFFIXES, BadImageError, find_images, open_header, read_image
from datasets.outside import regular_file
from datasets.packed import IN, tar_members

STDIN = "-"
IN_TAR = IN  # shard.tar::folder/photo.jpg
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
DECODED_PX = 1024  # a JPEG may be decoded smaller as long as its short side keeps this many pixels
LONGEST_PX = 3072  # no working copy of a photo is longer, whatever its format

Stamp = tuple[int, int, int]  # bytes, mtime_ns, ctime_ns


@dataclass(frozen=True, slots=True)
class Source:
    """Where one photo lies.

    Args:
        name: absolute path, or ``shard.tar::member``.
        path: the file that holds it, as it was given.
        start: of its bytes in the file; None where it is a file of its own.
        length: how many bytes; None where it is a file of its own.
    """

    name: str
    path: Path
    start: int | None = None
    length: int | None = None

    @property
    def shown(self) -> str:
        """The path as it was given; in a shard, with the member."""
        return str(self.path) if self.start is None else self.name

    def stamp(self) -> Stamp:
        """Bytes, and when content and entry of the file last changed; (-1, 0, 0) where it is gone."""
        try:
            status = self.path.stat()
        except OSError:
            return -1, 0, 0
        size = status.st_size if self.length is None else self.length
        return size, status.st_mtime_ns, status.st_ctime_ns

    def sha256(self) -> str:
        """Of the photo's bytes, in hex; of what cannot be read, the empty text."""
        try:
            with self.file() as path:
                return hash_file(path)
        except BadImageError:
            return ""

    @contextmanager
    def file(self) -> Iterator[Path]:
        """A path to the photo's bytes; what lies in a tar shard is copied out for the time being.

        Raises:
            BadImageError: the shard cannot be read.
        """
        if self.start is None or self.length is None:
            yield self.path
            return
        with tempfile.NamedTemporaryFile(prefix="photo-") as copy:
            try:
                with regular_file(self.path).open("rb") as shard:
                    shard.seek(self.start)
                    copy.write(shard.read(self.length))
            except OSError as err:
                raise BadImageError(self.name, f"cannot be read: {err.strerror or err}") from err
            copy.flush()
            yield Path(copy.name)


@dataclass(frozen=True)
class Opened:
    """A photo in memory.

    Args:
        image: RGB and upright; a large one is decoded or shrunk to a working size.
        enlarge: pixels of the photo on one of ``image``.
        sha256: of the photo's bytes, in hex.
        date: when it was taken, as EXIF says, in ISO 8601; None where it does not.
    """

    image: Image.Image
    enlarge: float
    sha256: str
    date: str | None = None


def find_sources(paths: Iterable[str], stdin: TextIO | None) -> list[Source]:
    """The photos that the paths mean, sorted by name, each once; a path that does not exist is a photo, too.

    Its reader says that it is missing. It is refused here where none of the paths exists.

    Args:
        paths: photos, folders, patterns such as ``2024/*.jpg``, ``.tar`` shards, or ``-`` for a list of
            such paths on ``stdin``, one a line.
        stdin: where ``-`` is read from; None where it is closed.

    Raises:
        FileNotFoundError: none of the paths exists, or a pattern matches nothing.
        ValueError: a shard is compressed or damaged.
    """
    results: dict[str, Source] = {}
    named = list(_expanded(paths, stdin))
    some = any(path.exists() for path in named)
    for path in named:
        packed = path.suffix.lower() == ".tar" and (path.exists() or not some)
        for source in _tar_members(path) if packed else _below(path, keep_missing=some):
            try:
                source.name.encode()
                results[source.name] = source
            except UnicodeEncodeError:  # a table of faces keeps names as texts
                warn([f"skipped: {source.name!a} is a file name in no UTF-8; rename the file"])
    return [results[name] for name in sorted(results)]


def _expanded(paths: Iterable[str], stdin: TextIO | None) -> Iterator[Path]:
    for path in paths:
        if path == STDIN:
            if stdin is None or stdin.closed:
                raise ValueError("- reads a list of photos from stdin, which is closed; give their paths")
            lines = [line.rstrip("\r\n").lstrip("\ufeff") for line in stdin]
            yield from _expanded([line for line in lines if line.strip() and line != STDIN], stdin)
        elif not Path(path).exists() and glob.has_magic(path):
            matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute ones
            if not matches:
                raise FileNotFoundError(f"the pattern {path} matches no file; check it")
            yield from map(Path, matches)
        elif path.lower().endswith(PACKED):
            raise ValueError(f"{path} is compressed, so its photos cannot be found again; give a plain .tar")
        else:
            yield Path(path)


def _below(path: Path, *, keep_missing: bool) -> Iterator[Source]:
    for photo in [path] if keep_missing and not path.exists() else find_images([path]):
        place = os.path.abspath(photo)  # noqa: PTH100 - links are kept as the user names them
        yield Source(place, photo)


def _tar_members(path: Path) -> Iterator[Source]:
    """The photos in a tar file, by the suffixes of their names."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; name a photo, a folder or a .tar file")
    place = Path(os.path.abspath(path))  # noqa: PTH100
    for member in tar_members(place):
        if Path(member.name).suffix.lower() in IMAGE_SUFFIXES:
            yield Source(f"{place}{IN_TAR}{member.name}", place, member.start, member.size)


def open_source(source: Source) -> Opened:
    """Read a photo and hash its bytes.

    Raises:
        BadImageError: it is missing, damaged, too large or no photo; names the photo, not a copy of it.
    """
    with source.file() as path:
        try:
            digest = hash_file(path)
            longer, date = _header(path)
            image = read_image(path, min_side=DECODED_PX)
        except BadImageError as err:
            raise BadImageError(source.name, err.reason) from err
    if max(image.size) > LONGEST_PX:
        image.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return Opened(image, longer / max(image.size), digest, date)


def hash_file(path: Path) -> str:
    """The sha256 of a regular file, in hex; of what cannot be read, the empty text.

    Why it cannot be read is told by whoever decodes it.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _header(path: Path) -> tuple[int, str | None]:
    """The longer side of the photo as stored, in pixels, and when it was taken.

    The side is 0 where the header cannot be read, which decoding will explain.
    """
    try:
        with open_header(path) as image:
            return max(image.size), date_taken(image)
    except BadImageError:
        return 0, None


def open_by_name(name: str) -> Opened:
    """A photo by the name that a table keeps, such as for a thumbnail.

    Raises:
        OSError: its shard is gone.
        ValueError: it cannot be read or is in its shard no longer.
    """
    shard, between, member = name.partition(IN_TAR)
    if not between or Path(name).exists():
        return open_source(Source(name, Path(name)))
    source = shard_index(Path(shard)).get(name)
    if source is None:
        raise ValueError(f"{shard} holds no {member} any more")
    return open_source(source)


@lru_cache(maxsize=4)
def shard_index(path: Path) -> dict[str, Source]:
    """The photos of a tar file by name: a search through it for each would take for ever."""
    return {source.name: source for source in _tar_members(path)}
