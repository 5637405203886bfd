"""The fuzzing itself: what counts as what, that a dead child costs one file, that whole files are read."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from datasets.validation import read_json
from fuzz import readers_apps, readers_beside, readers_boxes, readers_images, readers_sets, runner
from fuzz.mutators import ODD_VALUES, of_bytes, of_json, of_text
from fuzz.outcome import CRASH, HANG, READ, REFUSED, UNFORESEEN, outcome_of
from fuzz.runner import Reader, Tally, check_seeds, fuzz


def reader_of(tmp_path: Path, read: Callable[[Path], object]) -> Reader:
    return Reader("toy", tmp_path / "toy.bin", [bytes(range(64))], read, of_bytes)


def tally_of(reader: Reader, count: int) -> Tally:
    return fuzz(reader, seed=0, seconds=60, count=count)


def test_the_same_seed_and_number_damage_a_file_in_the_same_way(tmp_path: Path) -> None:
    reader = reader_of(tmp_path, Path.read_bytes)
    first = [reader.mutant(3, number) for number in range(50)]
    assert first == [reader.mutant(3, number) for number in range(50)]
    assert len(set(first)) > 40
    assert first != [reader.mutant(4, number) for number in range(50)]


@pytest.mark.parametrize("mutate", [of_bytes, of_text, of_json])
@pytest.mark.parametrize("data", [b"", b"a", b'{"a": [1, {"b": null}]}', b"\xff\xfe\x00"])
def test_anything_can_be_damaged(mutate: Callable[[bytes, random.Random], bytes], data: bytes) -> None:
    for number in range(200):
        assert isinstance(mutate(data, random.Random(number)), bytes)


def test_an_error_is_a_refusal_only_where_our_code_raises_it_and_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[")
    assert outcome_of(lambda: read_json(path), path).what == REFUSED
    assert outcome_of(lambda: read_json(path), Path("/elsewhere/of/b/c.json")).text.startswith("does not say")
    for wrong in (lambda: int("x"), lambda: {}["x"], path.with_name("no").read_bytes, lambda: {} < 1):  # type: ignore[operator]
        assert outcome_of(wrong, path).what == UNFORESEEN
    path.write_text("[1]")
    assert outcome_of(lambda: read_json(path), path).what == READ


def test_a_crash_and_a_hang_cost_one_file_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "WALL_SECONDS", 0.6)

    def act(path: Path) -> None:
        number = int(path.read_bytes())
        if number == 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        if number == 4:
            time.sleep(60)

    monkeypatch.setattr(Reader, "mutant", lambda *place: b"%d" % place[-1])
    numbered = reader_of(tmp_path, act)
    tally = tally_of(numbered, 8)
    assert tally.counts == {READ: 6, CRASH: 1, HANG: 1}
    assert {key: value[0] for key, value in tally.bad.items()} == {(CRASH, "signal 11"): 2, (HANG, ""): 4}


def test_a_mutator_that_fails_ends_its_child_and_not_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*place: object) -> bytes:
        raise ValueError(place)

    parent = os.getpid()
    monkeypatch.setattr(Reader, "mutant", fail)
    try:
        tally = tally_of(reader_of(tmp_path, Path.read_bytes), 1)
    finally:
        assert os.getpid() == parent, "the child goes on as its parent would"
    assert tally.counts == {CRASH: 1} and (CRASH, f"exit {runner.EXIT_OF_HARNESS}") in tally.bad


def test_values_that_are_put_in_are_copies() -> None:
    before = repr(ODD_VALUES)
    for number in range(3000):
        of_json(b'{"a": [1, {"b": null}], "c": [[2], 3]}', random.Random(number))
    assert repr(ODD_VALUES) == before


def test_memory_without_end_is_unforeseen(tmp_path: Path) -> None:
    tally = tally_of(reader_of(tmp_path, lambda _: bytearray(1 << 40)), 2)
    assert tally.counts == {UNFORESEEN: 2}


@pytest.mark.parametrize("room", [
    readers_images, readers_sets, readers_boxes, readers_apps, readers_beside
])
def test_the_whole_files_are_read(room: object, tmp_path: Path) -> None:
    readers = list(room.readers(tmp_path))  # type: ignore[attr-defined]
    assert len({reader.name for reader in readers}) == len(readers) > 5
    for reader in readers:
        check_seeds(reader)
