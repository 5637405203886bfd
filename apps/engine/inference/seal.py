"""The sum that an ONNX file carries of its own bytes, so that a damaged one does not answer."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path
from typing import Any

from apps.engine.core.files import sha256_of

SUM = "content_sha256"  # of the file with zeros in place of the sum
DIGITS = 64
_MARK = SUM.encode() + bytes((0x12, DIGITS))  # a metadata entry: its key, then its value and how long it is
_REACH = 1 << 16  # bytes at the end of a file in which the mark is: the entry is the last one
_ZEROS = b"0" * DIGITS


def sealed(proto: Any) -> bytes:
    """The bytes of an ``onnx.ModelProto`` without a sum, and their sum in the metadata entry :data:`SUM`."""
    proto.metadata_props.add(key=SUM, value=_ZEROS.decode())
    content: bytes = proto.SerializeToString()
    del proto.metadata_props[-1]
    begin = content.rindex(_MARK, -_REACH) + len(_MARK)
    return content[:begin] + hashlib.sha256(content).hexdigest().encode() + content[begin + DIGITS :]


def check_seal(path: Path) -> None:
    """Hold a file against the sum that it carries; one without a sum, such as an older one, passes.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds other bytes than were written.
    """
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.rfind(_MARK, max(len(content) - _REACH, 0))
        if at < 0:
            return
        begin = at + len(_MARK)
        with memoryview(content) as view:
            digest = hashlib.sha256(view[:begin])
            digest.update(_ZEROS)
            digest.update(view[begin + DIGITS :])
            written = bytes(view[begin : begin + DIGITS])
    if written != digest.hexdigest().encode():
        raise _damaged(path)


def check_sum(path: Path, written: str) -> None:
    """Hold a file that lies beside a model against the sum that the model has of it.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds other bytes than were written.
    """
    if sha256_of(path) != written:
        raise _damaged(path)


def _damaged(path: Path) -> ValueError:
    return ValueError(
        f"{path} is damaged, or was changed since it was written: it holds other bytes than its sum says; "
        "copy or export it again"
    )
