"""Every kind of exported model beside timm eager: latency, throughput, bytes, accuracy, folders, browser."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.rounds import Record, Side, interleave, rates, ratios
from benchmarks.speed import available
from benchmarks.tables import BATCH, OURS, PEAK, TIMM

ROUNDS = 5
LATENCY_STEPS = 10
CLASSES = 1000
PAGE_PHOTOS = 40


@dataclass(frozen=True)
class Form:
    """A kind of exported file: ``--to``, ``--precision``, and the end of its name."""

    to: str
    precision: str
    suffix: str

    @property
    def name(self) -> str:
        """As the tables show it."""
        kind = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "torch": "torch .pt2"}[self.to]
        return f"{kind} {self.precision}"


FORMS = (
    *(Form("onnx", name, ".onnx") for name in ("fp32", "fp16", "int8")),
    *(Form("openvino", name, ".xml") for name in ("fp32", "fp16", "int8")),
    Form("torch", "fp32", ".pt2"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m benchmarks export``."""
    parser.add_argument("--weights", type=Path, help="with a classifier: a file or a name (random ones)")
    parser.add_argument("--width", type=float, default=1.0, help="of random weights (1.0)")
    parser.add_argument("--resolution", type=int, default=224, help="of random weights, in px (224)")
    parser.add_argument("--data", type=Path, help="train/CLASS to calibrate with, val/CLASS to evaluate on")
    parser.add_argument(
        "--only", action="append", choices=[form.name for form in FORMS], help="a form; repeat"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of all in turn ({ROUNDS})")
    parser.add_argument("--core", type=int, default=max(available()), help="that all are pinned to")
    parser.add_argument("--browser", action="store_true", help="time the page in Chromium too")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder (build/bench)")


def run(options: argparse.Namespace) -> None:
    """Write ``export-NAME.json`` and ``.md`` to ``--out``; the JSON goes to stdout, the table to stderr.

    Raises:
        ValueError: an option is out of range, or the photos are not of ImageNet's classes.
        OSError: photos or weights are missing, or a side failed.
    """
    from apps.engine.core.files import writable_folder, write_json, write_text
    from benchmarks.export_page import page
    from benchmarks.pictures import photos_for

    if options.rounds < 1:
        raise ValueError(f"--rounds must be 1 or more, got {options.rounds}")
    out = writable_folder(options.out)
    data = photos_for(options.data, out / "photos").absolute()
    with tempfile.TemporaryDirectory() as folder:
        for result in measure(options, data, Path(folder)):  # what is measured is kept if a later part fails
            file = out / f"export-{result['model']['name']}.json"
            write_json(file, result)
            write_text(file.with_suffix(".md"), page(result))
    sys.stderr.write(page(result))
    sys.stdout.write(json.dumps(result) + "\n")


def measure(options: argparse.Namespace, data: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """The figures, in plain types, more of them each time; files are made in ``folder``."""
    weights = random_weights(options, folder) if options.weights is None else named_file(options.weights)
    forms = [form for form in FORMS if options.only is None or form.name in options.only]
    files = write_forms(weights, forms, data, folder)
    reported = describe(weights)
    base = Side(
        "export-file", str(data / "val"), reported["width"], reported["resolution"], core=options.core,
    )
    results: dict[str, Any] = {
        "model": reported, "machine": machine.facts(), "date": date.today().isoformat(),
        "command": command(options), "bytes": {name: size_of(path) for name, path in files.items()},
        "latency": timed(latency_sides(base, files, 1), options.rounds, LATENCY_STEPS, reported["mult_adds"]),
        "throughput": timed(latency_sides(base, files, BATCH), options.rounds, 1, reported["mult_adds"]),
        "folder": timed(folder_sides(base, files), options.rounds, 1, reported["mult_adds"]),
    }
    yield results
    if options.browser:
        results["browser"] = in_browser(weights, data, folder)
        yield results
    if options.weights is not None and options.data is not None:
        results["top1"] = accuracy(weights, files, data)
        yield results


def named_file(weights: Path) -> Path:
    """The file of weights given by path or by name.

    Raises:
        FileNotFoundError: there is none.
        ValueError: they are a run, or of a name that timm downloads.
    """
    from backbone.weights import locate_weights

    file = locate_weights(str(weights))
    if file is None or not file.is_file():
        raise ValueError(
            f"--weights {weights} is no file; fetch it first: python cli.py weights fetch {weights} --to DIR"
        )
    return file


def random_weights(options: argparse.Namespace, folder: Path) -> Path:
    """A file of untrained weights."""
    from safetensors.torch import save_file

    from benchmarks.peers import seeded_network

    path = folder / f"random-{options.width}-{options.resolution}.safetensors"
    network = seeded_network(Side("", width=options.width, resolution=options.resolution))
    save_file(network.state_dict(), path, {"padding": "symmetric", "resolution": str(options.resolution)})
    return path


def describe(weights: Path) -> dict[str, Any]:
    """What network the weights are of."""
    from backbone import MobileNetV1
    from backbone.complexity import cost
    from backbone.weights import load_weights

    info = load_weights(weights).info
    width, resolution = info.arguments["width"], info.preprocessing.resolution
    return {
        "name": weights.stem, "width": width, "resolution": resolution,
        "mult_adds": cost(MobileNetV1(width), resolution).mult_adds + int(1024 * width) * CLASSES,
    }


def write_forms(weights: Path, forms: list[Form], data: Path, folder: Path) -> dict[str, Path]:
    """Each kind of file by its name, as ``export`` writes it; OpenVINO's come from the ONNX files."""
    from apps.export.export import export

    files: dict[str, Path] = {}
    for form in forms:
        out = folder / f"{form.to}-{form.precision}{form.suffix}"
        if form.to == "openvino":
            _openvino(onnx_file(weights, form.precision, data, folder), out)
        elif form.to == "onnx":
            out = onnx_file(weights, form.precision, data, folder)
        else:
            export((), out=out, to=form.to, weights=str(weights))
        files[form.name] = out
    return files


def onnx_file(weights: Path, precision: str, data: Path, folder: Path) -> Path:
    """The ONNX file of a precision; written once."""
    from apps.export.export import export

    out = folder / f"onnx-{precision}.onnx"
    if not out.is_file():
        export((), out=out, weights=str(weights), precision=precision, calibrate=data / "train")
    return out


def _openvino(source: Path, out: Path) -> None:
    import onnx

    from apps.engine.inference.model_file import load_model
    from apps.export.formats import write_openvino

    write_openvino(onnx.load(source), load_model(source).spec, out)


def size_of(path: Path) -> int:
    """Bytes of a model, with its weights where they lie beside it."""
    return sum(item.stat().st_size for item in (path, path.with_suffix(".bin")) if item.is_file())


def latency_sides(base: Side, files: Mapping[str, Path], batch: int) -> dict[str, Side]:
    """Every form, timm and ours on photos in memory, and the processor's peak."""
    made = {
        TIMM: replace(base, runner="timm-inference", batch=batch),
        OURS: replace(base, runner="ours-inference", batch=batch),
    }
    for name, path in files.items():
        made[name] = replace(base, batch=batch, options={"file": str(path)})
    return made | {PEAK: replace(base, runner="matrix")}


def folder_sides(base: Side, files: Mapping[str, Path]) -> dict[str, Side]:
    """Pillow and timm, one and many photos at a time, and ``predict --model`` with every file."""
    made = {
        f"Pillow + {TIMM}, {batch} at a time": replace(base, runner="folder-timm", batch=batch)
        for batch in (1, BATCH)
    }
    for name, path in files.items():
        if path.suffix != ".pt2":  # which predict does not take
            made[name] = replace(base, runner="folder-file", options={"file": str(path)})
    return made


def timed(sides: Mapping[str, Side], rounds: int, steps: int, mult_adds: int) -> dict[str, Any]:
    """By side: CPU milliseconds a photo, over the first side's, and the share of the fp32 peak.

    The first is a median with the least and the greatest; the ratio is taken in each round before.
    """
    records = interleave(sides, rounds=rounds, steps=steps, warm_up=steps)
    peak = records.pop(PEAK, None)
    first = next(iter(records.values()))
    results: dict[str, Any] = {name: one_row(record, first) for name, record in records.items()}
    if peak is not None:
        gflop_s = rates(peak, "cpu")[0]
        for row in results.values():
            row["peak_share"] = round(2 * mult_adds / 1e6 / row["cpu_ms"][0] / gflop_s, 3)
        results[PEAK] = {"gflop_s": round(gflop_s, 1)}
    return results


def one_row(record: Record, first: Record) -> dict[str, Any]:
    """The times of one side."""
    middle, least, most = rates(record, "cpu")
    return {
        "cpu_ms": [round(1e3 / item, 3) for item in (middle, most, least)],
        "over_first": [round(ratio, 3) for ratio in ratios(first, record, "cpu")],
    }


def accuracy(weights: Path, files: Mapping[str, Path], data: Path) -> dict[str, float]:
    """Top-1 of every form on the same pixels, each by its own file; and the photos' number."""
    from benchmarks.export_accuracy import top1_of_forms

    return top1_of_forms(weights, files, data)


def in_browser(weights: Path, data: Path, folder: Path) -> dict[str, Any]:
    """What the page costs with these weights in fp32 and int8."""
    import onnx

    from apps.engine.inference.model_file import load_model
    from apps.export.page.write import write_page
    from benchmarks.export_browser import page_figures
    from datasets.image_io import find_images

    photos = sorted(find_images([data / "val"]))[:PAGE_PHOTOS]
    results = {}
    for precision in ("fp32", "int8"):
        source, page = onnx_file(weights, precision, data, folder), folder / f"page-{precision}"
        page.mkdir()
        write_page(onnx.load(source), load_model(source).spec, page)
        results[precision] = page_figures(page, photos)
    return results


def command(options: argparse.Namespace) -> str:
    """The command, with folders and files by their last name alone."""
    parts = ["python -m benchmarks export"]
    for name in ("weights", "data"):
        path = getattr(options, name)
        parts += [] if path is None else [f"--{name} {path.name}"]
    if options.weights is None:
        parts.append(f"--width {options.width} --resolution {options.resolution}")
    parts += [f"--only '{name}'" for name in options.only or ()]
    return " ".join([*parts, f"--rounds {options.rounds}", *["--browser"] * options.browser])
