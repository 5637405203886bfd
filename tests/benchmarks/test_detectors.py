"""The benchmark of detectors: the few photos that it draws, and what it refuses."""

from __future__ import annotations

import argparse
import json

import pytest

from benchmarks import detectors


def _options(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    detectors.add_options(parser)
    return parser.parse_args([str(word) for word in words])


def test_few_photos_are_the_first_with_one_to_six_boxes(shared, tmp_path):
    data = shared / "data" / "coco128"
    folder = detectors.few(data, tmp_path / "few", 16)
    kept = json.loads((folder / "annotations" / "instances_train2017.json").read_text())
    boxes = [sum(box["image_id"] == one["id"] for box in kept["annotations"]) for one in kept["images"]]
    assert len(boxes) == 16
    assert all(1 <= count <= 6 for count in boxes)
    assert len(list((folder / "train2017").iterdir())) == 16
    assert (folder / "annotations" / "instances_val2017.json").read_text() == json.dumps(kept)


@pytest.mark.slow
@pytest.mark.long
def test_a_detector_is_trained_judged_and_not_trained_again(shared, tmp_path, capsys):
    data, weights = shared / "data" / "coco128", shared / "weights" / "mobilenetv1_0.25_128.safetensors"
    given = ("--data", data, "--weights", weights, "--out", tmp_path / "runs", "--heads", "ssd300",
             "--photos", 8, "--epochs", 1)
    detectors.run(_options(*given))
    table = capsys.readouterr().out.splitlines()
    assert table[2].startswith("| `ssd300` | 8 | 1 | train | 0.")
    model = tmp_path / "runs" / "ssd300" / "model.safetensors"
    before = model.stat().st_mtime_ns
    detectors.run(_options(*given))
    assert model.stat().st_mtime_ns == before
    assert capsys.readouterr().out.splitlines() == table
    assert (tmp_path / "runs" / "ssd300" / "report-train" / "report.html").is_file()


@pytest.mark.parametrize(("words", "message"), [
    (("--heads", "yolo"), "--heads knows no 'yolo'; it knows ssd300, frcnn300, frcnn600, frcnn-fpn"),
    (("--photos", "1000"), r"has \d+ photos with 1 to 6 boxes, not 1000"),
])
def test_what_it_cannot_do_is_refused(shared, tmp_path, words, message):
    given = ("--data", shared / "data" / "coco128", "--weights", "w", "--out", tmp_path, *words)
    with pytest.raises(ValueError, match=message):
        detectors.run(_options(*given))
