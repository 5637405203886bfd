"""Allocator, precision and cores: what is told to the machine and what is read from it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from support import ROOT

from apps.engine.core.machine import (
    bf16_pays,
    choose_precision,
    cpu_flags,
    has_bf16_units,
    has_glibc,
    keep_memory,
    training_precision,
    usable_cores,
)

SAPPHIRE_RAPIDS = "processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 amx_bf16 amx_tile\nbugs\t\t: none\n"
ZEN_3 = "processor\t: 0\nflags\t\t: fpu avx2 fma\n"

# The command line starts: bytes mapped for a map of 64 MB while it lives, and what of it stays after.
HELD = """
import ctypes, sys
sys.path.insert(0, {root!r})
import cli
assert "torch" not in sys.modules
import torch

class Told(ctypes.Structure):  # struct mallinfo2 of malloc.h
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

told = ctypes.CDLL(None).mallinfo2
told.restype = Told
before = told().hblkhd
block = torch.empty(64 * 2**20, dtype=torch.uint8)
mapped = told().hblkhd - before
del block
print(mapped, told().fordblks)
"""


def held(**variables: str) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, "-c", HELD.format(root=str(ROOT))], capture_output=True, text=True, check=True,
        env=os.environ | variables,
    )
    mapped, free = done.stdout.split()
    return int(mapped), int(free)


@pytest.mark.skipif(not has_glibc(), reason="only glibc's allocator takes this")
def test_memory_once_used_is_kept_for_the_next_step() -> None:
    """By default each large map of the network is mapped, handed back, and pays for its pages again."""
    size = 64 * 2**20
    mapped, free = held(MOBILENET_APPS_KEEP_MEMORY="0")
    assert mapped >= size > free
    mapped, free = held()
    assert mapped == 0
    assert free >= size


def test_keeping_memory_is_left_alone_where_it_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENET_APPS_KEEP_MEMORY", "0")
    assert keep_memory() is False
    monkeypatch.delenv("MOBILENET_APPS_KEEP_MEMORY")
    assert keep_memory() is has_glibc()


@pytest.mark.parametrize(("cpuinfo", "has"), [(SAPPHIRE_RAPIDS, True), (ZEN_3, False), ("", False)])
def test_bfloat16_units_are_read_from_the_processors_flags(cpuinfo: str, has: bool) -> None:
    assert has_bf16_units(cpuinfo) is has


@pytest.mark.parametrize(("vendor", "flags", "pays"), [
    ("GenuineIntel", "avx512_bf16 amx_bf16", True), ("GenuineIntel", "avx512_bf16", False),
    ("AuthenticAMD", "avx512_bf16", True), ("AuthenticAMD", "avx2", False),
])
def test_auto_trains_in_bfloat16_where_that_was_measured_to_be_faster(
    vendor: str, flags: str, pays: bool
) -> None:
    assert bf16_pays(f"vendor_id\t: {vendor}\nflags\t\t: fpu {flags}\n") is pays


def test_flags_are_whole_words_of_the_flags_line() -> None:
    assert cpu_flags(SAPPHIRE_RAPIDS) == {"fpu", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile"}
    assert not has_bf16_units("model name : avx512_bf16\nflags : avx512_bf16x\n")


@pytest.mark.parametrize("units", [True, False])
def test_bfloat16_units_change_only_what_a_backbone_learns_in(
    units: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.engine.core.machine.bf16_pays", lambda: units)
    chosen = {"auto": torch.float32, "fp32": torch.float32, "bf16": torch.bfloat16}
    assert {asked: choose_precision(asked) for asked in chosen} == chosen
    assert {asked: training_precision(asked, frozen=True) for asked in chosen} == chosen
    learned = chosen | {"auto": torch.bfloat16 if units else torch.float32}
    assert {asked: training_precision(asked) for asked in chosen} == learned


def test_a_precision_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="--precision must be auto, fp32 or bf16, got 'fp16'"):
        choose_precision("fp16")
    with pytest.raises(ValueError, match="--precision must be auto, fp32 or bf16, got 'fp16'"):
        training_precision("fp16")


@pytest.mark.parametrize(("quota", "most"), [
    ("100000 100000", 1), ("50000 100000\n", 1), ("max 100000", 4096),
])
def test_cores_are_no_more_than_the_container_is_given(quota: str, most: int) -> None:
    assert 1 <= usable_cores(quota) <= most
