"""The face detector beside a page: MTCNN's three networks as ONNX files, and how they are used."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch.export import Dim

from apps.engine.inference.graph.onnx_file import OPSET, quiet, without_paths
from apps.faces.extraction.align import TEMPLATE
from apps.faces.extraction.detector import LEAST_PX, MIN_FACE_PX, MIN_PROBABILITY, SEARCH_PX

INPUT = "x"  # (N, 3, H, W) in -1 to 1, RGB
SIDES = {"pnet": 12, "rnet": 24, "onet": 48}
OUTPUTS = {name: ["moves", *(["points"] if name == "onet" else []), "chances"] for name in SIDES}


@cache
def networks() -> dict[str, bytes]:
    """File name -> ONNX, of facenet-pytorch's proposal, refinement and output networks.

    Source: Zhang et al. 2016, "Joint face detection and alignment using multitask cascaded networks".
    """
    cascade = _cascade()
    return {f"{name}.onnx": _exported(getattr(cascade, name), name) for name in SIDES}


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
    proto = program.model_proto
    without_paths(proto)
    content: bytes = proto.SerializeToString()
    return content
