"""Photos by name: folders, files, patterns, lists and tar shards, each photo with a name that lasts."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

from datasets.file_kinds import ONE_A_SECOND, Sampling
from datasets.folders import warn
from datasets.image_io import IMAGE_SUFFIXES, BadImageError, find_images
from datasets.outside import regular_file
from datasets.packed import IN, tar_members
from datasets.video import Frame, Medium, frame_times, frames_at, is_video, place_of

STDIN = "-"
IN_TAR = IN  # shard.tar::folder/photo.jpg
AT_TIME = "#t="  # film.mp4#t=000012.500: seconds, as many digits for all, so that names sort by time
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

Stamp = tuple[int, int, int]  # bytes, mtime_ns, ctime_ns


@dataclass(frozen=True, slots=True)
class Source:
    """Where one photo lies.

    Args:
        name: absolute path, ``shard.tar::member``, or ``film.mp4#t=000012.500``.
        path: the file that holds it, as it was given.
        start: of its bytes in the file; None where it is a file of its own.
        length: how many bytes; None where it is a file of its own.
        time: of a frame in a video, in seconds; None for a photo.
        frame: that frame, where it was read already; or why it, or the video, cannot be read.
        data: the bytes of a photo that is no file here.
    """

    name: str
    path: Path
    start: int | None = None
    length: int | None = None
    time: float | None = None
    frame: Frame | BadImageError | None = field(default=None, compare=False, repr=False)
    data: bytes | None = field(default=None, repr=False)

    def place(self) -> dict[str, Any]:
        """``{"path"}``, and of a frame its ``time``, as lines of answers begin."""
        if isinstance(self.frame, Frame):
            return place_of(self.frame)
        if self.time is not None:
            return {"path": str(self.path), "time": self.time}
        return {"path": str(self.path) if self.start is None else self.name}

    def stamp(self) -> Stamp:
        """Bytes, and when content and entry of the file last changed; (-1, 0, 0) where it is gone."""
        if self.data is not None:
            return len(self.data), 0, 0
        try:
            status = self.path.stat()
        except OSError:
            return -1, 0, 0
        size = status.st_size if self.length is None else self.length
        return size, status.st_mtime_ns, status.st_ctime_ns

    def sha256(self) -> str:
        """Of the photo's bytes, in hex; of what cannot be read, the empty text.

        That of a frame is made of its video's and of its time.
        """
        if self.time is not None:
            whole = _video_digest(self.path, self.stamp())
            return hashlib.sha256(f"{whole}{AT_TIME}{self.time:.3f}".encode()).hexdigest() if whole else ""
        try:
            with self.file() as path:
                return hash_file(path)
        except BadImageError:
            return ""

    @contextmanager
    def file(self) -> Iterator[Path]:
        """A path to the photo's bytes; what is no file of its own is copied out for the time being.

        Raises:
            BadImageError: the shard cannot be read.
        """
        if self.data is None and (self.start is None or self.length is None):
            yield self.path
            return
        with tempfile.NamedTemporaryFile(prefix="photo-") as copy:
            copy.write(self._bytes() if self.data is None else self.data)
            copy.flush()
            yield Path(copy.name)

    def _bytes(self) -> bytes:
        """Those of a member of a tar shard."""
        try:
            with regular_file(self.path).open("rb") as shard:
                shard.seek(self.start or 0)
                return shard.read(self.length or 0)
        except OSError as err:
            raise BadImageError(self.name, f"cannot be read: {err.strerror or err}") from err


def find_sources(
    paths: Iterable[str], stdin: TextIO | None, sampling: Sampling = ONE_A_SECOND
) -> list[Source]:
    """The photos, and the frames of videos, that the paths mean, sorted by name, each once.

    A path that does not exist is a photo, too: its reader says that it is missing. It is refused here
    where none of the paths exists.

    Args:
        paths: photos, folders, patterns such as ``2024/*.jpg``, ``.tar`` shards, or ``-`` for a list of
            such paths on ``stdin``, one a line.
        stdin: where ``-`` is read from; None where it is closed.
        sampling: which frames of videos; they are named here, and read by :func:`with_frames`.

    Raises:
        FileNotFoundError: none of the paths exists, or a pattern matches nothing.
        ValueError: a shard is compressed or damaged.
    """
    results: dict[str, Source] = {}
    named = list(_expanded(paths, stdin))
    some = any(path.exists() for path in named)
    for path in named:
        packed = path.suffix.lower() == ".tar" and (path.exists() or not some)
        for source in _tar_members(path) if packed else _below(path, sampling, keep_missing=some):
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


def _below(path: Path, sampling: Sampling, *, keep_missing: bool) -> Iterator[Source]:
    missing = keep_missing and not path.exists()
    for photo in [path] if missing else find_images([path], videos=sampling.videos):
        if is_video(photo):
            yield from _video_frames(photo, sampling.every)
        else:
            yield Source(os.path.abspath(photo), photo)  # noqa: PTH100 - links are kept as the user names them


def _video_frames(path: Path, every: float) -> Iterator[Source]:
    """The frames of a video by name; what is missing of it is logged."""
    place = os.path.abspath(path)  # noqa: PTH100 - links are kept as the user names them
    try:
        times, problem = frame_times(path, every)
    except BadImageError as err:
        yield Source(place, path, frame=err)
        return
    if not times:
        yield Source(place, path, frame=BadImageError(path, problem or "holds no frame"))
    elif problem:
        warn([f"{path}: {problem}"])
    for time in times:
        yield Source(f"{place}{AT_TIME}{time:010.3f}", path, time=time)


def source_of(medium: Medium) -> Source:
    """A photo, or a frame that was read, as a source."""
    if isinstance(medium, Frame):
        path = Path(medium.path)
        return Source(f"{path.absolute()}{AT_TIME}{medium.time:010.3f}", path, time=medium.time, frame=medium)
    path = medium.path if isinstance(medium, BadImageError) else medium
    return Source(str(path.absolute()), path, frame=medium if isinstance(medium, BadImageError) else None)


def with_frames(sources: Iterable[Source]) -> Iterator[Source]:
    """The same, one at a time, with the frames of videos read: those that follow each other in one go."""
    def video(source: Source) -> Path | None:
        return source.path if source.time is not None and source.frame is None else None

    for path, group in groupby(sources, video):
        if path is None:
            yield from group
            continue
        mine = list(group)
        frames = frames_at(path, [source.time for source in mine if source.time is not None])
        for source, (_, frame) in zip(mine, frames, strict=True):
            yield replace(source, frame=frame)


def _tar_members(path: Path) -> Iterator[Source]:
    """The photos in a tar file, by the suffixes of their names."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; name a photo, a folder or a .tar file")
    place = Path(os.path.abspath(path))  # noqa: PTH100
    for member in tar_members(place):
        if Path(member.name).suffix.lower() in IMAGE_SUFFIXES:
            yield Source(f"{place}{IN_TAR}{member.name}", place, member.start, member.size)


def hash_file(path: Path) -> str:
    """The sha256 of a regular file, in hex; of what cannot be read, the empty text.

    Why it cannot be read is said by whoever decodes it.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


@lru_cache(maxsize=64)
def _video_digest(path: Path, stamp: Stamp) -> str:  # noqa: ARG001 - the stamp says when it is another file
    return hash_file(path)


def shard_index(path: Path) -> dict[str, Source]:
    """The photos of a tar file by name: a search through it for each would take for ever."""
    return _shard_index(path, Source("", path).stamp())


@lru_cache(maxsize=4)
def _shard_index(path: Path, stamp: Stamp) -> dict[str, Source]:  # noqa: ARG001 - as of _video_digest
    return {source.name: source for source in _tar_members(path)}


def source_by_name(name: str) -> Source:
    """What a name of a table means.

    Raises:
        OSError: its shard is gone.
        ValueError: it is in its shard no longer.
    """
    holder = holder_of(name)
    if holder is None:
        path = Path(name)
        return next(_video_frames(path, ONE_A_SECOND.every)) if is_video(path) else Source(name, path)
    if (time := time_in(name)) is not None:
        return Source(name, holder, time=time)
    source = shard_index(holder).get(name)
    if source is None:
        raise ValueError(f"{holder} holds no {name.partition(IN_TAR)[2]} any more")
    return source


def holder_of(name: str) -> Path | None:
    """The tar file or the video that a name of a table lies in; None for a file of its own."""
    if (AT_TIME not in name and IN_TAR not in name) or Path(name).exists():
        return None
    if time_in(name) is not None:
        return Path(name.rpartition(AT_TIME)[0])
    return Path(name.partition(IN_TAR)[0]) if IN_TAR in name else None


def time_in(name: str) -> float | None:
    """The seconds at the end of a frame's name; None where it is no frame's."""
    _, between, time = name.rpartition(AT_TIME)
    return float(time) if between and time.replace(".", "", 1).isdecimal() else None
