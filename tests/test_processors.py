"""The script that tests as if on other processors: settings take effect, in children too, and it says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processors import (
    ALL,
    PRECISION,
    SETTINGS,
    Setting,
    chosen,
    complaints,
    environment,
    probe,
    shown,
    wide_loops,
)
from support import with_precision

PLAIN = {
    "pytorch": "AVX512", "onednn": "Intel AVX-512 with Intel DL Boost and bfloat16 support",
    "numpy": ["X86_V4"], "kernels": "AVX512", "bf16": True, "threads": 1,
}
NARROW = {
    "pytorch": "AVX2", "onednn": "Intel AVX2", "numpy": [], "kernels": "AVX2", "bf16": False, "threads": 1,
}


def test_every_value_of_every_setting_is_covered() -> None:
    narrow = {name: {name in setting.narrow for setting in SETTINGS} for name in ALL}
    assert all(values == {True, False} for values in narrow.values())
    assert {setting.threads for setting in SETTINGS} == {1, 2}
    assert {(setting.precision, bool(setting.narrow)) for setting in SETTINGS} == {
        (None, False), (None, True), ("bf16", False), ("bf16", True),
    }


def test_a_process_under_avx2_and_two_threads_computes_so(tmp_path: Path) -> None:
    setting = Setting("both", ALL, threads=2)
    answer = probe(setting, tmp_path)
    assert complaints(setting, answer) == []
    assert (answer["numpy"], answer["bf16"], answer["threads"]) == ([], False, 2)


def test_children_of_children_inherit_a_setting(tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ['NPY_DISABLE_CPU_FEATURES'], os.environ['ONEDNN_MAX_CPU_ISA'])"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], check=True)"
    done = subprocess.run(
        [sys.executable, "-c", outer], env=environment(SETTINGS[1], tmp_path), capture_output=True, text=True,
        check=True,
    )
    assert done.stdout.split() == [*wide_loops(), "AVX2"]


def test_what_was_set_outside_does_not_leak_into_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    monkeypatch.setenv(PRECISION, "bf16")
    plain = environment(SETTINGS[0], tmp_path)
    assert "ATEN_CPU_CAPABILITY" not in plain and PRECISION not in plain
    assert environment(SETTINGS[2], tmp_path)[PRECISION] == "bf16"


def test_a_setting_that_takes_no_effect_is_told() -> None:
    setting = Setting("avx2", ALL, threads=2)
    assert complaints(setting, NARROW | {"threads": 2}) == []
    assert complaints(setting, PLAIN) == [
        "avx2: kernels uses AVX512 in spite of AVX2", "avx2: numpy uses ['X86_V4'] in spite of AVX2",
        f"avx2: onednn uses {PLAIN['onednn']} in spite of AVX2", "avx2: pytorch uses AVX512 in spite of AVX2",
        "avx2: 1 threads, expected 2", "avx2: oneDNN still computes bf16",
    ]


def test_what_the_machine_can_and_cannot_show_is_told() -> None:
    modern = shown(PLAIN, NARROW, cores=2)
    assert all(": yes (" in line for line in modern)
    old = "\n".join(shown(NARROW, NARROW, cores=1))
    for words in ("AVX-512: NO (this processor lacks it)", "AVX2: yes", "bf16 units: NO (Intel AVX2)",
                  "bf16 emulated: yes", "two threads: NO (1 cores"):
        assert words in old


def test_a_training_without_a_precision_gets_the_one_under_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRECISION, "bf16")
    assert with_precision(("finetune", "dogs")) == ["finetune", "dogs", "--no-export", "--precision", "bf16"]
    assert with_precision(("joint", Path("a"))) == ["joint", "a", "--no-export", "--precision", "bf16"]
    named = ("finetune", "dogs", "--export", "--precision", "fp32")
    for words in (named, ("predict", "a.png"), ("finetune", "--help"), ()):
        assert with_precision(words) == list(words)
    monkeypatch.delenv(PRECISION)
    assert with_precision(("finetune", "dogs")) == ["finetune", "dogs", "--no-export"]


def test_a_setting_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(SystemExit, match="there is no setting 'sse'; there are: plain, avx2, bf16"):
        chosen(["avx2", "sse"])
    assert chosen([]) == list(SETTINGS)


def test_the_list_starts_no_test_and_ends_well() -> None:
    script = Path(__file__).with_name("processors.py")
    done = subprocess.run(
        [sys.executable, str(script), "--list", "--only", "avx2"], capture_output=True, text=True,
        check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("This machine exercises:\n  AVX-512: ")
