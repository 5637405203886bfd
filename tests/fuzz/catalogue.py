"""All readers of outside files, one list: a new reader is added here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from fuzz import readers_apps, readers_beside, readers_boxes, readers_images, readers_models, readers_sets
from fuzz.runner import Reader

ROOMS = {
    "images": readers_images.readers,
    "sets": readers_sets.readers,
    "boxes": readers_boxes.readers,
    "apps": readers_apps.readers,
    "beside": readers_beside.readers,
    "models": readers_models.readers,
}


def all_readers(root: Path) -> Iterator[Reader]:
    """Each with its files in a folder of its own."""
    return chain.from_iterable(make(root / name) for name, make in ROOMS.items())
