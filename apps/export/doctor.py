"""fp32 and int8 on this very processor: which is right, which is faster, and which to use."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.core.device import runtime
from apps.engine.core.run_values import EXPORTED
from apps.engine.core.spec import INPUT
from apps.engine.inference.decode.kinds import kind_of
from apps.engine.inference.engines import Engine
from apps.engine.inference.loading import load_engine

ROUNDS = 5
PHOTOS = 32  # that answers are compared on
PASSES = 8  # photos a round
WRONG = 0.1  # of the greatest output: further from its own arithmetic is no rounding
CLOSE = 0.25  # of the greatest output: further from fp32 is another answer
SAME = 0.9  # share of photos with fp32's first answer
BOTH = (7, 8)
Images = list[NDArray[np.uint8]]


@dataclass
class Candidate:
    """A model that is compared.

    Args:
        name: as it is shown: a file, or the bits of the weights that were tried.
        engine: computes it.
        file: what it was read from.
        emulated: the outputs that its whole numbers mean, computed in fp32; None where that is not known.
        seconds: CPU seconds a photo of each round.
    """

    name: str
    engine: Engine
    file: Path
    emulated: Callable[[NDArray[np.uint8]], list[Any]] | None = None
    seconds: list[float] = field(default_factory=list)


def compare(
    models: Sequence[Path], *, calibrate: Path | None = None, rounds: int = ROUNDS,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Time models in turn on one thread, and hold the answers of the others against those of the first.

    Of a single fp32 ONNX file, or a run, int8 with weights of 7 and of 8 bits is made and tried.

    Args:
        models: exported files or runs that answer alike; the first is fp32.
        calibrate: folder of photos, for the comparison and the ranges of int8.
        rounds: of all in turn, 1 or more.
        say: takes a line of words.

    Returns:
        ``{"photos", "models": [{"model", "precision", "bytes", "cpu_ms", "over_fp32", "difference",
        "same_answer", "off_its_arithmetic", "right"}], "use", "why"}``; what is not known is None.

    Raises:
        OSError: a model or the photos are missing.
        ValueError: the models do not answer alike, or there are no photos to make int8 by.
    """
    if rounds < 1:
        raise ValueError(f"--rounds must be 1 or more, got {rounds}")
    files = [path / EXPORTED if path.is_dir() else path for path in models]
    with tempfile.TemporaryDirectory() as folder:
        candidates = [
            Candidate(str(path), load_engine(str(file)), file)
            for path, file in zip(models, files, strict=True)
        ]
        first = candidates[0].engine
        if first.spec.precision != "fp32":
            raise ValueError(
                f"{models[0]} is in {first.spec.precision}; name the fp32 file, or the run, first"
            )
        for item in candidates[1:]:
            _check_alike(candidates[0], item)
        if len(candidates) == 1:
            candidates += _tried(candidates[0], calibrate, Path(folder), say)
        images = _images(first, calibrate, say)
        for item in candidates:
            if item.file.suffix == ".onnx" and item.engine.spec.precision == "int8":
                item.emulated = _emulated(item.file, item.engine)
        _time(candidates, images, rounds)
        rows = [_row(item, candidates[0], images) for item in candidates]
    return {"photos": len(images), "made_up_photos": calibrate is None, "models": rows, **verdict(rows)}


def _check_alike(first: Candidate, other: Candidate) -> None:
    specs = first.engine.spec, other.engine.spec
    held = [(spec.fingerprint, spec.resolution, spec.outputs) for spec in specs]
    if held[0] != held[1]:
        raise ValueError(
            f"{first.name} and {other.name} do not answer alike ({held[0]} and {held[1]}); give files of "
            "one run"
        )


def _tried(
    first: Candidate, calibrate: Path | None, folder: Path, say: Callable[[str], None]
) -> list[Candidate]:
    """int8 of an ONNX file, with weights of 7 and of 8 bits."""
    if first.file.suffix != ".onnx" or calibrate is None:
        raise ValueError(
            "give --calibrate DIR with some hundred of your photos, so that int8 of an ONNX file can be made "
            "and tried, or name an int8 file behind it"
        )
    import onnx

    from apps.engine.inference.graph.onnx_file import described, write_onnx
    from apps.export.quantise import calibration_photos, quantised

    result, photos = [], calibration_photos(calibrate)
    spec = replace(first.engine.spec, precision="int8")
    for bits in BOTH:
        proto = onnx.load(first.file)
        del proto.metadata_props[:]
        made = quantised(proto, first.engine, photos, say if bits == BOTH[0] else lambda _: None, bits=bits)
        described(made, spec)
        file = write_onnx(made, folder / f"int8-{bits}.onnx")
        result.append(Candidate(f"int8, weights of {bits} bits", load_engine(str(file)), file))
    return result


def _images(first: Engine, calibrate: Path | None, say: Callable[[str], None]) -> Images:
    """Photos of the folder, or pictures that are made up."""
    if calibrate is not None:
        from apps.export.quantise import calibration_photos, readable

        return [first.photo(path) for path in readable(first, calibration_photos(calibrate, PHOTOS), say)]
    say("no --calibrate DIR: answers are compared on made-up pictures, which says little of yours")
    side, random = first.spec.resolution, np.random.default_rng(0)
    steps = -(-side // 8)
    small = random.integers(0, 256, (PHOTOS, 8, 8, 3), dtype=np.uint8)
    large = small.repeat(steps, axis=1).repeat(steps, axis=2)[:, :side, :side]
    return [first.laid_out(image[None]) for image in large]


def _emulated(file: Path, engine: Engine) -> Callable[[NDArray[np.uint8]], list[Any]]:
    """The file without a runtime's fused int8: between its layers it computes in fp32 what int8 means."""
    onnxruntime = runtime("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = list(engine.spec.outputs)
    return lambda images: list(session.run(names, {INPUT: images}))


def _time(candidates: Sequence[Candidate], images: Images, rounds: int) -> None:
    some = [images[at % len(images)] for at in range(PASSES)]
    for number in range(rounds + 1):
        for item in candidates:
            began = time.process_time()
            for image in some:
                item.engine.run(image)
            if number:  # the first round only warms up
                item.seconds.append((time.process_time() - began) / len(some))


def _row(item: Candidate, first: Candidate, images: Images) -> dict[str, Any]:
    ratios = [mine / base for mine, base in zip(item.seconds, first.seconds, strict=True) if base > 0]
    outputs = [_rows(engine.run, images) for engine in (item.engine, first.engine)]
    off = None
    if item.emulated is not None:
        off = _distance(item, outputs[0], _rows(item.emulated, images))
    same = _same(item, *outputs)
    difference = _distance(item, *outputs)
    right = (off is None or off <= WRONG) and (difference <= CLOSE if same is None else same >= SAME)
    return {
        "model": item.name, "precision": item.engine.spec.precision, "bytes": item.file.stat().st_size,
        "cpu_ms": round(1e3 * statistics.median(item.seconds), 3),
        "over_fp32": round(statistics.median(ratios), 3) if ratios else None,
        "difference": round(difference, 4), "same_answer": None if same is None else round(same, 4),
        "off_its_arithmetic": None if off is None else round(off, 4), "right": right,
    }


def _rows(run: Callable[[NDArray[np.uint8]], Any], images: Images) -> list[NDArray[Any]]:
    """Every output for all images."""
    return [np.concatenate(column) for column in zip(*(run(image) for image in images), strict=True)]


def _distance(item: Candidate, got: list[NDArray[Any]], wanted: list[NDArray[Any]]) -> float:
    """The mean distance over the greatest output, of the head that is furthest off."""
    from apps.engine.inference.graph.parity import detections_distance

    at, worst = 0, 0.0
    for head in item.engine.spec.heads:
        parts = slice(at, at + len(head.outputs))
        at += len(head.outputs)
        if kind_of(head.kind).boxes:
            distance = detections_distance(got[parts], wanted[parts], item.engine.spec.resolution)
        else:
            pairs = zip(got[parts], wanted[parts], strict=True)
            distance = max(float(np.abs(a - b).mean()) / max(float(np.abs(b).max()), 1e-6) for a, b in pairs)
        worst = max(worst, distance)
    return worst


def _same(item: Candidate, got: list[NDArray[Any]], wanted: list[NDArray[Any]]) -> float | None:
    """The share of images with one first answer, of the head with the least; None where none is ranked."""
    at, shares = 0, []
    for head in item.engine.spec.heads:
        if head.kind in ("classes", "cells"):
            shares.append(float((got[at].argmax(axis=1) == wanted[at].argmax(axis=1)).mean()))
        at += len(head.outputs)
    return min(shares) if shares else None


def verdict(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Which model to use here, and why.

    Args:
        rows: of the models, fp32 first, as :func:`compare` gives them.
    """
    first, others = rows[0], rows[1:]
    wrong = [row["model"] for row in others if not row["right"]]
    good = [row for row in others if row["right"] and row["over_fp32"] is not None and row["over_fp32"] < 1]
    named = f"; not {' nor '.join(wrong)}, whose answers are others" if wrong else ""
    if good:
        best = min(good, key=lambda row: (round(row["over_fp32"], 1), row["difference"]))
        times = 1 / best["over_fp32"]
        return {"use": best["model"], "why": f"right, and {times:.2f} times as fast as fp32{named}"}
    if wrong:
        return {"use": first["model"], "why": f"fp32 is right here{named}"}
    return {"use": first["model"], "why": "int8 is right here, but not faster: it is the smaller file alone"}
