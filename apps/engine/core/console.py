"""What a person sees while work goes on: words and a bar on stderr, nothing on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from datasets.outside import shortened

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress, ProgressColumn, TaskID
    from rich.table import Table

    from apps.engine.core.live import TrainingView
    from apps.engine.core.metrics import MetricTable

Update = Callable[[int, str], None]
_failed: list[str] = []  # lines on outputs that are not there, of the command under way


def quantity(number: int, noun: str) -> str:
    """``1 photo``, ``2 photos``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class Console:
    """Words and progress on stderr; a bar on a terminal, a line a stage elsewhere.

    rich is imported where it draws: for a command that says a line it would be a tenth of its time.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.view: TrainingView | None = None

    @cached_property
    def console(self) -> RichConsole:
        """rich's."""
        from rich.console import Console as RichConsole

        return RichConsole(stderr=True, quiet=self.quiet, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One line."""
        if not self.quiet:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def warn(self, text: str) -> None:
        """One line that stands out on a terminal."""
        text = shortened(text)
        if not sys.stderr.isatty():
            self.say(text)
            return
        from rich.markup import escape

        self.console.print(f"[yellow]{escape(text)}[/yellow]")

    def fail(self, text: str) -> None:
        """One line on an output that could not be written, where the rest of the answer stands.

        The command line ends with 1 after its answer; see :func:`failed`.
        """
        _failed.append(text)
        self.warn(f"error: {text}")

    @contextmanager
    def downloads(self) -> Iterator[Callable[[str, int, int | None], None]]:
        """A bar a download; call the update with its name, the bytes done and, if known, in all."""
        from rich.markup import escape
        from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

        with self._bars(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) as progress:
            tasks: dict[str, TaskID] = {}

            def update(name: str, done: int, total: int | None) -> None:
                if name not in tasks:
                    tasks[name] = progress.add_task(escape(name), total=total)
                progress.update(tasks[name], completed=done, total=total)

            yield update

    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Update]:
        """A bar over ``total`` steps; call the update with the steps done and a few words."""
        if self.view is not None:
            with self.view.stage(label, total) as update:
                yield update
            return
        from rich.markup import escape
        from rich.progress import MofNCompleteColumn, TextColumn, TimeRemainingColumn

        words = TextColumn("{task.fields[words]}")
        with self._bars(MofNCompleteColumn(), TimeRemainingColumn(), words) as progress:
            task = progress.add_task(escape(label), total=total, words="")
            yield lambda done, words: progress.update(task, completed=done, words=escape(words))

    def _bars(self, *columns: ProgressColumn) -> Progress:
        """Bars between names and ``columns``; drawn on a terminal alone, and gone at the end."""
        from rich.progress import BarColumn, Progress, TextColumn

        return Progress(
            TextColumn("{task.description}"), BarColumn(), *columns, console=self.console, transient=True,
            disable=not self.console.is_terminal,
        )

    @contextmanager
    def training(
        self, total_epochs: int, steps_per_epoch: int, start_step: int = 0, *, metric: str = "val/top1",
        history: Sequence[Mapping[str, Any]] = (), table: MetricTable | None = None,
    ) -> Iterator[TrainingView]:
        """A view of a whole training: drawn live on a terminal, a line an epoch elsewhere.

        Words said meanwhile stand above it; a :meth:`track` meanwhile is a line in it.

        Args:
            total_epochs: planned in all.
            steps_per_epoch: 1 up.
            start_step: steps that were done before, in a run that goes on.
            metric: the figure to name the best epoch by.
            history: rows of the epochs before, as in ``metrics.jsonl``.
            table: of the metrics; without it no best epoch is named.
        """
        from rich.live import Live

        from apps.engine.core.live import TrainingView

        self.view = TrainingView(
            self.say, total_epochs, steps_per_epoch, start_step, metric=metric, history=history, table=table
        )
        try:
            if not self._can_draw():
                yield self.view
                return
            with Live(
                self.view, console=self.console, auto_refresh=False, redirect_stdout=False
            ) as self.view.live:
                yield self.view
        finally:
            self.view = None

    def _can_draw(self) -> bool:
        """Whether stderr is a terminal that can go back over its lines, whatever FORCE_COLOR says."""
        console = self.console
        return (
            console.is_terminal and console.file.isatty() and not console.is_dumb_terminal
            and not console.quiet
        )


def failed() -> bool:
    """Whether an output is not there that was to be, since this was asked last."""
    result = bool(_failed)
    _failed.clear()
    return result


def terminal_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Container[int], *, title: str = "",
    unbroken: Container[int] = (),
) -> Table:
    """A table for rich's console, its cells as they are: no markup in them.

    Args:
        head: titles of the columns.
        rows: cells, as many as there are columns.
        numeric: columns to align to the right, from 0.
        title: above the table.
        unbroken: columns that do not wrap.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title) or None, title_justify="left")
    for at, name in enumerate(head):
        table.add_column(
            escape(name), justify="right" if at in numeric else "left", overflow="fold",
            no_wrap=at in unbroken,
        )
    for row in rows:
        table.add_row(*map(escape, row))
    return table
