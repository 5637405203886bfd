"""Photos to batches: uint8 to the last moment, the same numbers whatever the number of workers."""

from __future__ import annotations

import copy
import logging
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from apps.engine.core.distributed import World
from apps.engine.data.cache import ImageCache
from apps.engine.data.collate import stacked, taken
from apps.engine.data.samplers import BadImage, Batch, BatchBuilder, EpochBatches, Key, Sampling
from apps.engine.data.transforms import (
    decode_size,
    eval_transform,
    seeded,
    side_for_training,
    train_transform,
)
from backbone import Preprocessing
from datasets.base import ImageDataset, PairTransform
from datasets.image_io import BadImageError, Pixels

__all__ = [
    "BadImage",
    "Batch",
    "EpochBatches",
    "Loader",
    "decode_size",
    "eval_loader",
    "eval_transform",
    "reading_deaths",
    "side_for_training",
    "train_transform",
    "worker_count",
]

BATCHES_AHEAD = 4
EVAL_BATCH = 64  # images
SHARED = Path("/dev/shm")  # where Linux keeps the memory that processes share
NO_ROOM = "No space left on device"
_log = logging.getLogger(__name__)


class SeededImages(Dataset[Batch]):
    """A dataset under a transform whose random choices depend on (seed, epoch, index, repeat) alone."""

    def __init__(
        self, photos: ImageDataset, transform: PairTransform, seed: int, cache: ImageCache | None
    ) -> None:
        self.photos, self.transform, self.seed, self.cache = photos, transform, seed, cache

    def __getitems__(self, keys: list[Key]) -> Batch:
        """The batch of these images; those that cannot be read are listed in ``bad``."""
        builder = BatchBuilder(len(keys), shared=get_worker_info() is not None)
        with seeded() as generators:
            for epoch, index, repeat in keys:
                try:
                    pixels, target = self._read(index), self.photos.target(index)
                except BadImageError as err:
                    builder.bad.append(BadImage(index, str(err)))
                    continue
                generators.seed(self.seed, epoch, index, repeat)
                builder.add(*self._seen(pixels, target), index)
        return builder.batch()

    def _seen(self, pixels: Pixels, target: Any) -> tuple[torch.Tensor, Any]:
        """Photo and target under the transform."""
        return self.transform.both(pixels, target)

    def _read(self, index: int) -> Pixels:
        if self.cache is None:
            return self.photos.pixels(index)
        photos, path = self.photos, self.photos.photos[index].path
        return self.cache.pixels(
            path, photos.min_side, lambda data: photos.pixels(index, data), box=photos.box(index)
        )


def worker_count(asked: int | None) -> int:
    """Reading processes: as asked, or one fewer than the cores, 1 to 8."""
    return asked if asked is not None else max(1, min(8, (os.cpu_count() or 2) - 1))


def workers_with_room(workers: int, batch_bytes: int, free_bytes: int | None = None) -> int:
    """Reading processes whose batches fit into shared memory, which containers often have 64 MB of.

    Args:
        workers: as wanted; fewer are reported.
        batch_bytes: of a batch, of which each process holds :data:`BATCHES_AHEAD` and one.
        free_bytes: of shared memory; None looks.
    """
    if free_bytes is None:
        if not SHARED.is_dir():
            return workers
        free_bytes = shutil.disk_usage(SHARED).free
    room = free_bytes // ((BATCHES_AHEAD + 1) * max(batch_bytes, 1))
    if room < workers:
        _log.warning(
            "%s has room for %d of %d processes that read photos (%.0f MB are free): %s",
            SHARED, room, workers, free_bytes / 1e6,
            f"{room} read" if room else "this process reads them itself, more slowly",
        )
    return min(workers, room)


class Loader:
    """Batches of a dataset, epoch by epoch.

    Args:
        photos: the dataset.
        transform: image -> (3, H, W) uint8.
        batch_size: images a batch, 1 or more, over all processes of a distributed run.
        seed: of the order and of every random choice of the transform.
        shuffle: a new order each epoch; False keeps the dataset's.
        workers: reading processes; 0 reads in this one; None decides by the cores.
        min_side: pixels of the short side that a JPEG keeps when it is decoded smaller; see
            :func:`side_for_training` and :func:`decode_size`.
        cache: where decoded images are kept and found; None decodes them each time.
        rank: of this process, 0 to world - 1.
        world: processes that share each batch; the batches of all of them together are the same
            whatever it is. A process may get an empty share of a short last batch.
        sampling: ``all`` takes every image once an epoch; ``balanced`` draws as many images, with
            replacement, each class as often as the others.
        side: of the images that the transform makes, px: what reading processes need of shared memory
            follows from it; None does not look.
        pinned: whether batches lie in memory that a GPU copies from while it computes.
    """

    def __init__(
        self, photos: ImageDataset, transform: PairTransform, *, batch_size: int, seed: int = 0,
        shuffle: bool = False, workers: int | None = None, min_side: int | None = None,
        cache: ImageCache | None = None, rank: int = 0, world: int = 1, sampling: Sampling = "all",
        side: int | None = None, pinned: bool = False,
    ) -> None:
        self.photos, self.pinned = photos, pinned
        reduced = copy.copy(photos)
        reduced.min_side = min_side
        labels = [photo.label for photo in photos.photos] if sampling == "balanced" else None
        self.batches = EpochBatches(
            len(photos), batch_size, seed=seed, shuffle=shuffle, rank=rank, world=world, labels=labels
        )
        self.workers = worker_count(workers) if len(photos) > batch_size else 0
        if self.workers and side is not None:
            self.workers = workers_with_room(self.workers, batch_size * side * side * 3)
        self.seeded = SeededImages(reduced, transform, seed, cache)
        self.loader: DataLoader[Any] | None = None

    def __len__(self) -> int:
        return self.batches.total

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch; the same ones whenever it is asked for again.

        Args:
            number: of the epoch.
            start: the first batch; those before it are not even read.

        Raises:
            ChildProcessError: a reading process died; see :func:`reading_deaths`.
        """
        self.batches.epoch, self.batches.start = number, start
        if self.loader is None:
            self.loader = self._data_loader()
        try:
            with reading_deaths():
                yield from self.loader
        except ChildProcessError:
            self.close()
            raise

    def empty(self, side: int) -> Batch:
        """A batch without images, of images ``side`` px wide, for a process that has none."""
        nothing = taken(stacked([self.photos.target(0)]), [])
        return Batch(torch.zeros(0, 3, side, side, dtype=torch.uint8), nothing, [], [])

    def close(self) -> None:
        """Stop the reading processes; the next epoch starts new ones."""
        self.loader = None

    def _data_loader(self) -> DataLoader[Any]:
        return DataLoader(
            self.seeded, batch_sampler=self.batches, num_workers=self.workers, collate_fn=_as_it_is,
            persistent_workers=self.workers > 0, worker_init_fn=_start_worker,
            prefetch_factor=BATCHES_AHEAD if self.workers else None,
            pin_memory=self.pinned,
            generator=torch.Generator(),  # its own, or each epoch would move the global one
        )


@contextmanager
def reading_deaths() -> Iterator[None]:
    """Turn torch's report of a dead reading process into one clear line.

    torch may raise it wherever the main process happens to be, so a training loop stands in it too.

    Raises:
        ChildProcessError: a reading process died.
    """
    try:
        yield
    except RuntimeError as err:
        if NO_ROOM in str(err):
            raise ChildProcessError(
                f"{SHARED} has no room for the batches of the reading processes; give fewer --workers (0 "
                "needs none of it), a smaller --batch-size, or, to a container, --shm-size 2g"
            ) from err
        if not str(err).startswith("DataLoader worker"):
            raise
        raise ChildProcessError(
            f"a process that reads photos died, probably for want of memory ({str(err).strip()}); "
            f"give a smaller --batch-size, or --workers 0"
        ) from err


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    """One thread, and ignoring signals meant for the terminal's foreground: the main process decides."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def eval_loader(
    photos: ImageDataset, preprocessing: Preprocessing, *, batch_size: int, workers: int | None,
    cache: ImageCache | None = None, rank: int = 0, world: int = 1, pinned: bool = False,
) -> Loader:
    """Photos in order as the weights want to see them: for evaluation and for answering."""
    size, crop = preprocessing.resolution, preprocessing.crop
    usual = eval_transform(size, crop, preprocessing.resize)
    return Loader(
        photos, photos.transforms[1] if photos.transforms else usual,
        batch_size=min(batch_size, photos.evaluated_together or batch_size), workers=workers,
        min_side=decode_size(size, crop), cache=cache, rank=rank, world=world, side=size,
        pinned=pinned,
    )


@dataclass(frozen=True)
class Reading:
    """Loaders of one training; each process reads its part.

    Args:
        settings: with every None chosen.
        world: the processes that share the work.
        cache: of decoded images, if there is one.
    """

    settings: Any
    world: World
    cache: ImageCache | None

    @property
    def pinned(self) -> bool:
        """Whether a GPU takes the batches."""
        return self.world.device.type == "cuda"

    def augmented(self, photos: ImageDataset, *, shuffle: bool = True) -> Loader:
        """Photos as training shows them; in their own order without ``shuffle``."""
        s = self.settings
        transform = train_transform(
            s.train_resolution, scale=s.min_crop, jitter=s.jitter, randaugment=s.randaugment, erase=s.erase
        )
        return Loader(
            photos, photos.transforms[0] if photos.transforms else transform,
            batch_size=s.batch_size, seed=s.seed, shuffle=shuffle, workers=s.workers,
            min_side=side_for_training(s.train_resolution, s.min_crop), cache=self.cache,
            rank=self.world.rank, world=self.world.size, sampling=s.sampling if shuffle else "all",
            side=s.train_resolution, pinned=self.pinned,
        )

    def plain(
        self, photos: ImageDataset, preprocessing: Preprocessing, *, kept: bool = True
    ) -> Loader:
        """Photos in order as the weights want to see them; ``kept`` in the cache where they come again."""
        return eval_loader(
            photos, preprocessing, batch_size=EVAL_BATCH, workers=self.settings.workers,
            cache=self.cache if kept else None, rank=self.world.rank, world=self.world.size,
            pinned=self.pinned,
        )
