"""Slices in turn: what is timed, how it is told, and what is made of it."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from benchmarks.gate import Gate
from benchmarks.rounds import Process, Record, Side, Slice, interleave, rates, ratios, spread

MATRIX = Side("matrix", core=0)


def test_ratios_of_hand_made_slices_are_taken_round_by_round_before_the_median() -> None:
    """In the last round all was ten times slower; the ratio of that round is what it was."""
    ours = Record([Slice(60, 3.0, 2.0), Slice(60, 2.0, 2.0), Slice(60, 30.0, 20.0)])
    timm = Record([Slice(60, 6.0, 5.0), Slice(60, 6.0, 4.0), Slice(60, 60.0, 60.0)])
    assert ratios(ours, timm, "wall") == pytest.approx((2.0, 2.0, 3.0))
    assert ratios(ours, timm, "cpu") == pytest.approx((2.5, 2.0, 3.0))
    assert rates(ours, "wall") == pytest.approx((20.0, 2.0, 30.0))
    assert ratios(timm, timm, "cpu") == (1.0, 1.0, 1.0)


def test_sides_that_did_unlike_work_are_compared_by_their_rate() -> None:
    """A last batch of fewer photos must not count as speed."""
    assert ratios(Record([Slice(48, 3.0, 3.0)]), Record([Slice(64, 8.0, 8.0)]), "wall") == (2.0, 2.0, 2.0)


def test_the_spread_is_median_least_and_greatest() -> None:
    assert spread([4.0, 1.0, 9.0]) == (4.0, 1.0, 9.0)
    assert spread([2.0]) == (2.0, 2.0, 2.0)


def test_sides_of_unlike_numbers_of_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        ratios(Record([Slice(1, 1, 1)]), Record([Slice(1, 1, 1), Slice(1, 1, 1)]), "wall")


def test_a_gate_lets_a_slice_go_over_the_end_of_an_epoch_and_counts_its_photos() -> None:
    answers = io.StringIO()
    gate = Gate(io.StringIO("2\n3\n\n"), answers)
    seen: list[tuple[int, str]] = []
    with pytest.raises(SystemExit):
        for epoch in range(10):
            for photos in gate.through(["four", "two"], lambda one: {"four": 4.0, "two": 2.0}[one]):
                seen.append((epoch, photos))
    told = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert seen == [(0, "four"), (0, "two"), (1, "four"), (1, "two"), (2, "four")]
    assert [one["amount"] for one in told] == [6.0, 10.0]
    assert all(one["wall"] > 0 and one["cpu"] >= 0 and one["memory"] > 1e6 for one in told)


def test_a_slice_holds_both_the_reading_and_the_work_of_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps by 10 s while a batch is read, and by 1 s while it is learned."""
    now = [0.0]
    monkeypatch.setattr("benchmarks.gate.time.perf_counter", lambda: now[0])

    def read() -> object:
        while True:
            now[0] += 10
            yield "batch"

    answers = io.StringIO()
    gate = Gate(io.StringIO("1\n2\n\n"), answers)
    with pytest.raises(SystemExit):
        for _ in gate.through(read(), lambda _: 1.0):  # type: ignore[arg-type]
            now[0] += 1
    assert [json.loads(line)["wall"] for line in answers.getvalue().splitlines()] == [11.0, 22.0]


def state_of(process: int) -> str:
    """``T`` where a process is stopped."""
    return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def test_a_side_stands_still_until_its_turn_and_ends_when_it_is_left() -> None:
    with Process("matrix", MATRIX) as process:
        assert process.hear() == {"threads": 1}
        pid = process.child.pid
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
        assert state_of(pid) == "T"
        answer = process.run(2)
        assert answer["amount"] == pytest.approx(2 * 4 * 2 * 1024**3 / 1e9)
        assert answer["wall"] > 0
    assert process.child.returncode == 0


def test_rounds_go_through_all_sides_in_turn_and_leave_the_warm_up_out(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    """A A A B B B would give the one what slowed the machine in the first half."""
    turns: list[tuple[str, int]] = []
    run = Process.run

    def spied(self: Process, steps: int) -> dict[str, object]:
        turns.append((self.name, steps))
        return run(self, steps)

    monkeypatch.setattr(Process, "run", spied)
    found = interleave({"a": MATRIX, "b": MATRIX}, rounds=2, steps=1, warm_up=3)
    assert turns == [("a", 3), ("b", 3), ("a", 1), ("b", 1), ("a", 1), ("b", 1)]
    for record in found.values():
        assert len(record.slices) == 2
        assert record.memory > 1e7
        assert Record.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_a_side_that_fails_is_one_line_with_its_last_words() -> None:
    with pytest.raises(ChildProcessError, match=r"the side 'a' ended early: KeyError: 'nothing'"):
        interleave({"a": Side("nothing")}, rounds=1, steps=1, warm_up=0)
