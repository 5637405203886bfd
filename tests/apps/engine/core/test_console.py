"""The live view, as a person sees it: a real process on a real pseudo-terminal, its screen read back."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pyte
import pytest
from support import ROOT

from apps.classification.task import METRICS
from apps.engine.core.console import Console
from apps.engine.core.live import BLOCKS, Curve, Pace, clock, columns, epoch_line, flow, main_figure

PRELUDE = """
import fcntl, math, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job, as this may be, ignores it
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that the key Ctrl-C reaches this process
from apps.classification.task import METRICS
from apps.engine.core.console import Console

def gate():
    "Tell the test that there is something to see, and wait until it has looked."
    os.write(int(os.environ["READY"]), b".")
    os.read(int(os.environ["GO"]), 1)

screen = Console()
def row(epoch): return {"epoch": epoch, "train/loss": 2 / epoch, "val/loss": 3 / epoch,
                        "val/top1": 0.9 - abs(epoch - 2) / 10, "lr": 1e-4, "seconds": 2.5}
def steps(view, first, last):
    for done in range(first, last + 1):
        view.step(done, "36 photos/s", {"loss": 3 * math.exp(-done / 20)})
"""
THREE_EPOCHS = """
screen.say("words before")
with screen.training(4, 10, table=METRICS) as view:
    for epoch in (1, 2, 3):
        steps(view, 10 * epoch - 9, 10 * epoch)
        view.epoch(row(epoch))
    steps(view, 31, 32)
    view.draw(at_once=True)
    gate()
screen.say("words after")
"""


@dataclass
class Seen:
    """What a process left: its screen at each gate and at its end, and what it wrote."""

    at_gates: list[list[str]] = field(default_factory=list)
    end: list[str] = field(default_factory=list)
    raw: bytes = b""
    stdout: bytes = b""
    code: int = 0
    cursor_hidden: bool = True


class Terminal:
    """A pseudo-terminal with a process on it, and a screen that shows what a person would see."""

    def __init__(self, columns: int, rows: int) -> None:
        self.console = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.console)
        self.master, self.slave = pty.openpty()
        self.seen = Seen()
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.console.resize(rows, columns)

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.console.display]

    def wait_for(self, ready: int) -> bool:
        """Read until the process is at a gate; False where it has ended instead."""
        while True:
            self.read(0.05)
            if select.select([ready], [], [], 0)[0]:
                self.read(0.05)
                return bool(os.read(ready, 1))

    def read(self, seconds: float) -> None:
        """Take in what was written, until nothing comes for a moment."""
        while select.select([self.master], [], [], seconds)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # Linux: the other end is closed
                return
            self.seen.raw += data
            self.stream.feed(data)
            seconds = 0.02


def look(
    code: str, *, size: tuple[int, int] = (100, 24),
    at_gate: Callable[[Terminal, int], None] = lambda *_: None, **environment: str,
) -> Seen:
    """Run code on a terminal of (columns, rows); ``at_gate`` gets the terminal and the process's id."""
    terminal = Terminal(*size)
    (ready, tell), (wait, go) = os.pipe(), os.pipe()
    clean = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code], stdin=terminal.slave, stdout=subprocess.PIPE,
        stderr=terminal.slave, cwd=ROOT, pass_fds=(tell, wait), start_new_session=True,
        env=clean | {"TERM": "xterm-256color", "READY": str(tell), "GO": str(wait)} | environment,
    )
    for one in (terminal.slave, tell, wait):
        os.close(one)
    while terminal.wait_for(ready):
        terminal.seen.at_gates.append(terminal.lines())
        at_gate(terminal, process.pid)
        os.write(go, b".")
    seen = terminal.seen
    seen.stdout, _ = process.communicate(timeout=20)
    seen.code, seen.end = process.returncode, terminal.lines()
    seen.cursor_hidden = terminal.console.cursor.hidden
    for one in (terminal.master, ready, go):
        os.close(one)
    return seen


def panels(lines: list[str]) -> list[list[str]]:
    """The frames on a screen, each checked to be whole."""
    found = []
    for top, line in enumerate(lines):
        if line.startswith("╭"):
            bottom = next(at for at in range(top, len(lines)) if lines[at].startswith("╰"))
            frame = lines[top:bottom + 1]
            assert len({len(one) for one in frame}) == 1, "\n".join(frame)
            assert all(one.startswith("│") and one.endswith("│") for one in frame[1:-1]), "\n".join(frame)
            found.append([one.strip("│ ") for one in frame[1:-1]])
    return found


@pytest.mark.parametrize("columns", [40, 100])
def test_a_terminal_shows_where_the_training_stands(columns: int) -> None:
    seen = look(THREE_EPOCHS, size=(columns, 24))
    (panel,) = panels(seen.at_gates[0])
    text = "\n".join(panel)
    assert re.search(r"^epoch 4/4 .*━.* 32/40$", panel[0])
    assert "36 photos/s" in text
    assert re.search(r"ETA \d+:\d\d:\d\d", text)
    assert re.search(r"memory \d+ MiB", text)
    assert re.search(r"^loss █[▁-█]+▁ 0\.606$", text, re.MULTILINE)
    assert re.search(r"^epoch +val/top1 +train/loss", text, re.MULTILINE)
    assert re.search(r"^ *2 +0\.900 +1\.000", text, re.MULTILINE)
    assert "best val/top1 0.900 at epoch 2" in panel
    assert seen.code == 0
    assert seen.stdout == b""


def test_the_view_stays_when_it_ends_with_words_before_and_after() -> None:
    seen = look(THREE_EPOCHS)
    written = [line for line in seen.end if line]
    assert written[0] == "words before"
    assert written[-1] == "words after"
    assert len(panels(seen.end)) == 1
    assert not seen.cursor_hidden


def test_words_said_meanwhile_stand_above_and_stages_inside() -> None:
    seen = look("""
with screen.training(4, 10, table=METRICS) as view:
    steps(view, 1, 10)
    screen.warn("skipped: a photo")
    with screen.track("validation", 5) as update:
        update(3, "99 photos/s")
        view.draw(at_once=True)
        gate()
    view.epoch(row(1))
    gate()
""")
    during, after = seen.at_gates
    assert during[0] == "skipped: a photo"
    assert any("validation 3/5, 99 photos/s" in line for line in panels(during)[0])
    assert not any("validation" in line for line in panels(after)[0])


@pytest.mark.parametrize(("first", "second"), [
    ((100, 24), (40, 24)), ((40, 24), (100, 24)), ((90, 30), (50, 12)),
])
def test_a_window_that_changes_its_size_holds_one_whole_view(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    code = THREE_EPOCHS.replace("    gate()\n", "    gate()\n    view.draw(at_once=True)\n    gate()\n")
    seen = look(code, size=first, at_gate=lambda terminal, _: terminal.resize(*second))
    (panel,) = panels(seen.at_gates[1])
    assert "32/40" in panel[0]
    assert len(panels(seen.end)) == 1


def test_a_very_low_window_shows_the_top_and_does_not_scroll_away() -> None:
    """A view taller than the window would leave its first lines behind at every drawing."""
    again = "    for _ in range(30): view.draw(at_once=True)\n    gate()\n"
    code = THREE_EPOCHS.replace("    gate()\n", again)
    seen = look(code, size=(40, 7))
    assert [line[:1] for line in seen.at_gates[0]].count("╭") == 1
    assert seen.raw.count(b"words before") == 1
    assert "words after" in seen.end


def test_no_color_means_no_colour() -> None:
    coloured = re.compile(rb"\x1b\[[0-9;]*(?:3[0-9]|4[0-9]|9[0-7])[0-9;]*m")
    assert coloured.search(look(THREE_EPOCHS).raw)
    seen = look(THREE_EPOCHS, NO_COLOR="1")
    assert not coloured.search(seen.raw)
    assert len(panels(seen.at_gates[0])) == 1


def test_a_terminal_without_unicode_gets_plain_characters() -> None:
    seen = look(THREE_EPOCHS, size=(40, 24), PYTHONIOENCODING="ascii")
    assert seen.raw.isascii()
    assert b"\\u" not in seen.raw
    assert any(line.startswith("| loss %") for line in seen.at_gates[0])


def test_memory_is_of_this_process_not_of_the_one_that_started_it() -> None:
    """getrusage's peak is inherited from a parent that forked; here that is a large test process."""
    held = bytearray(os.urandom(2**20) * 200)
    seen = look(THREE_EPOCHS)
    (now, peak), = re.findall(r"memory (\d+) MiB, at most (\d+)", "\n".join(seen.at_gates[0]))
    assert len(held) == 200 * 2**20
    assert 5 < int(now) <= int(peak) < 100


@pytest.mark.parametrize("how", ["key", "signal"])
def test_ctrl_c_leaves_a_whole_view_and_a_cursor(how: str) -> None:
    def interrupt(terminal: Terminal, pid: int) -> None:
        if how == "key":
            os.write(terminal.master, b"\x03")
        else:
            os.kill(pid, signal.SIGINT)

    code = "try:\n" + "".join(f"    {line}\n" for line in THREE_EPOCHS.splitlines()).replace(
        "gate()", "gate(); import time; time.sleep(20)"
    ) + "except KeyboardInterrupt:\n    screen.say('stopped')\n    sys.exit(130)\n"
    seen = look(code, at_gate=interrupt)
    assert seen.code == 130
    assert not seen.cursor_hidden
    assert len(panels(seen.end)) == 1
    assert [line for line in seen.end if line][-1] == "stopped"


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": "unknown"}])
def test_a_terminal_that_cannot_go_back_gets_a_line_an_epoch(environment: dict[str, str]) -> None:
    lines = [line for line in look(THREE_EPOCHS, **environment).end if line]
    assert lines[1:4] == [f"epoch {n}/4: loss {2 / n:.3f}, val loss {3 / n:.3f}, val top1 "
                          f"{0.9 - abs(n - 2) / 10:.3f}, 36 photos/s" for n in (1, 2, 3)]


@pytest.mark.parametrize("force", ["", "1"])
def test_a_file_gets_a_line_an_epoch_and_no_escape_codes(force: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FORCE_COLOR is set on many build machines; their logs are no place for a view that is drawn over."""
    monkeypatch.setenv("FORCE_COLOR", force)
    err, out = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
        console = Console()
        with console.training(2, 3) as view:
            for done in range(1, 4):
                view.step(done, "36 photos/s, loss 1.2", {"loss": 1.2})
            with console.track("validation", 2) as update:
                update(1, "")
            view.epoch({"epoch": 1, "train/loss": 1.2, "val/top1": 0.5})
    assert err.getvalue() == "epoch 1/2: loss 1.200, val top1 0.500, 36 photos/s\n"
    assert out.getvalue() == ""


@pytest.fixture
def console() -> Iterator[Console]:
    with contextlib.redirect_stderr(io.StringIO()):
        yield Console()


def test_a_bar_shows_steps_and_words_and_is_gone_at_the_end() -> None:
    seen = look("""
import time
with screen.track("[b]reading", 4) as update:
    update(3, "photos")
    time.sleep(0.5)
    gate()
with screen.downloads() as update:
    update("[b]a.bin", 2_000_000, 4_000_000)
    time.sleep(0.5)
    gate()
screen.say("the end")
""")
    steps, download = (next(line for line in lines if line) for lines in seen.at_gates)
    assert re.fullmatch(r"\[b\]reading .+ 3/4 -:--:-- photos", steps)
    assert re.fullmatch(r"\[b\]a.bin .+ 2.0/4.0 MB .+", download)
    assert [line for line in seen.end if line] == ["the end"]
    assert (seen.stdout, seen.cursor_hidden) == (b"", False)


def test_a_bar_writes_nothing_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    with console.track("reading", 4) as update:
        update(3, "photos")
    with console.downloads() as update_download:
        update_download("a.bin", 2, None)
        update_download("a.bin", 4, 4)
    assert capsys.readouterr() == ("", "")


def test_an_error_in_a_training_comes_through_and_the_screen_goes_on(console: Console) -> None:
    with pytest.raises(FloatingPointError), console.training(1, 1):
        raise FloatingPointError
    assert console.view is None
    with console.track("after", 1) as update:
        update(1, "")


def test_the_view_runs_no_thread_of_its_own() -> None:
    """Reading processes are forked from the training: a lock that a thread holds then is held for ever."""
    seen = look("""
import threading
with screen.training(1, 10) as view:
    steps(view, 1, 5)
    assert threading.active_count() == 1, threading.enumerate()
""")
    assert seen.code == 0, seen.end


def test_a_resumed_training_shows_the_epochs_before(console: Console) -> None:
    history = [{"epoch": 1, "val/top1": 0.7}, {"epoch": 2, "val/top1": 0.6}]
    with console.training(4, 10, 20, history=history, table=METRICS) as view:
        drawn = [str(one) for one in view._metrics_lines(60, 24)]
        assert view.pace.done == 20
    assert [one.split() for one in drawn] == [
        ["epoch", "val/top1"], ["1", "0.700"], ["2", "0.600"],
        ["best", "val/top1", "0.700", "at", "epoch", "1"],
    ]


def test_a_figure_that_is_no_number_is_never_the_best(console: Console) -> None:
    nan = float("nan")
    history = [{"epoch": 1, "val/loss": nan}]
    with console.training(4, 10, metric="val/loss", history=history, table=METRICS) as view:
        assert not [one for one in view._metrics_lines(60, 24) if "best" in str(one)]
        view.epoch({"epoch": 2, "val/loss": 0.5})
        view.epoch({"epoch": 3, "val/loss": 0.9})
        assert "best val/loss 0.500 at epoch 2" in [str(one) for one in view._metrics_lines(60, 24)]


def test_a_curve_stays_small_and_keeps_its_shape() -> None:
    curve = Curve(points=64)
    for value in range(100_000):
        curve.add(-value)
    curve.add(float("nan"))
    assert len(curve.means) < 64
    assert curve.drawn(8) == BLOCKS[::-1]
    assert curve.means == sorted(curve.means, reverse=True)


@pytest.mark.parametrize(("values", "drawn"), [
    ([], ""), ([2.0], "▁"), ([1.0, 1.0], "▁▁"), ([0.0, 7.0], "▁█"),
])
def test_a_short_or_level_curve_is_drawn_too(values: list[float], drawn: str) -> None:
    curve = Curve()
    for value in values:
        curve.add(value)
    assert curve.drawn(10) == drawn
    assert curve.drawn(0) == ""


def test_the_time_left_counts_steps_and_what_comes_between_epochs() -> None:
    """Two epochs of ten steps of 2 s, five seconds of validation each: 20 steps left are 40 s and 10 s."""
    pace, now = Pace(total=40, per_epoch=10, start=0), 100.0
    assert pace.left() is None
    for done in range(1, 21):
        now += 2.0
        pace.step(done, now)
        if done % 10 == 0:
            now += 5.0
            pace.stage(5.0)
            pace.epochs += 1
    assert pace.left() == pytest.approx(50.0)


def test_the_time_left_of_a_resumed_run_does_not_count_steps_that_were_done_before() -> None:
    pace = Pace(total=1000, per_epoch=100, start=900)
    pace.step(901, 10.0)
    pace.step(903, 14.0)
    assert pace.left() == pytest.approx(2.0 * 97)
    pace.step(1200, 700.0)
    assert pace.left() == 0.0


def test_words_flow_into_lines_and_too_long_ones_are_cut() -> None:
    assert flow(["aaa", "bbb", "ccc"], 9) == ["aaa   bbb", "ccc"]
    assert flow(["abcdefghij"], 4) == ["abcd"]
    assert flow([], 4) == []


def test_columns_that_do_not_fit_are_left_out_the_weightiest_stay() -> None:
    rows = [{"epoch": 9, "lr": 0.5, "val/top1": 0.25}, {"epoch": 10, "lr": 0.5, "note": "x"}]
    assert columns(rows, "val/top1", 40) == [
        "epoch  val/top1     lr", "    9     0.250  0.500", "   10         -  0.500"
    ]
    assert columns(rows, "val/top1", 17) == ["epoch  val/top1", "    9     0.250", "   10         -"]


def test_the_figure_to_judge_by_is_the_wanted_one_or_another_of_validation() -> None:
    assert main_figure({"val/loss": 1, "val/top1": 1}, "val/top1") == "val/top1"
    assert main_figure({"val/loss": 1, "val/median_km": 1}, "val/top1") == "val/median_km"
    assert main_figure({"val/loss": 1}, "val/top1") == "val/loss"
    assert main_figure({"train/loss": 1}, "val/top1") is None


def test_an_epochs_line_and_a_clock() -> None:
    row = {"epoch": 3, "val/median_km": 12.5, "photos/s": 41.7}
    assert epoch_line(row, 9) == "epoch 3/9: val median_km 12.5, 42 photos/s"
    assert clock(3725.4) == "1:02:05"
    assert clock(None) == "-"
