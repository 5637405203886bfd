"""One video file as PyAV reads it: packets, times, frames, and what is missing of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets.file_kinds import first_bytes, other_kind, video_kind
from datasets.image_io import MAX_PIXELS, BadImageError, Pixels
from datasets.outside import regular_file

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

INSTALL = "a video: pip install av reads it"
MOST_TIMES = 20_000_000  # frames of a file: four days at 60 a second
# What files may be; playlists, which name other files and addresses, are not among them.
_FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,m4v,av1,obu,ivf,flv,asf,ogg,mxf,dv,rm,wtv,nut"
)
_NO_TIMES = ("avi", "h264", "hevc", "m4v", "mpegvideo", "obu")  # a frame's time is its number by the rate


def upright(frame: VideoFrame, ratio: float = 1.0) -> Pixels:
    """The pixels of a decoded frame as a player shows them.

    Args:
        frame: as decoded, with the matrix of its file that says how it lies.
        ratio: width of a pixel by its height.

    Shape:
        returns: (H, W, 3) uint8 RGB.
    """
    plain = frame.reformat(width=max(1, round(frame.width * ratio)), format="rgb24")
    pixels: Pixels = plain.to_ndarray().astype(np.uint8, copy=False)
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is not None:
        across_x, down_x, _, across_y, down_y = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
        if abs(across_x) >= abs(down_x):
            pixels = pixels[:: _sign(down_y), :: _sign(across_x)]
        else:
            pixels = pixels.transpose(1, 0, 2)[:: _sign(down_x), :: _sign(across_y)]
    return np.ascontiguousarray(pixels)


def _sign(value: int) -> int:
    return -1 if value < 0 else 1


@dataclass
class VideoReader:
    """One opened video.

    Args:
        path: of it.
        container: that is read.
        stream: the one with pictures.
    """

    path: Path
    container: InputContainer
    stream: VideoStream
    broke_off: bool = False  # reading failed, not only decoding
    damaged: list[float] = field(default_factory=list)  # times near which something could not be decoded
    last: float = 0.0
    end: float = 0.0  # of the last packet that is there
    gap: float = 0.0

    @property
    def step(self) -> float:
        """Seconds between frames, as the file says on average."""
        rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        return float(1 / rate) if rate > 0 else 0.04

    @property
    def base(self) -> Fraction:
        """Seconds of a tick."""
        return self.stream.time_base or Fraction(1, 90000)

    @property
    def ratio(self) -> float:
        """Width of a pixel by its height; 1 where nothing sensible is said."""
        ratio = self.stream.sample_aspect_ratio
        return float(ratio) if ratio and 0.25 <= ratio <= 4 else 1.0

    @property
    def counted(self) -> bool:
        """Whether the format keeps no times, so that frames are counted."""
        return self.container.format.name in _NO_TIMES

    @property
    def origin(self) -> float:
        """Where a player's clock begins, in the file's seconds."""
        return (self.container.start_time or 0) / 1e6

    def packets(self) -> Iterator[Packet[Any]]:
        """The packets of the stream; where its clock is set back, as in joined recordings, it goes on."""
        base, shift, before = self.base, 0, None
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except Exception:  # what the library raises on damaged files has no list
                self.damaged.append(self.last)
                self.broke_off = True
                return
            if packet is None:
                return
            if packet.dts is not None:
                if before is not None and packet.dts + shift < before - 1 / base:
                    shift = before - packet.dts + max(1, round(self.step / base))
                if shift:
                    packet.pts = None if packet.pts is None else packet.pts + shift
                    packet.dts += shift
                before = packet.dts
            if packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * self.base) - self.origin
                self.end = max(self.end, end)
            yield packet

    def times(self) -> Iterator[float]:
        """The times of all frames, as their packets say."""
        values: list[float] = []
        for packet in self.packets():
            stamp = packet.pts if packet.pts is not None else packet.dts
            if packet.size and len(values) < MOST_TIMES:
                values.append(math.nan if stamp is None else float(stamp * self.base) - self.origin)
        if self.counted or any(map(math.isnan, values)):
            values = [number * self.step for number in range(len(values))]
        for value in sorted(values):
            yield self._at(value)

    def decoded(self, start: float = 0.0) -> Iterator[tuple[float, int, VideoFrame]]:
        """Time, number and pixels of each frame that can be decoded, from the one at or before a time on."""
        number = self._seek(start)
        for frame in self._frames():
            time = number * self.step
            if not self.counted and frame.pts is not None:
                time = float(frame.pts * self.base) - self.origin
                number = round(time / self.step) if start and not self.last else number
            yield self._at(time), number, frame
            number += 1

    def _frames(self) -> Iterator[VideoFrame]:
        for packet in self._with_end():
            try:
                parts = self.stream.codec_context.decode(packet)
            except Exception:  # as above
                self.damaged.append(self.last)
                continue
            for frame in parts:
                if frame.width * frame.height > MAX_PIXELS:
                    raise BadImageError(self.path, f"frames above {MAX_PIXELS} pixels; make a smaller copy")
                if frame.is_corrupt:
                    self.damaged.append(self.last)
                else:
                    yield frame

    def _with_end(self) -> Iterator[Packet[Any] | None]:
        for packet in self.packets():
            if packet.size:
                yield packet
        yield None

    def _seek(self, start: float) -> int:
        """Go to the key frame at or before a time, if that is some way; the number of the next frame."""
        if start > 1 and not self.counted:
            try:
                self.container.seek(int((start + self.origin) * 1e6))
            except Exception:  # a file that cannot be sought in is read from its beginning
                self.container.seek(0)
        return 0

    def _at(self, time: float) -> float:
        time = max(round(time, 3), 0.0)
        self.gap = max(self.gap, time - self.last)
        self.last = max(time, self.last)
        return time

    def missing_end(self) -> str:
        """In words, what the file says of its length that is not there; empty where all is."""
        says = self._length()
        there = max(self.last, self.end)
        if there + max(0.25, 2 * self.gap, 3 * self.step) < says:
            return f"cut off: {there:.1f} of {says:.1f} s can be read"
        return ""

    def _length(self) -> float:
        """Seconds that the file says it has; 0 where it does not."""
        if self.stream.duration and self.stream.time_base:
            return float(self.stream.duration * self.stream.time_base)
        with_hours = self.stream.metadata.get("DURATION", "").split(":")
        try:
            hours, minutes, seconds = map(float, with_hours)
            return hours * 3600 + minutes * 60 + seconds
        except ValueError:
            alone = len(self.container.streams) == 1
            return (self.container.duration or 0) / 1e6 if alone else 0.0

    def refuse_rest(self) -> None:
        """Name what could not be read.

        Raises:
            BadImageError: there is such.
        """
        end = self.missing_end()
        if self.damaged and not end:
            count = len(self.damaged)
            end = f"damaged: {count} of its parts cannot be decoded, the first near {self.damaged[0]:.1f} s"
        if end:
            raise BadImageError(self.path, end)


@contextmanager
def open_video(path: Path) -> Iterator[VideoReader]:
    """A video that is open.

    Raises:
        BadImageError: it cannot be opened, or holds only sound.
    """
    try:
        import av
    except ImportError as err:
        raise BadImageError(path, INSTALL) from err
    try:
        options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
        container = av.open(str(regular_file(path)), options=options, metadata_errors="replace")
    except Exception as err:  # as above
        raise BadImageError(path, _why(path, err)) from err
    with container:
        pictures = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not pictures:
            raise BadImageError(path, "holds no video, only sound" if container.streams.audio else "no video")
        pictures[0].thread_type = "AUTO"
        yield VideoReader(path, container, pictures[0])


def _is_cover(stream: VideoStream) -> bool:
    """Whether a stream is a picture on a piece of music."""
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def _why(path: Path, err: Exception) -> str:
    """Why a video cannot be opened."""
    if not path.exists():
        return "file not found"
    if isinstance(err, PermissionError):
        return "no permission to read this file"
    kind = other_kind(head) if (head := first_bytes(path)) and not video_kind(head) else None
    if kind is not None:
        return f"not a video but {kind.partition(';')[0]}"
    words = getattr(err, "strerror", None) or str(err) or type(err).__name__
    return f"damaged or cut off, or no video: {words}"
