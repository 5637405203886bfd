"""Writing a plan in half precision, for OpenVINO or for PyTorch."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import torch

from apps.engine.core.files import sha256_of, write_bytes
from apps.engine.core.spec import KEY, ModelSpec
from apps.engine.inference.graph.model import Plan
from apps.engine.inference.graph.onnx_file import free_batch, quiet
from apps.engine.inference.seal import SUM
from apps.export.tail import tail
from datasets.outside import full_disk_named


def half(proto: Any) -> Any:
    """A copy with 16-bit weights and arithmetic; what decodes boxes, and all outputs, stay fp32."""
    import copy

    from onnxruntime.transformers.float16 import convert_float_to_float16

    with quiet():
        return convert_float_to_float16(
            copy.deepcopy(proto), keep_io_types=True, node_block_list=tail(proto.graph)
        )


def write_openvino(proto: Any, spec: ModelSpec, out: Path) -> Path:
    """An ONNX model as OpenVINO's .xml and .bin; returns the .xml.

    Raises:
        ImportError: OpenVINO is not installed.
        ValueError: ``out`` does not end in .xml.
    """
    if out.suffix != ".xml":
        raise ValueError(f"an OpenVINO model is an .xml with a .bin beside it; --out {out} must end in .xml")
    try:
        import openvino
    except ImportError as err:
        raise ImportError("--to openvino needs OpenVINO; install it: pip install openvino") from err
    temporary = tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent)
    with full_disk_named(out), temporary as folder:
        source, made = Path(folder) / "model.onnx", Path(folder) / out.name
        source.write_bytes(proto.SerializeToString())
        model = openvino.convert_model(source)
        model.set_rt_info(spec.to_json(), KEY)
        compress = spec.precision == "fp16"
        openvino.save_model(model, made, compress_to_fp16=compress)
        model.set_rt_info(sha256_of(made.with_suffix(".bin")), SUM)
        openvino.save_model(model, made, compress_to_fp16=compress)
        for suffix in (".bin", ".xml"):
            write_bytes(out.with_suffix(suffix), made.with_suffix(suffix).read_bytes())
    return out


def write_torch(plan: Plan, out: Path) -> Path:
    """The plan as a program for ``torch.export.load``; the extra file ``mobilenet_apps`` describes it."""
    with quiet():
        program = torch.export.export(plan.module, (plan.example(2),), dynamic_shapes=(free_batch(),))
        buffer = io.BytesIO()
        torch.export.save(program, buffer, extra_files={KEY: plan.spec.to_json()})
    return write_bytes(out, buffer.getvalue())
