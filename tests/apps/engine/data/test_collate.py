"""Targets and outputs that are more than one tensor, through the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from apps.engine.data.collate import all_finite, joined, mapped, stacked, taken
from apps.engine.data.samplers import Batch
from apps.engine.evaluation.collecting import CollectingEvaluator
from apps.engine.training.loop import run_model


def boxes(count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return np.full((count, 4), count, np.float32), np.arange(count)


def test_numbers_and_arrays_of_one_shape_become_a_tensor() -> None:
    assert stacked([1, 2]).tolist() == [1, 2]
    assert stacked([np.zeros(3), np.ones(3)]).shape == (2, 3)
    assert stacked([]).shape == (0,)


def test_dicts_are_stacked_by_key() -> None:
    found = stacked([{"a": 1, "b": np.zeros(2)}, {"a": 3, "b": np.ones(2)}])
    assert found["a"].tolist() == [1, 3]
    assert found["b"].tolist() == [[0, 0], [1, 1]]


def test_tuples_of_arrays_of_different_shapes_stay_one_a_photo() -> None:
    found = stacked([boxes(0), boxes(3)])
    assert [one[0].shape for one in found] == [(0, 4), (3, 4)]
    assert found[1][1].tolist() == [0, 1, 2]


def test_parts_of_batches_are_joined_and_picked_alike_in_every_structure() -> None:
    whole = {"x": torch.arange(5), "y": (torch.arange(5) * 2, [f"photo {n}" for n in range(5)])}
    parts = [taken(whole, rows) for rows in ([0, 1], [2, 3, 4])]
    again = joined(parts)
    assert again["x"].tolist() == [0, 1, 2, 3, 4]
    assert again["y"][0].tolist() == [0, 2, 4, 6, 8]
    assert taken(again, [4, 0])["y"][1] == ["photo 4", "photo 0"]
    assert taken(whole, [])["x"].shape == (0,)


def test_mapping_reaches_every_tensor_and_leaves_the_rest() -> None:
    found = mapped(lambda one: one + 1, {"a": torch.zeros(1), "b": [(torch.ones(1), "name")]})
    assert found["a"].item() == 1
    assert found["b"][0][0].item() == 2
    assert found["b"][0][1] == "name"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_found_wherever_it_is(bad: float) -> None:
    fine = {"a": torch.zeros(2), "b": [(torch.ones(1),)], "c": "word"}
    assert all_finite(fine)
    assert not all_finite(fine | {"b": [(torch.tensor([bad]),)]})


def test_a_model_that_answers_with_boxes_is_run_over_a_split_in_the_order_of_the_photos() -> None:
    """Photo n has n boxes; the batches come in another order."""

    def batches() -> Iterator[Batch]:
        for indices in ([3, 1], [2, 0]):
            images = torch.tensor(indices, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)
            yield Batch(images, stacked([boxes(n) for n in indices]), indices, [])

    def model(images: Tensor) -> dict[str, Any]:
        counts = images[:, 0, 0, 0].tolist()
        return {"boxes": [torch.zeros(n, 4) for n in counts], "count": torch.tensor(counts)}

    collected = CollectingEvaluator[Any, Any, Any](lambda *parts: parts)
    assert run_model(model, batches(), collected) == []
    outputs, targets, indices = collected.compute()
    assert indices == [0, 1, 2, 3]
    assert [len(one) for one in outputs["boxes"]] == [0, 1, 2, 3]
    assert outputs["count"].dtype == torch.int64
    assert [len(one[0]) for one in targets] == [0, 1, 2, 3]
