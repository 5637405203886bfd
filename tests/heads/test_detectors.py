"""SSD and Faster R-CNN: cost to the paper's digits, losses, decoding."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from apps.cost.detectors import detector
from backbone.complexity import cost
from heads import SSD, FasterRCNN, FasterRCNNPyramid
from heads.detections import suppressed

pytestmark = pytest.mark.computes

NOTHING = (torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))


@pytest.mark.parametrize(("kind", "side", "parameters", "mult_adds"), [
    ("ssd", 300, 6_868_574, 1_254_688_448),
    ("frcnn", 300, 6_063_939, 25_223_422_912),
    ("frcnn", 600, 6_063_939, 30_486_057_088),
])
def test_detectors_cost_what_table_13_says(kind: str, side: int, parameters: int, mult_adds: int) -> None:
    counted = cost(detector(kind, 1.0, side, 90), side)
    assert (counted.parameters, counted.mult_adds) == (parameters, mult_adds)


def make(kind: str) -> tuple[Any, list[torch.Tensor]]:
    torch.manual_seed(0)
    maps = {stride: torch.rand(2, 8, -(-96 // stride), -(-96 // stride)) for stride in (8, 16, 32)}
    head: Any = {
        "ssd": lambda: SSD([8, 8], 3, size=96), "frcnn": lambda: FasterRCNN([8, 16], 3, size=96),
        "fpn": lambda: FasterRCNNPyramid([8, 8, 8], 3, size=96),
    }[kind]()
    return head, [maps[stride] for stride in head.strides]


@pytest.mark.parametrize("kind", ["ssd", "frcnn", "fpn"])
def test_photos_without_boxes_have_a_finite_loss_with_a_gradient(kind: str) -> None:
    head, maps = make(kind)
    for target in ([NOTHING, NOTHING], [(torch.tensor([[5.0, 5, 60, 60]]), torch.tensor([2])), NOTHING]):
        terms = head.train().loss(head(*maps), target)
        total = torch.stack(list(terms.values())).sum()
        assert torch.isfinite(total)
        head.zero_grad()
        total.backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


@pytest.mark.parametrize("kind", ["ssd", "frcnn", "fpn"])
def test_answers_lie_on_the_image_with_known_labels_best_first(kind: str) -> None:
    head, maps = make(kind)
    with torch.inference_mode():
        found = head.eval().decode(head(*maps))
    assert len(found) == 2
    for one in found:
        assert len(one.boxes) == len(one.scores) == len(one.labels) <= 100
        assert len(one.boxes) and one.boxes.min() >= 0 and one.boxes.max() <= 96
        assert one.labels.min() >= 0 and one.labels.max() <= 2
        assert (one.scores.diff() <= 0).all()


def test_ssd_decodes_the_boxes_that_its_loss_encodes() -> None:
    """Offsets that make the loss of the boxes zero decode to these very boxes."""
    head, _ = make("ssd")
    defaults = head.default_boxes()
    box = torch.tensor([[20.0, 24, 70, 66]])
    offsets = head.coder.encode_single(box.expand(len(defaults), 4), defaults)[None]
    logits = torch.zeros(1, len(defaults), 4)
    logits[..., 2] = 20
    output = {"logits": logits, "offsets": offsets}
    assert head.loss(output, [(box, torch.tensor([1]))])["box"] < 1e-6
    (found,) = head.decode(output)
    assert torch.allclose(found.boxes, box, atol=1e-3) and found.labels.tolist() == [1]


def test_default_boxes_of_ssd300_stand_where_the_paper_puts_them() -> None:
    """19 x 19 places with 4 boxes, and 10, 5, 3, 2 and 1 squared with 6."""
    boxes = SSD([8, 8], 3).default_boxes()
    assert len(boxes) == 4 * 19**2 + 6 * (10**2 + 5**2 + 3**2 + 2**2 + 1)
    centre, side = (boxes[0, :2] + boxes[0, 2:]) / 2, boxes[0, 2:] - boxes[0, :2]
    assert torch.allclose(centre, torch.full((2,), 300 / 19 / 2), atol=1e-3)
    assert torch.allclose(side, torch.full((2,), 0.2 * 300), atol=1e-3)


def test_the_weaker_of_two_boxes_goes_only_within_its_class() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9.5], [0, 0, 10, 9]])
    scores = torch.tensor([[0.9, 0.0], [0.8, 0.0], [0.0, 0.7]])
    found = suppressed(boxes, scores, size=20, threshold=0.1, overlap=0.6, candidates=10, most=10)
    assert found.labels.tolist() == [0, 1] and found.scores.tolist() == pytest.approx([0.9, 0.7])


def test_an_image_too_small_for_ssd_is_refused() -> None:
    with pytest.raises(ValueError, match="64 px or more a side, got 32"):
        SSD([8, 8], 3, size=32)
