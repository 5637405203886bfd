"""Face detectors as ONNX models: MTCNN's three networks, and the SSD on MobileNetV1."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from apps.engine.core.model import pretrained_ssd
from apps.engine.core.spec import INPUT as IMAGES
from apps.engine.inference.graph.boxes import DecodedSSD
from apps.engine.inference.graph.model import Deployed
from apps.engine.inference.graph.onnx_file import OPSET, quiet, without_paths
from apps.faces.extraction.align import TEMPLATE
from apps.faces.extraction.detector import LEAST_PX, MIN_FACE_PX, MIN_PROBABILITY
from apps.faces.extraction.face import SEARCH_PX
from backbone import build, load_state, load_weights
from heads import SSD

INPUT = "x"  # (N, 3, H, W) in -1 to 1, RGB
SIDES = {"pnet": 12, "rnet": 24, "onet": 48}
OUTPUTS = {name: ["moves", *(["points"] if name == "onet" else []), "chances"] for name in SIDES}


@cache
def networks() -> dict[str, bytes]:
    """File name -> ONNX, of facenet-pytorch's proposal, refinement and output networks.

    Source: Zhang et al. 2016, "Joint face detection and alignment using multitask cascaded networks".
    """
    return {f"{name}.onnx": mtcnn_network(name) for name in SIDES}


@cache
def mtcnn_network(name: str) -> bytes:
    """ONNX of one of them: ``pnet``, ``rnet`` or ``onet``."""
    return _exported(getattr(_cascade(), name), name)


def ssd_network(weights: Path, side: int) -> bytes:
    """ONNX of an SSD: (1, side, side, 3) uint8 RGB to ``boxes`` (1, A, 4) in pixels and ``scores`` (1, A, 1).

    A smaller square is a corner of the one that the network was trained on: the default boxes of its maps
    are those of the corners of the larger maps, in pixels.

    Args:
        weights: with a detector whose default boxes are stored.
        side: of the square in pixels, a multiple of 32, no larger than that of the weights.
    """
    loaded = load_weights(weights)
    network = build(loaded.info)
    load_state(network, loaded)
    whole = pretrained_ssd(loaded, network.channels)
    arguments = {**loaded.info.head["arguments"], "size": side}
    head = SSD([network.channels[stride] for stride in SSD.strides], 1, **arguments)
    boxes = _corner(whole, head.sides) * (whole.size / side)
    head.load_state_dict(whole.state_dict() | {"anchors": boxes})
    module = Deployed(network.eval(), {"faces": DecodedSSD(head.eval())}, "nhwc")
    images = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    with quiet():
        program = torch.onnx.export(
            module, (images,), dynamo=True, opset_version=OPSET, input_names=[IMAGES],
            output_names=["boxes", "scores"], verbose=False,
        )
    assert program is not None
    return _bytes(program.model_proto)


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


def usage() -> dict[str, Any]:
    """What the page needs to use them as ``embed-faces`` does."""
    cascade = _cascade()
    return {
        "search_px": SEARCH_PX, "min_face_px": MIN_FACE_PX, "least_px": LEAST_PX,
        "min_probability": MIN_PROBABILITY, "thresholds": list(cascade.thresholds),
        "factor": cascade.factor, "template": TEMPLATE.tolist(),
    }


@cache
def _cascade() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from facenet_pytorch import MTCNN

        return MTCNN(keep_all=True, device=torch.device("cpu")).eval()


def _exported(network: Any, name: str) -> bytes:
    side = SIDES[name]
    free: dict[int, Any] = {0: Dim("n", min=1, max=1 << 16)}
    shape = (2, 3, side, side)
    if name == "pnet":  # runs over whole pictures
        free = {2: Dim("h", min=side, max=1 << 12), 3: Dim("w", min=side, max=1 << 12)}
        shape = (1, 3, 5 * side, 6 * side)
    with quiet():
        program = torch.onnx.export(
            network, (torch.zeros(shape),), dynamo=True, dynamic_shapes=(free,), opset_version=OPSET,
            input_names=[INPUT], output_names=OUTPUTS[name], verbose=False,
        )
    assert program is not None
    return _bytes(program.model_proto)


def _bytes(proto: Any) -> bytes:
    without_paths(proto)
    content: bytes = proto.SerializeToString()
    return content
