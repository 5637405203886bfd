"""A polite end: a signal is noted, the step is ended and kept, then the training stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """The training was asked to stop and what it learned is kept; ``code`` is the exit code."""

    def __init__(self, number: int, text: str) -> None:
        self.code = 128 + number
        super().__init__(text)


@dataclass
class SignalHandler:
    """Whether a signal has asked for the end, and which one; 0 for none."""

    number: int = 0
    _kept: dict[int, Any] = field(default_factory=dict)

    @contextmanager
    def listening(self) -> Iterator[SignalHandler]:
        """Note SIGINT and SIGTERM instead of dying of them; a second one ends the process at once."""
        if threading.current_thread() is not threading.main_thread():
            yield self  # only the main thread may listen; elsewhere signals do as they always do
            return
        self._kept = {item: signal.signal(item, self._note) for item in SIGNALS}
        try:
            yield self
        finally:
            for name, handler in self._kept.items():
                signal.signal(name, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number
