"""The study of Table 12: it draws whole people, resumes, and says what it cost; on real faces."""

from __future__ import annotations

import argparse
import csv
import json

import pytest

from benchmarks import attributes


def _options(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    attributes.add_options(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOBILENET_APPS_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
@pytest.mark.long
def test_the_study_trains_what_is_missing_and_nothing_twice(shared, tmp_path, own_cache, capsys):
    given = (
        "--data", shared / "data" / "lfw_grey", "--weights", shared / "weights", "--out", tmp_path / "study",
        "--photos", 60, "--epochs", 1, "--only", "0.25-128-labels",
    )
    attributes.run(_options(*given))
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 4
    assert table[3].startswith("| 0.25-128 | labels | 13.3 | 0.21 |")
    rows = json.loads((tmp_path / "study" / "study.json").read_text())
    assert rows[1]["emulation"]["cross_entropy"] >= rows[1]["emulation"]["entropy"]
    files = [path for path in (tmp_path / "study").rglob("*") if path.name != "study.json" and path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    attributes.run(_options(*given))
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert capsys.readouterr().out.splitlines() == table


def test_people_are_drawn_whole(shared, tmp_path):
    attributes.drawn_table(shared / "data" / "lfw_grey", tmp_path / "t.csv", 300, seed=0)
    with (tmp_path / "t.csv").open() as file:
        images = [line["image"] for line in csv.DictReader(file)]
    drawn = {image.split("/")[0] for image in images}
    with (shared / "data" / "lfw_grey" / "attributes.csv").open() as file:
        every = [line["image"] for line in csv.DictReader(file) if line["image"].split("/")[0] in drawn]
    assert sorted(images) == sorted(every)
    assert len(images) >= 300


def test_a_student_that_is_not_in_the_study_is_refused():
    with pytest.raises(ValueError, match=r"--only knows no '0\.3-128-teacher'; it knows 0\.25-128"):
        attributes.chosen("0.25-128-teacher,0.3-128-teacher")
