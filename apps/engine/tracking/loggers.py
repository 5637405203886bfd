"""What others can watch a training with: rows as JSON lines and CSV, and the writers of others."""

from __future__ import annotations

import csv
import io
import json
import numbers
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from apps.engine.core.files import json_line, write_text
from apps.engine.tracking.writers import WRITERS, Writer, require_writers
from datasets.outside import whole_file

METRICS, TABLE = "metrics.jsonl", "metrics.csv"
STEPS = "steps/"  # before the names of figures of single steps, so that an epoch's means stand apart

Row = dict[str, Any]


def read_rows(run: Path) -> tuple[list[Row], list[str]]:
    """The rows of ``metrics.jsonl``, and a sentence on each line that is none.

    A process that is killed while it writes leaves half a line behind; the others still count.

    Returns:
        Rows oldest first; none where there is no such file.
    """
    path = run / METRICS
    rows: list[Row] = []
    complaints: list[str] = []
    text = whole_file(path).decode(errors="replace").replace("\r\n", "\n") if path.exists() else ""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            complaints.append(f"line {number} of {path} is damaged and left out: {line[:40]!r}")
    return rows, complaints


def truncate_metrics(run: Path, epoch: int) -> list[str]:
    """Keep the rows of ``metrics.jsonl`` up to an epoch, for a run that goes on from there.

    Args:
        run: the run's folder.
        epoch: the last epoch whose row stays, 0 up; rows without an epoch go.

    Returns:
        A sentence on each damaged line that was left out.
    """
    rows, complaints = read_rows(run)
    kept = [row for row in rows if _epoch(row) is not None and _epoch(row) <= epoch]
    if complaints or len(kept) < len(rows):
        write_text(run / METRICS, "".join(json_line(row) + "\n" for row in kept))
    return complaints


def _epoch(row: Row) -> Any:
    result = row.get("epoch")
    return result if isinstance(result, numbers.Real) else None


def write_table(run: Path) -> None:
    """Write ``metrics.csv`` anew from ``metrics.jsonl``; whole, or as it was."""
    rows, _ = read_rows(run)
    write_text(run / TABLE, as_csv(rows))


def as_csv(rows: Iterable[Row]) -> str:
    """The rows as CSV: ``epoch`` first, then each name where it first occurs; a missing one stays empty."""
    rows = list(rows)
    names = dict.fromkeys(["epoch", *(name for row in rows for name in row)])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, str | int | float) else json.dumps(value)


class Watch:
    """Writers beside a training; of many processes only one has it.

    ``metrics.jsonl`` is the truth: append a row there first (``append_metrics``), then call :meth:`epoch`.

    Args:
        run: the run's folder; it must be there.
        writers: names of those that take the figures, too; see :mod:`apps.engine.tracking.writers`.
        csv: keep ``metrics.csv`` beside ``metrics.jsonl``.

    Raises:
        ValueError: the package of a writer is missing.
    """

    def __init__(self, run: Path, *, writers: tuple[str, ...] = (), csv: bool = True) -> None:
        self.run, self.writers, self.csv = run, writers, csv
        self.last_step = 0
        self._open: list[Writer] = []
        require_writers(writers)

    def resume(self, step: int, epoch: int) -> list[str]:
        """Go on from a checkpoint: what was written after it is taken back, so that nothing stands twice.

        Args:
            step: how many steps the checkpoint has seen; 0 for a new run.
            epoch: how many whole epochs.

        Returns:
            A sentence on each damaged line of ``metrics.jsonl`` that was left out.
        """
        if self._open:
            raise RuntimeError(f"resume({step}, {epoch}) comes before anything is written, not after")
        complaints = truncate_metrics(self.run, epoch)
        self.last_step = step
        if self.csv and (self.run / METRICS).is_file():
            write_table(self.run)
        return complaints

    def step(self, number: int, values: Mapping[str, float]) -> None:
        """Figures of one step, under ``steps/NAME``.

        Args:
            number: of the step in the whole training, 1 up.
            values: name -> a number; ``train/`` before a name is dropped.
        """
        if self.writers:
            self._scalars({STEPS + name.removeprefix("train/"): v for name, v in values.items()}, number)
        self.last_step = number

    def epoch(self, row: Mapping[str, Any], *, step: int | None = None) -> None:
        """Figures of an epoch whose row is in ``metrics.jsonl`` already; all is on disk after it.

        Args:
            row: as in ``metrics.jsonl``; what is no number is left out of the event files.
            step: how many steps were done at its end; without it that of the last :meth:`step`.
        """
        if self.csv:
            write_table(self.run)
        if self.writers:
            self._scalars(row, self.last_step if step is None else step)
            self.flush()

    def end(
        self, metrics: Mapping[str, float], *, texts: Mapping[str, str] | None = None,
        figures: Mapping[str, Path] | None = None,
    ) -> None:
        """What stands at the end: ``final/NAME`` figures, texts in Markdown, pictures of the report.

        Args:
            metrics: of the finished model.
            texts: name -> Markdown, such as the settings.
            figures: name -> a picture's file.
        """
        if not self.writers:
            return
        self._scalars({f"final/{name}": value for name, value in metrics.items()}, self.last_step)
        for writer in self._opened():
            for name, text in (texts or {}).items():
                writer.text(name, text, self.last_step)
            for name, path in (figures or {}).items():
                writer.picture(name, path, self.last_step)
        self.flush()

    def flush(self) -> None:
        """Put on disk what was reported so far; call it before a checkpoint is written."""
        for writer in self._open:
            writer.flush()

    def close(self) -> None:
        """Flush and close all writers; nothing happens the second time."""
        writers, self._open = self._open, []
        for writer in writers:
            writer.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _scalars(self, values: Mapping[str, Any], step: int) -> None:
        scalars = {
            name: float(value) for name, value in values.items()
            if isinstance(value, numbers.Real) and not isinstance(value, bool) and name != "epoch"
        }
        for writer in self._opened() if scalars else ():
            writer.scalars(scalars, step)

    def _opened(self) -> list[Writer]:
        """The writers, opened late: they begin with the step from which older ones do not count."""
        if not self._open:
            self._open = [WRITERS[name](self.run, self.last_step) for name in self.writers]
        return self._open


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings as a table in Markdown, for :meth:`Watch.end`."""
    lines = [f"| {name} | {value} |" for name, value in settings.items() if value is not None]
    return "\n".join(["| setting | value |", "| --- | --- |", *lines])
