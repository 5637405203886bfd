"""Exported heads of attributes: yes/no answers with thresholds, and classes of a group as one number."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_support import Visit, served, web_page
from support import Cli, save_colour

from apps.engine.core.spec import HeadSpec
from apps.engine.inference.decode import decode
from apps.engine.inference.model_file import load_model


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 squares of 12 people, red ones and bright ones; the age is the number modulo 5."""
    root = tmp_path_factory.mktemp("squares")
    rows = ["image,Red,Bright,age"]
    for number in range(24):
        red, bright = number % 4 < 2, number % 3 == 0
        level = 200 if bright else 60
        colour = (level, level // 3, level // 3) if red else (level // 3, level // 3, level)
        save_colour(root / "images" / f"p{number // 2}" / f"{number}.png", colour, seed=number)
        rows.append(f"p{number // 2}/{number}.png,{int(red)},{int(bright)},{number % 5}")
    (root / "attributes.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def run(cli: Cli, squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOBILENET_APPS_CACHE", str(tmp_path_factory.mktemp("cache")))
        answer = cli(
            "finetune", "attributes", "--data", squares, "--resolution", 32, "--batch-size", 8,
            "--workers", 0, "--epochs", 1, "--names", "Red,Bright,age:5", "--out", folder,
        )
    assert answer.code == 0, answer.err
    return folder


@pytest.fixture(scope="module")
def model(cli: Cli, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "squares.onnx"
    answer = cli("export", run, "--out", out)
    assert answer.code == 0, answer.err
    return out


def test_a_file_tells_attributes_as_the_run_does_of_crops(
    cli: Cli, run: Path, squares: Path, model: Path
) -> None:
    photos = sorted(squares.rglob("*.png"))[:6]
    own = cli("predict", *photos, "--checkpoint", run, "--crops", "--precision", "fp32")
    file = cli("predict", *photos, "--model", model)
    assert own.code == file.code == 0, own.err + file.err
    assert "taken as one face" not in own.err
    assert file.err == f"{model} answers for faces: each image is taken as one face, cut out already\n"
    script = [sys.executable, model.with_name("run.py"), *photos]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, file.err)
    for wanted, got in zip(own.lines, file.lines, strict=True):
        assert {*got} == {"path", "attributes", "values"}
        assert got["path"] == wanted["path"]
        assert got["values"] == pytest.approx(wanted["values"], abs=2e-2)
        for name, one in wanted["attributes"].items():
            told = got["attributes"][name]
            assert told["threshold"] == one["threshold"]
            assert told["probability"] == pytest.approx(one["probability"], abs=1e-3)
            assert told["decision"] == (told["probability"] >= told["threshold"])


def test_a_group_is_told_as_its_expected_class_and_a_threshold_decides() -> None:
    head = HeadSpec(
        "faces", "attributes", "attributes", ("faces",), ("Male", "Old", "age:3"),
        {"thresholds": {"Male": 0.9}},
    )
    logits = np.array([[2.0, -800.0, 0.0, 0.0, np.log(2.0)]], np.float32)
    (told,) = (answer.to_dict() for answer in decode(head, [logits], [(9, 9)]))
    assert told["attributes"]["Male"] == {"probability": 0.880797, "threshold": 0.9, "decision": False}
    assert told["attributes"]["Old"] == {"probability": 0.0, "threshold": 0.5, "decision": False}
    assert told["values"] == {"age": 1.25}  # 0 x 1/4 + 1 x 1/4 + 2 x 1/2


def test_the_card_names_the_attributes_and_warns_of_deciding_about_people(model: Path) -> None:
    card = Path(f"{model}.md").read_text()
    for words in ("3 attributes: Red, Bright, age:5", "mean_ap", "must not be used to decide about people"):
        assert words in card
    (head,) = load_model(model).spec.heads
    assert set(head.calibration["thresholds"]) == {"Red", "Bright"}


def test_int8_of_attributes_tells_its_loss_in_mean_average_precision(
    cli: Cli, run: Path, squares: Path, tmp_path: Path
) -> None:
    answer = cli(
        "export", run, "--precision", "int8", "--calibrate", squares / "images", "--validate", squares,
        "--max-drop", 0.5, "--out", tmp_path / "small.onnx",
    )
    assert answer.code == 0, answer.err
    assert "attributes/mean_ap" in json.loads(answer.out)["drop"]


@pytest.mark.slow
def test_the_page_shows_attributes_as_python_tells_them(
    browser: Any, cli: Cli, run: Path, squares: Path, tmp_path: Path
) -> None:
    photo = sorted(squares.rglob("*.png"))[0]
    (wanted,) = cli("predict", photo, "--checkpoint", run, "--crops").lines
    with served(web_page(cli, tmp_path / "page", run)) as address:
        visit = Visit(browser, address).ready()
        visit.page.get_by_label("The photos are face crops already").check()
        (got,) = visit.upload(photo)
        told = {name: one["probability"] for name, one in wanted["attributes"].items()}
        assert got == pytest.approx(told, abs=1e-2)
        for name, one in wanted["attributes"].items():
            words = visit.page.locator(f"li[data-name={name}]").inner_text()
            assert f"{'yes' if one['decision'] else 'no'}, " in words
        age = visit.page.locator("li[data-name=age]")
        assert float(age.get_attribute("data-value")) == pytest.approx(wanted["values"]["age"], abs=2e-2)
        assert visit.said == []
        visit.page.close()
