"""The images of a file of answers: sizes, and names from the folder that all of them share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from datasets.image_io import image_size
from datasets.video import video_size

Line = Mapping[str, Any]


def is_frame(line: Line) -> bool:
    """Whether a line is of a frame of a video."""
    return line.get("time") is not None


def good_lines(lines: Sequence[Line], form: str) -> list[Line]:
    """The lines of images that were answered for.

    Args:
        lines: of ``predict`` or ``detect``.
        form: for the message.

    Raises:
        ValueError: there is none.
    """
    good = [line for line in lines if "error" not in line]
    if not good:
        raise ValueError(f"no image was answered for, so there is nothing to write as {form}")
    return good


def size_of(line: Line) -> tuple[int, int]:
    """(width, height) in pixels of the image of a line, upright.

    Raises:
        BadImageError: it is gone since it was answered for.
    """
    return _video_size(line["path"]) if is_frame(line) else image_size(Path(line["path"]))


@lru_cache(maxsize=64)
def _video_size(path: str) -> tuple[int, int]:
    return video_size(Path(path))


def common_folder(lines: Sequence[Line]) -> Path:
    """The folder that all images lie in."""
    return Path(os.path.commonpath([Path(line["path"]).absolute().parent for line in lines]))


def relative_name(line: Line, folder: Path) -> str:
    """The path of an image from a folder around it, with slashes on every system."""
    return Path(line["path"]).absolute().relative_to(folder).as_posix()
