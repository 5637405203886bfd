"""Core ML packages: written and looked through here, computed on Apple's devices alone."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from apps.engine.core.spec import INPUT, KEY
from apps.engine.inference.graph.model import Plan
from apps.engine.inference.mobile.files import given_outputs
from apps.export.mobile.network import converted, example, library, mobile_network, silent
from datasets.outside import full_disk_named

NOT_RUN = "Core ML runs on a Mac or an iPhone: the package was written and looked through, not computed"
RENAMED = "/"  # which Core ML does not take in names; an underscore stands there


def write_coreml(made: Plan, out: Path) -> Path:
    """The plan as a program for iOS 16, macOS 13 and newer, whose input is an RGB image; returns ``out``.

    Raises:
        ImportError: coremltools is not installed.
        OSError: the folder cannot be written.
        ValueError: it cannot convert the network, or what it wrote is not what was asked for.
    """
    tools: Any = library("coremltools", "coreml", "coremltools")
    precision = tools.precision.FLOAT16 if made.spec.precision == "fp16" else tools.precision.FLOAT32
    pixels = example(made, floats=True)
    names = coreml_names(given_outputs(made.spec.heads))
    try:
        with silent():
            program = torch.export.export(mobile_network(made), (pixels,)).run_decompositions({})
            model = tools.convert(
                program, convert_to="mlprogram", minimum_deployment_target=tools.target.iOS16,
                inputs=[tools.ImageType(
                    name=INPUT, shape=tuple(pixels.shape), color_layout=tools.colorlayout.RGB
                )],
                outputs=[tools.TensorType(name=name) for name in names], compute_precision=precision,
                skip_model_load=True,
            )
    except Exception as err:  # its errors are of many classes
        raise converted("coreml", err) from err
    model.user_defined_metadata[KEY] = made.spec.to_json()
    model.license, model.author = str(made.spec.backbone["licence"]), "mobilenet-apps"
    check_coreml(model.get_spec(), made, names)
    with full_disk_named(out), tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        written = Path(folder) / out.name
        with silent():
            model.save(str(written))
        if out.exists():
            shutil.rmtree(out)
        written.rename(out)
    return out


def coreml_names(outputs: list[str]) -> list[str]:
    """Names of outputs as Core ML takes them."""
    return [name.replace(RENAMED, "_") for name in outputs]


def check_coreml(spec: Any, made: Plan, names: list[str]) -> None:
    """Hold a package's specification against what was asked for: input, outputs, their shapes.

    Args:
        spec: as coremltools gives it.
        made: what was written.
        names: of the outputs.

    Raises:
        ValueError: it says something else.
    """
    (image,) = spec.description.input
    side, kind = made.spec.resolution, image.type.imageType
    rgb = kind.ColorSpace.Value("RGB")
    if (image.name, kind.width, kind.height, kind.colorSpace) != (INPUT, side, side, rgb):
        raise ValueError(f"coremltools wrote another input than an RGB image of {side} px; nothing was kept")
    with torch.inference_mode():
        wanted = [tuple(part.shape) for part in mobile_network(made)(example(made, floats=True))]
    got = {item.name: tuple(item.type.multiArrayType.shape) for item in spec.description.output}
    if got != dict(zip(names, wanted, strict=True)):
        raise ValueError(f"coremltools wrote the outputs {got}, not {names} of {wanted}; nothing was kept")
