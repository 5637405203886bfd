"""Answers in the forms of other tools: our readers take them back, and the numbers are the same."""

from __future__ import annotations

import csv
import io
import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import pytest
from PIL import Image
from support import Cli

from apps.cli.output import Answers, emit_rows
from apps.engine.results.coco import coco_dataset
from apps.engine.results.documents import document
from apps.engine.results.label_studio import labelling_config, tasks
from apps.engine.results.rows import CLASSES as CLASS_COLUMNS
from apps.engine.results.rows import answer_rows
from datasets.detection.boxes_csv import read_boxes_csv
from datasets.detection.coco import read_coco

CLASSES = ["cat", "dog", "owl & co"]


@pytest.fixture
def lines(tmp_path: Path) -> list[dict[str, Any]]:
    """Of three photos: two objects; none, in a folder with a blank; one on a photo that lies on its side."""
    photos = tmp_path / "photos"
    (photos / "my cats").mkdir(parents=True)
    Image.new("RGB", (200, 100), "red").save(photos / "a.png")
    Image.new("RGB", (64, 48), "blue").save(photos / "my cats" / "b.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (80, 40), "green").save(photos / "c.jpg", exif=turned)
    return [
        {"path": str(photos / "a.png"), "objects": [
            {"name": "dog", "score": 0.9, "box": [10.0, 20.0, 60.0, 70.0]},
            {"name": "owl & co", "score": 0.5, "box": [0.0, 0.0, 200.0, 100.0]},
        ]},
        {"path": str(photos / "my cats" / "b.png"), "objects": []},
        {"path": str(photos / "c.jpg"), "objects": [
            {"name": "cat", "score": 0.7, "box": [5.0, 10.0, 35.0, 70.0]},
        ]},
        {"path": str(photos / "bad.jpg"), "error": "damaged"},
    ]


def boxes_of(result: Any) -> dict[str, list[tuple[str, list[float]]]]:
    return {
        photo.path.name: [(result.categories[item.label].name, list(item.box)) for item in photo.objects]
        for photo in result.photos
    }


def wanted_of(lines: list[dict[str, Any]]) -> dict[str, list[tuple[str, list[float]]]]:
    return {
        Path(line["path"]).name: [(item["name"], item["box"]) for item in line["objects"]]
        for line in lines if "objects" in line
    }


def test_our_reader_takes_a_coco_data_set_back(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    data = coco_dataset(lines, CLASSES, "model")
    assert [category["name"] for category in data["categories"]] == CLASSES
    assert [image["file_name"] for image in data["images"]] == ["a.png", "my cats/b.png", "c.jpg"]
    assert [item["score"] for item in data["annotations"]] == [0.9, 0.5, 0.7]
    root = tmp_path / "back"
    shutil.copytree(tmp_path / "photos", root / "images")
    (root / "annotations.json").write_text(json.dumps(data))
    assert boxes_of(read_coco(root, "train")) == wanted_of(lines)


def test_evaluate_finds_the_photos_of_a_whole_file_by_their_names(
    cli: Cli, lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    root = tmp_path / "labelled"
    shutil.copytree(tmp_path / "photos", root / "images")
    labels = coco_dataset(lines, CLASSES, "model")
    (root / "annotations.json").write_text(json.dumps(labels))
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps(coco_dataset(list(reversed(lines)), CLASSES[::-1], "other")))
    answer = cli("evaluate", "objects", "--predictions", answers, "--data", root, "--split", "train")
    assert answer.code == 0, answer.err
    assert answer.lines[0]["metrics"]["ap"] == pytest.approx(1.0)
    labels["annotations"][0].pop("score")
    answers.write_text(json.dumps(labels))
    refused = cli("evaluate", "objects", "--predictions", answers, "--data", root, "--split", "train")
    assert "has no score" in refused.last_error


def test_label_studio_has_percent_and_names_that_its_server_finds(
    lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    first, second, third = tasks(lines, "model")
    for task, line in zip((first, second, third), lines, strict=False):
        _, _, name = task["data"]["image"].partition("?d=")
        assert str(tmp_path / unquote(name)) == line["path"]
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "model"
        for mark, item in zip(prediction["result"], line["objects"], strict=True):
            value, width, height = mark["value"], mark["original_width"], mark["original_height"]
            corners = [
                value["x"] * width / 100, value["y"] * height / 100,
                (value["x"] + value["width"]) * width / 100, (value["y"] + value["height"]) * height / 100,
            ]
            assert (corners, value["rectanglelabels"]) == (pytest.approx(item["box"]), [item["name"]])
    assert third["predictions"][0]["result"][0]["original_width"] == 40  # as the photo is shown
    config = ET.fromstring(labelling_config(CLASSES, boxes=True))
    assert [label.get("value") for label in config.iter("Label")] == CLASSES
    rectangles = config.find("RectangleLabels")
    assert rectangles is not None
    assert (rectangles.get("name"), rectangles.get("toName")) == ("label", "image")


def test_classes_are_choices_and_have_a_config_but_no_coco(
    lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    path, config = lines[0]["path"], tmp_path / "config.xml"
    named = [{"path": path, "predictions": [{"name": "dog", "probability": 0.8}], "unknown": None}]
    (task,) = document("label-studio", named, CLASSES, "model", config)
    assert task["predictions"][0]["result"][0]["value"] == {"choices": ["dog"]}
    assert [choice.get("value") for choice in ET.parse(config).iter("Choice")] == CLASSES
    with pytest.raises(ValueError, match="is for objects, which have boxes"):
        document("coco", named, CLASSES, "model")
    assert document("coco", lines[3:], CLASSES, "model") is None
    with pytest.raises(click.UsageError):
        Answers("csv", label_config=config)


def test_our_reader_takes_the_rows_of_a_table_back(
    lines: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    emit_rows(answer_rows(lines[:3], objects=True), "csv")
    table = capsys.readouterr().out
    (tmp_path / "train.csv").write_text(table)
    assert boxes_of(read_boxes_csv(tmp_path, "train")) == wanted_of(lines)
    rows = list(csv.DictReader(io.StringIO(table)))
    assert list(rows[0]) == ["path", "time", "frame", "name", "score", "x1", "y1", "x2", "y2", "error"]
    emit_rows(answer_rows(lines), "table")
    assert "owl & co" in capsys.readouterr().out


def test_columns_do_not_depend_on_what_comes_first() -> None:
    bad = {"path": "bad.jpg", "error": "damaged"}
    named = {"path": "a.jpg", "predictions": [{"name": "dog", "probability": 0.8}], "unknown": False}
    first, second = answer_rows([bad, named])
    assert list(first) == list(second) == list(CLASS_COLUMNS)
    assert (first["error"], second["name"], second["rank"]) == ("damaged", "dog", 1)
    face = {"path": "a.jpg", "face": 0, "attributes": {"Male": {"probability": 0.3}}}
    flat = list(answer_rows([bad, face]))
    assert [row.get("attributes.Male.probability") for row in flat] == [None, 0.3]
    assert list(flat[0]) == list(flat[1])
