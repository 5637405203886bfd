"""``doctor MODEL``: fp32 and int8 on this processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from schema_support import check
from support import Cli

from apps.engine.core.spec import HeadSpec, ModelSpec
from apps.engine.inference.engines import Engine
from apps.export import doctor
from apps.export.doctor import Candidate, compare, verdict


def row(model: str, over: float | None, *, right: bool = True, difference: float = 0.01) -> dict[str, Any]:
    return {"model": model, "over_fp32": over, "right": right, "difference": difference}


@pytest.mark.parametrize(
    ("others", "use", "why"),
    [
        ([row("a", 0.5), row("b", 0.8)], "a", "2.00 times as fast"),
        ([row("a", 0.52, difference=0.03), row("b", 0.5)], "b", "2.00 times"),
        ([row("a", 1.2)], "fp32", "not faster"),
        ([row("a", 0.2, right=False)], "fp32", "not a, whose answers are others"),
        ([row("a", 0.2, right=False), row("b", 0.6)], "b", "not a, whose"),
    ],
)
def test_the_fastest_of_those_that_are_right_is_named(
    others: list[dict[str, Any]], use: str, why: str
) -> None:
    answer = verdict([row("fp32", 1.0), *others])
    assert answer["use"] == use and why in answer["why"]


def candidate(name: str, answers: Any, emulated: Any = None) -> Candidate:
    head = HeadSpec("dogs", "dogs", "classes", ("dogs",), ("a", "b"))
    spec = ModelSpec("0" * 16, 32, 0.875, "nhwc", "int8", {}, (head,))
    engine = Engine(spec, lambda images: [answers[: len(images)]])
    return Candidate(name, engine, Path(__file__), emulated, [1.0])


def test_int8_that_differs_from_its_own_arithmetic_is_wrong() -> None:
    """As kernels that overflow are: the first answer may be the same by chance."""
    plain, images = np.array([[4.0, -4.0]], np.float32), [np.zeros((1, 32, 32, 3), np.uint8)] * 3
    first = candidate("fp32", plain)
    good = doctor._row(candidate("good", plain * 0.97, lambda _: [plain * 0.96]), first, images)
    bad = doctor._row(candidate("bad", plain * 0.7, lambda _: [plain * 0.96]), first, images)
    assert good["right"] and good["off_its_arithmetic"] < 0.02 and good["same_answer"] == 1
    assert not bad["right"] and bad["off_its_arithmetic"] > 0.2 and bad["same_answer"] == 1
    other = doctor._row(candidate("other", -plain), first, images)
    assert not other["right"] and other["same_answer"] == 0 and other["off_its_arithmetic"] is None


def test_the_command_tries_int8_of_a_run(
    cli: Cli, colour_run: Path, colours: Path, tmp_path: Path
) -> None:
    file = tmp_path / "colours.onnx"
    assert cli("export", colour_run, "--out", file).code == 0
    answer = cli("doctor", file, "--calibrate", colours / "train", "--rounds", 1)
    assert answer.code == 0, answer.err
    check("doctor-models", answer.lines[0], strict=True)
    (line,) = answer.lines
    assert [item["precision"] for item in line["models"]] == ["fp32", "int8", "int8"]
    assert line["models"][0]["difference"] == 0 and line["models"][1]["bytes"] < line["models"][0]["bytes"]
    assert all(item["off_its_arithmetic"] < 0.1 for item in line["models"][1:] if item["right"])
    assert line["use"] in {item["model"] for item in line["models"]} and line["why"]
    answer = cli("doctor", file)
    assert answer.code == 1 and "give --calibrate DIR" in answer.last_error
    again = compare([file, file], rounds=1)
    assert again["made_up_photos"] and again["models"][1]["same_answer"] == 1


def test_wrong_use_of_the_command_is_one_line(cli: Cli, tmp_path: Path) -> None:
    answer = cli("doctor", "--calibrate", tmp_path)
    assert answer.code == 2 and "--calibrate DIR goes with MODEL" in answer.err
    answer = cli("doctor", tmp_path / "none.onnx")
    assert answer.code == 1 and "there is no model file" in answer.last_error
    (tmp_path / "odd.onnx").write_text("no model")
    answer = cli("doctor", tmp_path / "odd.onnx", "--calibrate", tmp_path)
    assert answer.code == 1 and "is not an ONNX model" in answer.last_error
