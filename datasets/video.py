"""Videos from disk: their frames upright, each with its time, and what is damaged in one line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.file_kinds import VIDEO_SUFFIXES, first_bytes, image_kind, is_image_name, video_kind
from datasets.image_io import BadImageError, Pixels
from datasets.video_file import open_video, upright

_NEAR = 0.002  # seconds within which two times are one


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a video.

    Args:
        path: of the video, or the address of a stream.
        time: seconds from the beginning, as a player shows them.
        number: how many frames are before it.
        pixels: (H, W, 3) uint8 RGB, upright, with square pixels.
    """

    path: Path | str
    time: float
    number: int
    pixels: Pixels


@dataclass
class Clock:
    """Says which frames are taken: the first of every so many seconds; all for 0."""

    every: float
    due: float = 0.0

    def takes(self, time: float) -> bool:
        """Whether the frame at a time is wanted; times come in their order."""
        if time + _NEAR / 4 < self.due:
            return False
        if self.every > 0:
            self.due = (math.floor((time + _NEAR / 4) / self.every) + 1) * self.every
        return True


def is_video(path: Path) -> bool:
    """Whether a file is a video: by its content, else its suffix; one with a photo's name is none."""
    if is_image_name(path.name):  # most are: they are not opened for this
        return False
    head = first_bytes(path)
    if image_kind(head) is not None:
        return False
    if not head:
        return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
    return video_kind(head) or path.suffix.lower() in VIDEO_SUFFIXES


def frames(path: Path, every: float = 1.0) -> Iterator[Frame]:
    """The first frame of every so many seconds of a video, one at a time.

    Args:
        path: of the video.
        every: seconds, 0 or more; 0 gives all frames.

    Raises:
        BadImageError: it cannot be read, or not to its end; raised behind the last good frame.
    """
    clock = Clock(every)
    with open_video(path) as video:
        for time, number, frame in video.decoded():
            if clock.takes(time):
                yield Frame(path, time, number, upright(frame, video.ratio))
        video.refuse_rest()


def frame_times(path: Path, every: float = 1.0) -> tuple[list[float], str]:
    """The times of :func:`frames` in seconds, without decoding, and what is missing of the video.

    Raises:
        BadImageError: it cannot be read at all.
    """
    clock = Clock(every)
    with open_video(path) as video:
        times = [time for time in video.times() if clock.takes(time)]
        return times, video.missing_end()


def frames_at(path: Path, times: Iterable[float]) -> Iterator[tuple[float, Frame | BadImageError]]:
    """The frames at some times, which rise, read in one go; an error for one that cannot be decoded.

    Args:
        path: of the video.
        times: seconds, as :func:`frame_times` gives them.
    """
    rest = iter(times)
    wanted = next(rest, None)
    if wanted is None:
        return
    try:
        with open_video(path) as video:
            for time, number, frame in video.decoded(start=wanted):
                while wanted is not None and wanted < time - _NEAR:
                    yield wanted, BadImageError(path, f"no frame at {wanted:g} s: damaged there")
                    wanted = next(rest, None)
                if wanted is None:
                    return
                if time >= wanted - _NEAR:
                    yield wanted, Frame(path, time, number, upright(frame, video.ratio))
                    wanted = next(rest, None)
                    if wanted is None:
                        return
    except BadImageError as err:
        failure = err
    else:
        failure = BadImageError(path, f"no frame at {wanted:g} s: it ends before, or is damaged")
    while wanted is not None:
        yield wanted, failure
        wanted = next(rest, None)


Medium = Path | Frame | BadImageError


def media(paths: Iterable[Path], every: float = 1.0) -> Iterator[Medium]:
    """Photos, and the frames of videos, one at a time, in the order of the paths.

    Args:
        paths: photos and videos; no folders.
        every: see :func:`frames`.

    Returns:
        The path of a photo; a frame; or what cannot be read of a video.
    """
    for path in paths:
        if not is_video(path):
            yield path
            continue
        try:
            yield from frames(path, every)
        except BadImageError as err:
            yield err


def place_of(medium: Any) -> dict[str, Any]:
    """``{"path"}`` of a photo or of what cannot be read, and ``{"path", "time", "frame"}`` of a frame."""
    if isinstance(medium, Frame):
        return {"path": str(medium.path), "time": medium.time, "frame": medium.number}
    return {"path": str(medium.path if isinstance(medium, BadImageError) else medium)}


def video_size(path: Path) -> tuple[int, int]:
    """(width, height) of the frames of a video, upright.

    Raises:
        BadImageError: it cannot be read.
    """
    for frame in frames(path, 0):
        return frame.pixels.shape[1], frame.pixels.shape[0]
    raise BadImageError(path, "holds no frame")
