"""The photos of a comparison: a folder of class folders, at the size and in the number that a case wants."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from datasets.image_io import find_images, read_image

QUALITY = 90
VAL_PER_CLASS = 2  # ours wants validation photos; none is evaluated while the clock runs


def photo_count(root: Path) -> int:
    """Photos in ``train``."""
    return sum(1 for _ in find_images([root / "train"]))


def photos_for(
    data: Path | None, kept: Path, *, short_side: int | None = None, count: int | None = None
) -> Path:
    """A folder with ``train/CLASS`` and ``val/CLASS``: that of ``data``, or one made from it and kept.

    Args:
        data: with ``train`` and ``val``; None draws the sample.
        kept: where folders that are made stay for the next run.
        short_side: pixels that each photo's short side is resized to, written as JPEG of quality 90; None
            copies the files.
        count: training photos in all, the same number of each class; None takes all.

    Raises:
        FileNotFoundError: ``data`` has no ``train`` and ``val``.
        ValueError: it has fewer photos than asked for.
    """
    source = data or _drawn()
    for split in ("train", "val"):
        if not (source / split).is_dir():
            raise FileNotFoundError(f"{source / split} is missing; give --data a folder with train and val")
    if short_side is None and count is None:
        return source
    goal = kept / f"{source.name}-{short_side or 'as-is'}-{count or 'all'}"
    if not goal.is_dir():
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept) as half_made:
            _make(source, Path(half_made) / goal.name, short_side, count)
            (Path(half_made) / goal.name).rename(goal)
    return goal


def _drawn() -> Path:
    from datasets.synthetic.drawn_dogs import drawn_dogs_root

    return drawn_dogs_root()


def _make(source: Path, goal: Path, short_side: int | None, count: int | None) -> None:
    classes = sorted(path for path in (source / "train").iterdir() if path.is_dir())
    for number, folder in enumerate(classes):
        share = None if count is None else (count + number) // len(classes)
        photos = list(find_images([folder]))
        if share is not None and len(photos) < share:
            raise ValueError(f"{folder} has {len(photos)} photos, {share} are needed; give --data with more")
        _copy(photos[:share], goal / "train" / folder.name, short_side)
        evaluated = list(find_images([source / "val" / folder.name]))[:VAL_PER_CLASS]
        _copy(evaluated, goal / "val" / folder.name, short_side)


def _copy(photos: list[Path], folder: Path, short_side: int | None) -> None:
    folder.mkdir(parents=True)
    for photo in photos:
        if short_side is None:
            shutil.copy(photo, folder)
            continue
        image = read_image(photo)
        scale = short_side / min(image.size)
        size = (max(short_side, round(image.width * scale)), max(short_side, round(image.height * scale)))
        image.resize(size).save(folder / f"{photo.stem}.jpg", quality=QUALITY)
