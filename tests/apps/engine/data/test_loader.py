"""The loader: shares of a batch, balanced draws, a start within an epoch, workers that die or are left."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import save_colour

from apps.engine.core.distributed import World
from apps.engine.data.cache import ImageCache
from apps.engine.data.loader import (
    Loader,
    Reading,
    eval_transform,
    reading_deaths,
    train_transform,
    worker_count,
)
from apps.engine.data.samplers import Batch, EpochBatches
from datasets.base import ImageDataset
from datasets.classification.folders import ImageFolders


def loader(root: Path, **options: Any) -> Loader:
    chosen = {"batch_size": 7, "shuffle": True, "workers": 0} | options
    transform = chosen.pop("transform", train_transform(32))
    return Loader(chosen.pop("photos", None) or ImageFolders(root, "train"), transform, **chosen)


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        a.indices == b.indices and torch.equal(a.images, b.images) and torch.equal(a.targets, b.targets)
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_bytes_with_channels_last(colours: Path, workers: int) -> None:
    batch = next(iter(loader(colours, workers=workers).epoch(0)))
    assert batch.images.dtype == torch.uint8
    assert batch.images.shape == (7, 3, 32, 32)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.floats().is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_start_within_an_epoch_gives_the_rest_of_it_and_reads_nothing_before(
    colours: Path, workers: int
) -> None:
    ours = loader(colours, workers=workers)
    whole = list(ours.epoch(3))
    assert len(whole) == len(ours) == 4
    for start in (2, 4):
        assert same(list(ours.epoch(3, start)), whole[start:])
        assert len(ours) == 4
    assert same(list(ours.epoch(3)), whole)


class Counting(ImageDataset):
    """Notes which photos are read."""

    def __init__(self, other: ImageDataset) -> None:
        super().__init__(other.photos, other.classes)
        self.read: list[int] = []

    def pixels(self, index: int, data: bytes | None = None) -> Any:
        self.read.append(index)
        return super().pixels(index, data)


def test_the_batches_before_a_start_are_not_read(colours: Path) -> None:
    photos = Counting(ImageFolders(colours, "train"))
    ours = loader(colours, photos=photos)
    (last,) = ours.epoch(0, 3)
    assert photos.read == last.indices


@pytest.mark.parametrize("world", [2, 3, 5])
@pytest.mark.parametrize("shuffle", [True, False])
def test_the_shares_of_all_processes_are_the_batches_of_one(
    colours: Path, world: int, shuffle: bool
) -> None:
    whole = list(loader(colours, shuffle=shuffle).epoch(1))
    shares = [list(loader(colours, shuffle=shuffle, rank=r, world=world).epoch(1)) for r in range(world)]
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        for rank, part in enumerate(parts):
            assert part.indices == batch.indices[rank::world]
            if part.indices:
                assert torch.equal(part.images, batch.images[rank::world])
    assert sorted(i for share in shares for b in share for i in b.indices) == list(range(24))


def test_a_process_without_a_photo_in_a_short_last_batch_gets_an_empty_one(colours: Path) -> None:
    batches = list(loader(colours, batch_size=22, rank=3, world=4).epoch(0))
    assert [len(batch.indices) for batch in batches] == [5, 0]
    assert batches[1].images.shape[0] == len(batches[1].targets) == 0
    assert batches[1].targets.dtype == batches[0].targets.dtype


@pytest.mark.parametrize(("rank", "world"), [(2, 2), (-1, 2), (0, 0)])
def test_a_rank_outside_the_world_is_refused(rank: int, world: int) -> None:
    with pytest.raises(ValueError, match=f"rank must be 0 to {world - 1} for world {world}, got {rank}"):
        EpochBatches(10, 4, seed=0, shuffle=True, rank=rank, world=world)


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be 1 or more, got 0"):
        EpochBatches(10, 0, seed=0, shuffle=True)


def test_balanced_sampling_draws_every_class_as_often() -> None:
    labels = [0] * 900 + [1] * 90 + [3] * 10
    batches = EpochBatches(1000, 32, seed=0, shuffle=True, labels=labels)
    drawn = [index for batch in batches for _, index, _ in batch]
    counts = Counter(labels[index] for index in drawn)
    assert len(drawn) == 1000
    assert all(280 < counts[label] < 390 for label in (0, 1, 3))
    assert len(set(drawn)) < 1000
    again = EpochBatches(1000, 32, seed=0, shuffle=True, labels=labels)
    assert list(again) == list(batches)
    again.epoch = 1
    assert list(again) != list(batches)


def test_a_photo_drawn_twice_is_distorted_in_two_ways(tmp_path: Path) -> None:
    for name, count in (("a", 6), ("b", 1)):
        for number in range(count):
            save_colour(tmp_path / "train" / name / f"{number}.png", (90, 90, 90), seed=number)
    ours = loader(tmp_path, batch_size=7, sampling="balanced")
    (batch,) = ours.epoch(0)
    twice = [n for n, index in enumerate(batch.indices) if index == 6][:2]
    assert len(twice) == 2
    assert not torch.equal(batch.images[twice[0]], batch.images[twice[1]])
    assert same([batch], list(ours.epoch(0)))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_that_is_broken_off_leaves_workers_that_read_the_next_one(
    colours: Path, workers: int
) -> None:
    ours = loader(colours, batch_size=3, workers=workers)
    expected = list(loader(colours, batch_size=3).epoch(1))
    for batch in ours.epoch(0):
        assert len(batch.indices) == 3
        break
    assert same(list(ours.epoch(1)), expected)


def children() -> set[int]:
    mine = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return set(map(int, mine.read_text().split()))


def gone(pids: set[int]) -> bool:
    until = time.monotonic() + 120  # gives up then; on an idle machine it is at once
    while time.monotonic() < until and pids & children():
        time.sleep(0.02)
    return not pids & children()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's list of children")
def test_a_closed_loader_leaves_no_process_behind(colours: Path) -> None:
    before = children()
    ours = loader(colours, batch_size=3, workers=2)
    batches = ours.epoch(0)
    next(batches)
    started = children() - before
    assert len(started) == 2
    batches.close()  # type: ignore[attr-defined]
    del batches
    ours.close()
    assert gone(started)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's list of children")
def test_a_killed_worker_is_one_clear_line_and_new_ones_read_on(colours: Path) -> None:
    before = children()
    ours = loader(colours, batch_size=3, workers=2)
    with pytest.raises(ChildProcessError, match=r"reads photos died.*Killed.*--workers 0"), reading_deaths():
        for number, _ in enumerate(ours.epoch(0)):
            if number == 0:
                os.kill(max(children() - before), signal.SIGKILL)
                time.sleep(0.2)
    ours.close()
    assert same(list(ours.epoch(1)), list(loader(colours, batch_size=3).epoch(1)))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's list of children")
def test_a_signal_to_the_terminals_processes_is_not_for_the_workers(colours: Path) -> None:
    """Ctrl-C reaches the whole group: a worker that dies of it would spoil the last checkpoint."""
    before = children()
    ours = loader(colours, batch_size=3, workers=2)
    batches = ours.epoch(0)
    first = next(batches)
    end = time.monotonic() + 120
    while any(os.getpgid(pid) == os.getpgid(0) for pid in children() - before):
        assert time.monotonic() < end, "a worker that has started is still in the terminal's group"
        time.sleep(0.05)
    for pid in children() - before:
        os.kill(pid, signal.SIGINT)
    assert same([first, *batches], list(loader(colours, batch_size=3).epoch(0)))


def test_another_runtime_error_passes_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="out of paper"), reading_deaths():
        raise RuntimeError("out of paper")


@pytest.mark.parametrize("workers", [0, 2])
def test_with_a_cache_the_batches_are_the_same_and_the_second_epoch_decodes_nothing(
    colours: Path, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = loader(colours, min_side=48)
    ours = loader(colours, min_side=48, workers=workers, cache=ImageCache(tmp_path / "cache", 1))
    assert same(list(ours.epoch(0)), list(plain.epoch(0)))
    expected = list(plain.epoch(1))
    monkeypatch.setattr(ImageDataset, "pixels", None)  # forked workers get this too
    again = loader(colours, min_side=48, workers=workers, cache=ImageCache(tmp_path / "cache", 1))
    assert same(list(again.epoch(1)), expected)


def test_a_bad_photo_is_told_through_a_cache_too(tmp_path: Path) -> None:
    for number, name in enumerate("aab"):
        save_colour(tmp_path / "train" / name / f"{number}.png", (9, 9, 9), seed=number)
    broken = tmp_path / "train" / "a" / "1.png"
    broken.write_bytes(broken.read_bytes()[:150])
    ours = loader(tmp_path, transform=eval_transform(32, 1.0), shuffle=False,
                  cache=ImageCache(tmp_path / "cache", 1))
    for _ in range(2):
        (batch,) = ours.epoch(0)
        assert batch.indices == [0, 2]
        assert [bad.index for bad in batch.bad] == [1]
        assert str(broken) in batch.bad[0].reason


def test_a_batch_of_bad_photos_only_is_empty_and_tells_them(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "0.png").write_bytes(b"no photo")
    (batch,) = loader(tmp_path).epoch(0)
    assert (batch.indices, len(batch.bad), len(batch.images)) == ([], 2, 0)


def test_what_a_worker_gets_can_be_pickled_and_reads_the_same(colours: Path, tmp_path: Path) -> None:
    """Where processes are spawned and not forked, everything travels as a pickle."""
    transform = train_transform(32, randaugment="m9", erase=0.5)
    ours = loader(colours, transform=transform, cache=ImageCache(tmp_path / "cache", 1))
    keys = [(0, index, 0) for index in range(5)]
    here = ours.seeded.__getitems__(keys)
    there = pickle.loads(pickle.dumps(ours.seeded)).__getitems__(keys)  # noqa: S301
    assert same([here], [pickle.loads(pickle.dumps(there))])  # noqa: S301


def test_a_dataset_decides_what_its_targets_are(colours: Path) -> None:
    class Several(ImageFolders):
        def target(self, index: int) -> Any:
            return np.array([index, -index], dtype=np.float32)

    (batch, *_) = loader(colours, photos=Several(colours, "train"), shuffle=False).epoch(0)
    assert batch.targets.tolist() == [[n, -n] for n in range(7)]


def test_the_number_of_workers_is_as_asked_or_by_the_cores() -> None:
    assert worker_count(0) == 0
    assert worker_count(5) == 5
    assert 1 <= worker_count(None) <= 8


def test_batches_for_a_gpu_lie_in_pinned_memory(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch pins nothing where there is no GPU; here a copy stands for what it would pin."""
    pinned: list[torch.Tensor] = []

    def pin_memory(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor.clone())
        return pinned[-1]

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    plain = list(loader(colours).epoch(0))
    assert not pinned
    batches = list(loader(colours, pinned=True).epoch(0))
    assert len(pinned) == 2 * len(batches)
    assert all(batch.images is pinned[2 * n] for n, batch in enumerate(batches))
    assert all(batch.targets is pinned[2 * n + 1] for n, batch in enumerate(batches))
    assert all(torch.equal(a.images, b.images) for a, b in zip(plain, batches, strict=True))
    assert batches[0].images.is_contiguous(memory_format=torch.channels_last)


def test_only_loaders_of_a_gpu_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(asked="cuda")
    monkeypatch.setattr("apps.engine.core.distributed.choose_device", lambda asked: asked)
    assert Reading(None, world, None).pinned
    assert not Reading(None, World(asked="cpu"), None).pinned


def test_a_batch_goes_to_a_device_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[bool] = []
    to = torch.Tensor.to

    def noted(tensor: torch.Tensor, *given: Any, **how: Any) -> torch.Tensor:
        moves.append(how.get("non_blocking", False))
        return to(tensor, *given, **how)

    monkeypatch.setattr(torch.Tensor, "to", noted)
    images = torch.zeros(2, 8, 8, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    targets = {"cells": torch.zeros(2), "boxes": [(torch.zeros(1, 4),), (torch.zeros(0, 4),)]}
    there, wanted = Batch(images, targets, [0, 1], []).on(torch.device("meta"))
    assert there.device.type == wanted["cells"].device.type == wanted["boxes"][1][0].device.type == "meta"
    assert there.is_contiguous(memory_format=torch.channels_last)
    assert moves == [True] * 4
