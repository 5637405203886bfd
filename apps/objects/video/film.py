"""The video that ``detect --draw FILE`` writes: each picture at the time of its frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from apps.engine.core.files import writing
from datasets.file_kinds import first_bytes, video_kind

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

FILM_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")
TICKS = 1000  # a second
_ENCODERS = {".webm": ("libvpx-vp9", "libvpx")}
_USUAL = ("libx264", "mpeg4")  # the first that the library was built with
_BT709 = 1


def is_film(path: Path | None) -> bool:
    """Whether a path for drawings names a video and no folder."""
    return path is not None and path.suffix.lower() in FILM_SUFFIXES and not path.is_dir()


def check_film(path: Path) -> None:
    """Refuse a file to write that would replace one of another kind, or that nothing here can encode.

    Raises:
        ImportError: PyAV is missing.
        ValueError: see above.
    """
    try:
        import av  # noqa: F401 - asked for before a model is loaded
    except ImportError as err:
        raise ImportError(f"--draw {path} wants PyAV: pip install av") from err
    if path.exists() and not (path.is_file() and video_kind(first_bytes(path))):
        raise ValueError(f"--draw {path} is a file of another kind; give a new name")


class Film:
    """A video that is being written.

    Args:
        container: open for writing.
        suffix: of the file, which says the encoder.
        gap: seconds that the last picture stays where it is the only one.
    """

    def __init__(self, container: OutputContainer, suffix: str, gap: float) -> None:
        self.container, self.suffix, self.gap = container, suffix.lower(), gap
        self.stream: VideoStream | None = None
        self.waiting: tuple[Image.Image, int] | None = None

    def add(self, image: Image.Image, time: float) -> None:
        """Show a picture from a time in seconds on; one that is not later than the last is left out."""
        tick = round(time * TICKS)
        if self.waiting is not None:
            if tick <= self.waiting[1]:
                return
            self.gap = (tick - self.waiting[1]) / TICKS
            self._encode(*self.waiting)
        self.waiting = image, tick

    def close(self) -> None:
        """Write the last picture, and what the encoder keeps."""
        if self.waiting is not None:
            self._encode(*self.waiting)
        if self.stream is not None:
            self.container.mux(self.stream.encode(None))

    def _encode(self, image: Image.Image, tick: int) -> None:
        import av

        if self.stream is None:
            self.stream = self._opened(image.size)
        size = self.stream.width, self.stream.height
        pixels = np.asarray((image if image.size == size else image.resize(size)).convert("RGB"))
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame = picture.reformat(format="yuv420p", dst_colorspace="itu709")
        frame.pts, frame.time_base = tick, Fraction(1, TICKS)
        frame.duration = max(1, round(self.gap * TICKS))
        self.container.mux(self.stream.encode(frame))

    def _opened(self, size: tuple[int, int]) -> VideoStream:
        """The stream for pictures of a size, of which the encoders want even sides."""
        import av

        names = [name for name in _ENCODERS.get(self.suffix, _USUAL) if name in av.codecs_available]
        if not names:
            raise ValueError(f"this PyAV has no encoder for {self.suffix}; try .mp4")
        options = {"bf": "0", "crf": "20", "preset": "veryfast", "tune": "zerolatency"}
        stream: Any = self.container.add_stream(names[0], options=options if names[0] == "libx264" else {})
        stream.width, stream.height = (max(2, side // 2 * 2) for side in size)
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, TICKS)
        stream.codec_context.time_base = Fraction(1, TICKS)
        stream.codec_context.colorspace = _BT709
        stream.bit_rate = 0 if names[0] == "libx264" else 4 * size[0] * size[1]
        opened: VideoStream = stream
        return opened


@contextmanager
def filming(path: Path | None, gap: float) -> Iterator[Film | None]:
    """A film that stands at its path when all went well, and leaves nothing where not; None for no path.

    Args:
        path: of the video, or None.
        gap: seconds that a single picture stays.

    Raises:
        OSError: the folder cannot be written.
    """
    if path is None:
        yield None
        return
    import av

    with writing(path) as temporary:
        with av.open(str(temporary), "w") as container:
            film = Film(container, path.suffix, gap)
            yield film
            film.close()
        if film.stream is None:
            raise ValueError(f"no frame was answered for, so {path} was not written")
