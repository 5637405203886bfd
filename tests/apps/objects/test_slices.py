"""``detect --slices`` and ``evaluate objects --slices``: the same by every engine, and in parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from ssd_file_support import import_small_ssd
from support import Cli

import apps
from apps.engine.inference.slices.tiles import Slices
from apps.engine.scale.parts import PartsFolder

EVALUATE = ("evaluate", "objects", "--data", "d")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SSD of cat, dog and owl, of 96 px."""
    return import_small_ssd(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos with a box each, as `evaluate` wants them."""
    root, lines = tmp_path_factory.mktemp("photos"), ["path,x1,y1,x2,y2,class"]
    for number, (width, height) in enumerate([(250, 180), (150, 170)]):
        image = Image.effect_noise((width, height), 60).convert("RGB")
        ImageDraw.Draw(image).ellipse((60, 70, 100, 120), fill=(220, 30, 30))
        image.save(root / f"{number}.png")
        lines.append(f"{number}.png,60,70,100,120,owl")
    for split in ("train", "val"):
        (root / f"{split}.csv").write_text("\n".join(lines))
    return root


def near(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> float:
    """The share of objects that the others have, too, within a pixel and a hundredth."""
    same = [
        any(a["name"] == b["name"] and abs(a["score"] - b["score"]) < 0.01
            and max(abs(x - y) for x, y in zip(a["box"], b["box"], strict=True)) < 1 for b in others)
        for a in some
    ]
    return sum(same) / len(same)


def test_slices_show_more_and_one_that_holds_the_photo_shows_the_same(
    cli: Cli, weights: Path, photos: Path
) -> None:
    given = ("detect", photos, "--weights", weights)
    whole, tiles = cli(*given).lines, cli(*given, "--slices").lines
    for before, after in zip(whole, tiles, strict=True):
        assert len(after["objects"]) > len(before["objects"]) > 0
    predictor = apps.load(weights, slices=Slices())
    scores = [item.score for item in predictor.predict(photos / "0.png")[0].objects]  # type: ignore[attr-defined]
    assert [round(score, 4) for score in scores] == [item["score"] for item in tiles[0]["objects"]]
    larger = cli(*given, "--slices", "--slice-size", 1000).lines
    assert [near(a["objects"], b["objects"]) for a, b in zip(whole, larger, strict=True)] == [1, 1]


@pytest.mark.slow
def test_engines_agree(cli: Cli, weights: Path, photos: Path) -> None:
    given = ("detect", photos, "--weights", weights, "--slices", "--engine")
    file, *others = (cli(*given, engine).lines for engine in ("onnxruntime", "openvino", "torch"))
    for lines in others:
        for mine, theirs in zip(file, lines, strict=True):
            assert near(mine["objects"], theirs["objects"]) > 0.95


def test_parts_hold_the_lines_that_are_printed(
    cli: Cli, weights: Path, photos: Path, tmp_path: Path
) -> None:
    given = ("detect", photos, "--weights", weights, "--slices", "--slice-size", 64, "--top", 7)
    printed, out = cli(*given), tmp_path / "out"
    assert cli(*given, "--out", out, "--shard-size", 1).code == 0
    assert list(PartsFolder(str(out)).lines()) == printed.lines
    other = cli(*given[:5], "--out", out)
    assert other.code == 1 and len(list(PartsFolder(str(out)).lines())) == 2


def test_what_is_evaluated_is_what_is_detected(
    cli: Cli, weights: Path, photos: Path, tmp_path: Path
) -> None:
    """Of the one class that is marked."""
    given, file = ("evaluate", "objects", "--weights", weights, "--data", photos), tmp_path / "results.json"
    answer = cli(*given, "--slices", "--write-predictions", file)
    assert answer.code == 0, answer.err
    assert answer.lines[0]["n"] == 2
    lines = cli("detect", photos, "--weights", weights, "--slices", "--threshold", 0).lines
    results = json.loads(file.read_text())
    for number, line in enumerate(lines, start=1):
        mine = [result for result in results if result["image_id"] == number]
        shown = sorted(item["score"] for item in line["objects"] if item["name"] == "owl")
        assert len(shown) > 100
        assert sorted(round(result["score"], 4) for result in mine) == shown
    plain = cli(*given)
    assert plain.lines[0]["metrics"] != answer.lines[0]["metrics"]


@pytest.mark.parametrize(("words", "says"), [
    (("detect", "x.png", "--slice-size", "300"), "--slice-size is for --slices; give both"),
    (("detect", "x.png", "--slices", "--slice-size", "31"), "31 is not in the range 32<=x<=100000"),
    (("detect", "x.png", "--slices", "--slice-size", "half"), "'half' is not a valid integer range"),
    ((*EVALUATE, "--weights", "w", "--slice-size", "300"), "give both"),
    ((*EVALUATE, "--weights", "w", "--slices", "--workers", "2"), "one by one"),
    ((*EVALUATE, "--predictions", "p", "--slices"), "predictions are evaluated as is"),
])
def test_bad_values_are_one_line(cli: Cli, words: tuple[str, ...], says: str) -> None:
    answer = cli(*words)
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.last_error
