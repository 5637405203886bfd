"""What a training and an answer should know of the machine: allocator, precision, cores.

Nothing here imports torch before it is needed.
"""

from __future__ import annotations

import ctypes
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

KEEP_MEMORY_VARIABLE = "MOBILENET_APPS_KEEP_MEMORY"
M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1  # of glibc's malloc.h
CPUINFO = Path("/proc/cpuinfo")
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
AMD = "AuthenticAMD"  # vendor_id of /proc/cpuinfo


def keep_memory() -> bool:
    """Tell glibc's allocator to keep freed memory for the next step instead of handing it back.

    By default it maps each large tensor anew, and the system clears every page again: a third of a training
    step on a CPU, or more. The peak rises by up to a fifth, and memory once used stays with the process
    until it ends. Call it before the first large allocation; a second call changes nothing.

    Returns:
        True where it was set; False where the allocator is not glibc's, or the variable
        ``MOBILENET_APPS_KEEP_MEMORY`` is ``0``.

    Source: mallopt(3), M_MMAP_MAX and M_TRIM_THRESHOLD.
    """
    if os.environ.get(KEEP_MEMORY_VARIABLE) == "0" or not has_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))


def has_glibc() -> bool:
    """Whether this process runs on glibc."""
    if "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}):
        return False
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (OSError, ValueError):  # musl knows the name but not the answer
        return False


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """Instruction sets that the text of ``/proc/cpuinfo`` names, those of the first processor."""
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def has_bf16_units(cpuinfo: str | None = None) -> bool:
    """Whether the processor multiplies bfloat16 in hardware: avx512_bf16 or amx_bf16.

    Args:
        cpuinfo: text in the form of ``/proc/cpuinfo``; None reads this machine's, if it has one.
    """
    if cpuinfo is None:
        cpuinfo = CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.is_file() else ""
    return bool(cpu_flags(cpuinfo) & BF16_FLAGS)


def bf16_pays(cpuinfo: str | None = None) -> bool:
    """Whether training in bfloat16 is faster: with tiles (amx_bf16), or with AMD's units.

    On an Intel Xeon with avx512_bf16 alone it was measured to be a fifth slower than in float
    (docs/performance.md), on an AMD EPYC half as fast again.

    Args:
        cpuinfo: text in the form of ``/proc/cpuinfo``; None reads this machine's, if it has one.
    """
    if cpuinfo is None:
        cpuinfo = CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.is_file() else ""
    return "amx_bf16" in cpu_flags(cpuinfo) or (has_bf16_units(cpuinfo) and AMD in cpuinfo)


def choose_precision(asked: str = "auto") -> torch.dtype:
    """The type in which a backbone answers and makes features: float unless bfloat16 is asked for.

    So the numbers are the same on every processor.

    Args:
        asked: ``auto``, ``fp32`` or ``bf16``; ``bf16`` is obeyed where it is slow, too.

    Raises:
        ValueError: ``asked`` is none of the three.
    """
    import torch

    if asked not in ("auto", "fp32", "bf16"):
        raise ValueError(f"--precision must be auto, fp32 or bf16, got {asked!r}")
    return torch.bfloat16 if asked == "bf16" else torch.float32


def training_precision(asked: str = "auto", *, device: str = "cpu", frozen: bool = False) -> torch.dtype:
    """The type in which a backbone learns; its heads and their losses are in float whatever this is.

    Args:
        asked: ``fp32``, ``bf16``, or ``auto``: bfloat16 where that is faster on the hardware.
        device: ``cpu`` or ``cuda``, what will compute.
        frozen: the backbone does not learn and only makes features.

    Raises:
        ValueError: ``asked`` is none of the three.
    """
    learns_in_bf16 = asked == "auto" and not frozen and _has_bf16(device)
    return choose_precision("bf16" if learns_in_bf16 else asked)


def _has_bf16(device: str) -> bool:
    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and bf16_pays()


def usable_cores(quota: str | None = None) -> int:
    """Cores that this process may use: those it is bound to, and no more than its container is given.

    Args:
        quota: text of cgroup 2's ``cpu.max``, "microseconds period" or "max period"; None reads it.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if quota is None:
        path = Path("/sys/fs/cgroup/cpu.max")
        quota = path.read_text(encoding="ascii") if path.is_file() else "max"
    share, _, period = quota.strip().partition(" ")
    if share == "max" or not period:
        return bound
    return max(1, min(bound, math.ceil(int(share) / int(period))))
