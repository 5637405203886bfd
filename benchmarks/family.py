"""Accuracy, cost and measured latency of the MobileNetV1 family and the networks that its paper compares."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from apps.cost.count import network_cost
from apps.cost.networks import OURS, build_network
from apps.cost.paper_tables import Network
from backbone import Backbone, Preprocessing
from benchmarks.family_members import BASE, Accuracy, Member, family_name, members

LEAST_SECONDS = 0.03  # of work between two looks at the clock
DOCS = Path(__file__).resolve().parents[1] / "docs"


@dataclass(frozen=True)
class Times:
    """Seconds for one photo, one value a round."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


def build(network: Network) -> nn.Module:
    """A network with random weights in channels-last memory, for its latency alone."""
    model = build_network(network).to_empty(device="cpu").eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, Backbone):
            module.set_preprocessing(Preprocessing(resolution=network.resolution))
    return model.to(memory_format=torch.channels_last)


def runner(member: Member) -> Callable[[], Any]:
    """One photo through one network."""
    model, side = build(member.network), member.network.resolution
    photo = torch.rand(1, 3, side, side).contiguous(memory_format=torch.channels_last)
    return lambda: model(photo)


def measure(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Times]:
    """Times of some functions, in rounds A B C ... A B C ..., so that what slows a machine slows all.

    Args:
        runs: what to time, by name.
        rounds: 1 or more; a round calls each as often as fills :data:`LEAST_SECONDS`, and takes the mean.
    """
    repeats: dict[str, int] = {}
    for name, run in runs.items():
        run()  # the first call also makes plans and buffers
        start = time.perf_counter()
        run()
        repeats[name] = max(1, round(LEAST_SECONDS / max(time.perf_counter() - start, 1e-6)))
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start, start_cpu = time.perf_counter(), time.thread_time()
            for _ in range(repeats[name]):
                run()
            wall[name].append((time.perf_counter() - start) / repeats[name])
            cpu[name].append((time.thread_time() - start_cpu) / repeats[name])
    return {name: Times(tuple(wall[name]), tuple(cpu[name])) for name in runs}


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """(median, lower quartile, upper quartile) of one value or more."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def latencies(rounds: int) -> dict[str, Times]:
    """Times of every member on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        with torch.inference_mode():
            return measure({member.name: runner(member) for member in members()}, rounds)
    finally:
        torch.set_num_threads(threads)


def rows(times: Mapping[str, Times]) -> list[dict[str, Any]]:
    """What is known of each member: counts, seconds, and CPU time over that of 1.0-224, round by round."""
    results = []
    for member in members():
        total, mine = network_cost(member.network), times[member.name]
        ratios = [a / b for a, b in zip(mine.cpu, times[BASE].cpu, strict=True)]
        results.append(asdict(member) | {
            "mult_adds": total.mult_adds, "parameters": total.parameters, "latency": spread(mine.wall),
            "cpu": spread(mine.cpu), "ratio": spread(ratios),
        })
    return results


def accuracies(data: Path, folder: Path) -> list[Accuracy]:
    """The weights of a folder evaluated on validation photos, as 1000 classes; those without are left out.

    Raises:
        FileNotFoundError: a folder is missing, or it holds no weights.
    """
    from apps.engine.core.console import Console
    from apps.engine.evaluation.evaluate import evaluate
    from backbone import load_weights
    from datasets.classification.imagenet import ImageNetVal

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no *.safetensors; give another --weights-folder")
    photos = ImageNetVal(data)
    seen = tuple(name for name, n in zip(photos.classes, photos.counts(), strict=True) if n)
    results = []
    for path in files:
        weights = load_weights(str(path))
        if not weights.classifier or weights.info.arch != OURS:
            continue
        answer = evaluate("imagenet", weights=str(path), data=data, console=Console())
        name = family_name(weights.info.arguments["width"], weights.info.preprocessing.resolution)
        low, high = answer["intervals"]["top1"]
        results.append(Accuracy(
            path.stem, weights.info.source, name, answer["n"], answer["metrics"]["top1"], (low, high), seen
        ))
    return results


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m benchmarks family``."""
    parser.add_argument("--rounds", type=int, default=11, help="5 or more (11)")
    parser.add_argument("--data", type=Path, help="validation photos, as `evaluate imagenet` reads them")
    parser.add_argument("--weights-folder", type=Path, help="*.safetensors to evaluate on --data")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder for family.md and family.png (docs)")


def run(options: argparse.Namespace) -> None:
    """Measure, write ``family.md`` and ``family.png``, and print a line of JSON for each network.

    Raises:
        ValueError: too few rounds, or one of ``--data`` and ``--weights-folder`` without the other.
        OSError: photos or weights are missing, or the page cannot be written.
    """
    from benchmarks.family_page import draw, page

    if options.rounds < 5:
        raise ValueError(f"--rounds must be 5 or more, got {options.rounds}")
    if (options.data is None) != (options.weights_folder is None):
        raise ValueError("--data and --weights-folder go together: images, and weights to evaluate on them")
    evaluated = accuracies(options.data, options.weights_folder) if options.data else []
    result = rows(latencies(options.rounds))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "family.md").write_text(page(result, evaluated, options.rounds), encoding="utf-8")
    draw(result, options.out / "family.png")
    for item in (*result, *map(asdict, evaluated)):
        sys.stdout.write(json.dumps(item) + "\n")
