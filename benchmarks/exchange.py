"""What the exchange of batch-norm statistics costs: a step of one process, of two alone, of two together."""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

import backbone
from apps.engine.training.sync_batchnorm import Processes, synchronise_batch_norm
from benchmarks.rounds import ROOT, THREADS
from heads import Classifier, MultiHead

CLASSES, LR = 120, 1e-3
EMPTY_CALLS = 300
T = TypeVar("T")
MODES = ("one", "apart", "gradients", "together")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64, help="of all processes together")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all four, in turns")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Print a JSON line a measurement: ``one`` process with the whole batch; two with half of it each:

    ``apart`` without any exchange, which is what the machine gives; ``gradients`` with that of gradients;
    ``together`` with that of the statistics, too.
    """
    if options.mode is not None:
        say(measured(options))
        return
    for _ in range(options.rounds):
        for mode in MODES:
            say({"mode": mode, "load": round(os.getloadavg()[0], 1), **of_processes(options, mode)})


def of_processes(options: argparse.Namespace, mode: str) -> dict[str, Any]:
    """The slower of the processes of a mode.

    Raises:
        ChildProcessError: one failed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [f"--{name}={getattr(options, name)}" for name in ("width", "resolution", "batch", "steps")]
    command = [sys.executable, "-m", "benchmarks", "exchange", *words, f"--port={port}", f"--mode={mode}"]
    started = [
        subprocess.Popen(
            [*command, f"--rank={rank}"], cwd=ROOT, env=os.environ | dict.fromkeys(THREADS, "1"),
            stdout=subprocess.PIPE, text=True,
        )
        for rank in range(1 if mode == "one" else 2)
    ]
    lines = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise ChildProcessError(f"a process of {mode!r} failed")
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return max(rows, key=lambda row: float(row["step_ms"]))


class Watched(Processes):
    """Counts the exchanges and the time in them."""

    def __init__(self) -> None:
        self.calls, self.seconds = 0, 0.0

    def moments(self, mean: Tensor, variance: Tensor, count: float) -> tuple[Tensor, Tensor, float]:
        """As the class it stands for."""
        return self.timed(lambda: Processes.moments(self, mean, variance, count))

    def sum(self, values: Tensor) -> Tensor:
        """As the class it stands for."""
        return self.timed(lambda: Processes.sum(self, values))

    def timed(self, work: Callable[[], T]) -> T:
        """The result of an exchange."""
        start = time.perf_counter()
        result = work()
        self.calls, self.seconds = self.calls + 1, self.seconds + time.perf_counter() - start
        return result


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of a step in this process, and of the exchanges in it."""
    torch.set_num_threads(1)
    alone = options.mode in ("one", "apart")
    if not alone:
        dist.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{options.port}", rank=options.rank, world_size=2
        )
    torch.manual_seed(0)
    network = backbone.create("mobilenetv1", width=options.width)
    model: nn.Module = MultiHead(network, {"dogs": Classifier(network.channels[32], CLASSES)})
    model = backbone.optimize_for_training(model.to(memory_format=torch.channels_last).train())
    watch = Watched()
    if options.mode == "together":
        synchronise_batch_norm(model)
        for module in model.modules():
            if type(module).__name__ == "GlobalBatchNormReLU6":
                module.__class__ = type("Watched", (type(module),), {"stats_reducer": watch})
    shared = model if alone else nn.parallel.DistributedDataParallel(model, forward_sync_buffers=False)
    batch = options.batch if options.mode == "one" else options.batch // 2
    seconds, cpu = per_step(shared, batch, options, watch)
    answer = {"step_ms": round(1000 * seconds, 1), "cpu_ms": round(1000 * cpu, 1)}
    if options.mode == "together":
        answer |= {
            "exchanges": watch.calls / options.steps,
            "in_exchanges_ms": round(1000 * watch.seconds / options.steps, 1),
            "share": round(watch.seconds / options.steps / seconds, 3), **empty_exchange(),
        }
    if not alone:
        dist.destroy_process_group()
    return answer


def per_step(
    model: nn.Module, batch: int, options: argparse.Namespace, watch: Watched
) -> tuple[float, float]:
    """Wall and CPU seconds of a step, after two that warm up."""
    images = torch.randint(0, 256, (batch, options.resolution, options.resolution, 3), dtype=torch.uint8)
    images, labels = images.permute(0, 3, 1, 2), torch.randint(0, CLASSES, (batch,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    wall = cpu = 0.0
    for number in range(2 + options.steps):
        if number == 2:
            watch.calls, watch.seconds = 0, 0.0
            wall, cpu = time.perf_counter(), time.process_time()
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(images)["dogs"], labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return (time.perf_counter() - wall) / options.steps, (time.process_time() - cpu) / options.steps


def empty_exchange() -> dict[str, float]:
    """Microseconds of an exchange of 512 channels where nobody computes and nobody waits."""
    reducer, mean, variance = Processes(), torch.zeros(512), torch.ones(512)
    results = {}
    ways: dict[str, Callable[[], Any]] = {
        "moments_us": lambda: reducer.moments(mean, variance, 8.0),
        "sum_us": lambda: reducer.sum(torch.ones(1024)),
    }
    for name, way in ways.items():
        dist.barrier()
        start = time.perf_counter()
        for _ in range(EMPTY_CALLS):
            way()
        results[name] = round(1e6 * (time.perf_counter() - start) / EMPTY_CALLS, 1)
    return results


def say(row: dict[str, Any]) -> None:
    """A JSON line."""
    sys.stdout.write(f"{json.dumps(row)}\n")
    sys.stdout.flush()
