"""What a time hangs on: the processor, what it can do, and the versions of the libraries."""

from __future__ import annotations

import os
import platform
import resource
from importlib.metadata import version
from pathlib import Path
from typing import Any

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
BF16 = ("avx512_bf16", "amx_bf16")  # either multiplies bf16 faster than fp32
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "pillow")


def processor() -> tuple[str, frozenset[str]]:
    """Name of the processor and its feature flags; without ``/proc/cpuinfo`` there are no flags."""
    info, name = Path("/proc/cpuinfo"), platform.processor() or platform.machine()
    if not info.is_file():
        return name, frozenset()
    lines = [line.partition(":") for line in info.read_text(encoding="utf-8").splitlines()]
    names = [value.strip() for key, _, value in lines if key.strip() == "model name"]
    flags = [value.split() for key, _, value in lines if key.strip() == "flags"]
    return next(iter(names), name), frozenset(next(iter(flags), ()))


def machine() -> str:
    """The processor, its cores and the versions that matter to a time, in a line."""
    versions = f"Python {platform.python_version()}, torch {version('torch')}"
    return f"{processor()[0]}, {os.cpu_count()} cores seen; {versions}"


def facts() -> dict[str, Any]:
    """The same for a file: plain types."""
    name, flags = processor()
    return {
        "processor": name, "flags": {one: one in flags for one in FLAGS}, "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()} | {one: version(one) for one in LIBRARIES},
    }


def has_bf16() -> bool:
    """Whether the processor has units for bf16."""
    return bool(processor()[1].intersection(BF16))


def peak_memory() -> int:
    """The most memory that this process has held so far, in bytes.

    Linux hands ``ru_maxrss`` of a parent on to its child, so there the process's own mark is read.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
