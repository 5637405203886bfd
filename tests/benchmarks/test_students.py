"""The study of Table 14: what a student is given, what is read of it, and that nothing is done twice."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks import students
from benchmarks.students import FACES, STUDENTS, Student


def options(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    students.add_options(parser)
    return parser.parse_args([str(word) for word in words])


def test_a_row_changes_the_recipe_and_starts_as_its_weights_want() -> None:
    plain = STUDENTS["0.25-128"].settings(Path("w"))
    changed = STUDENTS["0.25-128 not relational"].settings(Path("w"))
    assert {key for key in plain if plain[key] != changed[key]} == {"relational"}
    assert STUDENTS["1.0-160"].settings(Path("w")) | {"weights": str(Path("w") / FACES)} == (
        STUDENTS["1.0-160"].settings(Path("w"))
    )
    assert "weights" not in STUDENTS["0.75-128"].settings(Path("w"))
    assert students.printed(1.0, 128) == 0.783
    assert students.printed(0.25, 128) is None


@pytest.mark.slow
def test_the_study_trains_what_is_missing_and_nothing_twice(
    people: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny = Student(0.25, 32, None, {"val_share": 0.5, "batch_size": 8})
    monkeypatch.setattr(students, "STUDENTS", {"tiny": tiny})
    given = (
        "--data", people, "--test", people, "--teacher", teacher, "--teacher-vectors", teacher,
        "--weights-folder", tmp_path, "--out", tmp_path / "study", "--epochs", 1, "--workers", 0,
    )
    students.run(options(*given))
    table = capsys.readouterr().out.splitlines()
    assert table[2].startswith("| tiny | 0.9 | 0.25 |")
    (row,) = json.loads((tmp_path / "study" / "study.json").read_text())
    assert row["tar"].keys() == {"1e-2", "1e-3", "1e-4"}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "study" / "tiny").rglob("*")}
    students.run(options(*given))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "study" / "tiny").rglob("*")} == before
    assert capsys.readouterr().out.splitlines() == table
