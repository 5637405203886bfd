"""Answers for many images: a process of one core against Ray workers of one core each."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apps.engine.core.console import Console
from apps.engine.inference.predictor import Predictor
from apps.engine.scale.answering import Predictions
from apps.engine.scale.images import images_of
from apps.engine.scale.job import run_job
from apps.engine.scale.parts import PartsFolder
from apps.engine.scale.shards import make_shards
from apps.engine.scale.work import Order
from datasets.image_io import list_photos

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
WORKER = "apps.engine.scale.worker"


def usage() -> dict[int, tuple[str, float, int]]:
    """This process and those below it: command line, CPU seconds so far, bytes in memory."""
    by_process, parents = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                pages = int((folder / "statm").read_text().split()[1])
            except OSError:
                continue
            parents[int(folder.name)] = int(fields[1])
            by_process[int(folder.name)] = words, (int(fields[11]) + int(fields[12])) / TICKS, pages * PAGE
    below, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in below} - below
        below, grown = below | more, bool(more)
    return {pid: by_process[pid] for pid in below}


class Watch:
    """CPU seconds of a job's workers, and what one takes of memory at most, looked at twice a second."""

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}
        self.others: dict[int, float] = {}
        self.bytes: dict[str, int] = {}
        self.samples: list[tuple[float, float, float]] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def _look(self) -> None:
        while not self.stop.wait(0.5):
            for pid, (words, seconds, size) in usage().items():
                part = "answering" if WORKER in words else "actor" if "ray::MapWorker" in words else ""
                if part:
                    self.seconds[pid] = seconds
                    self.bytes[part] = max(self.bytes.get(part, 0), size)
                else:
                    self.others[pid] = seconds
            self.samples.append((time.time(), sum(self.seconds.values()), sum(self.others.values())))

    def between(self, first: float, last: float) -> tuple[float, float]:
        """CPU seconds of the workers, and of the driver and Ray's own processes, between two moments."""
        times, *sums = map(list, zip(*self.samples, strict=True))
        workers, others = (float(np.diff(np.interp([first, last], times, values))[0]) for values in sums)
        return workers, others


def image_seconds(answers: Predictions, photos: Sequence[str], limit: int) -> list[float]:
    """CPU seconds of each of some images, by this process alone."""
    seconds: list[float] = []
    for shard in make_shards(photos, limit)[:1]:
        for item in images_of(shard):
            start = time.process_time()
            answers.lines([item.content])
            seconds.append(time.process_time() - start)
    return seconds[min(5, len(seconds) - 1) :]  # the first ones warm up


def measured(
    photos: Sequence[str], answers: Predictions, runner: str, workers: int, shard: int, out: Path
) -> dict[str, Any]:
    """A job's wall and CPU seconds; those of the workers start with their first image."""
    order = Order(str(out), runner=runner, workers=workers, shard_size=shard)
    wall, mine = time.perf_counter(), time.process_time()
    with Watch() as watch:
        summary = run_job(photos, answers, order, Console(quiet=True))
    wall, mine = time.perf_counter() - wall, time.process_time() - mine
    times = sorted((out / name).stat().st_mtime for name in PartsFolder(str(out)).names())
    span, parts = times[-1] - times[0], summary["parts"]
    steady = (parts - 1) * shard / span if span > 0 else float("nan")
    of_images = (parts - 1) * shard
    per_image = [round(1000 * cpu / of_images, 3) for cpu in watch.between(times[0], times[-1])]
    return {
        "runner": runner, "workers": workers, "images": summary["images"], "wall_s": round(wall, 2),
        "images_per_s": round(steady, 2), "worker_cpu_s": round(sum(watch.seconds.values()), 2),
        "driver_cpu_s": round(mine, 2),
        "cpu_ms_an_image": per_image[0], "cpu_ms_an_image_of_driver_and_ray": per_image[1],
        "load": round(os.getloadavg()[0], 1),
        "memory_mb": {name: round(size / 1e6) for name, size in sorted(watch.bytes.items())},
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """What to answer, by what."""
    parser.add_argument("--photos", type=Path, required=True, help="folder of images")
    parser.add_argument("--weights", default="mobilenetv1_1.0_224")
    parser.add_argument("--repeat", type=int, default=1, help="times that the images are given")
    parser.add_argument("--shard", type=int, default=100, help="images a shard")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="of Ray")


def run(options: argparse.Namespace) -> None:
    """Print a JSON line a measurement."""
    answers = Predictions(Predictor(options.weights, threads=1))
    photos = list(map(str, list_photos([options.photos]))) * options.repeat
    each = np.array(image_seconds(answers, photos, 300))
    say({
        "image_cpu_s": {
            "mean": round(float(each.mean()), 5), "deviation": round(float(each.std()), 5),
            "quantiles": {q: round(float(np.quantile(each, q)), 5) for q in (0.05, 0.5, 0.95, 0.99)},
        }
    })
    with tempfile.TemporaryDirectory() as folder:
        for round_ in range(options.rounds):
            cases = [("local", 1), *(("ray", count) for count in options.workers)]
            for runner, count in cases:
                out = Path(folder) / f"{round_}-{runner}-{count}"
                say(measured(photos, answers, runner, count, options.shard, out))


def say(row: dict[str, Any]) -> None:
    """A JSON line."""
    sys.stdout.write(f"{json.dumps(row)}\n")
    sys.stdout.flush()
