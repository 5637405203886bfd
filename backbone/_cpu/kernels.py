"""The compiled part of training on a CPU, built once for this user where there is a C compiler.

Nothing here is needed: where there is no compiler, or :data:`VARIABLE` is ``0``, PyTorch's own operators
do the same work more slowly; :func:`state` says which. The results agree within rounding, and the same input
on the same number of threads gives the same bits.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from backbone.storage import cache_folder

VARIABLE = "MOBILENET_APPS_KERNELS"
SOURCE = Path(__file__).with_name("kernels.c")
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
LANES = 8  # channels are worked on in groups of this many
SUFFIXES = {torch.float32: "_float", torch.bfloat16: "_bfloat"}  # of maps
OF_BYTES = "_byte"
BUILD_SECONDS = 120


def usable(maps: Tensor) -> bool:
    """Whether the kernels can work on these maps: on a CPU, float or bfloat16, channels-last, C in eights."""
    return (
        maps.device.type == "cpu" and maps.dtype in SUFFIXES and maps.ndim == 4
        and maps.shape[1] % LANES == 0 and maps.numel() > 0
        and maps.is_contiguous(memory_format=torch.channels_last) and library() is not None
    )


def state() -> str:
    """``compiled``, or why the kernels are not used, in a few words."""
    return _load()[1] or "compiled"


def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where they cannot be had."""
    return _load()[0]


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """The library, or None and the reason."""
    if os.environ.get(VARIABLE) == "0":
        return None, f"switched off by {VARIABLE}=0"
    if os.name != "posix":
        return None, f"they are not made for {platform.system()}"
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        return None, "there is no C compiler"
    try:
        folder = _private(cache_folder())
        path = folder / f"kernels-{_key(compiler)}.so"
        if not path.is_file() or not _whole(path):
            build(compiler, path)
        return ctypes.CDLL(str(path)), ""
    except (OSError, subprocess.SubprocessError) as err:
        return None, f"they could not be built: {err}"


def _whole(path: Path) -> bool:
    """Whether a built file can be loaded: a disk may have been full, or a copy cut off."""
    try:
        return bool(ctypes.CDLL(str(path)))
    except OSError:
        return False


def _private(folder: Path) -> Path:
    """Make the folder; code is not loaded from one that others can write to."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder} can be written to by other users")
    return folder


def _key(compiler: str) -> str:
    """What the built file depends on: the source, the compiler and this processor, in 16 hex digits."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=BUILD_SECONDS)
    parts = (SOURCE.read_bytes(), " ".join(FLAGS).encode(), version.stdout, _processor().encode())
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]


def _processor() -> str:
    """Machine and instruction sets: a home folder may be shared by unlike machines."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    described = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return "\n".join([platform.machine(), platform.processor(), *sorted(set(described))])


def build(compiler: str, path: Path) -> None:
    """Compile to a temporary name, then put it in place: a second process sees all of it or nothing.

    Raises:
        subprocess.SubprocessError: the compiler refused, or took too long.
        OSError: the folder cannot be written.
    """
    handle, name = tempfile.mkstemp(prefix=".kernels.", suffix=".so", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        command = [compiler, *FLAGS, str(SOURCE), "-o", name]
        subprocess.run(command, capture_output=True, check=True, timeout=BUILD_SECONDS)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def call(name: str, dtype: torch.dtype, *arguments: int | Tensor | None) -> None:
    """Call a kernel; tensors go as pointers, numbers as ``long``."""
    loaded = library()
    assert loaded is not None
    function = getattr(loaded, name + SUFFIXES.get(dtype, OF_BYTES))
    function.restype = None
    function(*(ctypes.c_long(a) if isinstance(a, int) else _pointer(a) for a in arguments))


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def share(count: int, work: Callable[[slice, int], None]) -> None:
    """Split ``count`` items over PyTorch's number of threads and wait for all.

    Args:
        count: of images.
        work: (the images of this share, the number of the share from 0) -> nothing.
    """
    shares = shares_of(count)
    if len(shares) == 1:
        work(shares[0], 0)
        return
    for done in [_pool(len(shares), os.getpid()).submit(work, part, n) for n, part in enumerate(shares)]:
        done.result()


def shares_of(count: int) -> list[slice]:
    """As many shares as PyTorch has threads, or fewer, as equal as can be."""
    number = max(1, min(torch.get_num_threads(), count))
    bounds = [count * n // number for n in range(number + 1)]
    return [slice(*pair) for pair in pairwise(bounds)]


@functools.lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:  # noqa: ARG001
    """Threads of this process: a fork does not take them along."""
    return ThreadPoolExecutor(threads, thread_name_prefix="kernels")


def norm_sums(x: Tensor, pilot: Tensor) -> Tensor:
    """(2, C) doubles: sums over images and pixels of x - pilot, and of its square."""
    batch, channels, height, width = x.shape
    sums = torch.zeros(len(shares_of(batch)), 2, channels, dtype=torch.float64)
    block = torch.zeros(len(sums), 2, channels)

    def work(images: slice, n: int) -> None:
        part = x[images]
        call("norm_sums", x.dtype, part, len(part) * height * width, channels, pilot, sums[n], block[n])

    share(batch, work)
    return sums.sum(0)


def norm_apply(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """relu6(x * scale + shift), channel by channel."""
    batch, channels, height, width = x.shape
    y = torch.empty_like(x)

    def work(images: slice, _: int) -> None:
        part = x[images]
        call("norm_apply", x.dtype, part, y[images], len(part) * height * width, channels, scale, shift)

    share(batch, work)
    return y


def norm_grad_sums(
    x: Tensor, gradient: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, *, fixed_stats: bool
) -> tuple[Tensor, Tensor | None]:
    """(2, C) doubles: sums of the gradient behind ReLU6, alone and times x - mean.

    With ``fixed_stats`` also the gradient of x, on which the statistics then do not depend.
    """
    batch, channels, height, width = x.shape
    sums = torch.zeros(len(shares_of(batch)), 2, channels, dtype=torch.float64)
    block = torch.zeros(len(sums), 2, channels)
    to_x = torch.empty_like(x) if fixed_stats else None

    def work(images: slice, n: int) -> None:
        part = x[images]
        call(
            "norm_grad_sums", x.dtype, part, gradient[images], None if to_x is None else to_x[images],
            len(part) * height * width, channels, scale, shift, mean, sums[n], block[n],
        )

    share(batch, work)
    return sums.sum(0), to_x


def norm_grad_apply(
    x: Tensor, gradient: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, slope: Tensor, offset: Tensor
) -> Tensor:
    """The gradient behind ReLU6 times scale, plus (x - mean) * slope + offset."""
    batch, channels, height, width = x.shape
    to_x = torch.empty_like(x)

    def work(images: slice, _: int) -> None:
        part = x[images]
        call(
            "norm_grad_apply", x.dtype, part, gradient[images], to_x[images], len(part) * height * width,
            channels, scale, shift, mean, slope, offset,
        )

    share(batch, work)
    return to_x


def depthwise(
    x: Tensor, weight: Tensor, out: tuple[int, int], stride: int, dilation: int, before: tuple[int, int],
    bias: Tensor | None = None,
) -> Tensor:
    """Depthwise 3x3: ``out`` rows and columns, ``before`` zero rows and columns ahead of the map.

    With a ``bias`` of C floats, ReLU6 follows.
    """
    batch, channels, height, width = x.shape
    y = torch.empty(batch, channels, *out, dtype=x.dtype, memory_format=torch.channels_last)
    taps, zeros = _taps(weight), x.new_zeros(width * channels)

    def work(images: slice, _: int) -> None:
        part = x[images]
        call("depthwise", x.dtype, part, taps, bias, y[images], len(part), height, width, channels, *out,
             stride, dilation, *before, zeros)

    share(batch, work)
    return y


def depthwise_grad(
    x: Tensor, gradient: Tensor, weight: Tensor, stride: int, dilation: int, before: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The gradients of the map and, (C, 1, 3, 3) in the weight's type, of the weight."""
    batch, channels, height, width = x.shape
    out = tuple(gradient.shape[2:])
    sums = torch.zeros(len(shares_of(batch)), 9, channels, dtype=torch.float64)
    block = torch.zeros(len(sums), 9, channels)
    to_x, taps, zeros = torch.empty_like(x), _taps(weight), x.new_zeros(out[1] * channels)

    def work(images: slice, n: int) -> None:
        part = x[images]
        call("depthwise_grad", x.dtype, part, gradient[images], taps, to_x[images], sums[n], block[n],
             len(part), height, width, channels, *out, stride, dilation, *before, zeros)

    share(batch, work)
    return to_x, sums.sum(0).t().reshape(weight.shape).to(weight.dtype)


def _taps(weight: Tensor) -> Tensor:
    """(C, 1, 3, 3) as the kernels want it: (9, C) floats."""
    return weight.detach().reshape(-1, 9).t().to(torch.float32).contiguous()
