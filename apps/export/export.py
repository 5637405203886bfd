"""``export``: from runs to a file that is checked, measured and described."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from apps.engine.core.files import whole_set, writable_file, writable_folder, write_text
from apps.engine.inference.engines import Engine
from apps.engine.inference.graph.model import Plan, plan
from apps.engine.inference.graph.onnx_file import OPSET, check_opset, described, onnx_model, write_onnx
from apps.engine.inference.graph.parity import parity
from apps.engine.inference.model_file import load_model, load_onnx
from apps.export import formats
from apps.export.accuracy import figures
from apps.export.bundle import script
from apps.export.card import card
from apps.export.page.write import FIRST, card_name, check_shown, engine, next_stem, write_page
from apps.export.quantise import calibration_photos, quantised

TARGETS = ("onnx", "openvino", "torch", "web")
RUNNER = "run.py"
FEW = 50  # photos that are too few to take ranges from
MAX_DROP = 0.03  # of the figure that chooses the best epoch


@whole_set()
def export(
    runs: Sequence[Path], *, out: Path, to: str = "onnx", weights: str | None = None, app: str | None = None,
    precision: str = "fp32", layout: str = "nhwc", calibrate: Path | None = None,
    validate: Path | None = None, max_drop: float = MAX_DROP, opset: int = OPSET,
    add: bool = False, say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Write one model file with the heads of all runs, and a card that describes it.

    Args:
        runs: folders made by ``finetune``, all on one backbone.
        out: the file; for ``web`` a folder.
        to: one of :data:`TARGETS`.
        weights: pretrained weights that bring a head along, instead of runs.
        app: what the weights are to answer, where they can answer several things.
        precision: fp32, fp16 or int8.
        layout: of the uint8 RGB input, ``nhwc`` or ``nchw``.
        calibrate: folder of photos that int8 takes its ranges from.
        validate: folder of labelled photos to measure the loss of accuracy on.
        max_drop: the greatest loss that is written, as a fraction of one.
        opset: of ONNX.
        add: to ``web`` alone: as a further model of the page that ``out`` holds.
        say: takes a line of words.

    Returns:
        ``{"out", "card", "to", "precision", "bytes", "outputs", "fingerprint", "difference", "seconds"}``,
        for ``onnx`` ``runner``, with ``validate`` ``figures`` and ``drop`` by head.

    Raises:
        OSError: something is missing, or the file cannot be written.
        ValueError: the runs do not fit together, the options do not, or the loss is above ``max_drop``.
    """
    began = time.monotonic()
    _check(to, precision, calibrate, out, opset, add)
    photos = calibration_photos(calibrate) if calibrate is not None and precision == "int8" else []
    if precision == "int8" and len(photos) < FEW:
        say(f"only {len(photos)} photos to calibrate by: int8 wants some hundred of yours, of every kind")
    (writable_folder if to == "web" else writable_file)(out)
    made = plan(runs, weights, layout=layout, precision=precision, app=app)
    stem = _stem(made, out, add) if to == "web" else FIRST
    say(f"{len(made.spec.heads)} head(s) on backbone {made.spec.fingerprint}, {made.spec.resolution} px")
    plain = replace(made, spec=replace(made.spec, precision="fp32"))
    reference_proto = onnx_model(plain, opset)
    reference = load_onnx(reference_proto.SerializeToString(), out)
    difference = parity(plain, reference)
    proto, model = _at_precision(made, reference_proto, reference, photos, out, say)
    if precision != "fp32":
        difference = parity(made, model)
    measured = _measure(made, reference, model, validate, max_drop, say)
    written, model = _write(made, proto, model, to, out, stem)
    if to == "openvino":
        difference = parity(replace(made, spec=model.spec), model)
    answer = {
        "out": str(out), "card": str(_card_path(out, to, stem)), "to": to, "precision": precision,
        "bytes": sum(path.stat().st_size for path in written), "outputs": list(made.spec.outputs),
        "fingerprint": made.spec.fingerprint, "difference": float(f"{difference:.3g}"), **measured,
        **_runner(out, to, say), "seconds": round(time.monotonic() - began, 1),
    }
    write_text(_card_path(out, to, stem), card(made.spec, answer))
    return answer


def _stem(made: Plan, out: Path, add: bool) -> str:
    """Of the model's files in a page, which can be written then."""
    check_shown(made.spec)
    stem = next_stem(out, made.spec) if add else FIRST
    engine()
    return stem


def _check(to: str, precision: str, calibrate: Path | None, out: Path, opset: int, add: bool) -> None:
    check_opset(opset)
    if add and to != "web":
        raise ValueError("--add is for --to web, a page with several models; leave it out")
    if precision == "int8" and calibrate is None:
        raise ValueError("int8 takes its ranges from photos: give --calibrate DIR with some hundred of yours")
    if to == "torch" and precision != "fp32":
        raise ValueError(f"--to torch writes fp32; give --to onnx or openvino for {precision}")
    if to == "openvino" and out.suffix != ".xml":
        raise ValueError(f"an OpenVINO model is an .xml with a .bin beside it; --out {out} must end in .xml")
    if to == "onnx" and out.suffix != ".onnx":
        raise ValueError(f"--out {out} must end in .onnx")
    if to != "web" and out.is_dir():
        raise ValueError(f"--out {out} is a folder; name a file in it")


def _at_precision(
    made: Plan, proto: Any, reference: Engine, photos: list[Path], out: Path,
    say: Callable[[str], None],
) -> tuple[Any, Engine]:
    if made.spec.precision == "int8":
        proto = quantised(proto, reference, photos, say)
    elif made.spec.precision == "fp16":
        proto = formats.half(proto)
    described(proto, made.spec)
    return proto, load_onnx(proto.SerializeToString(), out)


def _measure(
    made: Plan, reference: Engine, model: Engine, validate: Path | None, max_drop: float,
    say: Callable[[str], None],
) -> dict[str, Any]:
    if validate is None:
        if made.spec.precision == "int8":
            say("the loss of accuracy is not known: give --validate DIR with labelled photos to measure it")
        return {}
    before, after = figures(made.parts, [reference, model], validate, say)
    drops: dict[str, float] = {}
    tables = {head.name: part[0].metrics for head, part in zip(made.spec.heads, made.parts, strict=True)}
    for name in (name for name in before if not name.endswith("/photos")):
        head, _, metric = name.partition("/")
        sign = 1 if tables[head].higher_is_better(metric) else -1
        fall = sign * (before[name] - after[name])
        drops[name] = round(fall / max(before[name], 1.0), 6)  # of geoscore, which is 0 to 5000, the share
        say(
            f"{name}: {before[name]:.4f} in fp32, {after[name]:.4f} in {made.spec.precision}, on "
            f"{before[name.split('/')[0] + '/photos']:.0f} photos"
        )
    check_drop(drops, max_drop)
    return {"figures": after, "drop": drops}


def check_drop(drops: Mapping[str, float], most: float) -> None:
    """Raise where a figure falls by more than is allowed.

    Args:
        drops: figure -> by how much it falls, as a fraction of one; negative where it rises.
        most: the greatest fall that is allowed.

    Raises:
        ValueError: one falls further; the message names the worst.
    """
    worst = max(drops, key=lambda name: drops[name])
    if drops[worst] > most:
        raise ValueError(
            f"{worst} falls by {drops[worst]:.4f}, more than --max-drop {most:g}; nothing was written: "
            "calibrate with more of your photos, take --precision fp16, or raise --max-drop"
        )


def _write(
    made: Plan, proto: Any, model: Engine, to: str, out: Path, stem: str
) -> tuple[list[Path], Engine]:
    if to == "torch":
        return [formats.write_torch(made, out)], model
    if to == "openvino":
        path = formats.write_openvino(proto, made.spec, out)
        return [path, path.with_suffix(".bin")], load_model(path)
    if to == "web":
        return write_page(proto, made.spec, out, stem), model
    return [write_onnx(proto, out)], model


def _runner(out: Path, to: str, say: Callable[[str], None]) -> dict[str, Any]:
    if to != "onnx":
        return {}
    runner = write_runner(out)
    if runner is None:
        say(f"{out.with_name(RUNNER)} is no script of ours, so it stays and none is written")
    return {"runner": None if runner is None else str(runner)}


def write_runner(out: Path) -> Path | None:
    """A script beside an ONNX file that answers with it and needs nothing of this project.

    Returns:
        The script, ``run.py``; None where a file of that name is there that is not ours.
    """
    path, text = out.with_name(RUNNER), script()
    first = text.partition("\n")[0]
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(first):
        return None
    write_text(path, text.replace('MODEL = "model.onnx"', f"MODEL = {json.dumps(out.name)}", 1))
    return path


def _card_path(out: Path, to: str, stem: str) -> Path:
    return out / card_name(stem) if to == "web" else out.with_suffix(".md")
