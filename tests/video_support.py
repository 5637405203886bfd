"""Small videos of one grey a frame, written by PyAV."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np


def write_video(
    path: Path, levels: Sequence[int], *, times_ms: Sequence[int] | None = None,
    size: tuple[int, int] = (64, 48), rate: int = 10, rotate: int = 0, options: dict[str, str] | None = None,
) -> Path:
    """Frames of one grey each, with a white corner at the top left; ``times_ms`` makes their rate vary."""
    import av

    codec = "libvpx" if path.suffix == ".webm" else "libx264"
    with av.open(str(path), "w", options=options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate, options={"bf": "0", "g": "10"})
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotate:
            stream.set_display_rotation(rotate)
        for at, level in enumerate(levels):
            pixels = np.full((size[1], size[0], 3), level, np.uint8)
            pixels[:16, :16] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[at], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """A second of silence and no picture."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=44100)
        for at in range(40):
            silence = np.zeros((2, 1024), np.float32)
            frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="stereo")
            frame.rate, frame.pts = 44100, at * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@contextmanager
def film_server(film: Path, *, endless: bool = False) -> Iterator[str]:
    """``HOST:PORT/NAME`` of a film over HTTP; ``endless``: again and again, as a camera sends."""
    data = film.read_bytes()

    class Sender(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):  # until nobody listens
                self.wfile.write(data)
                while endless:
                    time.sleep(0.2)
                    self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sender)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}/{film.name}"
    server.shutdown()
