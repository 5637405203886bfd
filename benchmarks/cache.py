"""The cache of decoded photos: CPU time a photo to decode, to decode and keep, and to read again."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from apps.engine.data.cache import ImageCache
from apps.engine.data.transforms import side_for_training
from benchmarks.pictures import photos_for
from datasets.image_io import find_images, read_pixels

SMALLEST_CROP = 0.08


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--data", type=Path, help="folder with train and val; the drawn sample without it")
    parser.add_argument("--short-side", type=int, default=500, help="that the photos are brought to (500)")
    parser.add_argument("--resolution", type=int, default=224, help="of the training in px (224)")
    parser.add_argument("--photos", type=int, default=300, help="that are read (300)")
    parser.add_argument("--rounds", type=int, default=5, help="each with an empty cache (5)")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="for the photos and the cache")


def run(options: argparse.Namespace) -> None:
    """Write one JSON object: medians over the rounds of the CPU milliseconds a photo.

    Raises:
        ValueError: an option is out of range.
        OSError: there are no photos, or the folder cannot be written.
    """
    if min(options.rounds, options.photos) < 1:
        raise ValueError(f"--rounds and --photos must be 1 or more, got {options.rounds}, {options.photos}")
    kept, side = options.out / "photos", side_for_training(options.resolution, SMALLEST_CROP)
    root = photos_for(options.data, kept, short_side=options.short_side, count=options.photos)
    rounds = [_round(list(find_images([root / "train"])), side, options.out) for _ in range(options.rounds)]
    answer = {name: round(median(times[name] for times in rounds), 3) for name in rounds[0]}
    sys.stdout.write(json.dumps({"resolution": options.resolution, "cpu_ms": answer}) + "\n")


def _round(paths: list[Path], side: int, folder: Path) -> dict[str, float]:
    """The stages one after the other on the same photos."""
    with tempfile.TemporaryDirectory(dir=folder) as root:
        cache = ImageCache(root, 100)

        def keep(path: Path) -> None:
            cache.pixels(path, side, lambda data: read_pixels(path, min_side=side, data=data))

        times = {"decode": _mean(lambda path: read_pixels(path, min_side=side), paths)}
        times["decode and keep"] = _mean(keep, paths)
        cache = ImageCache(root, 100)
        times["read, the first time in a process"] = _mean(keep, paths)
        times["read again"] = _mean(keep, paths)
    return times


def _mean(call: Callable[[Path], object], paths: list[Path]) -> float:
    began = time.process_time()
    for path in paths:
        call(path)
    return (time.process_time() - began) * 1e3 / len(paths)
