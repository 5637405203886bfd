"""What a time depends on: the processor, what it can do, and the versions of the libraries."""

from __future__ import annotations

import os
import platform
import resource
from importlib.metadata import version
from pathlib import Path
from typing import Any

from apps.engine.core.machine import cpu_flags

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "pillow")


class NoDeviceError(Exception):
    """What is to be measured is not in this machine."""


def processor() -> tuple[str, frozenset[str]]:
    """Name of the processor and its feature flags; without ``/proc/cpuinfo`` there are no flags."""
    info, name = Path("/proc/cpuinfo"), platform.processor() or platform.machine()
    if not info.is_file():
        return name, frozenset()
    text = info.read_text(encoding="utf-8")
    lines = (line.partition(":") for line in text.splitlines())
    named = (value.strip() for key, _, value in lines if key.strip() == "model name")
    return next(named, name), cpu_flags(text)


def machine() -> str:
    """The processor, its cores and the versions that matter to a time, in a line."""
    versions = f"Python {platform.python_version()}, torch {version('torch')}"
    return f"{processor()[0]}, {os.cpu_count()} cores seen; {versions}"


def facts() -> dict[str, Any]:
    """The same for a file: plain types."""
    name, flags = processor()
    return {
        "processor": name,
        "flags": {flag: flag in flags for flag in FLAGS},
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {library: version(library) for library in LIBRARIES},
    }


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
