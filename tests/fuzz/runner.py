"""Damaged files read in children, so that a crash or a hang costs one of them."""

from __future__ import annotations

import faulthandler
import gc
import os
import random
import resource
import select
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.mutators import Mutator
from fuzz.outcome import CRASH, HANG, UNFORESEEN, Outcome, outcome_of

MEMORY = 3 << 30  # bytes of address space that a child may take beside what it begins with
EXIT_OF_HARNESS = 99  # a child's, where it is the fuzzing itself that fails
CPU_SECONDS, WALL_SECONDS = 10.0, 60.0  # of one file
BAD = (UNFORESEEN, CRASH, HANG)


@dataclass(frozen=True)
class Reader:
    """A reader of outside files.

    Args:
        name: of it.
        target: the file that is damaged; the reader may look at what lies beside it.
        seeds: whole files.
        read: reads the file as the project does.
        mutate: damages it.
    """

    name: str
    target: Path
    seeds: Sequence[bytes]
    read: Callable[[Path], object]
    mutate: Mutator

    def mutant(self, seed: int, number: int) -> bytes:
        """One damaged file: the same for the same seed and number, whatever came before."""
        rng = random.Random(f"{seed}/{self.name}/{number}")
        return self.mutate(rng.choice(self.seeds), rng)


def below(
    name: str, target: Path, seeds: list[bytes], read: Callable[[Path], object], mutate: Mutator
) -> Reader:
    """A reader whose file lies in a folder that may not be there yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return Reader(name, target, seeds, read, mutate)


@dataclass
class Tally:
    """What became of the damaged files of a reader.

    Args:
        reader: its name.
        counts: outcomes by kind.
        bad: by kind and place, the number of the first file and what it gave.
        numbers: how many of each of these there were.
    """

    reader: str
    counts: Counter[str] = field(default_factory=Counter)
    bad: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    numbers: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, number: int, outcome: Outcome) -> None:
        """Count one."""
        self.counts[outcome.what] += 1
        if outcome.what in BAD:
            key = (outcome.what, outcome.where)
            self.bad.setdefault(key, (number, outcome.text))
            self.numbers[key] += 1


def check_seeds(reader: Reader) -> None:
    """Every whole file must be read, or nothing that is damaged says anything of the reader."""
    for number, data in enumerate(reader.seeds):
        reader.target.write_bytes(data)
        try:
            reader.read(reader.target)
        except Exception as err:
            raise AssertionError(f"{reader.name}: whole file {number} is not read: {err}") from err


def fuzz(reader: Reader, *, seed: int, seconds: float, count: int | None = None, start: int = 0) -> Tally:
    """Read damaged files for some seconds, or so many of them."""
    tally, end, number = Tally(reader.name), time.monotonic() + seconds, start
    last = None if count is None else start + count
    while time.monotonic() < end and (last is None or number < last):
        number = _child_reads(reader, tally, seed, number, last, end)
    return tally


def _child_reads(reader: Reader, tally: Tally, seed: int, number: int, last: int | None, end: float) -> int:
    """Let a child read on from a number until the time is over or it dies; the number to go on with."""
    inside, outside = os.pipe()
    child = os.fork()
    if child == 0:
        try:  # whatever is raised, the child never goes on as its parent would: that would clear the folder
            os.close(inside)
            _work(reader, seed, number, last, end, outside)
        finally:
            os._exit(EXIT_OF_HARNESS)
    os.close(outside)
    try:
        return _listen(reader, tally, number, child, inside)
    finally:
        os.close(inside)


def _work(reader: Reader, seed: int, number: int, last: int | None, end: float, pipe: int) -> None:
    """In the child: each outcome as a line."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    gc.freeze()
    faulthandler.disable()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while time.monotonic() < end and (last is None or number < last):
        data = reader.mutant(seed, number)
        if reader.target.is_symlink() or reader.target.exists():
            reader.target.unlink()  # what a reader mapped stays as it was
        reader.target.write_bytes(data)
        result = outcome_of(lambda: reader.read(reader.target), reader.target)
        line = "\x1f".join((result.what, result.where, result.text)).replace("\n", "\x1e")
        os.write(pipe, f"{line}\n".encode("utf-8", "backslashreplace")[-60_000:])
        number += 1
    os._exit(0)


def _listen(reader: Reader, tally: Tally, number: int, child: int, pipe: int) -> int:
    """In the parent: take the outcomes, and end a child that takes too long over one."""
    waiting, began, used = b"", time.monotonic(), _cpu_seconds(child)
    while True:
        ready = select.select([pipe], [], [], 0.5)[0]
        data = os.read(pipe, 1 << 20) if ready else b""
        if ready and not data:
            break
        waiting += data
        *lines, waiting = waiting.split(b"\n")
        for line in lines:
            what, where, text = line.decode().replace("\x1e", "\n").split("\x1f", 2)
            tally.add(number, Outcome(what, where, text))
            number += 1
        if lines:
            began, used = time.monotonic(), _cpu_seconds(child)
        elif time.monotonic() - began > WALL_SECONDS or _cpu_seconds(child) - used > CPU_SECONDS:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            tally.add(number, Outcome(HANG, "", f"more than {CPU_SECONDS:.0f} s"))
            return number + 1
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        tally.add(number, Outcome(CRASH, f"signal {-code}" if code < 0 else f"exit {code}"))
        return number + 1
    return number


def _cpu_seconds(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
