"""Photos to batches: uint8 to the last moment, the same numbers whatever the number of workers."""

from __future__ import annotations

import copy
import math
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from backbone import Preprocessing
from datasets.images import BadPhotoError
from datasets.photos import LabelledPhotos

MAX_ASPECT = 8  # longer photos keep their middle, so that resizing cannot blow one up
BATCHES_AHEAD = 4


@dataclass(frozen=True)
class BadPhoto:
    """A photo that could not be read, and why; both in one line."""

    index: int
    reason: str


@dataclass(frozen=True)
class Batch:
    """What a step works on.

    Shape:
        images: (B, 3, H, W) uint8.
        targets: (B,) or as the dataset's targets stack.
        indices: B positions in the dataset.
        bad: photos of this batch that could not be read; they are in none of the above.
    """

    images: Tensor
    targets: Tensor
    indices: list[int]
    bad: list[BadPhoto]

    def floats(self) -> Tensor:
        """(B, 3, H, W) in [0, 1], channels-last in memory."""
        return self.images.to(torch.float32, memory_format=torch.channels_last).div_(255)


Transform = Callable[[Image.Image], Tensor]


def train_transform(resolution: int, *, scale: float = 0.35, jitter: float = 0.2) -> Transform:
    """Random crop of ``scale`` to 1 of the area, mirror, a little colour: the paper distorts little."""
    transform: Transform = create_transform(
        resolution, is_training=True, use_prefetcher=True, normalize=False, scale=(scale, 1.0),
        color_jitter=jitter, interpolation="bilinear",
    )
    return transform


def eval_transform(resolution: int, crop: float) -> Transform:
    """Resize the short side to resolution / crop, then the central square."""
    transform: Transform = create_transform(
        resolution, is_training=False, use_prefetcher=True, normalize=False, crop_pct=crop,
        interpolation="bilinear",
    )
    return lambda image: transform(tame(image))


def side_for_training(resolution: int, scale: float) -> int:
    """Short side in pixels below which the smallest crop would have to be blown up."""
    return math.ceil(resolution / math.sqrt(scale))


def side_for_looking(resolution: int, crop: float) -> int:
    """Twice the short side after resizing, so that decoding smaller costs no sharpness."""
    return 2 * math.ceil(resolution / crop)


def tame(image: Image.Image) -> Image.Image:
    """The middle of a photo longer than eight times its width; others as they are."""
    width, height = image.size
    longest = MAX_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return image
    new_width, new_height = min(width, longest), min(height, longest)
    left, top = (width - new_width) // 2, (height - new_height) // 2
    return image.crop((left, top, left + new_width, top + new_height))


class SeededPhotos(Dataset[tuple[Tensor, Any, int] | BadPhoto]):
    """A dataset under a transform whose random choices hang on (seed, epoch, index) alone."""

    def __init__(self, photos: LabelledPhotos, transform: Transform, seed: int) -> None:
        self.photos, self.transform, self.seed = photos, transform, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Any, int] | BadPhoto:
        epoch, index = key
        try:
            image, target = self.photos[index]
        except BadPhotoError as err:
            return BadPhoto(index, str(err))
        with seeded(self.seed, epoch, index):
            return torch.as_tensor(self.transform(image)), target, index


class seeded:
    """Seed the three random generators that transforms use, and put them back after."""

    def __init__(self, *parts: int) -> None:
        self.value = int(np.random.SeedSequence(parts).generate_state(1)[0])

    def __enter__(self) -> None:
        self.kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
        random.seed(self.value)
        np.random.seed(self.value)
        torch.manual_seed(self.value)

    def __exit__(self, *_: object) -> None:
        random.setstate(self.kept[0])
        np.random.set_state(self.kept[1])
        torch.set_rng_state(self.kept[2])


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index): shuffled by (seed, epoch), or in order.

    A last batch of one photo joins the one before it: batch-norm cannot learn from one photo.
    """

    def __init__(self, count: int, batch_size: int, *, seed: int, shuffle: bool) -> None:
        self.count, self.batch_size, self.seed, self.shuffle = count, batch_size, seed, shuffle
        self.epoch = 0

    def __len__(self) -> int:
        full, rest = divmod(self.count, self.batch_size)
        return full + (rest > 1 or (rest == 1 and (not self.shuffle or full == 0)))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = list(range(self.count))
        if self.shuffle:
            random.Random(f"{self.seed} {self.epoch}").shuffle(order)
        keys = [(self.epoch, index) for index in order]
        for step in range(len(self)):
            last = step == len(self) - 1
            start = step * self.batch_size
            yield keys[start:] if last else keys[start : start + self.batch_size]


def collate(items: Sequence[tuple[Tensor, Any, int] | BadPhoto]) -> Batch:
    """A batch of the photos that could be read."""
    good = [item for item in items if not isinstance(item, BadPhoto)]
    bad = [item for item in items if isinstance(item, BadPhoto)]
    images = torch.stack([item[0] for item in good]) if good else torch.empty(0, 3, 0, 0, dtype=torch.uint8)
    targets = torch.as_tensor(np.asarray([item[1] for item in good]))
    return Batch(images, targets, [item[2] for item in good], bad)


def worker_count(asked: int | None) -> int:
    """Reading processes: as asked, or one fewer than the cores, 1 to 8."""
    return asked if asked is not None else max(1, min(8, (os.cpu_count() or 2) - 1))


class Loader:
    """Batches of a dataset, epoch by epoch.

    Args:
        photos: the dataset.
        transform: picture -> (3, H, W) uint8.
        batch_size: photos a batch, 1 or more.
        seed: of the order and of every random choice of the transform.
        shuffle: a new order each epoch; False keeps the dataset's.
        workers: reading processes; 0 reads in this one; None decides by the cores.
        min_side: pixels of the short side that a JPEG keeps when it is decoded smaller; see
            :func:`side_for_training` and :func:`side_for_looking`.
    """

    def __init__(
        self, photos: LabelledPhotos, transform: Transform, *, batch_size: int, seed: int = 0,
        shuffle: bool = False, workers: int | None = None, min_side: int | None = None,
    ) -> None:
        self.photos = photos
        reduced = copy.copy(photos)
        reduced.min_side = min_side
        self.batches = EpochBatches(len(photos), batch_size, seed=seed, shuffle=shuffle)
        workers = worker_count(workers) if len(photos) > batch_size else 0
        self.loader: DataLoader[Any] = DataLoader(
            SeededPhotos(reduced, transform, seed), batch_sampler=self.batches, num_workers=workers,
            collate_fn=collate, persistent_workers=workers > 0,
            prefetch_factor=BATCHES_AHEAD if workers else None, worker_init_fn=_one_thread,
            generator=torch.Generator(),  # its own, or each epoch would move the global one
        )

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch; the same ones whenever it is asked for again."""
        self.batches.epoch = number
        yield from self.loader


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def looking_loader(
    photos: LabelledPhotos, preprocessing: Preprocessing, *, batch_size: int, workers: int | None
) -> Loader:
    """Photos in order as the weights want to see them: for judging and for answering."""
    size, crop = preprocessing.resolution, preprocessing.crop
    return Loader(
        photos, eval_transform(size, crop), batch_size=batch_size, workers=workers,
        min_side=side_for_looking(size, crop),
    )
