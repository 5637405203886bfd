"""Whose batch comes next: an epoch over several tasks, the same whenever it is asked for again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from apps.engine.data.samplers import BadImage, Batch
from apps.engine.training.loop import MetricAccumulator
from apps.engine.training.setup import BatchSource


def batches_of(sizes: Mapping[str, int], sampling: str, shares: Mapping[str, float]) -> dict[str, int]:
    """How many batches of each task an epoch has: as many in all as all data has, one or more of each.

    Args:
        sizes: batches that each task's data has.
        sampling: ``balanced``, ``weighted`` or ``size``.
        shares: of the tasks, for ``weighted``; relative to each other.
    """
    if sampling == "size":
        return dict(sizes)
    parts = {name: 1.0 if sampling == "balanced" else shares[name] for name in sizes}
    batch_share = sum(sizes.values()) / sum(parts.values())
    return {name: max(1, round(part * batch_share)) for name, part in parts.items()}


def spread(counts: Mapping[str, int]) -> list[str]:
    """The tasks' names, each as often as its count, as evenly as can be: a, b, a, b."""
    places = [
        ((number + 0.5) / count, order, name)
        for order, (name, count) in enumerate(counts.items()) for number in range(count)
    ]
    return [name for _, _, name in sorted(places)]


class _Stream:
    """The batches of one task without an end, from any of them on."""

    def __init__(self, source: BatchSource) -> None:
        self.source, self.position = source, -1
        self.batches: Iterator[Batch] = iter(())

    def get(self, number: int) -> Batch:
        """Batch ``number``, counted over all of the task's epochs."""
        if number != self.position:
            self.batches = self._from(number)
        self.position = number + 1
        return next(self.batches)

    def _from(self, number: int) -> Iterator[Batch]:
        epoch, start = divmod(number, len(self.source))
        while True:
            yield from self.source.epoch(epoch, start)
            epoch, start = epoch + 1, 0


@dataclass
class AllPhotos:
    """The images of all tasks, one after the other, for counting and naming."""

    photos: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.photos)


class JointLoader:
    """Epochs whose batches are of one task each; stands where a :class:`Loader` stood.

    The targets of its batches are (task, that task's targets), and their indices count through the images
    of all tasks. A task whose data is spent before the epoch ends begins anew, in a new order.

    Args:
        sources: a loader a task.
        counts: batches of each task in an epoch.
    """

    def __init__(self, sources: Mapping[str, BatchSource], counts: Mapping[str, int]) -> None:
        self.streams = {name: _Stream(source) for name, source in sources.items()}
        self.counts, self.order = dict(counts), spread(counts)
        self.first: dict[str, int] = {}
        photos: list[Any] = []
        for name, source in sources.items():
            self.first[name] = len(photos)
            photos.extend(source.photos.photos)
        self.photos = AllPhotos(tuple(photos))

    def __len__(self) -> int:
        return len(self.order)

    def empty(self, side: int) -> Batch:
        """A batch without images of the first task."""
        name = self.order[0]
        return self._named(name, self.streams[name].source.empty(side))

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from ``start`` on; which images they hold depends on the number alone."""
        done = {name: number * count for name, count in self.counts.items()}
        for place, name in enumerate(self.order):
            if place >= start:
                yield self._named(name, self.streams[name].get(done[name]))
            done[name] += 1

    def _named(self, name: str, batch: Batch) -> Batch:
        first = self.first[name]
        return replace(
            batch, targets=(name, batch.targets), indices=[first + index for index in batch.indices],
            bad=[BadImage(first + bad_image.index, bad_image.reason) for bad_image in batch.bad],
        )


@dataclass
class TaskAccumulator(MetricAccumulator):
    """Sums whose terms are named ``TASK/TERM``: each is divided by the images of its task."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, count: int, sums: dict[str, float]) -> None:
        """Add ``count`` images of the one task that the terms are of."""
        super().add(count, sums)
        task = next(iter(sums)).partition("/")[0]
        self.counts[task] = self.counts.get(task, 0) + count

    def means(self) -> dict[str, float]:
        """Each term's mean over the images of its task; ``loss`` over all images."""
        return {
            name: total / max(self.counts.get(name.partition("/")[0], self.photos), 1)
            for name, total in self.sums.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """What an epoch that goes on later needs."""
        return super().to_dict() | {"counts": dict(self.counts)}
