"""The SSD of faces for squares of other sizes than that of its training, also as ONNX; needs torch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from apps.engine.core.model import pretrained_ssd
from apps.engine.core.spec import INPUT
from apps.engine.inference.graph.model import Deployed
from apps.engine.inference.graph.onnx_file import OPSET, quiet, without_paths
from apps.faces.detection.networks import SSD_OUTPUT as OUTPUT
from backbone import build, load_state, load_weights
from heads import SSD

FACE = 1  # of the columns of scores; the background is the first
MOST = 6.0  # of every activation, so that int8 needs no photos to take ranges from


class FaceMaps(nn.Module):
    """Offsets, logit and default box of each place of the first two maps of an SSD.

    The further maps are for faces larger than the square, or such as a smaller square shows, too.

    Args:
        head: with a detector whose default boxes are stored.
        size: side of the square in pixels.

    Shape:
        returns: (1, A, 9): four offsets, the logit, the default box as (x1, y1, x2, y2) pixels.
    """

    defaults: Tensor

    def __init__(self, head: SSD, size: int) -> None:
        super().__init__()
        self.strides = head.strides
        count = len(self.strides)
        self.layers = nn.ModuleList(
            _merged(boxes, classes)
            for boxes, classes in zip(head.box_regression[:count], head.classification[:count], strict=True)
        )
        self.register_buffer("defaults", _corner(head, [-(-size // stride) for stride in self.strides]))

    def forward(self, *maps: Tensor) -> Tensor:
        """What is to be decoded."""
        parts = [
            layer(x).permute(0, 2, 3, 1).reshape(1, -1, 5) for layer, x in zip(self.layers, maps, strict=True)
        ]
        return torch.cat([torch.cat(parts, 1), self.defaults[None]], 2)


def ssd_module(weights: Path, side: int) -> Deployed:
    """An SSD: (1, side, side, 3) uint8 RGB to what :class:`FaceMaps` returns.

    A smaller square is a corner of the one that the network was trained on: the default boxes of its maps
    are those of the corners of the larger maps, in pixels.

    Args:
        weights: with a detector whose default boxes are stored.
        side: of the square in pixels, a multiple of 32, no larger than that of the weights.
    """
    loaded = load_weights(weights)
    network = build(loaded.info, most=loaded.count)
    load_state(network, loaded)
    head = pretrained_ssd(loaded, network.channels)
    return Deployed(network.eval(), {OUTPUT: FaceMaps(head, side).eval()}, "nhwc")


def ssd_network(weights: Path, side: int) -> bytes:
    """The same as ONNX, all convolutions but the first and the last ones in int8."""
    module = ssd_module(weights, side)
    images = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    with quiet():
        program = torch.onnx.export(
            module, (images,), dynamo=True, opset_version=OPSET, input_names=[INPUT], output_names=[OUTPUT],
            verbose=False,
        )
    assert program is not None
    without_paths(program.model_proto)
    content: bytes = _int8(program.model_proto).SerializeToString()
    return content


def _merged(boxes: Any, classes: Any) -> nn.Conv2d:
    """One layer for the four offsets of each default box and its logit."""
    count, inputs = boxes.out_channels // 4, boxes.in_channels
    layer = nn.Conv2d(inputs, 5 * count, 1)
    parts = []
    for offsets, scores in ((boxes.weight, classes.weight), (boxes.bias, classes.bias)):
        each = (part.detach().view(count, part.shape[0] // count, -1) for part in (offsets, scores))
        moves, columns = each
        parts.append(torch.cat([moves, columns[:, FACE : FACE + 1]], 1))
    layer.load_state_dict({"weight": parts[0].reshape(-1, inputs, 1, 1), "bias": parts[1].reshape(-1)})
    return layer


def _corner(head: SSD, sides: list[int]) -> Tensor:
    """The default boxes of the first rows and columns of each map in pixels, (A, 4)."""
    corners, first, boxes = [], 0, head.default_boxes()
    for layer, large, small in zip(head.box_regression, head.sides, sides, strict=False):
        count = int(layer.out_channels) // 4  # type: ignore[arg-type]
        grid = boxes[first : first + large * large * count].view(large, large, count, 4)
        corners.append(grid[:small, :small].reshape(-1, 4))
        first += large * large * count
    return torch.cat(corners)


def _int8(proto: Any) -> Any:
    """The graph in int8, with weights of 7 bits: x86 processors without VNNI overflow with more.

    Every activation is one of ReLU6, so its range is known; the first convolution and the last stay in fp32.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    users = {name: node for node in proto.graph.node for name in node.input}
    clipped = [
        (node, users[node.output[0]]) for node in proto.graph.node
        if node.op_type == "Conv" and users[node.output[0]].op_type == "Clip"
    ]
    span = TensorData(lowest=torch.zeros(()).numpy(), highest=torch.tensor(MOST).numpy())
    ranges = {item.output[0]: span for pair in clipped for item in pair}
    kept = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        quantiser = QDQQuantizer(
            proto, per_channel=True, reduce_range=True, weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8, tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
            nodes_to_quantize=[item.name for pair in clipped[1:] for item in pair], nodes_to_exclude=[],
            op_types_to_quantize=["Conv", "Clip"], extra_options={},
        )
        quantiser.quantize_model()
        return quantiser.model.model
    finally:
        logging.disable(kept)
