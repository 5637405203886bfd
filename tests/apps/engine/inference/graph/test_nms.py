"""Suppression in a graph: a whole batch at once, by each runtime as torchvision's does it for an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from apps.engine.core.device import openvino_core
from apps.engine.inference.graph.nms import Detected, detections, translations
from apps.engine.inference.graph.onnx_file import free_batch, quiet
from heads.detections import nms

SIZE, CLASSES, PLACES = 96, 3, 400
LIMITS: dict[str, Any] = {
    "size": SIZE, "score_thresh": 0.2, "nms_thresh": 0.45, "topk_candidates": 500, "detections_per_img": 60,
}


class Suppression(nn.Module):
    """Boxes and scores to the objects."""

    def forward(self, boxes: Tensor, scores: Tensor) -> Detected:
        return detections(boxes, scores, **LIMITS)


def drawn(seed: int, *, per_class: bool = False) -> tuple[Tensor, Tensor]:
    """Three images: more pairs than are looked at, boxes beyond the square, a few pairs, and none at all."""
    rng = np.random.default_rng(seed)
    shape = (3, PLACES, CLASSES, 2) if per_class else (3, PLACES, 2)
    corners = rng.uniform(-20, 90, shape)
    boxes = np.concatenate([corners, corners + rng.uniform(1, 40, shape)], -1)
    scores = rng.uniform(0, 1, (3, PLACES, CLASSES))
    scores[1] *= rng.uniform(0, 1, (PLACES, CLASSES)) < 0.02
    scores[2] *= 0.2
    return torch.tensor(boxes, dtype=torch.float32), torch.tensor(scores, dtype=torch.float32)


def same(made: Any, boxes: Tensor, scores: Tensor) -> list[int]:
    """As the heads' own suppression gives them, image by image; how many boxes each image keeps."""
    counts = []
    for number in range(len(scores)):
        wanted = nms(boxes[number], scores[number], **LIMITS)
        count = len(wanted.scores)
        for got, values in zip(made, (wanted.boxes, wanted.scores, wanted.labels), strict=True):
            assert len(got[number]) == LIMITS["detections_per_img"]
            np.testing.assert_allclose(got[number][:count], values, rtol=1e-6)
            assert not np.asarray(got[number][count:]).any(), "zeros fill up"
        counts.append(count)
    return counts


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nms") / "nms.onnx"
    boxes, scores = drawn(0)
    with quiet():
        program = torch.onnx.export(
            Suppression(), (boxes[:2], scores[:2]), dynamo=True, dynamic_shapes=(free_batch(), free_batch()),
            opset_version=18, input_names=["b", "s"], custom_translation_table=translations(), verbose=False,
        )
    assert program is not None
    onnx.save(program.model_proto, path)
    return path


@pytest.mark.parametrize("seed", range(4))
def test_a_batch_in_torch_is_suppressed_as_each_image_alone(seed: int) -> None:
    boxes, scores = drawn(seed)
    counts = same(detections(boxes, scores, **LIMITS), boxes, scores)
    assert len(counts) == len(boxes) and max(counts) > 0


def test_classes_with_boxes_of_their_own_are_suppressed_apart() -> None:
    """By hand: what the operator gives for each class's boxes, all classes in one order."""
    boxes, scores = drawn(5, per_class=True)
    made = detections(boxes, scores, **{**LIMITS, "topk_candidates": PLACES * CLASSES})
    for number in range(len(scores)):
        rows = []
        for label in range(CLASSES):
            some = nms(boxes[number, :, label], scores[number, :, label, None], **LIMITS)
            pairs = zip(some.boxes.tolist(), some.scores.tolist(), strict=True)
            rows += [(score, label, *box) for box, score in pairs]
        wanted = np.array(sorted(rows, reverse=True)[: LIMITS["detections_per_img"]]).reshape(-1, 6)
        count = len(wanted)
        np.testing.assert_allclose(made[1][number][:count], wanted[:, 0], rtol=1e-6)
        np.testing.assert_array_equal(made[2][number][:count], wanted[:, 1])
        np.testing.assert_allclose(made[0][number][:count], wanted[:, 2:], rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_runtime_suppresses_as_torchvision_does(file: Path, runtime: str, batch: int) -> None:
    boxes, scores = (part[:batch] for part in drawn(7))
    given = {"b": boxes.numpy(), "s": scores.numpy()}
    if runtime == "onnxruntime":
        made = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, given)
    else:
        results = openvino_core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(given)
        made = [results[place] for place in range(3)]
    counts = same(made, boxes, scores)
    assert len(counts) == batch and max(counts) > 0
