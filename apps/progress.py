"""What a person sees while work goes on: words and a bar on stderr, nothing on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

Update = Callable[[int, str], None]


class Screen:
    """Words and progress on stderr; a bar on a terminal, a line a stage elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(escape(text))

    def warn(self, text: str) -> None:
        """One line that stands out."""
        self.console.print(f"[yellow]{escape(text)}[/yellow]")

    @contextmanager
    def downloads(self) -> Iterator[Callable[[str, int, int | None], None]]:
        """A bar a download; call the update with its name, the bytes done and, if known, in all."""
        if not self.console.is_terminal:
            yield lambda _name, _done, _total: None
            return
        columns = (
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            tasks: dict[str, TaskID] = {}

            def update(name: str, done: int, total: int | None) -> None:
                if name not in tasks:
                    tasks[name] = progress.add_task(escape(name), total=total)
                progress.update(tasks[name], completed=done, total=total)

            yield update

    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Update]:
        """A bar over ``total`` steps; call the update with the steps done and a few words."""
        if not self.console.is_terminal:
            yield lambda _done, _words: None
            return
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(escape(label), total=total, words="")
            yield lambda done, words: progress.update(task, completed=done, words=escape(words))
