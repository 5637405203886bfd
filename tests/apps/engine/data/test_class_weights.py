"""Classes of unequal size, and the loss that weighs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from apps.engine.data.class_weights import class_weights
from heads import Classifier


def test_balanced_weights_are_scikit_learns_and_have_mean_one_over_the_photos() -> None:
    counts = [10, 30, 60]
    targets = np.repeat([0, 1, 2], counts)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    weights = class_weights(counts)
    assert weights.tolist() == pytest.approx(expected.tolist())
    assert weights[targets].mean().item() == pytest.approx(1.0)
    assert class_weights(counts, "none").tolist() == [1.0, 1.0, 1.0]


def test_a_class_without_photos_weighs_nothing_and_the_others_as_without_it() -> None:
    assert class_weights([10, 0, 30]).tolist() == pytest.approx([2.0, 0.0, 2 / 3])


@pytest.mark.parametrize(("counts", "kind", "message"), [
    ([1, 2], "balance", "--class-weights must be one of none, balanced, got 'balance'"),
    ([0, 0], "balanced", r"some photo, got \[0, 0\]"), ([3, -1], "none", r"got \[3, -1\]"),
])
def test_counts_that_make_no_sense_are_refused(counts: list[int], kind: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_weights(counts, kind)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_weighed_loss_is_divided_by_the_photos_so_that_batches_add_up(smoothing: float) -> None:
    """Divided by the weights in each batch, two halves would not make the gradient of the whole."""
    torch.manual_seed(0)
    weights = torch.tensor([0.5, 1.0, 4.0])
    head = Classifier(4, 3, label_smoothing=smoothing, class_weights=weights)
    logits, targets = torch.randn(6, 3), torch.tensor([0, 0, 1, 2, 2, 0])
    total = F.cross_entropy(logits, targets, weights, label_smoothing=smoothing, reduction="sum")
    whole = head.loss(logits, targets)["cross_entropy"]
    torch.testing.assert_close(whole, total / 6)
    halves = [head.loss(logits[part], targets[part])["cross_entropy"] for part in (slice(3), slice(3, 6))]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, whole)
    shares = F.one_hot(targets, 3).float()  # what a mixer gives: the same loss for the same photos
    torch.testing.assert_close(head.loss(logits, shares)["cross_entropy"], whole)


def test_weights_stay_out_of_the_state_and_can_be_set_later() -> None:
    head, plain = Classifier(4, 3, class_weights=torch.ones(3)), Classifier(4, 3)
    assert head.state_dict().keys() == plain.state_dict().keys() == {"linear.weight", "linear.bias"}
    logits, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 2])
    before = plain.loss(logits, targets)["cross_entropy"]
    plain.set_class_weights(torch.tensor([9.0, 1.0, 1.0]))
    assert plain.loss(logits, targets)["cross_entropy"] != before
    plain.set_class_weights(None)
    assert plain.loss(logits, targets)["cross_entropy"] == before


@pytest.mark.parametrize("weights", [
    torch.ones(2), torch.tensor([1.0, -1.0, 1.0]), torch.full((3,), torch.nan),
])
def test_weights_that_do_not_fit_the_classes_are_refused(weights: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="3 classes need 3 weights of 0 or more, got"):
        Classifier(4, 3, class_weights=weights)
