"""Reading processes and shared memory that is too small for their batches."""

from __future__ import annotations

import logging

import pytest

from apps.engine.data.loader import BATCHES_AHEAD, reading_deaths, workers_with_room


def test_no_more_processes_read_than_shared_memory_has_room_for(caplog: pytest.LogCaptureFixture) -> None:
    batch = 32 * 224 * 224 * 3
    room = (BATCHES_AHEAD + 1) * batch
    with caplog.at_level(logging.WARNING):
        assert workers_with_room(4, batch, 4 * room) == 4 and not caplog.records
        assert workers_with_room(4, batch, 64_000_000) == 2
        assert workers_with_room(4, batch, 1_000_000) == 0
    few, none = (record.getMessage() for record in caplog.records)
    assert "room for 2 of 4 processes that read photos (64 MB are free): 2 read" in few
    assert none.endswith("this process reads them itself, more slowly")


def test_a_full_shared_memory_is_one_line_with_the_mend() -> None:
    error = RuntimeError(
        "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        "RuntimeError: unable to write to file </torch_1>: No space left on device (28)"
    )
    with pytest.raises(ChildProcessError, match=r"--workers .* --shm-size 2g") as caught, reading_deaths():
        raise error
    assert "\n" not in str(caught.value)
    with pytest.raises(RuntimeError, match="something else"), reading_deaths():
        raise RuntimeError("something else")
