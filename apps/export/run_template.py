"""Answers of a model file that ``python cli.py export`` of mobilenet-apps wrote, without that project.

Needs onnxruntime, numpy and Pillow: ``python run.py photo.jpg folder/ [--model FILE.onnx] [--top K]`` writes
a JSON line for each image. The file itself says what it wants and what it answers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

MODEL = "model.onnx"  # beside this file
KEY, INPUT, VERSION = "mobilenet_apps", "images", 1
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
MARK = b"content_sha256\x12\x40"  # before the sum of the file with zeros in its place
TOP, ALL, MAX_ASPECT, GREY, FACE_APPS = 5, 10**6, 8, 128, ("faces", "attributes")
EARTH_RADIUS_KM, NEAR_KM, SHARES = 6371.0088, 200.0, (0.5, 0.9)
Head = dict[str, Any]
Answer = dict[str, Any]
Outputs = list[Any]


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
    except ValueError as err:
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


def load(model: Path) -> Callable[[Path, int | None], Answer]:
    """What answers for (an image, how many classes, cells or objects) by a model file."""
    check(model)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as err:
        raise ValueError(f"{model} is no ONNX model that can be run, or is damaged") from err
    spec = json.loads(session.get_modelmeta().custom_metadata_map.get(KEY, "{}"))
    if spec.get("version") != VERSION:
        raise ValueError(f"{model} does not say what it answers, or in another version than {VERSION}")
    names = [name for head in spec["heads"] for name in head["outputs"]]

    if all(head["app"] in FACE_APPS for head in spec["heads"]):
        sys.stderr.write(f"{model} answers for faces: each image is taken as one face, cut out already\n")

    def answer(path: Path, top: int | None) -> Answer:
        pixels, size = read_square(path, spec)
        batch = pixels[None] if spec["layout"] == "nhwc" else pixels.transpose(2, 0, 1)[None]
        named = dict(zip(names, session.run(names, {INPUT: np.ascontiguousarray(batch)}), strict=True))
        answers = {
            head["name"]: READERS[head["kind"]](
                head, [named[name] for name in head["outputs"]],
                top or (ALL if head["kind"] == "detections" else TOP), size,
            )
            for head in spec["heads"]
        }  # fmt: skip
        return next(iter(answers.values())) if len(answers) == 1 else {"answers": answers}

    return answer


def check(model: Path) -> None:
    """Hold a file against the sum of its bytes that it carries; raises ValueError where they are others."""
    content = model.read_bytes()
    if (begin := content.rfind(MARK) + len(MARK)) < len(MARK):
        return
    zeroed = content[:begin] + b"0" * 64 + content[begin + 64 :]
    if hashlib.sha256(zeroed).hexdigest().encode() != content[begin : begin + 64]:
        raise ValueError(f"{model} is damaged: it holds other bytes than its sum says")


def images_in(paths: list[Path]) -> Iterator[Path]:
    """The files, and the images of folders in the order of their names; nothing hidden."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        shown = [e for e in sorted(path.iterdir()) if not e.name.startswith(".")]
        yield from images_in([e for e in shown if e.is_dir() or e.suffix.lower() in SUFFIXES])


def read_square(path: Path, spec: dict[str, Any]) -> tuple[Any, tuple[int, int]]:
    """(R, R, 3) uint8 RGB as the model wants it, and (width, height) of the image."""
    side, crop, resize = spec["resolution"], spec["crop"], spec["resize"]
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError("not a regular file")
    with Image.open(path) as image:
        if resize == "crop":  # a JPEG is decoded smaller where that costs no sharpness
            least = 2 * math.ceil(side / crop)
            divisor = next((d for d in (8, 4, 2) if min(image.size) // d >= least), 1)
            image.draft(None, (image.width // divisor, image.height // divisor))
        whole = np.asarray(to_rgb(ImageOps.exif_transpose(image)))
    size = whole.shape[1], whole.shape[0]
    if resize == "squash":
        return resized(whole, side, (0, 0, *size)), size
    if resize == "pad":
        scale = side / max(size)
        small = max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)
        square = np.full((side, side, 3), GREY, np.uint8)
        picture = Image.fromarray(whole).resize(small, Image.Resampling.BILINEAR)
        square[: small[1], : small[0]] = np.asarray(picture)
        return square, size
    return middle(whole, side, crop), size


def to_rgb(image: Image.Image) -> Image.Image:
    """In RGB; what can be seen through is white behind, grey of 16 bits becomes one of 8."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def middle(pixels: Any, side: int, crop: float) -> Any:
    """The central square of the image with its short side at side / crop pixels."""
    for axis in (0, 1):  # very long images keep their middle
        length, longest = pixels.shape[axis], MAX_ASPECT * min(pixels.shape[:2])
        if length > longest:
            start = (length - longest) // 2
            pixels = pixels.take(range(start, start + longest), axis=axis)
    height, width = pixels.shape[:2]
    large, short = math.floor(side / crop), min(height, width)
    high, wide = large * height // short, large * width // short
    top, left = round((high - side) / 2), round((wide - side) / 2)
    box = (left * width / wide, top * height / high,
           (left + side) * width / wide, (top + side) * height / high)  # fmt: skip
    return resized(pixels, side, box)


def resized(pixels: Any, side: int, box: tuple[float, float, float, float]) -> Any:
    """A part of an image at side x side pixels, bilinear with antialiasing, rows first."""
    left, top, right, low = box
    reach = max((low - top) / side, 1) + 1
    first, last = max(math.floor(top - reach), 0), min(math.ceil(low + reach), len(pixels))
    bilinear = Image.Resampling.BILINEAR
    narrow = Image.fromarray(pixels).resize((side, last - first), bilinear, (left, first, right, last))
    return np.asarray(narrow.resize((side, side), bilinear, (0, top - first, side, low - first)))


def softmax(logits: Any, temperature: float = 1.0) -> Any:
    """Probabilities (K,) in double precision."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max())
    return powers / powers.sum()


def energy(logits: Any, temperature: float) -> float:
    """temperature * log sum exp(logits / temperature)."""
    scaled = np.asarray(logits, np.float64) / temperature
    return float(temperature * (scaled.max() + np.log(np.exp(scaled - scaled.max()).sum())))


SCORES: dict[str, Callable[[Any, float], float]] = {  # high for what the network knows
    "energy": energy,
    "known_share": lambda logits, t: float(1 - softmax(logits, t)[-1]),
    "max_logit": lambda logits, _: float(np.max(logits)),
    "max_softmax": lambda logits, t: float(softmax(logits, t).max()),
}


def read_classes(head: Head, outputs: Outputs, top: int, _size: Any) -> Answer:
    """The likeliest classes; unknown where a rule for it was fitted, which also heeds a last extra logit."""
    logits, calibration = outputs[0][0], head["calibration"]
    chances = softmax(logits[: len(head["classes"])], calibration.get("temperature", 1.0))
    order = np.argsort(-chances, kind="stable")[:top]
    rule, unknown = calibration.get("unknown"), None
    if rule:
        unknown = SCORES[rule["score"]](logits, rule.get("temperature", 1.0)) < rule["threshold"]
    shown = [{"name": head["classes"][n], "probability": round(float(chances[n]), 6)} for n in order]
    answer: Answer = {"predictions": shown, "unknown": unknown}
    breeds = head["extra"].get("breeds")
    if breeds and softmax(logits)[breeds["rows"]].sum() >= breeds["least"]:
        among = softmax(logits[breeds["rows"]])
        name = head["classes"][breeds["rows"][int(among.argmax())]]
        answer["breed"] = {"name": name, "probability": round(float(among.max()), 6)}
    return answer


def read_attributes(head: Head, outputs: Outputs, _top: int, _size: Any) -> Answer:
    """Probability and decision of each attribute; the expected class of each group ``NAME:CLASSES``."""
    logits, thresholds = outputs[0][0].astype(np.float64), head["calibration"].get("thresholds", {})
    attributes: Answer = {}
    values: Answer = {}
    place = 0
    for entry in head["classes"]:
        name, _, count = entry.partition(":")
        if count:
            block = softmax(logits[place : place + int(count)])
            values[name] = round(float(block @ np.arange(int(count))), 2)
        else:
            chance = float(0.5 + 0.5 * np.tanh(logits[place] / 2))
            least = float(thresholds.get(name, 0.5))
            attributes[name] = {"probability": round(chance, 6), "threshold": round(least, 6),
                                "decision": chance >= least}  # fmt: skip
        place += int(count or 1)
    return {"attributes": attributes, "values": values}


def read_embedding(_head: Head, outputs: Outputs, _top: int, _size: Any) -> Answer:
    """A vector of length 1."""
    vector = outputs[0][0].astype(np.float64)
    return {"embedding": [round(x, 7) for x in (vector / np.linalg.norm(vector)).tolist()]}


def read_cells(head: Head, outputs: Outputs, top: int, _size: Any) -> Answer:
    """Where it may be: the likeliest cells, the chance near the best, and areas that hold shares of it."""
    chances = softmax(outputs[0][0], head["calibration"].get("temperature", 1.0))
    finest = max(int(name.split("/")[0]) for name in head["classes"])
    rows = [name.split("/") for name in head["classes"] if int(name.split("/")[0]) == finest]
    lat, lon = (np.radians([float(row[n]) for row in rows]) for n in (2, 3))
    where, best = head["extra"], int(chances.argmax())
    half = np.sin((lat - lat[best]) / 2) ** 2
    half += np.cos(lat) * np.cos(lat[best]) * np.sin((lon - lon[best]) / 2) ** 2
    near = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(half, 1.0))) <= NEAR_KM
    cells = [
        {"token": where["tokens"][n], "probability": float(chances[n]), "lat": where["lat"][n],
         "lon": where["lon"][n], "country": where["countries"][n], "city": where["cities"][n]}
        for n in np.argsort(-chances, kind="stable")[:top].tolist()
    ]  # fmt: skip
    return {
        **{key: cells[0][key] for key in ("lat", "lon", "country", "city")},
        "confidence": min(float(chances[near].sum()), 1.0), "abstains": False,
        **{f"area_{share:.0%}_km2".replace("%", ""): area_of(chances, np.array(where["areas_km2"]), share)
           for share in SHARES},
        "cells": cells,
    }  # fmt: skip


def area_of(chances: Any, areas_km2: Any, share: float) -> float:
    """The smallest area of whole cells that holds a share of the probability."""
    order = np.argsort(-chances / areas_km2, kind="stable")
    reached = np.cumsum(chances[order])
    count = int(np.searchsorted(reached, share * reached[-1] - 1e-12)) + 1
    return float(areas_km2[order[:count]].sum())


def read_detections(head: Head, outputs: Outputs, top: int, size: tuple[int, int]) -> Answer:
    """Objects of boxes (N, 4) on the square, scores (N,) and labels (N,), best first; score 0 is none."""
    boxes, scores, labels = (np.asarray(output[0]) for output in outputs)
    width, height = (max(size),) * 2 if head["extra"]["resize"] == "pad" else size
    scale = np.array([width, height, width, height]) / head["extra"]["size"]
    places = (boxes.astype(np.float64) * scale).clip(0, np.array([*size, *size]))
    objects = [
        {"name": head["classes"][label], "score": round(float(score), 4),
         "box": [round(x, 1) for x in box]}
        for box, score, label in zip(places.tolist(), scores, labels, strict=True)
        if score >= head["extra"]["threshold"] and score > 0
    ]  # fmt: skip
    return {"objects": objects[:top]}


READERS: dict[str, Callable[[Head, Outputs, int, tuple[int, int]], Answer]] = {
    "attributes": read_attributes, "cells": read_cells, "classes": read_classes,
    "detections": read_detections, "embedding": read_embedding,
}


if __name__ == "__main__":
    sys.exit(main())
