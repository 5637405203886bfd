"""The live view of a training: what is drawn, and the clock behind the time that is left."""

from __future__ import annotations

import math
import re
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from apps.engine.core.metrics import MetricTable, best_of, written

BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#%"
CURVE_POINTS = 256  # kept of a curve, however long the training
EPOCHS_SHOWN = 5
WIDEST = 100  # columns; a longer line is hard to read
OTHER_LINES = 10  # of the panel, beside its table
REDRAW_SECONDS = 0.25

Row = Mapping[str, Any]


class Curve:
    """A curve in bounded memory: when it is full, neighbours are averaged."""

    def __init__(self, points: int = CURVE_POINTS) -> None:
        self.points, self.each = points, 1
        self.means: list[float] = []
        self._sum, self._count = 0.0, 0

    def add(self, value: float) -> None:
        """One more value; what is not finite is left out."""
        if not math.isfinite(value):
            return
        self._sum, self._count = self._sum + value, self._count + 1
        if self._count < self.each:
            return
        self.means.append(self._sum / self._count)
        self._sum, self._count = 0.0, 0
        if len(self.means) >= self.points:
            pairs = zip(self.means[::2], self.means[1::2], strict=False)
            self.means = [(a + b) / 2 for a, b in pairs]
            self.each *= 2

    def drawn(self, width: int, blocks: str = BLOCKS) -> str:
        """The curve in at most ``width`` characters, lowest to highest block."""
        if not self.means or width < 1:
            return ""
        per = math.ceil(len(self.means) / width)
        cut = [self.means[at:at + per] for at in range(0, len(self.means), per)]
        values = [sum(part) / len(part) for part in cut]
        low, high = min(values), max(values)
        scale = (len(blocks) - 1) / (high - low) if high > low else 0.0
        return "".join(blocks[round((value - low) * scale)] for value in values)


class Pace:
    """How long a step takes and what an epoch takes beside its steps; from the two, the time left.

    Args:
        total: steps of the whole training.
        per_epoch: steps of an epoch.
        start: steps done before.
    """

    def __init__(self, total: int, per_epoch: int, start: int) -> None:
        self.total, self.per_epoch, self.done = total, max(per_epoch, 1), start
        self.recent: deque[float] = deque(maxlen=200)
        self.beside = 0.0  # seconds in validation and the like, in all
        self.epochs = 0
        self._last: float | None = None

    def step(self, done: int, now: float) -> None:
        """``done`` steps are done at the time ``now`` in seconds."""
        if self._last is not None and done > self.done:
            self.recent.append((now - self._last) / (done - self.done))
        self.done, self._last = done, now

    def stage(self, seconds: float) -> None:
        """Validation or the like took so long; it is no part of a step."""
        self.beside += seconds
        if self._last is not None:
            self._last += seconds

    def left(self) -> float | None:
        """Seconds to the end; None before two steps were seen."""
        if not self.recent:
            return None
        steps = max(self.total - self.done, 0)
        beside = self.beside / self.epochs if self.epochs else 0.0
        return steps * sum(self.recent) / len(self.recent) + beside * math.ceil(steps / self.per_epoch)


def memory() -> str:
    """This process's memory now and at its peak, in a few words."""
    table = Path("/proc/self/status")
    if table.is_file():  # the peak of getrusage counts that of a parent which forked, too
        text = table.read_text(encoding="utf-8", errors="replace")
        kib = dict(re.findall(r"Vm(HWM|RSS):\s*(\d+) kB", text))
        return f"memory {int(kib['RSS']) // 1024} MiB, at most {int(kib['HWM']) // 1024}"
    unit = 1 if sys.platform == "darwin" else 1024
    return f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20} MiB"


def clock(seconds: float | None) -> str:
    """``0:12:33``, or a dash."""
    return "-" if seconds is None else str(timedelta(seconds=round(seconds)))


def main_figure(row: Row, wanted: str) -> str | None:
    """The name of the metric to compare by: the one wanted, or the first of ``val/`` that is there."""
    if wanted in row:
        return wanted
    names = sorted((name for name in row if name.startswith("val/")), key=lambda name: "loss" in name)
    return names[0] if names else None


def epoch_line(row: Row, epochs: int, words: str = "") -> str:
    """An epoch in one line, for where there is no terminal."""
    parts = [f"loss {row['train/loss']:.3f}"] if "train/loss" in row else []
    parts += [f"{name.replace('/', ' ')} {written(row[name])}" for name in row if name.startswith("val/")]
    rate = f"{row['photos/s']:.0f} photos/s" if "photos/s" in row else words
    return f"epoch {row['epoch']}/{epochs}: " + ", ".join([*parts, *([rate] if rate else [])])


class TrainingView:
    """Draws a training; a line an epoch where nothing can be drawn over."""

    def __init__(
        self, say: Callable[[str], None], epochs: int, per_epoch: int, start: int, *,
        metric: str = "val/top1", history: Sequence[Row] = (), now: Callable[[], float] = time.monotonic,
        table: MetricTable | None = None,
    ) -> None:
        self.table = table
        self.say, self.epochs, self.metric, self.now = say, epochs, metric, now
        self.pace = Pace(epochs * per_epoch, per_epoch, start)
        self.rows: list[Row] = list(history)
        self.curve, self.loss = Curve(), math.nan
        self.words, self.stage_words = "", ""
        self.terms: Mapping[str, float] = {}
        self.begun, self.drawn_at = now(), -math.inf
        self.live: Live | None = None
        self.width = 0

    def step(self, done: int, words: str, terms: Mapping[str, float]) -> None:
        """A step is done.

        Args:
            done: steps done in the whole training, those before a resume included.
            words: how fast it goes, in a few words.
            terms: the loss terms of this step; ``loss`` is their sum, or they are summed here.
        """
        self.pace.step(done, self.now())
        self.words, self.terms = words, terms
        self.loss = terms["loss"] if "loss" in terms else sum(terms.values())
        self.curve.add(self.loss)
        self.draw()

    def epoch(self, row: Row) -> None:
        """An epoch is done and evaluated; ``row`` as in ``metrics.jsonl``."""
        self.rows.append(row)
        self.pace.epochs += 1
        if self.live is None:
            self.say(epoch_line(row, self.epochs, self.words.split(",")[0]))
        self.draw(at_once=True)

    @contextmanager
    def stage(self, label: str, total: int) -> Iterator[Callable[[int, str], None]]:
        """Validation or the like inside of the training; call the update with the steps done."""
        begun = self.now()

        def update(done: int, words: str) -> None:
            self.stage_words = f"{label} {done}/{total}" + (f", {words}" if words else "")
            self.draw()

        try:
            update(0, "")
            yield update
        finally:
            self.stage_words = ""
            self.pace.stage(self.now() - begun)
            self.draw()

    def draw(self, *, at_once: bool = False) -> None:
        """Draw anew, four times a second at most: there is no thread that could hold a lock over a fork."""
        if self.live is None or (not at_once and self.now() - self.drawn_at < REDRAW_SECONDS):
            return
        self.drawn_at = self.now()
        console = self.live.console
        if console.width < self.width:  # old lines wrap now: their number is no longer known
            console.clear()
        self.width = console.width
        self.live.refresh()

    def __rich_console__(self, console: RichConsole, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width - 2, WIDEST)  # two columns for the ^C that a terminal echoes
        lines = list(self._lines(width - 4, console.height, options.ascii_only))
        yield Panel(Group(*lines), title="training", width=width)

    def _lines(self, width: int, height: int, ascii_only: bool) -> Iterator[Text | Table]:
        """What stands inside the frame, ``width`` columns wide."""
        pace = self.pace
        epoch = min(pace.done // pace.per_epoch + 1, self.epochs)
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(no_wrap=True, overflow="crop")
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, overflow="crop")
        bar.add_row(
            Text(f"epoch {epoch}/{self.epochs}"),
            ProgressBar(total=max(pace.total, 1), completed=min(pace.done, pace.total)),
            Text(f"{pace.done}/{pace.total}"),
        )
        yield bar
        terms = [f"{n} {written(v)}" for n, v in self.terms.items() if n != "loss"]
        parts = [
            self.stage_words or self.words, *(terms if len(terms) > 1 else []), f"ETA {clock(pace.left())}",
            f"elapsed {clock(self.now() - self.begun)}", memory(),
        ]
        yield from (Text(line, no_wrap=True) for line in flow([part for part in parts if part], width))
        if self.curve.means:
            value = written(self.loss)
            blocks = ASCII_BLOCKS if ascii_only else BLOCKS
            curve = self.curve.drawn(width - len(value) - 6, blocks)
            yield Text.assemble("loss ", (curve, "cyan"), f" {value}", no_wrap=True)
        yield from self._metrics_lines(width, height)

    def _metrics_lines(self, width: int, height: int) -> Iterator[Text]:
        """The last epochs, and the best so far."""
        if not self.rows:
            return
        figure = main_figure(self.rows[-1], self.metric)
        shown = self.rows[-max(1, min(EPOCHS_SHOWN, height - OTHER_LINES)):]
        heading, *lines = columns(shown, figure, width)
        yield Text(heading, style="bold", no_wrap=True)
        yield from (Text(line, no_wrap=True) for line in lines)
        results = [row for row in self.rows if isinstance(row.get(figure or ""), int | float)]
        values = [float(row[figure or ""]) for row in results]
        higher = self.table.direction(figure) if self.table and figure else None
        if figure and higher is not None and not all(map(math.isnan, values)):
            at = best_of(values, figure, higher_is_better=higher)
            best = f"best {figure} {written(values[at])} at epoch {results[at].get('epoch', '?')}"
            yield Text(best, style="green", no_wrap=True)


def flow(parts: Sequence[str], width: int, gap: str = "   ") -> list[str]:
    """Words into as few lines as hold them; what is wider than a line is cut."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(gap) + len(part) <= width:
            lines[-1] += gap + part
        else:
            lines.append(part[:width])
    return lines


def columns(rows: Sequence[Row], figure: str | None, width: int) -> list[str]:
    """Rows as aligned columns under a heading; as many as fit, the weightiest first."""
    names = {name for row in rows for name in row if isinstance(row[name], int | float)}
    first = [name for name in ("epoch", figure, "train/loss", "val/loss") if name in names]
    rest = [name for row in rows[-1:] for name in row if name in names and name not in first]
    lines = [""] * (len(rows) + 1)
    for name in dict.fromkeys([*(item for item in first if item), *rest]):
        cells = [name, *(written(row[name]) if name in row else "-" for row in rows)]
        wide = max(map(len, cells))
        if len(lines[0]) + wide + 2 > width:
            continue
        gap = "  " if lines[0] else ""
        lines = [f"{line}{gap}{cell:>{wide}}" for line, cell in zip(lines, cells, strict=True)]
    return lines
