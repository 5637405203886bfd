"""One pass of the backbone for many heads, and the classifier."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from heads import Classifier, MultiHead

pytestmark = pytest.mark.computes


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
