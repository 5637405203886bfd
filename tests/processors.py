"""Runs the tests that compute as if on other processors, and compares answers between them.

    python tests/processors.py            # all settings: `make test-processors`
    python tests/processors.py --only avx2 --only bf16
    python tests/processors.py --list     # what this machine can exercise, and nothing else

The processor as it is, on one thread, is what answers are compared with; its tests are those of `make test`.

A setting is a set of environment variables that PyTorch, oneDNN, numpy, the compiler of our kernels and
tests/conftest.py read when a process starts, so that processes of the tests have it, too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy

ROOT = Path(__file__).resolve().parents[1]
THREADS, PRECISION = "MOBILENET_APPS_TEST_THREADS", "MOBILENET_APPS_TEST_PRECISION"  # read by conftest.py
VARIABLES = (
    "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "NPY_DISABLE_CPU_FEATURES", "MKL_CBWR",
    "OMP_NUM_THREADS", "CC", THREADS, PRECISION,
)
WIDE = ("AVX512", "X86_V4")  # how numpy's names of its AVX-512 loops begin, before version 2.4 and since
NARROW_COMPILER = """#!/bin/sh
[ "$1" = --version ] && { "$COMPILER" --version; echo "for AVX2"; exit; }
exec "$COMPILER" "$@" -march=x86-64-v3
"""
REAL_COMPILER = "COMPILER"  # the variable that the small script above reads
IS_X86 = platform.machine() in ("x86_64", "AMD64")


@dataclass(frozen=True)
class Setting:
    """One way to compute: which libraries keep to AVX2, threads, and what trainings compute in.

    Attributes:
        name: one word, as ``--only`` takes it.
        narrow: of ``pytorch``, ``onednn``, ``numpy``, ``kernels``: those that keep to AVX2.
        threads: of PyTorch, 1 or more.
        precision: what trainings of the tests are given where they give none; None leaves them alone.
    """

    name: str
    narrow: frozenset[str] = frozenset()
    threads: int = 1
    precision: str | None = None

    def variables(self, folder: Path) -> dict[str, str]:
        """The environment variables of this setting.

        Args:
            folder: where a compiler that keeps to AVX2 is written.
        """
        values = {THREADS: str(self.threads), "OMP_NUM_THREADS": str(self.threads)}
        if "pytorch" in self.narrow:
            values["ATEN_CPU_CAPABILITY"] = "avx2"
        if "onednn" in self.narrow:
            # MKL's products by other loops, too: without it fp32 answers stay equal to the last bit
            values |= {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}
        if "numpy" in self.narrow:
            values["NPY_DISABLE_CPU_FEATURES"] = " ".join(wide_loops())
        if "kernels" in self.narrow and IS_X86:
            values |= {"CC": str(narrow_compiler(folder)), REAL_COMPILER: os.environ.get("CC", "cc")}
        if self.precision is not None:
            values[PRECISION] = self.precision
        return values


ALL = frozenset({"pytorch", "onednn", "numpy", "kernels"})
SETTINGS = (
    Setting("plain"),
    Setting("avx2", ALL),
    Setting("bf16", precision="bf16"),
    Setting("bf16-emulated", ALL, precision="bf16"),
    Setting("pytorch-avx2", frozenset({"pytorch"}), threads=2),
    Setting("onednn-avx2", frozenset({"onednn", "numpy"}), threads=2),
)


def wide_loops() -> list[str]:
    """The AVX-512 loops that numpy has for this processor and could leave out."""
    core = "_core" if hasattr(numpy, "_core") else "core"  # before numpy 2
    loops = import_module(f"numpy.{core}._multiarray_umath")
    return [name for name in loops.__cpu_dispatch__ if name.startswith(WIDE) and loops.__cpu_features__[name]]


def narrow_compiler(folder: Path) -> Path:
    """A compiler that makes code for AVX2 whatever processor it is asked for.

    Args:
        folder: where to write it.
    """
    path = folder / "cc-avx2"
    path.write_text(NARROW_COMPILER, encoding="ascii")
    path.chmod(0o700)
    return path


def environment(setting: Setting, folder: Path) -> dict[str, str]:
    """This process's environment with one setting in the place of whatever was set.

    Args:
        setting: how to compute.
        folder: for what the setting writes.
    """
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    if "CC" in os.environ and "kernels" not in setting.narrow:
        kept["CC"] = os.environ["CC"]
    paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    return kept | setting.variables(folder) | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def child(setting: Setting, folder: Path, *arguments: str, verbose: bool = False) -> str:
    """What ``python -m processor_answers`` prints under a setting.

    Args:
        setting: how to compute.
        folder: for what the setting writes.
        arguments: of that module.
        verbose: let oneDNN say what it runs.

    Raises:
        SystemExit: the process failed.
    """
    given = environment(setting, folder) | ({"ONEDNN_VERBOSE": "1"} if verbose else {})
    command = [sys.executable, "-m", "processor_answers", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=given, check=False)
    if done.returncode:
        raise SystemExit(f"{setting.name}: {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def probe(setting: Setting, folder: Path) -> dict[str, Any]:
    """What a process under a setting really computes with.

    Args:
        setting: how to compute.
        folder: for what the setting writes.

    Returns:
        ``pytorch``, ``onednn`` (instruction sets), ``numpy`` (AVX-512 loops), ``kernels``, ``bf16`` (whether
        oneDNN computes it), ``threads``.
    """
    lines = child(setting, folder, "probe", verbose=True).splitlines()
    values: dict[str, Any] = json.loads(lines[-1])
    verbose = [line for line in lines if line.startswith("onednn_verbose") and "isa:" in line]
    isa = [line.rpartition("isa:")[2] for line in verbose]
    return values | {"onednn": isa[0] if isa else "unknown"}


def is_wide(library: str, probed: dict[str, Any]) -> bool:
    """Whether a library uses AVX-512, by what :func:`probe` says.

    Args:
        library: ``pytorch``, ``onednn``, ``numpy`` or ``kernels``.
        probed: the answer of :func:`probe`.
    """
    value = probed[library]
    return bool(value) if library == "numpy" else "AVX512" in str(value).upper().replace("-", "")


def complaints(setting: Setting, probed: dict[str, Any]) -> list[str]:
    """Where a process does not do what its setting says, in a line each.

    Args:
        setting: how it should compute.
        probed: how it computes, from :func:`probe`.
    """
    wide = [name for name in sorted(setting.narrow) if is_wide(name, probed)]
    wrong = [f"{name} uses {probed[name]} in spite of AVX2" for name in wide]
    if probed["threads"] != setting.threads:
        wrong.append(f"{probed['threads']} threads, expected {setting.threads}")
    if "onednn" in setting.narrow and probed["bf16"]:
        wrong.append("oneDNN still computes bf16")
    return [f"{setting.name}: {line}" for line in wrong]


def shown(plain: dict[str, Any], emulated: dict[str, Any], cores: int) -> list[str]:
    """What this machine can exercise and what not, in a line each.

    Args:
        plain: :func:`probe` of the processor as it is.
        emulated: :func:`probe` with everything kept to AVX2.
        cores: that this process may use.
    """
    def line(what: str, yes: bool, how: str) -> str:
        return f"  {what}: {'yes' if yes else 'NO'} ({how})"

    wide = [name for name in ("pytorch", "onednn", "numpy", "kernels") if is_wide(name, plain)]
    narrow = "AVX2" in str(emulated["pytorch"])
    return [
        line("AVX-512", bool(wide), f"used by {', '.join(wide)}" if wide else "this processor lacks it"),
        line("AVX2", narrow, f"PyTorch {emulated['pytorch']}, oneDNN {emulated['onednn']}"),
        line("bf16 units", plain["bf16"], str(plain["onednn"])),
        line("bf16 emulated", not emulated["bf16"], "PyTorch's own loops, as where there are no units"),
        line("kernels of our own", plain["kernels"] != "none", str(plain["kernels"])),
        line("two threads", cores > 1, f"{cores} cores; on one the threads take turns"),
    ]


def run_tests(setting: Setting, folder: Path, selected: Sequence[str]) -> int:
    """The tests that compute under a setting; returns pytest's exit code.

    Args:
        setting: how to compute.
        folder: for what the setting writes.
        selected: more arguments of pytest; empty runs all tests that compute.
    """
    processes = max(1, cores() // setting.threads)
    command = [
        sys.executable, "-m", "pytest", "-m", "computes and not slow", "-p", "no:cacheprovider",
        "-n", str(processes), "--dist", "loadfile", *selected,
    ]
    return subprocess.run(command, cwd=ROOT, env=environment(setting, folder), check=False).returncode


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compare(settings: Iterable[Setting], folder: Path) -> list[str]:
    """Compute answers under each setting; returns a complaint for each that differs from the first's.

    Args:
        settings: ways to compute, the first is compared with.
        folder: for the run, the photos and the answers.
    """
    first, *others = settings
    child(first, folder, "make", str(folder))
    child(first, folder, "answer", str(folder), first.name)
    wrong = []
    for setting in others:
        child(setting, folder, "answer", str(folder), setting.name)
        result = json.loads(child(first, folder, "compare", str(folder), first.name, setting.name))
        print(f"answers, {setting.name} against {first.name}: {result['text']}", flush=True)
        if not result["equal"]:
            wrong.append(f"answers of {setting.name} are not those of {first.name}: {result['text']}")
    return wrong


def chosen(names: Sequence[str]) -> list[Setting]:
    """The settings with these names, all if there are none.

    Raises:
        SystemExit: there is no such setting.
    """
    known = {setting.name: setting for setting in SETTINGS}
    unknown = sorted(set(names) - known.keys())
    if unknown:
        raise SystemExit(f"there is no setting {unknown[0]!r}; there are: {', '.join(known)}")
    return [known[name] for name in names] or list(SETTINGS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it all; returns 1 where anything failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="SETTING", help="may be given again")
    parser.add_argument("--list", action="store_true", help="say what this machine can exercise, then stop")
    parser.add_argument("tests", nargs="*", help="test files instead of all that compute")
    asked = parser.parse_args(arguments)
    settings = chosen(asked.only)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        probed = {setting.name: probe(setting, folder) for setting in {*settings, *SETTINGS[:2]}}
        report = "\n".join(["This machine exercises:", *shown(probed["plain"], probed["avx2"], cores())])
        print(report, flush=True)
        wrong = [line for setting in settings for line in complaints(setting, probed[setting.name])]
        if not asked.list and not wrong:
            wrong += _all(settings, folder, asked.tests)
    if not asked.list:
        print("\n".join([report, *(wrong or [f"{len(settings)} settings: all is well"])]))
    return int(bool(wrong))


def _all(settings: Sequence[Setting], folder: Path, tests: Sequence[str]) -> list[str]:
    wrong = compare([SETTINGS[0], *(setting for setting in settings if setting is not SETTINGS[0])], folder)
    for setting in settings:
        if setting is SETTINGS[0] and len(settings) > 1:
            continue  # that is `make test`
        print(f"--- tests, {setting.name}: {setting.variables(folder)}", flush=True)
        if run_tests(setting, folder, tests):
            wrong.append(f"tests fail under {setting.name}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
