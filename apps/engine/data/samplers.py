"""Which images make a batch, and what a batch is."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Sampler

from apps.engine.data.collate import mapped, stacked

Sampling = Literal["all", "balanced"]
Key = tuple[int, int, int]  # epoch, index, how often this image came before in this epoch


@dataclass(frozen=True)
class BadImage:
    """An image that could not be read, and why; both in one line."""

    index: int
    reason: str


@dataclass(frozen=True)
class Batch:
    """What a step works on.

    Shape:
        images: (B, 3, H, W) uint8, channels-last in memory.
        targets: (B,) or as :func:`apps.engine.data.collate.stacked` puts the dataset's targets together.
        indices: B positions in the dataset.
        bad: images of this batch that could not be read; they are in none of the above.
    """

    images: Tensor
    targets: Any
    indices: list[int]
    bad: list[BadImage]

    def floats(self) -> Tensor:
        """(B, 3, H, W) in [0, 1], channels-last in memory."""
        return as_floats(self.images)

    def pin_memory(self) -> Batch:
        """The same in memory from which a GPU copies while it computes; called by torch's loader."""
        return replace(
            self, images=self.images.pin_memory(), targets=mapped(Tensor.pin_memory, self.targets)
        )

    def on(self, device: torch.device) -> tuple[Tensor, Any]:
        """Images and targets on a device; from pinned memory they come while it computes on."""
        move = partial(Tensor.to, device=device, non_blocking=True)
        return move(self.images), mapped(move, self.targets)

    def errors(self, paths: Sequence[Path | str]) -> dict[int, dict[str, Any]]:
        """What a command says of each image that could not be read: position -> ``{"path", "error"}``."""
        return {bad.index: {"path": str(paths[bad.index]), "error": bad.reason} for bad in self.bad}


def as_floats(images: Tensor) -> Tensor:
    """(B, 3, H, W) bytes in [0, 1], channels-last in memory; floats as they are."""
    if images.is_floating_point():
        return images
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


class BatchBuilder:
    """Photos written one by one into one block of memory, which workers share with the main process."""

    def __init__(self, size: int, *, shared: bool) -> None:
        self.size, self.shared = size, shared
        self.images: Tensor | None = None
        self.targets: list[Any] = []
        self.indices: list[int] = []
        self.bad: list[BadImage] = []

    def add(self, image: Tensor, target: Any, index: int) -> None:
        """Put the next image, (3, H, W) uint8, into the batch."""
        if self.images is None:
            _, height, width = image.shape
            block = torch.empty(self.size, height, width, 3, dtype=torch.uint8)
            if self.shared:
                block.share_memory_()  # type: ignore[no-untyped-call]
            self.images = block.permute(0, 3, 1, 2)
        self.images[len(self.indices)].copy_(image)
        self.targets.append(target)
        self.indices.append(index)

    def batch(self) -> Batch:
        """The images added so far."""
        count = len(self.indices)
        images = torch.empty(0, 3, 0, 0, dtype=torch.uint8) if self.images is None else self.images[:count]
        return Batch(images, stacked(self.targets), self.indices, self.bad)


class EpochBatches(Sampler[list[Key]]):
    """Batches of (epoch, index, repeat): drawn by (seed, epoch), or in order.

    A last batch of one image joins the one before it: batch-norm cannot learn from one image.

    Args:
        count: images in the dataset.
        batch_size: images in a batch, over all processes.
        seed: of the order.
        shuffle: a new order each epoch; False keeps the dataset's.
        rank: of this process, 0 to world - 1; it takes images rank, rank + world, ... of each batch.
        world: processes that share each batch.
        labels: class of each image, to draw as many images of each class, with replacement; None
            takes every image once.

    Attributes:
        epoch: of the batches that come next.
        start: batches of it to leave out.

    Raises:
        ValueError: a size is below 1, or the rank is not below the world.
    """

    def __init__(
        self, count: int, batch_size: int, *, seed: int, shuffle: bool, rank: int = 0, world: int = 1,
        labels: Sequence[int] | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        if not 0 <= rank < world:
            raise ValueError(f"rank must be 0 to {world - 1} for world {world}, got {rank}")
        self.count, self.batch_size, self.seed, self.shuffle = count, batch_size, seed, shuffle
        self.rank, self.world = rank, world
        self.members: dict[int, list[int]] = {}
        for index, label in enumerate(labels or ()):
            self.members.setdefault(label, []).append(index)
        self.epoch = self.start = 0

    @property
    def total(self) -> int:
        """Batches in a whole epoch."""
        full, rest = divmod(self.count, self.batch_size)
        return full + (rest > 1 or (rest == 1 and (not self.shuffle or full == 0)))

    def __len__(self) -> int:
        return max(self.total - self.start, 0)

    def order(self) -> list[int]:
        """The images of the epoch, one after the other."""
        if self.members:
            rng = random.Random(f"{self.seed} {self.epoch} balanced")
            labels = rng.choices(sorted(self.members), k=self.count)
            return [rng.choice(self.members[label]) for label in labels]
        order = list(range(self.count))
        if self.shuffle:
            random.Random(f"{self.seed} {self.epoch}").shuffle(order)
        return order

    def __iter__(self) -> Iterator[list[Key]]:
        seen: dict[int, int] = {}
        keys: list[Key] = []
        for index in self.order():
            repeat = seen.get(index, 0)
            seen[index] = repeat + 1
            keys.append((self.epoch, index, repeat))
        for step in range(self.start, self.total):
            first = step * self.batch_size
            last = self.count if step == self.total - 1 else first + self.batch_size
            yield keys[first:last][self.rank :: self.world]
