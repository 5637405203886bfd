"""Detectors in a graph: on real photos the objects that the trained head's own decoding finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from apps.engine.core.spec import HeadSpec, ModelSpec
from apps.engine.inference.graph.model import Deployed, Plan
from apps.engine.inference.graph.onnx_file import onnx_model
from apps.engine.inference.graph.parity import detections_distance
from apps.engine.inference.model_file import load_onnx
from apps.engine.inference.preprocess import read_square
from apps.objects.task import Objects, ObjectsSettings
from backbone import build, load_state, load_weights
from heads import SSD

CLASSES = tuple(f"c{number}" for number in range(20))
SIDES = {"ssd300": 300, "frcnn300": 300, "frcnn600": 600, "frcnn-fpn": 320}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("ssd300", "frcnn600", "frcnn-fpn")]
DIFFERENCE_PX, DIFFERENCE = 0.05, 1e-4  # of boxes and of scores
LOUD = 4.0  # deviation of the logits of inputs of deviation 1
SHARE = 0.95  # of the objects: of two that nearly tie another may stay


def loud(head: Any, generator: torch.Generator) -> Any:
    """A head that never learned, with weights so large that many boxes of many scores come out."""
    with torch.no_grad():
        for layer in head.classification if isinstance(head, SSD) else [head.roi.box_predictor.cls_score]:
            drawn = torch.randn(layer.weight.shape, generator=generator)
            layer.weight.copy_(LOUD * drawn / drawn[0].numel() ** 0.5)
    return head.eval()


@pytest.mark.parametrize("name", ["frcnn300", *SLOW])
@torch.inference_mode()
def test_a_file_finds_what_the_head_finds(name: str, shared: Path, weights_025: Path) -> None:
    loaded, side = load_weights(weights_025), SIDES[name]
    network = build(loaded.info)
    load_state(network, loaded)
    network.eval()
    app: Any = Objects(ObjectsSettings(head=name))
    with torch.inference_mode(mode=False):
        torch.manual_seed(0)
        head = app.head(network.channels, CLASSES)
        app.init_head(network, head)
        loud(head, torch.Generator().manual_seed(0))
    square = app.square()
    resize = "pad" if square.keep_aspect else "squash"
    spec = ModelSpec("0", side, 1.0, "nhwc", "fp32", {"licence": "", "source": ""}, (
        HeadSpec("objects", "objects", "detections", ("boxes", "scores", "labels"), CLASSES),
    ), resize=resize)
    with torch.inference_mode(mode=False):
        plan = Plan(Deployed(network, {"objects": app.graph_head(head)}, "nhwc"), spec, ())
        model = load_onnx(onnx_model(plan).SerializeToString(), Path("drawn.onnx"))
    photos = sorted((shared / "data" / "coco128").rglob("*.jpg"))[:6]
    pixels = np.stack([read_square(path, side, 1.0, resize)[0] for path in photos])
    maps = network(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    wanted = head.decode(head(*(maps[stride] for stride in head.strides)))
    batches = [model.run(pixels[first : first + 3]) for first in (0, 3)]
    boxes, scores, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    assert sum(len(item.scores) for item in wanted) > 20 * len(photos)
    for number, item in enumerate(wanted):
        count = len(item.scores)
        assert abs(int((scores[number] > 0).sum()) - count) <= 2
        expected = [part.numpy()[None] for part in (item.boxes, item.scores, item.labels)]
        made = [part[number : number + 1] for part in (boxes, scores, labels)]
        side_of_score = DIFFERENCE_PX / DIFFERENCE  # boxes are held against it, so that one limit serves both
        assert detections_distance(made, expected, side_of_score, SHARE) <= DIFFERENCE
