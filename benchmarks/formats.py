"""Formats of exported heads beside timm eager: bytes, CPU time of one thread, and what accuracy they lose."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.export import LATENCY_STEPS, ROUNDS, latency_sides, size_of, timed
from benchmarks.rounds import Side
from benchmarks.speed import available
from benchmarks.tables import OURS, PEAK, TIMM

FORMS = {  # name -> --to, --precision, end of the name
    "ONNX Runtime fp32": ("onnx", "fp32", ".onnx"), "ONNX Runtime int8": ("onnx", "int8", ".onnx"),
    "LiteRT fp32": ("tflite", "fp32", ".tflite"), "LiteRT int8": ("tflite", "int8", ".tflite"),
    "ExecuTorch fp32": ("executorch", "fp32", ".pte"),
    "Core ML fp32": ("coreml", "fp32", ".mlpackage"), "Core ML fp16": ("coreml", "fp16", ".mlpackage"),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m benchmarks formats``."""
    parser.add_argument("--run", type=Path, action="append", required=True, help="a finished run; repeat")
    parser.add_argument("--data", type=Path, required=True, help="of the runs: train/ for int8, val/")
    parser.add_argument("--only", action="append", choices=list(FORMS), help="a form; repeat")
    parser.add_argument(
        "--files", type=Path, default=Path("build/formats"),
        help="folder of RUN.TO.PRECISION.SUFFIX files, which are used; others are made (build/formats)",
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of all in turn ({ROUNDS})")
    parser.add_argument("--core", type=int, default=max(available()), help="that all are pinned to")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder (build/bench)")


def run(options: argparse.Namespace) -> None:
    """Write ``formats.json`` and ``formats.md`` to ``--out``; the JSON goes to stdout, the table to stderr.

    Raises:
        ValueError: an option is out of range, or a form cannot be written.
        OSError: runs or photos are missing, or a side failed.
    """
    from apps.engine.core.files import writable_folder, write_json, write_text

    if options.rounds < 1:
        raise ValueError(f"--rounds must be 1 or more, got {options.rounds}")
    out = writable_folder(options.out)
    files = {path: forms_of(path, options) for path in options.run}
    result = {
        "machine": machine.facts(), "date": date.today().isoformat(), "command": command(options),
        "runs": [measure(path, files[path], options) for path in options.run],
    }
    write_json(out / "formats.json", result)
    write_text(out / "formats.md", table(result))
    sys.stderr.write(table(result))
    sys.stdout.write(json.dumps(result) + "\n")


def forms_of(run: Path, options: argparse.Namespace) -> dict[str, Path]:
    """The files of a run by form; those whose library is absent are left out, aloud."""
    from apps.export.export import export

    made: dict[str, Path] = {}
    for name in options.only or FORMS:
        to, precision, suffix = FORMS[name]
        file = options.files / f"{run.name}.{to}.{precision}{suffix}"
        try:
            if not file.exists():
                export((run,), out=file, to=to, precision=precision, calibrate=options.data / "train")
            made[name] = file
        except ImportError as err:
            sys.stderr.write(f"left out: {name} of {run.name}: {err}\n")
    return made


def measure(run: Path, files: Mapping[str, Path], options: argparse.Namespace) -> dict[str, Any]:
    """The figures of a run's forms, plain types."""
    import torch

    from apps.engine.inference.engines import Engine
    from apps.engine.inference.graph.model import plan
    from apps.export.accuracy import figures
    from benchmarks.export_sides import load_form

    torch.set_num_threads(1)
    made = plan([run], None, layout="nhwc", precision="fp32")
    (head,) = made.spec.heads
    reference = made.reference()
    engines = {OURS: Engine(made.spec, lambda x: [part.numpy() for part in reference(torch.tensor(x))])}
    runnable = {name: path for name, path in files.items() if path.suffix != ".mlpackage"}
    engines |= {name: load_form(path) for name, path in runnable.items()}
    results = figures(made.parts, list(engines.values()), options.data)
    metric = next(name for name in results[0] if not name.endswith("/photos"))
    width = float(made.spec.backbone["arguments"]["width"])
    base = Side(
        "export-file", str(options.data / "val"), width, made.spec.resolution, core=options.core
    )
    sides = {name: side for name, side in latency_sides(base, runnable, 1).items() if name != PEAK}
    times = timed(sides, options.rounds, LATENCY_STEPS, 1)
    values = {name: item[metric] for name, item in zip(engines, results, strict=True)}
    return {
        "run": run.name, "head": head.name, "width": width, "resolution": made.spec.resolution,
        "metric": metric, "photos": results[0][f"{head.name}/photos"], "figures": values, "times": times,
        "bytes": {name: _bytes(path) for name, path in files.items()},
    }


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
    return size_of(path)


def table(result: Mapping[str, Any]) -> str:
    """The page in Markdown."""
    from apps.engine.reporting.markdown import markdown_table

    rows = []
    for run in result["runs"]:
        first = run["figures"][OURS]
        for name in dict.fromkeys([TIMM, OURS, *run["bytes"]]):
            time, value = run["times"].get(name), run["figures"].get(name)
            rows.append((
                run["head"], f"{run['width']:g}-{run['resolution']}", name,
                f"{run['bytes'][name]:,}" if name in run["bytes"] else "",
                f"{time['cpu_ms'][0]:.2f}" if time else "not run here",
                f"{time['over_first'][0]:.2f}" if time else "",
                "" if value is None else f"{value:.4f}", "" if value is None else f"{first - value:+.4f}",
            ))
    facts = result["machine"]
    lines = markdown_table(
        ("head", "network", "form", "bytes", "CPU ms a photo", "over timm eager", "figure", "lost"), rows,
        {3, 4, 5, 6, 7},
    )
    return "\n".join([
        f"`{result['command']}`, {result['date']}, {facts['processor']}, {facts['cores']} cores:", "",
        *lines, "",
    ])


def command(options: argparse.Namespace) -> str:
    """The command, with folders by their last name alone."""
    parts = ["python -m benchmarks formats", *(f"--run {path.name}" for path in options.run)]
    parts += [f"--data {options.data.name}", *(f"--only '{name}'" for name in options.only or ())]
    return " ".join([*parts, f"--rounds {options.rounds}"])
