"""The parent's half: sides in processes of their own, in rounds A B C A B C, and ratios round by round."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
PATIENCE = 10  # seconds that a side has to end by itself


@dataclass(frozen=True)
class Side:
    """What one process of a comparison does.

    Args:
        runner: key of :data:`benchmarks.side.RUNNERS`.
        root: folder with ``train/CLASS/*.jpg`` and ``val/CLASS/*.jpg``.
        core: the one core that it is pinned to, with one thread and no reading processes; None leaves
            threads, readers and cores to the side's own defaults.
        options: what else the runner wants to be told, plain types.
    """

    runner: str
    root: str = ""
    width: float = 1.0
    resolution: int = 224
    batch: int = 32
    core: int | None = None
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Slice:
    """Some steps of one side: the work done, in photos or GFLOP, and the seconds it took."""

    amount: float
    wall: float
    cpu: float

    def rate(self, by: str) -> float:
        """Work a second of ``wall`` or ``cpu`` time."""
        return self.amount / float(getattr(self, by))


@dataclass
class Record:
    """What is known of a side after its rounds: its slices, its most memory in bytes, and what it said."""

    slices: list[Slice] = field(default_factory=list)
    memory: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """The inverse of :meth:`to_dict`."""
        return cls([Slice(**item) for item in values["slices"]], values["memory"], values["facts"])


class Process:
    """A side's process: it stands still, with all its readers, while it is not its turn.

    Raises:
        ChildProcessError: the side ended before its time; the message ends with its last words.
    """

    def __init__(self, name: str, side: Side) -> None:
        self.name = name
        self.words = tempfile.TemporaryFile()  # noqa: SIM115  closed in __exit__
        environment = os.environ | (dict.fromkeys(THREADS, "1") if side.core is not None else {})
        self.child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.side", json.dumps(asdict(side))], cwd=ROOT, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.words, text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        with suppress(BrokenPipeError):
            self._pipes()[0].close()  # no more orders: the side ends by itself
        self._signal(signal.SIGCONT)
        try:
            self.child.wait(0 if kind else PATIENCE)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.child.wait()
        self._pipes()[1].close()
        self.words.close()

    def _pipes(self) -> tuple[Any, Any]:
        return self.child.stdin, self.child.stdout

    def _signal(self, number: signal.Signals) -> None:
        """To the whole group: readers stand still with the loop that they read for."""
        with suppress(ProcessLookupError):
            os.killpg(self.child.pid, number)

    def hear(self) -> dict[str, Any]:
        """The next answer; the side stands still after it."""
        line = self._pipes()[1].readline()
        if not line:
            self.child.wait()
            self.words.seek(0)
            answers = self.words.read().decode(errors="replace").strip().splitlines()
            raise ChildProcessError(
                f"the side {self.name!r} ended early: {answers[-1] if answers else 'no words'}"
            )
        self._signal(signal.SIGSTOP)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, steps: int) -> dict[str, Any]:
        """Do so many steps; returns work, seconds and memory."""
        self._signal(signal.SIGCONT)
        orders = self._pipes()[0]
        orders.write(f"{steps}\n")
        orders.flush()
        return self.hear()


def interleave(
    sides: Mapping[str, Side], *, rounds: int, steps: int, warm_up: int
) -> dict[str, Record]:
    """Slices of all sides in turn, so that what slows a machine slows all.

    Args:
        sides: by name.
        rounds: slices of each side, 1 or more.
        steps: of a slice, 1 or more.
        warm_up: steps of each side before the first round, 0 or more; not kept.

    Raises:
        ChildProcessError: a side failed.
    """
    with ExitStack() as stack:
        results = {name: Record() for name in sides}
        processes = {name: stack.enter_context(Process(name, side)) for name, side in sides.items()}
        for name, process in processes.items():  # they start at the same time, and then wait
            results[name].facts = process.hear()
        for process in processes.values():
            if warm_up:
                process.run(warm_up)
        for _ in range(rounds):
            for name, process in processes.items():
                answer = process.run(steps)
                results[name].memory = answer.pop("memory")
                results[name].slices.append(Slice(**answer))
        return results


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """(median, least, greatest) of one value or more."""
    return statistics.median(values), min(values), max(values)


def rates(record: Record, by: str) -> tuple[float, float, float]:
    """Work a second: median, least and greatest of the rounds."""
    return spread([item.rate(by) for item in record.slices])


def ratios(top: Record, bottom: Record, by: str) -> tuple[float, float, float]:
    """How many times as fast ``top`` is as ``bottom``: taken in each round, then median, least, greatest."""
    pairs = zip(top.slices, bottom.slices, strict=True)
    return spread([a.rate(by) / b.rate(by) for a, b in pairs])
