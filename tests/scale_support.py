"""For tests of many images: what answers in a worker's process, also on images that hang or end it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from apps.engine.inference.preprocess import ImageLike
from apps.engine.scale.answering import Line
from datasets.image_io import BadImageError, read_pixels

LOADED: list[bool] = []
HANGS, DIES = (255, 0, 255), (0, 255, 255)  # colours of images that are no good for a process


@dataclass(frozen=True)
class Colours:
    """Tells the mean colour of an image; hangs on one colour, and ends its process on another.

    Args:
        seconds: that an image takes.
        batch: images at once.
        starts: seconds that it takes to load, in each process.
    """

    seconds: float = 0.0
    batch: int = 1
    starts: float = 0.0

    @property
    def about(self) -> Mapping[str, Any]:
        return {"answers": "colours"}

    @property
    def columns(self) -> Any:
        return pa.schema([("red", pa.int64()), ("green", pa.int64()), ("blue", pa.int64())])

    def lines(self, images: Sequence[ImageLike]) -> list[Line]:
        if not LOADED:
            time.sleep(self.starts)
            LOADED.append(True)
        return [self._line(image) for image in images]

    def _line(self, image: ImageLike) -> Line:
        time.sleep(self.seconds)
        assert isinstance(image, Path | bytes)
        data = image if isinstance(image, bytes) else None
        try:
            pixels = read_pixels("image" if isinstance(image, bytes) else image, data=data)
        except BadImageError as err:
            return {"error": err.reason}
        mean = tuple(round(value) for value in pixels.reshape(-1, 3).mean(0).tolist())
        if mean == HANGS:
            time.sleep(600)
        if mean == DIES:
            os.kill(os.getpid(), signal.SIGKILL)
        return dict(zip(("red", "green", "blue"), mean, strict=True))


def draw(path: Path, colour: tuple[int, int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)
    return path


def draw_many(folder: Path, count: int) -> list[Path]:
    """Images of colours that all differ, and so do their rows."""
    return [draw(folder / f"{at:05d}.png", (at % 200, at // 200, 7)) for at in range(count)]


def write_tar(path: Path, images: Sequence[Path]) -> Path:
    """A shard of WebDataset: an image and its label under the same key."""
    with tarfile.open(path, "w") as shard:
        for at, image in enumerate(images):
            shard.add(image, f"{at:04d}{image.suffix}")
            label = tarfile.TarInfo(f"{at:04d}.cls")
            label.size = 1
            shard.addfile(label, io.BytesIO(b"3"))
    return path


def write_hugging_face(path: Path, images: Sequence[Path], rows: int = 4) -> Path:
    """Images in Parquet as Hugging Face keeps them, some rows a group."""
    values = [{"bytes": image.read_bytes(), "path": image.name} for image in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"label": list(range(len(values))), "image": pa.array(values, kind)})
    pq.write_table(table, path, row_group_size=rows)
    return path


def parts_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


def workers_below(pid: int, words: str) -> list[int]:
    """Processes below one whose command line holds some words."""
    shown = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in shown.splitlines()[1:]]
    below, grown = {pid}, True
    while grown:
        more = {int(row[0]) for row in rows if int(row[1]) in below} - below
        below, grown = below | more, bool(more)
    return [int(row[0]) for row in rows if int(row[0]) in below and words in row[2]]


def random_colours(count: int, seed: int = 0) -> list[tuple[int, int, int]]:
    drawn = np.random.default_rng(seed).integers(10, 200, (count, 3))
    return [(int(red), int(green), int(blue)) for red, green, blue in drawn]


def python(*arguments: object, **more: Any) -> subprocess.Popen[str]:
    """A process that runs Python, its output to be read."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
