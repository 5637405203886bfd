"""How the compiled kernels are built and kept, and that nothing hangs on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from backbone import MobileNetV1, optimize_for_training
from backbone._cpu import kernels


@pytest.fixture
def fresh() -> Iterator[None]:
    """The library is looked for anew, before and after."""
    kernels._load.cache_clear()
    yield
    kernels._load.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_the_kernels_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENET_APPS_KERNELS", "0")
    assert kernels.library() is None
    assert kernels.state() == "switched off by MOBILENET_APPS_KERNELS=0"


@pytest.mark.usefixtures("fresh")
def test_without_a_compiler_a_step_goes_on_without_a_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MOBILENET_APPS_KERNELS", raising=False)
    backbone = optimize_for_training(MobileNetV1(0.25))
    backbone(torch.rand(2, 3, 32, 32))[32].sum().backward()
    assert all(item.grad is not None for item in backbone.parameters())
    assert kernels.state() == "there is no C compiler"
    assert not recwarn.list


@pytest.mark.usefixtures("fresh")
def test_a_compiler_that_fails_is_told_of_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\nexit 1\n', encoding="utf-8")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert kernels.library() is None
    assert "could not be built" in kernels.state()
    assert not list((tmp_path / "cache" / "mobilenet-apps").iterdir())


@pytest.mark.usefixtures("fresh")
def test_code_is_not_loaded_from_a_folder_that_others_can_write_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mobilenet-apps").mkdir()
    (tmp_path / "mobilenet-apps").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernels.library() is None
    assert "can be written to by other users" in kernels.state()


@pytest.mark.skipif(kernels.library() is None, reason=kernels.state())
@pytest.mark.usefixtures("fresh")
def test_the_kernels_are_built_once_for_a_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernels.library() is not None
    (built,) = (tmp_path / "mobilenet-apps").iterdir()
    made = built.stat().st_mtime_ns
    kernels._load.cache_clear()
    assert kernels.library() is not None
    assert built.stat().st_mtime_ns == made


@pytest.mark.skipif(kernels.library() is None, reason=kernels.state())
@pytest.mark.usefixtures("fresh")
def test_a_built_file_that_is_damaged_is_built_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernels.library() is not None
    (name,) = (item.name for item in (tmp_path / "mobilenet-apps").iterdir())
    built = tmp_path / "other" / "mobilenet-apps" / name  # elsewhere: a library is loaded once by its path
    built.parent.mkdir(parents=True, mode=0o700)
    built.write_bytes(b"half")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    kernels._load.cache_clear()
    assert kernels.library() is not None
    assert built.read_bytes().startswith(b"\x7fELF")
