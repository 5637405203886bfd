"""An evaluator takes batches in any order, of several processes, and computes as from all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from apps.dogs import Dogs, DogsSettings
from apps.engine.core.distributed import World
from apps.engine.data.samplers import Batch
from apps.engine.evaluation.collecting import CollectingEvaluator
from apps.engine.training.loop import run_model
from datasets.base import ImageDataset, Photo


class Two(World):
    """Two processes, of which the other one kept ``theirs``."""

    theirs: Any = ()

    def gather(self, value: Any) -> list[Any]:
        return [value, self.theirs]


def images(count: int) -> ImageDataset:
    return ImageDataset([Photo(Path(f"{n}.jpg"), n % 2) for n in range(count)], ("cat", "dog"))


def test_metrics_do_not_depend_on_how_the_split_is_dealt_into_batches() -> None:
    task, photos = Dogs(DogsSettings()), images(10)
    logits, targets = torch.randn(10, 2), torch.arange(10) % 2
    whole, parts = (task.evaluator(photos, ("cat", "dog"), {"temperature": 2.0}) for _ in range(2))
    whole.update(logits, targets, range(10))
    for rows in ([7, 2, 9], [0, 1, 3], [8, 6, 5, 4]):
        parts.update(logits[rows], targets[rows], rows)
    assert parts.compute().metrics() == whole.compute().metrics()
    assert parts.compute().paths == photos.paths(range(10))
    assert whole.compute().temperature == 2.0


def test_what_another_process_was_given_counts_too() -> None:
    mine = CollectingEvaluator[Any, Any, Any](lambda *parts: (parts[0].tolist(), parts[2]))
    mine.update(torch.tensor([3.0, 1.0]), torch.zeros(2), [3, 1])
    world = Two()
    object.__setattr__(world, "theirs", [(torch.tensor([2.0, 0.0]), torch.zeros(2), [2, 0])])
    mine.share(world)
    assert mine.compute() == ([0.0, 1.0, 2.0, 3.0], [0, 1, 2, 3])


def test_a_split_without_an_image_that_can_be_read_is_refused_in_one_line() -> None:
    empty = Batch(torch.zeros(0, 3, 4, 4, dtype=torch.uint8), torch.zeros(0), [], [])
    with pytest.raises(ValueError, match="none of the 0 photos could be read; the first: there are none"):
        run_model(lambda batch: batch, [empty], CollectingEvaluator[Any, Any, Any](lambda *parts: parts))


def test_few_blocks_stay_of_many_batches() -> None:
    """Each small block that stays keeps the memory beside it from being used again."""
    collected = CollectingEvaluator[Any, Any, Any](lambda *parts: parts)
    for number in range(1000):
        rows = [number * 3 + 2, number * 3, number * 3 + 1]
        collected.update({"v": torch.tensor(rows)}, [(torch.tensor(row),) for row in rows], rows)
        assert len(collected.parts) <= 10  # log2 of 1000
    outputs, targets, indices = collected.compute()
    assert outputs["v"].tolist() == [int(target) for (target,) in targets] == indices == list(range(3000))
