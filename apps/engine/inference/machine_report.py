"""What this machine offers to those who train and answer: engines, devices, processor, tools and caches."""

from __future__ import annotations

import os
import platform
import shutil
import stat
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from apps.engine.core.device import available_devices, file_devices, runtime
from apps.engine.core.machine import BF16_FLAGS, CPUINFO, cpu_flags, has_bf16_units, usable_cores
from apps.zoo.datasets import MIRROR_VARIABLE as WEB_MIRROR_VARIABLE
from backbone.storage import CACHE_VARIABLE, MIRROR_VARIABLE, weights_cache

FLAGS = frozenset({
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512vl", "avx_vnni", "avx512_vnni",
    "amx_tile", "amx_int8", "neon", "asimd", "asimddp", "i8mm", "bf16", "sve",
}) | BF16_FLAGS
# sums of products of 8-bit numbers in one instruction
VNNI = frozenset({"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})
ENGINES = ("torch", "onnxruntime", "openvino")
VARIABLES = (MIRROR_VARIABLE, WEB_MIRROR_VARIABLE, CACHE_VARIABLE)
LIBRARIES = ("torchvision", "timm", "onnx", "numpy", "pillow", "simplejpeg", "pyarrow")


def machine_report(*, torch: bool = False) -> dict[str, Any]:
    """Plain values: what is not installed, or not there, is None or an empty list.

    Args:
        torch: ask PyTorch for its devices, too, which takes seconds; they are None otherwise.
    """
    text = CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.is_file() else ""
    flags = cpu_flags(text)
    return {
        "python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}",
        "engines": {name: _engine(name, torch=torch) for name in ENGINES},
        "libraries": {name: _version(name) for name in LIBRARIES},
        "processor": {
            "cores": usable_cores(), "flags": sorted(flags & FLAGS), "bf16": has_bf16_units(text),
            "vnni": bool(flags & VNNI),
        },
        "tools": {name: shutil.which(name) for name in ("npm", "torchrun")},
        "caches": {name: _folder(path) for name, path in _caches().items()},
        "variables": {name: os.environ.get(name) for name in VARIABLES},
    }


def _engine(name: str, *, torch: bool) -> dict[str, Any] | None:
    """Version and devices of an engine, and ONNX Runtime's providers; None where it is not installed."""
    if find_spec(name) is None:
        return None
    if name == "torch" and not torch:
        return {"version": _version(name), "devices": None}
    try:
        devices = available_devices() if name == "torch" else file_devices(name)
        providers = {"providers": runtime(name).get_available_providers()} if name == "onnxruntime" else {}
    except Exception as err:  # an engine that is there and does not start is what is looked for here
        return {"version": _version(name), "devices": [], "problem": " ".join(str(err).split())}
    return {"version": _version(name), "devices": devices, **providers}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _caches() -> dict[str, Path]:
    """Where weights are kept: of this program's users, and of the libraries that fetch some."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return {
        "mobilenet-apps": weights_cache().parent,
        "huggingface": Path(os.environ.get("HF_HOME") or home / "huggingface"),
        "torch": Path(os.environ.get("TORCH_HOME") or home / "torch"),
    }


def _folder(path: Path) -> dict[str, Any]:
    nearest = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return {
        "path": str(path), "exists": path.is_dir(), "writable": os.access(nearest, os.W_OK),
        "bytes": sum(map(_size, path.rglob("*"))),
    }


def _size(path: Path) -> int:
    """Bytes of a file of its own; 0 for what is none, or gone meanwhile."""
    try:
        status = path.lstat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
