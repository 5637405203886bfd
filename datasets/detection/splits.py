"""A part of the photos for val, where a data set has none."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from datasets.detection.base import Annotations

VAL_SHARE = 0.2  # of the photos


def draw_val(every: Annotations, split: str, seed: int, where: str) -> Annotations:
    """The part of some photos for ``train`` or for ``val``, the same at every call with the same photos.

    A photo stays in train where it is the only one with a box of its class.

    Args:
        every: all photos.
        split: ``train`` or ``val``.
        seed: of the draw.
        where: the data set, for the note.

    Raises:
        ValueError: there are fewer than two photos.
    """
    if len(every.photos) < 2:
        raise ValueError(
            f"{where} has no val split, and {len(every.photos)} photo is too few to draw one; add val"
        )
    order = sorted(range(len(every.photos)), key=lambda n: str(every.photos[n].path))
    random.Random(f"{seed} val").shuffle(order)
    left = Counter(label for photo in every.photos for label in {item.label for item in photo.objects})
    chosen: set[int] = set()
    for n in order:
        labels = {item.label for item in every.photos[n].objects}
        if len(chosen) < max(1, round(VAL_SHARE * len(order))) and all(left[label] > 1 for label in labels):
            chosen.add(n)
            left.subtract(labels)
    chosen = chosen or {order[0]}
    part = [photo for n, photo in enumerate(every.photos) if (n in chosen) == (split == "val")]
    note = f"{where} has no val split: {len(chosen)} of {len(order)} photos are drawn for it"
    return replace(every, photos=part, notes=[*every.notes, note] if split == "train" else [])
