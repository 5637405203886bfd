"""Cameras and streams: frames as they come, until Ctrl-C, a number of seconds, or their end."""

from __future__ import annotations

import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apps.engine.training.signals import SignalHandler
from datasets.image_io import BadImageError
from datasets.video import Clock, Frame
from datasets.video_file import VideoReader, upright

PATIENCE_SECONDS = 10.0  # without a frame, then a stream has broken off
POLL_SECONDS = 0.1
_ADDRESS = re.compile(r"(rtsps?|rtmps?|https?|udp|rtp|srt|tcp)://", re.IGNORECASE)
_CAMERA = re.compile(r"camera:(\d+)|(/dev/video\d+)")
_WAITS = ("http", "https", "tcp")  # their senders wait for a slow reader; of others frames are passed over
_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")


def is_stream(text: str) -> bool:
    """Whether an argument is a camera or the address of a stream, and no file."""
    return bool(_ADDRESS.match(text) or _CAMERA.fullmatch(text))


def shown(address: str) -> str:
    """An address without its password."""
    return _PASSWORD.sub(r"\1:***@", address)


@dataclass
class Live:
    """A camera or a stream.

    Args:
        address: ``camera:0``, ``/dev/video0``, or an address such as ``rtsp://host/path``.
        every: seconds between two frames that are taken; 0 takes all that can be answered for.
        seconds: after which it ends; None for none.
        say: takes a line of words.
    """

    address: str
    every: float
    seconds: float | None = None
    say: Callable[[str], None] = lambda _: None
    passed_over: int = 0
    _frames: queue.Queue[Frame | BadImageError | None] = field(default_factory=lambda: queue.Queue(1))
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        """What lines call it."""
        return shown(self.address)

    def frames(self) -> Iterator[Frame | BadImageError]:
        """The frames as they come; the last may be why the stream broke off.

        Raises:
            ConnectionError: it cannot be opened.
            ImportError: PyAV is missing.
        """
        handler = SignalHandler()
        with handler.listening(), self._opened() as container:
            reader = threading.Thread(target=self._read, args=(container,), daemon=True)
            reader.start()
            ends = None if self.seconds is None else time.monotonic() + self.seconds
            try:
                while not handler.number and (ends is None or time.monotonic() < ends):
                    try:
                        frame = self._frames.get(timeout=POLL_SECONDS)
                    except queue.Empty:
                        continue
                    if frame is None or (isinstance(frame, Frame) and frame.time >= (self.seconds or 1e12)):
                        break
                    yield frame
            finally:
                self._stop.set()
                reader.join(PATIENCE_SECONDS)
        if self.passed_over:
            self.say(f"{self.passed_over} frames were passed over: answers take longer than --every")

    def _opened(self) -> Any:
        """The stream, open for reading."""
        try:
            import av
        except ImportError as err:
            raise ImportError("cameras and streams want PyAV: pip install av") from err
        camera = _CAMERA.fullmatch(self.address)
        name, kind = (self.address, None) if camera is None else _device(camera[1], camera[2])
        options = {"rtsp_transport": "tcp"} if self.address.lower().startswith("rtsp") else {}
        try:
            opened = av.open(name, format=kind, options=options, timeout=PATIENCE_SECONDS)
        except Exception as err:  # what the library raises has no list
            words = getattr(err, "strerror", None) or type(err).__name__
            raise ConnectionError(f"{self.name} cannot be opened: {words}; check the address") from err
        if not opened.streams.video:
            opened.close()
            raise ConnectionError(f"{self.name} holds no video")
        return opened

    def _read(self, container: Any) -> None:
        """Decode all frames, and leave those that are due to whoever answers."""
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        name, clock, first = self.name, Clock(self.every), None
        video = VideoReader(Path(name), container, stream)
        try:
            for moment, number, picture in video.decoded():
                first = moment if first is None else first
                since = round(moment - first, 3)
                if self._stop.is_set():
                    return
                if clock.takes(since):
                    self._put(Frame(name, since, number, upright(picture, video.ratio)))
            if video.broke_off:
                self._put(BadImageError(name, f"broke off after {video.last - (first or 0.0):.1f} s"))
        except BadImageError as err:
            self._put(BadImageError(name, err.reason))
        self._put(None)

    def _put(self, item: Frame | BadImageError | None) -> None:
        """Wait until the last frame was taken, or replace it where its sender does not wait."""
        waits = self.address.lower().partition("://")[0] in _WAITS or not isinstance(item, Frame)
        while not self._stop.is_set():
            try:
                self._frames.put(item, timeout=POLL_SECONDS if waits else 0.001)
                return
            except queue.Full:
                if not waits:
                    self._replace()

    def _replace(self) -> None:
        with suppress(queue.Empty):  # it was taken meanwhile
            self._frames.get_nowait()
            self.passed_over += 1


def _device(number: str | None, path: str | None) -> tuple[str, str]:
    """What a camera is called on this system, and the library's name for its kind."""
    if sys.platform == "darwin":
        return str(number or 0), "avfoundation"
    if sys.platform == "win32":
        return f"video={number or 0}", "dshow"
    return path or f"/dev/video{number}", "v4l2"
