"""What a file for phones says of itself, in a zip behind its bytes, where readers of the format do not look.

TensorFlow Lite keeps associated files so, and ``unzip -p FILE mobilenet_apps.json`` shows the description.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

from apps.engine.core.spec import KEY
from apps.engine.inference.seal import SUM

NOTE = f"{KEY}.json"
WHEN = (1980, 1, 1, 0, 0, 0)  # of the entries: equal files have equal bytes


def with_note(content: bytes, text: str) -> bytes:
    """A file's bytes with a description behind them, and the sum of both."""
    whole = io.BytesIO()
    whole.write(content)
    digest = hashlib.sha256(content + text.encode()).hexdigest()
    with zipfile.ZipFile(whole, "a") as archive:
        for name, words in ((NOTE, text), (SUM, digest)):
            archive.writestr(zipfile.ZipInfo(name, WHEN), words)
    return whole.getvalue()


def read_note(path: Path) -> tuple[str, bytes]:
    """The description of a file, and its bytes without it.

    Raises:
        OSError: it cannot be read.
        ValueError: it has none, or holds other bytes than were written.
    """
    whole = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            text, written = (archive.read(name) for name in (NOTE, SUM))
            content = whole[: min(item.header_offset for item in archive.infolist())]
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as err:
        raise ValueError(
            f"{path} does not say what it answers, or is damaged; give a file made by: python cli.py export, "
            "or take the weights of another program's file by: python cli.py weights import"
        ) from err
    if hashlib.sha256(content + text).hexdigest().encode() != written:
        raise ValueError(
            f"{path} is damaged, or was changed since it was written: it holds other bytes than its sum "
            "says; copy or export it again"
        )
    return text.decode("utf-8", "replace"), content
