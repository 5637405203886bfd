"""SSD and Faster R-CNN: cost to the paper's digits, losses, decoding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torchvision.ops import box_iou

from apps.cost.detectors import detector
from backbone.complexity import cost
from heads import SSD, FasterRCNN, FasterRCNNPyramid
from heads.detections import nms

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


TENSORFLOW: Any = {"padding": "same", "anchors": "tensorflow", "score_converter": "sigmoid"}


def make(kind: str) -> tuple[Any, list[torch.Tensor]]:
    torch.manual_seed(0)
    maps = {stride: torch.rand(2, 8, -(-96 // stride), -(-96 // stride)) for stride in (8, 16, 32)}
    head: Any = {
        "ssd": lambda: SSD([8, 8], 3, size=96),
        "ssd-tensorflow": lambda: SSD([8, 8], 3, size=96, width=0.25, **TENSORFLOW),
        "frcnn": lambda: FasterRCNN([8, 16], 3, size=96),
        "fpn": lambda: FasterRCNNPyramid([8, 8, 8], 3, size=96),
    }[kind]()
    return head, [maps[stride] for stride in head.strides]


@pytest.mark.parametrize("kind", ["ssd", "ssd-tensorflow", "frcnn", "fpn"])
def test_photos_without_boxes_have_a_finite_loss_with_a_gradient(kind: str) -> None:
    head, maps = make(kind)
    for target in ([NOTHING, NOTHING], [(torch.tensor([[5.0, 5, 60, 60]]), torch.tensor([2])), NOTHING]):
        terms = head.train().loss(head(*maps), target)
        total = torch.stack(list(terms.values())).sum()
        assert torch.isfinite(total)
        head.zero_grad()
        total.backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


@pytest.mark.parametrize("kind", ["frcnn", "fpn"])
def test_targets_given_to_forward_give_the_losses_of_the_maps(kind: str) -> None:
    head, maps = make(kind)
    target = [(torch.tensor([[5.0, 5, 60, 60]]), torch.tensor([2])), NOTHING]
    torch.manual_seed(1)
    output = head.train()(*maps, targets=target)
    assert set(output) == {"features", "losses"} and head.loss(output) is output["losses"]
    torch.manual_seed(1)
    later = head.loss(head(*maps), target)
    assert {name: float(loss) for name, loss in later.items()} == pytest.approx(
        {name: float(loss) for name, loss in output["losses"].items()}
    )
    with pytest.raises(ValueError, match=r"a loss needs targets: give them to forward\(\*features, targets"):
        head.loss(head(*maps))


@pytest.mark.parametrize("kind", ["frcnn", "fpn"])
def test_losses_and_answers_come_in_either_mode_and_leave_it(kind: str) -> None:
    """Batch-norm of the box head follows the mode; the choice of regions follows what is asked for."""
    head, maps = make(kind)
    for training in (True, False):
        head.train(training)
        assert set(head.loss(head(*maps), [NOTHING, NOTHING])) == {"objectness", "proposal", "class", "box"}
        assert len(head.decode(head(*maps))) == 2
        assert all(module.training == training for module in head.modules())


@pytest.mark.parametrize("kind", ["ssd", "ssd-tensorflow", "frcnn", "fpn"])
def test_targets_may_be_lists_and_dicts(kind: str) -> None:
    head, maps = make(kind)
    losses = []
    for target in (
        (torch.tensor([[5.0, 5, 60, 60]]), torch.tensor([2])), ([[5, 5, 60, 60]], [2]),
        {"boxes": [[5.0, 5, 60, 60]], "labels": torch.tensor([2])},
    ):
        torch.manual_seed(1)
        terms = head.loss(head(*maps), [target, ([], [])])
        losses.append({name: float(loss) for name, loss in terms.items()})
    assert losses[0] == pytest.approx(losses[1]) and losses[0] == pytest.approx(losses[2])
    with pytest.raises(ValueError, match=r"expected boxes \(N, 4\).* got \(1, 4\) and \(2,\)"):
        head.loss(head(*maps), [([[5, 5, 60, 60]], [2, 1]), NOTHING])


def test_channels_may_be_a_number_for_all_maps() -> None:
    assert SSD(8, 3, size=96).state_dict().keys() == SSD([8, 8], 3, size=96).state_dict().keys()
    with pytest.raises(ValueError, match=r"expected channels for 3 maps, or a single number, got \[8, 8\]"):
        FasterRCNNPyramid([8, 8], 3)


@pytest.mark.parametrize("kind", ["ssd", "ssd-tensorflow", "frcnn", "fpn"])
def test_answers_lie_on_the_image_with_known_labels_best_first(kind: str) -> None:
    head, maps = make(kind)
    with torch.inference_mode():
        detections = head.eval().decode(head(*maps))
    assert len(detections) == 2
    for image in detections:
        assert len(image.boxes) == len(image.scores) == len(image.labels) <= 100
        assert len(image.boxes) and image.boxes.min() >= 0 and image.boxes.max() <= 96
        assert image.labels.min() >= 0 and image.labels.max() <= 2
        assert (image.scores.diff() <= 0).all()


@pytest.mark.parametrize("kind", ["ssd", "ssd-tensorflow"])
def test_ssd_decodes_the_boxes_that_its_loss_encodes(kind: str) -> None:
    """Offsets that make the loss of the boxes zero decode to these very boxes."""
    head, _ = make(kind)
    defaults = head.default_boxes()
    box = torch.tensor([[20.0, 24, 70, 66]])
    offsets = head.coder.encode_single(box.expand(len(defaults), 4), defaults)[None]
    logits = torch.full((1, len(defaults), 4), -20.0)
    logits[..., 2] = 20
    output = {"cls_logits": logits, "bbox_regression": offsets}
    assert head.loss(output, [(box, torch.tensor([1]))])["box"] < 1e-6
    (detections,) = head.decode(output)
    assert torch.allclose(detections.boxes, box, atol=1e-3) and detections.labels.tolist() == [1]


def test_default_boxes_of_ssd300_stand_where_the_paper_puts_them() -> None:
    """19 x 19 places with 4 boxes, and 10, 5, 3, 2 and 1 squared with 6."""
    boxes = SSD([8, 8], 3).default_boxes()
    assert len(boxes) == 4 * 19**2 + 6 * (10**2 + 5**2 + 3**2 + 2**2 + 1)
    centre, side = (boxes[0, :2] + boxes[0, 2:]) / 2, boxes[0, 2:] - boxes[0, :2]
    assert torch.allclose(centre, torch.full((2,), 300 / 19 / 2), atol=1e-3)
    assert torch.allclose(side, torch.full((2,), 0.2 * 300), atol=1e-3)


def test_tensorflows_default_boxes_of_ssd300_have_its_order_and_shapes() -> None:
    """3 on the first map, of scales 0.1, 0.2, 0.2; 6 on the others: ratios 1, 2, 1/2, 3, 1/3, sqrt(s s')."""
    boxes = SSD([8, 8], 3, **TENSORFLOW).default_boxes() / 300
    assert len(boxes) == 3 * 19**2 + 6 * (10**2 + 5**2 + 3**2 + 2**2 + 1) == 1917
    sides = boxes[:, 2:] - boxes[:, :2]
    root = 2**0.5
    wanted = [(0.1, 0.1), (0.2 * root, 0.2 / root), (0.2 / root, 0.2 * root)]
    assert torch.allclose(sides[:3], torch.tensor(wanted))
    s, after, three = 0.35, 0.5, 3**0.5
    wanted = [(s, s), (s * root, s / root), (s / root, s * root), (s * three, s / three),
              (s / three, s * three), ((s * after) ** 0.5,) * 2]  # fmt: skip
    first = 3 * 19**2
    assert torch.allclose(sides[first : first + 6], torch.tensor(wanted))
    assert torch.allclose(sides[-1], torch.full((2,), 0.95**0.5))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert torch.allclose(centres[3], torch.tensor([1.5 / 19, 0.5 / 19]))  # along a row first


@pytest.mark.parametrize("side", [19, 10, 5, 2, 1])
def test_tensorflows_padding_is_later_on_even_sides(side: int) -> None:
    """The added layer beside a naive sum: windows begin at 2 i - pad, pad 1 on odd sides, 0 on even."""
    torch.manual_seed(0)
    layer: Any = SSD([4, 4], 1, size=96, width=0.25, **TENSORFLOW).extras[0]
    conv = layer[3]
    x = torch.rand(1, conv.in_channels, side, side)
    result, before = conv(x), side % 2
    assert result.shape[2:] == (-(-side // 2),) * 2
    for row, column in [(0, 0), (result.shape[2] - 1, result.shape[3] - 1)]:
        total = torch.zeros(conv.out_channels)
        for i in range(3):
            for j in range(3):
                y, z = 2 * row - before + i, 2 * column - before + j
                if 0 <= y < side and 0 <= z < side:
                    total += conv.weight[:, :, i, j] @ x[0, :, y, z]
        assert torch.allclose(result[0, :, row, column], total, atol=1e-5)


def test_added_layers_follow_the_width() -> None:
    """TensorFlow's SSD of width 0.75, and never fewer than 16 channels."""
    channels = [
        [extra[0].out_channels, extra[3].out_channels]  # type: ignore[index]
        for extra in SSD([8, 8], 3, width=0.75).extras
    ]
    assert channels == [[192, 384], [96, 192], [96, 192], [48, 96]]
    assert SSD([8, 8], 3, width=0.1).extras[3][0].out_channels == 16  # type: ignore[index]


def test_stored_default_boxes_come_with_the_state() -> None:
    head = SSD([8, 8], 3, size=96, anchors="stored")
    moved = SSD([8, 8], 3, size=96, anchors="tensorflow").default_boxes() / 96 + 0.01
    head.load_state_dict(head.state_dict() | {"anchors": moved})
    assert torch.allclose(head.default_boxes(), moved * 96)
    assert "anchors" not in SSD([8, 8], 3, size=96).state_dict()


def test_sigmoid_scores_are_of_each_class_alone_and_learn_as_such() -> None:
    """Two classes may both be sure; the loss is the focal one, and the background's column learns nothing."""
    head = SSD([8, 8], 2, size=96, **TENSORFLOW)
    logits = torch.tensor([[-5.0, 3, 1]], requires_grad=True)
    assert torch.allclose(head.scores(logits), torch.sigmoid(torch.tensor([[3.0, 1]])))
    count = len(head.default_boxes())
    output = {"cls_logits": logits.expand(1, count, 3), "bbox_regression": torch.zeros(1, count, 4)}
    box = head.default_boxes()[-1:].clamp(0, 96)
    positive = int((head.matcher(box_iou(box, head.default_boxes())) >= 0).sum())
    chances = torch.sigmoid(torch.tensor([3.0, 1]))
    nothing = 0.25 * chances**2 * -torch.log(1 - chances)  # of a box on the background, by class
    first = 0.75 * (1 - chances[0]) ** 2 * -torch.log(chances[0]) + nothing[1]
    wanted = (positive * first + (count - positive) * nothing.sum()) / positive
    loss = head.loss(output, [(box, torch.tensor([0]))])["class"]
    assert torch.allclose(loss, wanted, rtol=1e-4)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and logits.grad[0, 0] == 0 and (logits.grad[0, 1:] != 0).all()


def test_statistics_of_batch_norm_stay_where_they_are_frozen() -> None:
    for frozen in (True, False):
        head, maps = make("ssd-tensorflow")
        head.freeze_bn_stats = frozen
        before = head.extras[0][1].running_mean.clone()
        head.train()(*maps)
        assert head.training and torch.equal(head.extras[0][1].running_mean, before) == frozen


def test_unknown_choices_are_refused() -> None:
    for name in TENSORFLOW:
        unknown: Any = {name: "x"}
        with pytest.raises(ValueError, match=f"{name} must be one of .*, got 'x'"):
            SSD([8, 8], 3, **unknown)
    with pytest.raises(ValueError, match="width must be above 0, got 0"):
        SSD([8, 8], 3, width=0)


def test_the_weaker_of_two_boxes_goes_only_within_its_class() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9.5], [0, 0, 10, 9]])
    scores = torch.tensor([[0.9, 0.0], [0.8, 0.0], [0.0, 0.7]])
    detections = nms(
        boxes, scores, size=20, score_thresh=0.1, nms_thresh=0.6, topk_candidates=10, detections_per_img=10
    )
    assert detections.labels.tolist() == [0, 1] and detections.scores.tolist() == pytest.approx([0.9, 0.7])


def test_an_image_too_small_for_ssd_is_refused() -> None:
    with pytest.raises(ValueError, match="64 px or more a side, got 32"):
        SSD([8, 8], 3, size=32)
