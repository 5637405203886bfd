"""Answers of a model file that ``python cli.py export`` of mobilenet-apps wrote, without that project.

Needs numpy, Pillow and what runs the file: onnxruntime (.onnx), ai-edge-litert (.tflite), executorch (.pte).
``python run.py photo.jpg folder/ [--model FILE] [--top K]`` writes a JSON line for each image. The file
itself says what it wants and what it answers.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from apps.engine.core.spec import FACE_APPS, INPUT, KEY, VERSION
from apps.engine.inference.mobile.executorch import executorch_network
from apps.engine.inference.mobile.files import given_outputs, outputs_of
from apps.engine.inference.mobile.litert import litert_network
from apps.engine.inference.mobile.note import read_note
from apps.engine.inference.preprocess import square
from apps.engine.inference.seal import check_seal
from datasets.image_io import BadImageError, _to_rgb
from datasets.jpeg import Pixels, scale_divisor

MODEL = "model.onnx"  # beside this file
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
Outputs = Sequence[Any]
Run = Callable[[Any], dict[str, Any]]  # pixels of some images to arrays by name
Sizes = Sequence[tuple[int, int]]  # (width, height) of the images in pixels
DECODERS: dict[str, tuple[Callable[..., list[Any]], int]] = {}  # by kind of head, and how many are usual


class HeadSpec(SimpleNamespace):
    """What a file says of a head: name, app, kind, outputs, classes, calibration, extra."""


def main(arguments: list[str] | None = None) -> int:
    """Write the lines; returns 0, or 1 where no image could be read or the model or all paths are missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, help="images, or folders that hold some")
    parser.add_argument("--model", type=Path, default=Path(__file__).with_name(MODEL))
    parser.add_argument("--top", type=int, help="how many; default: 5 classes or cells, all objects")
    options = parser.parse_args(arguments)
    if options.top is not None and options.top < 1:
        parser.error("--top is 1 or more")
    first = options.paths[:1] if not any(path.exists() for path in options.paths) else []
    missing = [path for path in (*first, options.model) if not path.exists()]
    if missing:
        sys.stderr.write(f"error: {missing[0]} does not exist\n")
        return 1
    try:
        answer = load(options.model)
    except (OSError, ValueError) as err:
        sys.stderr.write(f"error: {err}\n")
        return 1
    good, images = 0, list(images_in(options.paths))
    for path in images:
        try:
            line = answer(path, options.top)
            good += 1
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as err:
            line = {"error": " ".join(str(err).split())}
        sys.stdout.write(json.dumps({"path": str(path), **line}) + "\n")
    sys.stderr.write("" if images else "error: no image in what was given\n")
    return 0 if good else 1


def load(model: Path) -> Callable[[Path, int | None], dict[str, Any]]:
    """What answers for (an image, how many classes, cells or objects) by a model file."""
    spec, run = mobile_file(model) if model.suffix in (".tflite", ".pte") else onnx_file(model)
    if all(head["app"] in FACE_APPS for head in spec["heads"]):
        sys.stderr.write(f"{model} answers for faces: each image is taken as one face, cut out already\n")

    def answer(path: Path, top: int | None) -> dict[str, Any]:
        pixels, size = read_square(path, spec)
        batch = pixels[None] if spec["layout"] == "nhwc" else pixels.transpose(2, 0, 1)[None]
        named = run(np.ascontiguousarray(batch))
        answers = {
            head["name"]: read(head, outputs_of(head_of(head), named), top, size)
            for head in spec["heads"]
        }
        return next(iter(answers.values())) if len(answers) == 1 else {"answers": answers}

    return answer


def onnx_file(model: Path) -> tuple[dict[str, Any], Run]:
    """What an ONNX file says of itself, and what computes its outputs."""
    check_seal(model)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as err:
        raise ValueError(f"{model} needs onnxruntime; install it: pip install onnxruntime") from err
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as err:
        raise ValueError(f"{model} is no ONNX model that can be run, or is damaged") from err
    spec = described(model, session.get_modelmeta().custom_metadata_map.get(KEY, "{}"))
    names = [name for head in spec["heads"] for name in head["outputs"]]
    return spec, lambda batch: dict(zip(names, session.run(names, {INPUT: batch}), strict=True))


def mobile_file(model: Path) -> tuple[dict[str, Any], Run]:
    """The same of a .tflite or a .pte file."""
    text, content = read_note(model)
    spec = described(model, text)
    try:
        if model.suffix == ".tflite":
            return spec, litert_network(content, model)
        heads = tuple(map(head_of, spec["heads"]))
        return spec, executorch_network(content, model, given_outputs(heads))
    except ImportError as err:
        raise ValueError(str(err)) from err


def described(model: Path, text: str) -> dict[str, Any]:
    """What a file says of itself, where this script can read it."""
    spec: dict[str, Any] = json.loads(text)
    if spec.get("version") != VERSION:
        raise ValueError(f"{model} does not say what it answers, or in another version than {VERSION}")
    for head in spec["heads"]:
        if head["kind"] not in DECODERS:
            raise ValueError(
                f"{model} answers {head['kind']}, and this script reads {', '.join(DECODERS)}: take predict"
            )
    return spec


def head_of(values: dict[str, Any]) -> Any:
    """A head as the functions below know it."""
    return HeadSpec(**values)


def read(head: dict[str, Any], outputs: Outputs, top: int | None, size: tuple[int, int]) -> dict[str, Any]:
    """The answer of a head for one image of (width, height) pixels, from its outputs, images first."""
    decode, usual = DECODERS[head["kind"]]
    line: dict[str, Any] = decode(head_of(head), outputs, [size], top or usual)[0].to_dict()
    return line


def images_in(paths: list[Path]) -> Iterator[Path]:
    """The files, and the images of folders in the order of their names; nothing hidden."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        shown = [e for e in sorted(path.iterdir()) if not e.name.startswith(".")]
        yield from images_in([e for e in shown if e.is_dir() or e.suffix.lower() in SUFFIXES])


def read_square(path: Path, spec: dict[str, Any]) -> tuple[Pixels, tuple[int, int]]:
    """(R, R, 3) uint8 RGB as the model wants it, and (width, height) of the image."""
    side, crop, resize = spec["resolution"], spec["crop"], spec["resize"]
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise BadImageError(path, "not a regular file")
    with Image.open(path) as image:
        if resize == "crop":  # a JPEG is decoded smaller where that costs no sharpness
            divisor = scale_divisor(image.size, 2 * math.ceil(side / crop), None)
            image.draft(None, (image.width // divisor, image.height // divisor))
        pixels = np.asarray(_to_rgb(path, ImageOps.exif_transpose(image)))
    return square(pixels, side, crop, resize), (pixels.shape[1], pixels.shape[0])
