"""A plan as an ONNX model that describes itself, in memory and as a file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from apps.engine.core.files import write_bytes
from apps.engine.core.spec import INPUT, KEY, ModelSpec
from apps.engine.inference.graph.model import Plan
from apps.engine.inference.graph.nms import translations
from apps.engine.inference.seal import sealed

LEAST_OPSET, OPSET, MOST_OPSET = 18, 18, 25
MOST_BATCH = 1 << 16


def check_opset(opset: int) -> None:
    """Raise where a model cannot be written in this version of ONNX's operators.

    Raises:
        ValueError: it is too old, or newer than what is known here.
    """
    if opset < LEAST_OPSET:
        raise ValueError(
            f"opset {opset} is too old: these models need {LEAST_OPSET} or newer (ONNX Runtime 1.14 of 2023 "
            "and later read it); leave --opset out"
        )
    if opset > MOST_OPSET:
        raise ValueError(f"opset {opset} is not known here; give {LEAST_OPSET} to {MOST_OPSET}")


def onnx_model(plan: Plan, opset: int = OPSET) -> Any:
    """The plan in fp32 as an ``onnx.ModelProto`` with a free number of photos, and with its description.

    Raises:
        ValueError: see :func:`check_opset`.
    """
    check_opset(opset)
    with quiet():
        program = torch.onnx.export(
            plan.module, (plan.example(2),), dynamo=True, dynamic_shapes=(free_batch(),), opset_version=opset,
            input_names=[INPUT], output_names=list(plan.spec.outputs), verbose=False,
            custom_translation_table=translations(),
        )
    assert program is not None
    proto = program.model_proto
    described(proto, plan.spec)
    return proto


def described(proto: Any, spec: ModelSpec) -> None:
    """Put the description, the licence and the source into the model."""
    import onnx

    del proto.metadata_props[:]
    words = {KEY: spec.to_json(), "licence": spec.backbone["licence"], "source": spec.backbone["source"]}
    onnx.helper.set_model_props(proto, words)
    proto.producer_name, proto.doc_string = "mobilenet-apps", ""
    proto.graph.doc_string = ""
    without_paths(proto)
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info, *proto.graph.initializer):
        del value.metadata_props[:]


def without_paths(proto: Any) -> None:
    """Take away what the exporter notes at each node: it has this machine's paths in it."""
    for node in proto.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


def write_onnx(proto: Any, out: Path) -> Path:
    """A ``ModelProto`` without a sum as a file with its sum, whole or not at all."""
    return write_bytes(out, sealed(proto))


def free_batch() -> dict[int, Any]:
    """Any number of photos, for the exporters."""
    return {0: torch.export.Dim("batch", min=1, max=MOST_BATCH)}


@contextmanager
def quiet() -> Iterator[None]:
    """The exporters' chatter unheard; their errors are exceptions."""
    kept = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(kept)
