"""Heads as a library: their contract over all of them, and one pass for many."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import heads
from heads import (
    SSD,
    Attributes,
    Classifier,
    Embedding,
    FasterRCNN,
    FasterRCNNPyramid,
    GeoCells,
    Head,
    MultiHead,
)

pytestmark = pytest.mark.computes

HEADS: dict[str, Head] = {
    "classifier": Classifier(8, 5), "cells": GeoCells(8, [5]), "embedding": Embedding(8, 128),
    "attributes": Attributes(8, ["smiles", "hat"]),
}
TARGETS = {
    "embedding": nn.functional.normalize(torch.rand(3, 128)),
    "attributes": torch.tensor([[0.0, 1.0], [1.0, float("nan")], [0.5, 0.0]]),
}
DETECTORS = {SSD, FasterRCNN, FasterRCNNPyramid}  # their maps fit a size: tests/heads/test_detectors.py


def test_every_public_head_is_under_contract_here() -> None:
    public = {v for v in vars(heads).values() if isinstance(v, type) and issubclass(v, Head)} - {Head}
    assert public
    assert public == {type(head) for head in HEADS.values()} | DETECTORS


@pytest.mark.parametrize("name", HEADS)
def test_a_head_takes_its_strides_and_its_loss_is_named_finite_scalars(name: str) -> None:
    head = HEADS[name]
    maps = [torch.rand(3, 8, 4, 4) for _ in head.strides]
    terms = head.loss(head(*maps), TARGETS.get(name, torch.tensor([0, 1, 2])))
    assert terms
    assert all(term.ndim == 0 and torch.isfinite(term) for term in terms.values())


@pytest.mark.parametrize("name", [n for n, head in HEADS.items() if head.pools])
def test_a_pooling_head_answers_the_same_from_cached_means(name: str) -> None:
    head = HEADS[name].eval()
    maps = [torch.rand(3, 8, 4, 6) for _ in head.strides]
    pooled = [m.mean(dim=(2, 3), keepdim=True) for m in maps]
    torch.testing.assert_close(head(*maps), head(*pooled))


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        self.calls += 1
        return {16: images[:, :, ::16, ::16], 32: images[:, :, ::32, ::32]}


def test_many_heads_cost_one_pass_of_the_backbone() -> None:
    backbone = Counting()
    model = MultiHead(backbone, {"a": Classifier(3, 2), "b": Classifier(3, 7, stride=16)})
    outputs = model(torch.rand(2, 3, 64, 64))
    assert {name: tuple(o.shape) for name, o in outputs.items()} == {"a": (2, 2), "b": (2, 7)}
    assert backbone.calls == 1
    assert list(model(torch.rand(2, 3, 64, 64), want=["b"])) == ["b"]


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_an_untrained_classifier_is_undecided(classes: int) -> None:
    """The loss at the start is log K within 2 %: a larger one means that the head starts with opinions."""
    torch.manual_seed(0)
    head = Classifier(1024, classes)
    loss = head.loss(head(torch.rand(64, 1024, 7, 7) * 6), torch.arange(64) % classes)["cross_entropy"]
    assert loss.item() == pytest.approx(math.log(classes), rel=0.02)


def test_a_classifier_decodes_the_likeliest_first_at_its_temperature() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    (ranking,) = Classifier(4, 3).decode(logits, top=2, temperature=2.0)
    expected = torch.softmax(logits.double() / 2.0, dim=1)[0]
    assert ranking.indices == (1, 2)
    assert ranking.probabilities == pytest.approx((expected[1].item(), expected[2].item()))
    assert len(Classifier(4, 3).decode(logits, top=99)[0].indices) == 3


def test_a_classifier_of_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="2 classes or more, got 1"):
        Classifier(8, 1)
