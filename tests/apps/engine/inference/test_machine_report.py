"""``doctor``: what this machine offers, without the seconds that PyTorch takes unless it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import Cli, run_without_torch

from apps.engine.core.device import available_devices


def test_the_cache_the_mirrors_and_the_engines_are_told_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILENET_APPS_CACHE", str(tmp_path))
    monkeypatch.setenv("MOBILENET_WEIGHTS", "/a/mirror")
    monkeypatch.delenv("MOBILENET_APPS_MIRROR", raising=False)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a").write_bytes(bytes(1000))
    (tmp_path / "weights" / "b").symlink_to(tmp_path / "gone")
    (report,) = run_without_torch("doctor")
    assert report["caches"]["mobilenet-apps"] == {
        "path": str(tmp_path), "exists": True, "writable": True, "bytes": 1000
    }
    assert report["variables"] == {
        "MOBILENET_WEIGHTS": "/a/mirror", "MOBILENET_APPS_MIRROR": None, "MOBILENET_APPS_CACHE": str(tmp_path)
    }
    assert report["engines"]["torch"]["version"] and report["engines"]["torch"]["devices"] is None
    assert "CPUExecutionProvider" in report["engines"]["onnxruntime"]["providers"]


def test_torch_is_asked_for_its_devices_if_that_is_wished(cli: Cli) -> None:
    (report,) = cli("doctor", "--torch").lines
    assert report["engines"]["torch"]["devices"] == available_devices()
