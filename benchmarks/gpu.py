"""A GPU: answers, copies and training steps by batch, precision and compilation; then the real commands."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import backbone
from apps.engine.core.device import available_devices, file_devices
from apps.engine.inference.engines import batch_for, is_out_of_memory
from backbone import inference_model
from benchmarks.machine import NoDeviceError, facts
from benchmarks.rounds import ROOT
from heads import Classifier, MultiHead

CLASSES, LR = 120, 1e-3
WARM_UP = 3  # calls before the clock starts: kernels are chosen, graphs compiled


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--device", default="cuda", help="cpu tries the benchmark itself")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 128, 256, 512])
    parser.add_argument("--rounds", type=int, default=20, help="calls a measurement")
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    parser.add_argument("--photos", type=Path, help="train/CLASS/*.jpg and val/: the real commands, too")


def run(options: argparse.Namespace) -> None:
    """Print a JSON line a measurement.

    Raises:
        NoDeviceError: PyTorch sees no such device.
    """
    if options.device not in available_devices():
        raise NoDeviceError(
            f"there is no {options.device} device here; PyTorch {torch.__version__} sees: "
            f"{', '.join(available_devices())}"
        )
    device = torch.device(options.device)
    say({"device": name_of(device), "onnxruntime": file_devices("onnxruntime"), **facts()})
    for pinned, batch in product((False, True), options.batches):
        say(copies(device, batch, options, pinned=pinned))
    compiled = (False, True) if options.compile else (False,)
    for dtype, is_compiled, batch in product((torch.float32, torch.bfloat16), compiled, options.batches):
        say(answers(device, batch, dtype, options, is_compiled=is_compiled))
    for dtype, is_compiled, batch in product((torch.float32, torch.bfloat16), compiled, options.batches):
        if batch > 1:
            say(steps(device, batch, dtype, options, is_compiled=is_compiled))
    say({"chosen_batch": batch_for(device.type, options.resolution)})
    if options.photos is not None:
        commands(options)


def name_of(device: torch.device) -> str:
    """The card and its memory; the kind of another device."""
    if device.type != "cuda":
        return device.type
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name}, {properties.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"


def copies(device: torch.device, batch: int, options: argparse.Namespace, *, pinned: bool) -> dict[str, Any]:
    """Bytes of images onto the device, from memory that is pinned or not."""
    images = bytes_of(batch, options.resolution)
    images = images.pin_memory() if pinned and device.type == "cuda" else images
    with guarded("copy", batch, pinned=pinned) as row:
        seconds = per_call(lambda: images.to(device, non_blocking=True), device, options.rounds)
        row["gigabytes_per_s"] = round(images.numel() / seconds / 1e9, 2)
    return row


def answers(
    device: torch.device, batch: int, dtype: torch.dtype, options: argparse.Namespace, *, is_compiled: bool
) -> dict[str, Any]:
    """Images a second of the network as it answers."""
    network = inference_model(network_of(options).to(device), dtype)
    features = torch.compile(network.features, backend=options.backend) if is_compiled else network.features
    images = bytes_of(batch, options.resolution).to(device)
    with guarded("answers", batch, precision=name(dtype), compiled=is_compiled) as row, torch.no_grad():
        seconds = per_call(lambda: features(network.normalise(images)), device, options.rounds)
        row.update(images_per_s=round(batch / seconds, 1), **memory(device))
    return row


def steps(
    device: torch.device, batch: int, dtype: torch.dtype, options: argparse.Namespace, *, is_compiled: bool
) -> dict[str, Any]:
    """Images a second of updates, without reading images."""
    network = network_of(options)
    model = MultiHead(network, {"dogs": Classifier(network.channels[32], CLASSES)})
    model = model.to(device).to(memory_format=torch.channels_last).train()
    model.backbone_dtype = dtype
    if is_compiled:
        network.compile(backend=options.backend)
    images, labels = bytes_of(batch, options.resolution).to(device), torch.zeros(batch, dtype=torch.int64)
    labels, optimizer = labels.to(device), torch.optim.AdamW(model.parameters(), lr=LR)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        logits = model(images)["dogs"]
        nn.functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    with guarded("training", batch, precision=name(dtype), compiled=is_compiled) as row:
        seconds = per_call(step, device, options.rounds)
        row.update(images_per_s=round(batch / seconds, 1), **memory(device))
    return row


def commands(options: argparse.Namespace) -> None:
    """Training and answering by the command line, photos decoded by the processor meanwhile."""
    cores = os.cpu_count() or 1
    common = ["--data", str(options.photos), "--device", options.device, "--width", str(options.width)]
    with tempfile.TemporaryDirectory() as folder:
        for workers, is_compiled in product(sorted({1, max(cores // 2, 1), cores}), (False, True)):
            run_folder = Path(folder) / f"{workers}-{is_compiled}"
            flags = ["--epochs", "3", "--workers", str(workers), "--no-export", "--out", str(run_folder)]
            command("finetune", "dogs", *common, *flags, *(["--compile"] if is_compiled else []))
            last = last_epoch(run_folder)
            say({"command": "finetune", "workers": workers, "compiled": is_compiled, "last_epoch": last})
        for engine in ("torch", *(["onnxruntime"] if options.device in file_devices("onnxruntime") else [])):
            start = time.perf_counter()
            words = ["--weights", "mobilenetv1_1.0_224", "--device", options.device, "--engine", engine]
            lines = command("predict", str(options.photos), *words)
            seconds = time.perf_counter() - start
            say({"command": "predict", "engine": engine, "images": len(lines), "seconds": round(seconds, 1)})


def last_epoch(run_folder: Path) -> dict[str, Any]:
    """The last line of a run's metrics that is of an epoch."""
    lines = (run_folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [row for row in rows if "seconds" in row][-1]


def command(*words: str) -> list[str]:
    """The lines of a command.

    Raises:
        ChildProcessError: it failed.
    """
    done = subprocess.run(
        [sys.executable, "cli.py", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ChildProcessError(f"{' '.join(words)} failed: {(done.stderr.splitlines() or [''])[-1]}")
    return done.stdout.splitlines()


def network_of(options: argparse.Namespace) -> Any:
    """A network without weights, as speed does not depend on them."""
    network = backbone.create("mobilenetv1", width=options.width)
    return network.to(memory_format=torch.channels_last)


def bytes_of(batch: int, side: int) -> Tensor:
    """(B, 3, H, W) uint8, channels-last in memory."""
    return torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8).permute(0, 3, 1, 2)


def per_call(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Median seconds of a call, to the end of what it has started on the device."""
    seconds = []
    for number in range(WARM_UP + rounds):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory(device: torch.device) -> dict[str, int]:
    """The most megabytes of the card that were taken since the last call."""
    if device.type != "cuda":
        return {}
    most = torch.cuda.max_memory_allocated(device) // 2**20
    torch.cuda.reset_peak_memory_stats(device)
    return {"memory_mb": most}


def name(dtype: torch.dtype) -> str:
    """``float32`` of ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


@contextmanager
def guarded(what: str, batch: int, **more: Any) -> Iterator[dict[str, Any]]:
    """A row to fill; what does not fit onto the card says so in it."""
    row: dict[str, Any] = {"measured": what, "batch": batch, **more}
    try:
        yield row
    except RuntimeError as err:
        if not is_out_of_memory(err):
            raise
        row["error"] = "out of memory"


def say(row: dict[str, Any]) -> None:
    """A JSON line."""
    sys.stdout.write(f"{json.dumps(row)}\n")
    sys.stdout.flush()
