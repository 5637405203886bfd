"""``export``: from runs to a file that is checked, measured and described."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from apps.engine.core.files import whole_set, writable_file, writable_folder, write_json, write_text
from apps.engine.inference.engines import Engine
from apps.engine.inference.graph.model import Plan, plan
from apps.engine.inference.graph.onnx_file import OPSET, check_opset, described, onnx_model, write_onnx
from apps.engine.inference.graph.parity import parity
from apps.engine.inference.model_file import load_model, load_onnx
from apps.export import formats
from apps.export.accuracy import MAX_DROP, measured
from apps.export.card import card
from apps.export.card_values import card_values
from apps.export.mobile.network import mobile_plan
from apps.export.mobile.write import write_mobile
from apps.export.outputs import card_paths, check_free, runner_beside
from apps.export.page.write import FIRST, check_shown, engine, next_stem, write_page
from apps.export.quantise import BITS, FEW, calibration_photos, quantised
from apps.export.targets import TARGETS, Written, check_target


@dataclass(frozen=True)
class _Job:
    """What all formats are written with."""

    out: Path
    to: str
    photos: list[Path]
    validate: Path | None
    max_drop: float
    opset: int
    bits: int
    stem: str
    say: Callable[[str], None]


@whole_set()
def export(
    runs: Sequence[Path], *, out: Path, to: str = "onnx", weights: str | None = None, app: str | None = None,
    precision: str = "fp32", layout: str = "nhwc", calibrate: Path | None = None,
    validate: Path | None = None, max_drop: float = MAX_DROP, opset: int = OPSET, bits: int = BITS,
    overwrite: bool = False, add: bool = False, say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Write one model file with the heads of all runs, and two cards that describe it.

    Args:
        runs: folders made by ``finetune``, all on one backbone.
        out: the file; for ``web`` a folder.
        to: one of :data:`apps.export.targets.TARGETS`.
        weights: pretrained weights that bring a head along, instead of runs.
        app: what the weights are to answer, where they can answer several things.
        precision: fp32, fp16 or int8.
        layout: of the uint8 RGB input, ``nhwc`` or ``nchw``.
        calibrate: folder of photos that int8 takes its ranges from.
        validate: folder of labelled photos to measure the loss of accuracy on.
        max_drop: the greatest loss that is written, as a fraction of one.
        opset: of ONNX.
        bits: of int8's weights in ONNX and OpenVINO, 7 or 8.
        overwrite: replace files of these names.
        add: to ``web`` alone: as a further model of the page that ``out`` holds.
        say: takes a line of words.

    Returns:
        ``{"out", "card", "card_json", "to", "precision", "bytes", "outputs", "fingerprint", "difference",
        "seconds"}``, where there is a script for the format ``runner``, with ``validate`` ``figures`` and
        ``drop`` by head; ``difference`` is None where nothing here computes the format.

    Raises:
        FileExistsError: a file of this name is there.
        ImportError: what writes or runs the format is not installed.
        OSError: something is missing, or the file cannot be written.
        ValueError: the runs do not fit together, the options do not, or the loss is above ``max_drop``.
    """
    began = time.monotonic()
    check_opset(opset)
    check_target(to, precision, calibrate, out, add=add)
    photos = calibration_photos(calibrate) if calibrate is not None and precision == "int8" else []
    if precision == "int8" and len(photos) < FEW:
        say(f"only {len(photos)} photos to calibrate by: int8 wants some hundred of yours, of every kind")
    (writable_folder if to == "web" else writable_file)(out)
    check_free(out, to, overwrite=overwrite or add)
    target = TARGETS[to]
    made = plan(runs, weights, layout=target.layout or layout, precision=precision, app=app)
    if target.mobile:
        made = mobile_plan(made, to)
    stem = _stem(made, out, add) if to == "web" else FIRST
    say(f"{len(made.spec.heads)} head(s) on backbone {made.spec.fingerprint}, {made.spec.resolution} px")
    job = _Job(out, to, photos, validate, max_drop, opset, bits, stem, say)
    written = (write_mobile if target.mobile else _by_onnx)(made, job)
    answer = _answer(made, written, job) | runner_beside(out, to, say, overwrite=overwrite)
    answer["seconds"] = round(time.monotonic() - began, 1)
    values = card_values(made.spec, answer)
    write_text(Path(answer["card"]), card(values))
    write_json(Path(answer["card_json"]), values)
    return answer


def _stem(made: Plan, out: Path, add: bool) -> str:
    """Of the model's files in a page, which can be written then."""
    check_shown(made.spec)
    stem = next_stem(out, made.spec) if add else FIRST
    engine()
    return stem


def _answer(made: Plan, written: Written, job: _Job) -> dict[str, Any]:
    return {
        "out": str(job.out), **card_paths(job.out, job.to, job.stem), "to": job.to,
        "precision": made.spec.precision,
        "bytes": sum(path.stat().st_size for path in written.paths), "outputs": list(made.spec.outputs),
        "fingerprint": made.spec.fingerprint,
        "difference": None if written.difference is None else float(f"{written.difference:.3g}"),
        **written.measured,
    }


def _by_onnx(made: Plan, job: _Job) -> Written:
    """The formats that are made of the ONNX model, or checked by it."""
    plain = replace(made, spec=replace(made.spec, precision="fp32"))
    reference_proto = onnx_model(plain, job.opset)
    reference = load_onnx(reference_proto.SerializeToString(), job.out)
    difference = parity(plain, reference)
    proto, model = _at_precision(made, reference_proto, reference, job)
    if made.spec.precision != "fp32":
        difference = parity(made, model)
    figures = measured(made, reference, model, job.validate, job.max_drop, job.say)
    paths, model = _write(made, proto, model, job)
    if job.to == "openvino":
        difference = parity(replace(made, spec=model.spec), model)
    return Written(paths, difference, figures)


def _at_precision(made: Plan, proto: Any, reference: Engine, job: _Job) -> tuple[Any, Engine]:
    if made.spec.precision == "int8":
        proto = quantised(proto, reference, job.photos, job.say, bits=job.bits)
    elif made.spec.precision == "fp16":
        proto = formats.half(proto)
    described(proto, made.spec)
    return proto, load_onnx(proto.SerializeToString(), job.out)


def _write(made: Plan, proto: Any, model: Engine, job: _Job) -> tuple[list[Path], Engine]:
    if job.to == "torch":
        return [formats.write_torch(made, job.out)], model
    if job.to == "openvino":
        path = formats.write_openvino(proto, made.spec, job.out)
        return [path, path.with_suffix(".bin")], load_model(path)
    if job.to == "web":
        return write_page(proto, made.spec, job.out, job.stem), model
    return [write_onnx(proto, job.out)], model
