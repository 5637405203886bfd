"""The SSD of faces as ONNX, for squares of other sizes than the one that it was trained on; needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.engine.core.model import pretrained_ssd
from apps.engine.core.spec import INPUT
from apps.engine.inference.graph.boxes import DecodedSSD
from apps.engine.inference.graph.model import Deployed
from apps.engine.inference.graph.nms import translations
from apps.engine.inference.graph.onnx_file import OPSET, quiet, without_paths
from backbone import build, load_state, load_weights
from heads import SSD


def ssd_network(weights: Path, side: int, **limits: Any) -> bytes:
    """ONNX of an SSD: (1, side, side, 3) uint8 RGB to ``boxes`` (1, D, 4), ``scores``, ``labels``.

    A smaller square is a corner of the one that the network was trained on: the default boxes of its maps
    are those of the corners of the larger maps, in pixels.

    Args:
        weights: with a detector whose default boxes are stored.
        side: of the square in pixels, a multiple of 32, no larger than that of the weights.
        limits: of an :class:`heads.SSD`: ``score_thresh``, ``nms_thresh`` and ``detections_per_img``.
    """
    loaded = load_weights(weights)
    network = build(loaded.info, most=loaded.count)
    load_state(network, loaded)
    whole = pretrained_ssd(loaded, network.channels)
    arguments = {**loaded.info.head["arguments"], "size": side, **limits}
    head = SSD([network.channels[stride] for stride in SSD.strides], 1, **arguments)
    boxes = _corner(whole, head.sides) * (whole.size / side)
    head.load_state_dict(whole.state_dict() | {"anchors": boxes})
    module = Deployed(network.eval(), {"faces": DecodedSSD(head.eval())}, "nhwc")
    images = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    with quiet():
        program = torch.onnx.export(
            module, (images,), dynamo=True, opset_version=OPSET, input_names=[INPUT],
            output_names=["boxes", "scores", "labels"], verbose=False,
            custom_translation_table=translations(),
        )
    assert program is not None
    without_paths(program.model_proto)
    content: bytes = program.model_proto.SerializeToString()
    return content


def _corner(whole: SSD, sides: list[int]) -> Tensor:
    """The default boxes of the first rows and columns of each map, (A, 4)."""
    assert whole.anchors is not None
    corners, first = [], 0
    for layer, large, small in zip(whole.box_regression, whole.sides, sides, strict=True):
        count = int(layer.out_channels) // 4  # type: ignore[arg-type]
        grid = whole.anchors[first : first + large * large * count].view(large, large, count, 4)
        corners.append(grid[:small, :small].reshape(-1, 4))
        first += large * large * count
    return torch.cat(corners)
