"""From a run, several runs, an exported file or weights to what computes their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from apps.engine.core.device import Choice, check_asked, choose, choose_device
from apps.engine.core.run_values import CONFIG, EXPORTED, run_values
from apps.engine.inference.engines import Engine
from apps.engine.inference.mobile.files import RUNTIMES, load_mobile
from apps.engine.inference.model_file import load_model, load_onnx
from apps.engine.inference.weights_check import check_weights
from apps.engine.inference.weights_model import weights_model
from datasets.outside import regular_file

FILES = {".onnx": "onnxruntime", ".xml": "openvino", **RUNTIMES}  # by suffix, what runs them
OTHER_SIZES = "scales"  # views that are not of the size which a file is made for
Source = str | tuple[tuple[str, str], ...]
Values = Mapping[str, Any]


def load_engine(
    source: Source, *, engine: str = "auto", device: str = "auto", precision: str = "auto",
    tta: str | None = None, calls: int = 1, threads: int = 1, app: str | None = None,
) -> Engine:
    """What computes the answers of a source.

    Args:
        source: path of a run or of an exported file, or a registered name; or (name, run) of several runs
            that share a backbone, which runs once for all of them.
        engine: one of :data:`apps.engine.core.device.ENGINES`.
        device: one of :data:`apps.engine.core.device.DEVICES`.
        precision: ``auto``, ``fp32`` or ``bf16``; the last is PyTorch's alone.
        tta: views to average; None for those that each run was calibrated with.
        calls: that run at the same time.
        threads: of a call of a file's runtime.
        app: what weights are to answer; None for what their classes say. What a run must be of.

    Raises:
        FileNotFoundError: there is no such source.
        ImportError: the engine is not installed.
        ValueError: the source is damaged, the engine cannot run it, or the device is not there.
    """
    check_asked(engine, device)
    if isinstance(source, str) and Path(source).suffix in FILES:
        return _load_file(Path(source), engine, device, precision, tta, calls)
    named = (("", source),) if isinstance(source, str) else source
    values = [run_values(Path(run), app=app) for _, run in named if (Path(run) / CONFIG).exists()]
    if isinstance(source, str) and not values and not Path(source).is_dir():
        return _load_weights(source, engine, device, precision, tta, calls, threads, app)
    has_file = len(values) == len(named) and all((Path(run) / EXPORTED).is_file() for _, run in named)
    why = _only_torch(precision, tta, values)
    if not has_file and values:
        lacking = next(run for _, run in named if not (Path(run) / EXPORTED).is_file())
        why = why or f"{lacking} holds no {EXPORTED}, which `export` writes; PyTorch answers"
    choice = choose(
        engine, device, file_engine="onnxruntime" if has_file else None, can_torch=True, only_torch=why
    )
    if choice.engine != "torch":
        try:
            return _load_runs(named, values, choice, calls, threads)
        except (ImportError, ValueError) as err:
            if engine != "auto":
                raise
            choice = Choice("torch", choose_device(device), f"{err}; PyTorch answers")
    from apps.engine.inference.torch_engine import load_torch_engine

    return load_torch_engine(named, device=choice.device, precision=precision, note=choice.note, app=app)


def _load_weights(
    spec: str, engine: str, device: str, precision: str, tta: str | None, calls: int, threads: int,
    app: str | None,
) -> Engine:
    """What weights answer, by the file that is made of them once; by PyTorch where there can be none."""
    check_weights(spec, app)
    why, file = _only_torch(precision, tta, ()), None
    if not why and engine != "torch":
        file = weights_model(spec, app)
    choice = choose(
        engine, device, file_engine="onnxruntime" if file else None, can_torch=True, only_torch=why
    )
    if file is not None and choice.engine != "torch":
        return load_model(
            file, threads=threads, calls=calls, engine=choice.engine, device=choice.device, whole=True
        )
    from apps.engine.inference.torch_engine import load_torch_engine

    return load_torch_engine(
        (("", spec),), device=choice.device, precision=precision, note=choice.note, app=app
    )


def _load_file(
    path: Path, engine: str, device: str, precision: str, tta: str | None, calls: int
) -> Engine:
    """An exported file by a runtime."""
    runs_it = FILES[path.suffix]
    if path.suffix == ".xml" and engine == "onnxruntime":
        raise ValueError(f"{path} is a file for {runs_it}, not for {engine}")
    why = _only_torch(precision, tta, ())
    if path.suffix in RUNTIMES:
        return _load_mobile(path, engine, device, why)
    choice = choose(engine, device, file_engine=runs_it, can_torch=False, only_torch=why)
    return load_model(path, calls=calls, engine=choice.engine, device=choice.device)


def _load_mobile(path: Path, engine: str, device: str, only_torch: str) -> Engine:
    """A file for phones by its own runtime, on the processor."""
    if engine != "auto" or device not in ("auto", "cpu") or only_torch:
        raise ValueError(
            f"{path} is computed by {RUNTIMES[path.suffix]} on the processor; leave --engine, --device and "
            "--precision out, or export --to onnx"
        )
    if not path.exists():
        raise FileNotFoundError(
            f"there is no model file {path}; give one made by: python cli.py export RUN --out FILE"
        )
    return load_mobile(regular_file(path))


def _only_torch(precision: str, tta: str | None, runs: Sequence[Values]) -> str:
    """Why a file cannot answer; empty where it can."""
    if precision == "bf16":
        return "--precision bf16 is computed by PyTorch"
    if OTHER_SIZES in ([tta] if tta is not None else [run["settings"].get("tta") for run in runs]):
        return f"--tta {OTHER_SIZES} shows images of several sizes, so PyTorch answers"
    return ""


def _load_runs(
    named: Sequence[tuple[str, str]], values: Sequence[Values], choice: Choice, calls: int, threads: int
) -> Engine:
    """The exported files of runs; several are merged, so that their backbone runs once.

    Raises:
        ImportError: the runtime is not installed.
        ValueError: a file is damaged, or of other weights than its run has now.
    """
    files = [Path(run) / EXPORTED for _, run in named]
    if len(files) == 1:
        loaded = load_model(
            files[0], threads=threads, calls=calls, engine=choice.engine, device=choice.device
        )
        specs = [loaded.spec]
    elif choice.engine != "onnxruntime":
        raise ValueError(f"several runs are answered by onnxruntime or torch, not by {choice.engine}")
    else:
        from apps.engine.inference.graph.merge import merged

        content, specs = merged(files, [name for name, _ in named])
        loaded = load_onnx(content, files[0], threads=threads, device=choice.device)
    for spec, run, file in zip(specs, values, files, strict=True):
        if spec.checkpoint != run["model_sha256"]:
            raise ValueError(f"{file} is not of the weights beside it, which are newer or others")
    heads = tuple(  # thresholds may have been chosen anew since
        replace(head, calibration=run["calibration"])
        for head, run in zip(loaded.spec.heads, values, strict=True)
    )
    return replace(loaded, spec=replace(loaded.spec, heads=heads))
