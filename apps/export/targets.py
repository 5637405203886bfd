"""The formats of ``export`` in one table, and which precisions each has."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ALL = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Target:
    """A format.

    Args:
        suffix: of the file; empty where any will do.
        precisions: that can be written.
        instead: what to give for another precision.
        layout: of the input where the format has one of its own.
        mobile: made by a library for phones, not of the ONNX model.
        runner: ``run.py`` answers by it.
        folder: what is written is a folder.
    """

    suffix: str = ""
    precisions: tuple[str, ...] = ALL
    instead: str = ""
    layout: str = ""
    mobile: bool = False
    runner: bool = False
    folder: bool = False


TARGETS = {
    "onnx": Target(".onnx", runner=True),
    "openvino": Target(".xml"),
    "torch": Target(precisions=("fp32",), instead="onnx or openvino"),
    "web": Target(folder=True),
    "tflite": Target(".tflite", ("fp32", "int8"), "onnx, openvino or coreml", mobile=True, runner=True),
    "coreml": Target(".mlpackage", ("fp32", "fp16"), "tflite", "nchw", mobile=True),
    "executorch": Target(".pte", ("fp32",), "tflite", "nchw", mobile=True, runner=True),
}


@dataclass(frozen=True)
class Written:
    """What writing a format gave.

    Args:
        paths: its files.
        difference: greatest distance of its outputs over the greatest output; None where nothing here
            computes it.
        measured: ``figures`` and ``drop``, where there were labelled photos.
    """

    paths: list[Path]
    difference: float | None
    measured: dict[str, Any] = field(default_factory=dict)


def check_target(
    to: str, precision: str, calibrate: Path | None, out: Path, *, add: bool = False
) -> None:
    """Refuse what a format does not have, before anything is loaded.

    Raises:
        ValueError: there is no such format, it has no such precision, or its file is called otherwise.
    """
    if to not in TARGETS:
        raise ValueError(f"there is no format {to!r}; there are: {', '.join(TARGETS)}")
    target = TARGETS[to]
    if add and not target.folder:
        raise ValueError("--add is for --to web, a page with several models; leave it out")
    if precision == "int8" and calibrate is None:
        raise ValueError("int8 takes its ranges from photos: give --calibrate DIR with some hundred of yours")
    if precision not in target.precisions:
        named = " and ".join(target.precisions)
        raise ValueError(f"--to {to} writes {named}; give --to {target.instead} for {precision}")
    if to == "openvino" and out.suffix != target.suffix:
        raise ValueError(f"an OpenVINO model is an .xml with a .bin beside it; --out {out} must end in .xml")
    if target.suffix and out.suffix != target.suffix:
        raise ValueError(f"--out {out} must end in {target.suffix}")
    if to == "coreml":
        if out.exists() and not out.is_dir():
            raise ValueError(f"--out {out} is a file, and a Core ML package is a folder; give another name")
    elif not target.folder and out.is_dir():
        raise ValueError(f"--out {out} is a folder; name a file in it")
