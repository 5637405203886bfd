"""Settings, descriptions of models and configurations of runs, as files may hold them: typed and bounded."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from apps.dogs import DogsSettings
from apps.engine.core.files import read_object, sha256_of, write_whole
from apps.engine.core.run_values import check_calibration, run_values
from apps.engine.core.spec import HeadSpec, ModelSpec
from backbone import WeightsInfo

HEAD = HeadSpec("dogs", "dogs", "classes", ("logits",), ("a", "b"), {"temperature": 1.5})
SPEC = ModelSpec("0" * 16, 128, 0.875, "nhwc", "fp32", {}, (HEAD,), {}, "crop", "a" * 64)


@pytest.mark.parametrize(("values", "message"), [
    ({"epochs": [1]}, r"--epochs must be a whole number, got \[1\]"),
    ({"epochs": 2.5}, "--epochs must be a whole number"), ({"epochs": True}, "--epochs must be a whole"),
    ({"lr": "1e-3"}, "--lr must be a number, got '1e-3'"), ({"data": 3}, "--data must be a path, got 3"),
    ({"bn": {}}, "--bn must be a text"), ({"freeze": 1}, "--freeze must be true or false, got 1"),
    ({"width": 300}, "--width must be at most 4, as wider ones do not fit into memory, got 300"),
    ({"workers": 99_999_999}, "--workers must be at most 256, as each is a process, got 99999999"),
    ({"epochs": 10**22}, "--epochs must be at most 100000, as no training lasts so long"),
])
def test_settings_are_typed_and_bounded(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DogsSettings(**values)
    assert DogsSettings(lr=1, data="x", width=None).lr == 1


def change(place: tuple[Any, ...], value: Any) -> str:
    values: Any = json.loads(SPEC.to_json())
    part = values
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    return json.dumps(values)


@pytest.mark.parametrize(("place", "value"), [
    (("resolution",), 60_000), (("resolution",), "128"), (("crop",), 1e-9), (("crop",), float("nan")),
    (("layout",), "hwcn"), (("heads",), []), (("heads",), {}), (("heads", 0, "outputs"), []),
    (("heads", 0, "outputs"), "logits"), (("heads", 0, "classes"), [1]), (("checkpoint",), 3),
    (("heads", 0, "calibration"), {"temperature": 0}), (("heads", 0, "calibration"), {"temperature": "1"}),
    (("heads", 0, "calibration"), {"thresholds": {"a": None}}), (("heads", 0, "extra"), {"size": 10**9}),
    (("heads", 0, "more"), 1), (("more",), 1),
])
def test_what_a_model_file_says_of_itself_is_typed_and_bounded(place: tuple[Any, ...], value: Any) -> None:
    assert ModelSpec.from_json(SPEC.to_json(), "m.onnx") == SPEC
    with pytest.raises(ValueError, match=r"m.onnx: what it says of itself is damaged \(.+\); export"):
        ModelSpec.from_json(change(place, value), "m.onnx")


@pytest.mark.parametrize("values", [
    {"temperature": float("nan")}, {"temperature": -1}, {"unknown": []}, {"thresholds": {"a": float("inf")}},
    {"unknown": {"threshold": float("nan")}},
])
def test_a_calibration_without_numbers_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|no number"):
        check_calibration(values)
    check_calibration({"temperature": 2, "thresholds": {"a": 0.5}, "unknown": {"threshold": -3.0}})


def run_with(folder: Path, **changes: Any) -> Path:
    (folder / "model.safetensors").write_bytes(b"x")
    config = {
        "app": "dogs", "classes": ["a"], "settings": {}, "backbone": WeightsInfo("x").to_dict(),
        "model_sha256": sha256_of(folder / "model.safetensors"),
    }
    kept = {key: value for key, value in (config | changes).items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(kept))
    return folder


@pytest.mark.parametrize(("changes", "message"), [
    ({"app": 3}, "app must be a text, got 3"), ({"app": ...}, "it lacks app"),
    ({"classes": "ab"}, "classes must be a list of texts"), ({"settings": []}, r"settings must be a table"),
    ({"backbone": asdict(WeightsInfo("x")) | {"url": "http://x"}}, "backbone sets 'url'"),
    ({"backbone": {"name": "x", "preprocessing": {"mean": [1], "std": [1, 1, 1]}}}, "mean must be three"),
    ({"calibration": {"temperature": 0}}, "temperature must be a number"),
    ({"metrics": 3}, "metrics must be a table"),
])
def test_the_configuration_of_a_run_is_typed_and_bounded(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    assert run_values(run_with(tmp_path))["calibration"] == {}
    with pytest.raises(ValueError, match=rf"config.json is damaged \(.*{message}.*restore it or train again"):
        run_values(run_with(tmp_path, **changes))


@pytest.mark.parametrize("text", ["[1]", "3", '{"a": NaN}', "[" * 100_000, "", "\0"])
def test_only_an_object_without_nan_is_a_file_of_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"x.json"):
        read_object(tmp_path / "x.json")


def test_a_full_disk_is_one_line_whatever_library_writes(tmp_path: Path) -> None:
    def write(_: Path) -> None:
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(OSError, match=r"cannot write .*x.bin: the disk is full \(No space.*\); make room"):
        write_whole(tmp_path / "x.bin", write)
    assert not list(tmp_path.iterdir())
