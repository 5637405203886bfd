"""Answers by a process of its own, that an image may hang or end: the image is named, the rest goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from apps.engine.scale.answering import Answers, Line
from apps.engine.scale.shards import Shard

HANGS, DEATHS = 2, 3  # of an image, alone, before it is named
LOST = 5  # processes that end one after another, without an image at hand
SILENT_S = 1200.0  # without a word while images are fetched: longer than a store is asked
CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass
class Progress:
    """How far a shard is.

    Attributes:
        lines: of the images that are done.
        at_hand: images that the process had begun with, first and the one after the last; None for none.
        name: of the first of them.
        alone: images are given one at a time, since a process ended with several at hand.
        hangs, deaths: of the image at hand, by its place.
        lost: processes that ended since the last line.
    """

    lines: list[Line] = field(default_factory=list)
    at_hand: tuple[int, int] | None = None
    name: str = ""
    alone: bool = False
    hangs: Counter[int] = field(default_factory=Counter)
    deaths: Counter[int] = field(default_factory=Counter)
    lost: int = 0


class Guard:
    """Shards to lines by a process that is started again where an image hangs or ends it.

    Args:
        answers: what answers.
        seconds: that an image may take from its bytes to its line, above 0.
    """

    def __init__(self, answers: Answers, seconds: float) -> None:
        self.answers, self.seconds = answers, seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection[Any, Any] | None = None

    def lines(self, shard: Shard) -> list[Line]:
        """A line an image of a shard, in their order.

        Raises:
            OSError, ValueError: as what answers raises, or a store.
            RuntimeError: the process ends again and again without an image at hand.
        """
        progress = Progress()
        while True:
            try:
                for message in self._talk(shard, progress):
                    self._take(message, progress)
                return progress.lines
            except TimeoutError:
                self.close()
                self._hung(progress)
            except (EOFError, ConnectionError):
                code = self.close()
                self._died(progress, code)

    def _talk(self, shard: Shard, progress: Progress) -> Iterator[tuple[Any, ...]]:
        """What the process says until the shard is done.

        Raises:
            TimeoutError: it says nothing for too long.
            ConnectionError, EOFError: it has ended.
        """
        pipe = self._connected()
        progress.at_hand = None
        pipe.send((shard, len(progress.lines), progress.alone))
        while True:
            if not pipe.poll(self.seconds if progress.at_hand else SILENT_S):
                raise TimeoutError
            message = pipe.recv()
            if message[0] == "done":
                return
            if message[0] == "error":
                raise message[1]
            yield message

    def _take(self, message: tuple[Any, ...], progress: Progress) -> None:
        if message[0] == "at":
            progress.at_hand, progress.name = message[1], message[2]
        else:
            progress.lines += message[1]
            progress.at_hand, progress.lost = None, 0

    def _hung(self, progress: Progress) -> None:
        if progress.at_hand is None:
            raise RuntimeError(f"nothing was heard for {SILENT_S:g} s while images were fetched; start again")
        why = f"no answer within {self.seconds:g} s; look at this file"
        self._suspect(progress, progress.hangs, HANGS, why)

    def _died(self, progress: Progress, code: int) -> None:
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if progress.at_hand is None:
            progress.lost += 1
            if progress.lost >= LOST:
                raise RuntimeError(f"the process that answers ended {LOST} times before any image ({how})")
            return
        self._suspect(
            progress, progress.deaths, DEATHS, f"it ends the process that answers ({how}); look at this file"
        )

    def _suspect(self, progress: Progress, counts: Counter[int], most: int, why: str) -> None:
        """Hold an image that was alone for the culprit after some times; several are given one at a time."""
        assert progress.at_hand is not None
        first, after = progress.at_hand
        if after - first > 1:
            progress.alone = True
            return
        counts[first] += 1
        if counts[first] >= most:
            progress.lines.append({"path": progress.name, "error": why})

    def _connected(self) -> Connection[Any, Any]:
        if self._pipe is None:
            ours, theirs = Pipe()
            environment = dict(os.environ)
            paths = [str(CHECKOUT), *filter(None, [environment.get("PYTHONPATH")])]
            environment |= {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
            environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "apps.engine.scale.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            theirs.close()
            self._pipe = ours
            ours.send(self.answers)
        return self._pipe

    def close(self) -> int:
        """End the process; its exit code."""
        process, self._process = self._process, None
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()
        if process is None:
            return 0
        if process.poll() is None:
            try:
                process.wait(0.2)  # it ends by itself where it waits for the next shard, or has just died
            except subprocess.TimeoutExpired:
                process.kill()
        return process.wait()
