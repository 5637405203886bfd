"""Damaged photos are named and skipped by every command that reads a data set, and never end it."""

from __future__ import annotations

import json
from pathlib import Path

import bad_photos_support as damaged
import pytest
from bad_photos_support import GARBAGE, LAYOUTS, TRUNCATED
from faces_support import write_teacher
from support import Answer, Cli

COUNTS = {"train": 4, "val": 3}
READ = ("--workers", 0, "--precision", "fp32")
SMALL = ("--resolution", 64, "--batch-size", 3, *READ)


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENET_APPS_CACHE", str(tmp_path / "cache"))


def names_both(answer: Answer, *names: str, splits: int = 1) -> None:
    """The command went well and named each damaged photo of each split, in a line of stderr each.

    A name is the end of a file's path.
    """
    assert answer.code == 0, answer.err
    assert "Traceback" not in answer.err
    for name in names or (TRUNCATED, GARBAGE):
        lines = {line for line in answer.err.splitlines() if f"{name}: " in line and "skipped" in line}
        assert len(lines) == splits, f"{name} is named in {len(lines)} lines of:\n{answer.err}"


def errors(answer: Answer) -> set[str]:
    """The files of the lines that tell an error instead of an answer."""
    assert answer.code == 0, answer.err
    assert any("error" not in line for line in answer.lines)
    return {Path(line["path"]).name for line in answer.lines if "error" in line}


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damaged.coco(tmp_path_factory.mktemp("coco") / "data", COUNTS)


@pytest.fixture(scope="module")
def detector(boxes: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on boxes with damaged photos among them."""
    run = tmp_path_factory.mktemp("runs") / "objects"
    names_both(
        cli("finetune", "objects", "--data", boxes, *SMALL, "--epochs", 1, "--out", run), splits=2
    )
    return run


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_detector_is_trained_and_evaluated_in_each_layout(layout: str, cli: Cli, tmp_path: Path) -> None:
    data, run = LAYOUTS[layout](tmp_path / "data", COUNTS), tmp_path / "run"
    trained = cli("finetune", "objects", "--data", data, *SMALL, "--epochs", 1, "--out", run)
    names_both(trained, splits=2)
    assert trained.lines[0]["skipped"] == 4
    evaluated = cli("evaluate", "objects", "--checkpoint", run, "--report", tmp_path / "report", *READ)
    names_both(evaluated)
    assert evaluated.lines[0]["n"] == COUNTS["val"] and evaluated.lines[0]["skipped"] == 2


@pytest.mark.parametrize("layout", ["yolo", "csv"])
def test_result_files_are_evaluated_without_the_photos_whose_size_nobody_knows(
    layout: str, cli: Cli, tmp_path: Path
) -> None:
    """The photo that is cut off keeps its header, so its boxes count; results for the other are dropped."""
    data, results = LAYOUTS[layout](tmp_path / "data", COUNTS), tmp_path / "results.json"
    results.write_text(json.dumps([
        {"image_id": n, "category_id": 1, "bbox": [10, 15, 40, 45], "score": 0.9} for n in range(1, 6)
    ]))
    answer = cli("evaluate", "objects", "--predictions", results, "--data", data)
    names_both(answer, GARBAGE)
    assert answer.lines[0]["n"] == 4 and answer.lines[0]["skipped"] == 1


def test_a_frozen_detector_and_a_cache_of_photos_skip_them(
    detector: Path, boxes: Path, cli: Cli, tmp_path: Path
) -> None:
    answer = cli(
        "finetune", "objects", "--data", boxes, *SMALL, "--epochs", 2, "--weights", detector, "--freeze",
        "--cache", tmp_path / "kept", "--out", tmp_path / "run",
    )
    names_both(answer, splits=2)
    assert answer.lines[0]["skipped"] == 4


def test_detect_gives_them_an_error_line_and_draws_the_others(
    detector: Path, boxes: Path, cli: Cli, tmp_path: Path
) -> None:
    answer = cli(
        "detect", boxes / "val2017", "--checkpoint", detector, "--draw", tmp_path / "drawn", *READ
    )
    assert errors(answer) == {TRUNCATED, GARBAGE}
    assert len(list((tmp_path / "drawn").iterdir())) == COUNTS["val"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damaged.classes(tmp_path_factory.mktemp("classes") / "data", COUNTS)


@pytest.fixture(scope="module")
def classifier(folders: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on classes with damaged photos in every folder."""
    run = tmp_path_factory.mktemp("runs") / "dogs"
    answer = cli("finetune", "dogs", "--data", folders, *SMALL, "--epochs", 1, "--out", run)
    names_both(answer, splits=4)
    assert answer.lines[0]["skipped"] == 8
    return run


@pytest.mark.parametrize("options", [
    ("--freeze",), ("--freeze", "--epochs", 2), ("--freeze", "--epochs", 2, "--views", 2),
    ("--epochs", 1, "--cache", "kept"), ("--epochs", 1, "--teacher", "RUN"),
    ("--epochs", 1, "--sampling", "balanced"), ("--epochs", 1, "--mixup", 0.2, "--accumulate", 2),
], ids=lambda words: " ".join(map(str, words)))
def test_a_classifier_is_trained_in_every_way(
    options: tuple[object, ...], classifier: Path, folders: Path, cli: Cli, tmp_path: Path
) -> None:
    words = [classifier if word == "RUN" else tmp_path / word if word == "kept" else word for word in options]
    answer = cli(
        "finetune", "dogs", "--data", folders, *SMALL, "--weights", classifier, *words,
        "--out", tmp_path / "run",
    )
    assert answer.code == 0, answer.err
    assert answer.lines[0]["skipped"] >= 4  # all of val; a balanced draw may leave some of train out
    names_both(cli("evaluate", "dogs", "--checkpoint", tmp_path / "run", *READ), splits=2)


def test_the_search_for_a_rate_skips_them(folders: Path, cli: Cli, tmp_path: Path) -> None:
    answer = cli("finetune", "dogs", "--data", folders, *SMALL, "--epochs", 1, "--find-lr", "--out",
                 tmp_path / "lr")
    assert answer.code == 0, answer.err
    assert answer.err.count("skipped: ") == 4  # each once, in however many epochs


def test_predict_and_its_heads_and_files_give_them_an_error_line(
    classifier: Path, detector: Path, folders: Path, cli: Cli, tmp_path: Path
) -> None:
    photos, file = folders / "val" / "one", tmp_path / "dogs.onnx"
    assert errors(cli("predict", photos, "--checkpoint", classifier, *READ)) == {TRUNCATED, GARBAGE}
    heads = ("--heads", f"{classifier},{detector}", "--allow-separate")
    assert errors(cli("predict", photos, *heads, *READ)) == {TRUNCATED, GARBAGE}
    exported = cli("export", classifier, "--out", file, "--precision", "int8", "--calibrate", photos)
    names_both(exported)
    assert errors(cli("predict", photos, "--model", file, "--workers", 0)) == {TRUNCATED, GARBAGE}


ATTRIBUTES_NAMED = ("p0/2.jpg", "p2/2.jpg", "p4/2.jpg", "p6/2.jpg")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damaged.attributes(tmp_path_factory.mktemp("attributes") / "data", people=8)


def test_attributes_are_learned_taught_and_evaluated(labelled: Path, cli: Cli, tmp_path: Path) -> None:
    words = ("finetune", "attributes", "--data", labelled, *SMALL, "--epochs", 1)
    first = cli(*words, "--out", tmp_path / "one")
    names_both(first, *ATTRIBUTES_NAMED)
    again = cli(*words, "--teacher", tmp_path / "one", "--out", tmp_path / "two")
    names_both(again, *ATTRIBUTES_NAMED)
    probe = cli(*words[:-2], "--weights", tmp_path / "one", "--freeze", "--out", tmp_path / "three")
    names_both(probe, *ATTRIBUTES_NAMED)
    evaluated = cli("evaluate", "attributes", "--checkpoint", tmp_path / "one", *READ)
    assert evaluated.code == 0, evaluated.err
    assert evaluated.lines[0]["skipped"] == sum(f"{name}: " in evaluated.err for name in ATTRIBUTES_NAMED) > 0
    answers = cli("predict", labelled / "images", "--checkpoint", tmp_path / "one", "--crops", *READ)
    assert errors(answers) == {"2.jpg"}


FACES_NAMED = ("PERSON_0_0004.jpg", "PERSON_2_0004.jpg", "PERSON_4_0004.jpg", "PERSON_6_0004.jpg")
FACES_SMALL = ("--width", 0.25, "--resolution", 32, "--val-share", 0.5, *READ)


@pytest.fixture(scope="module")
def crops_of_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damaged.faces(tmp_path_factory.mktemp("faces") / "data", people=8, each=4)


def test_faces_are_learned_and_evaluated(crops_of_people: Path, cli: Cli, tmp_path: Path) -> None:
    photos = sorted(crops_of_people.rglob("*.jpg"))
    names = [str(path.relative_to(crops_of_people).with_suffix("")) for path in photos]
    teacher = write_teacher(tmp_path / "teacher.npz", names)
    words = ("finetune", "faces", "--data", crops_of_people, *FACES_SMALL, "--epochs", 1)
    names_both(cli(*words, "--teacher", teacher, "--out", tmp_path / "one"), *FACES_NAMED)
    names_both(cli(*words, "--teacher", tmp_path / "one", "--out", tmp_path / "two"), *FACES_NAMED)
    margin = ("--margin-loss", "arcface", "--out", tmp_path / "three")
    names_both(cli(*words, *margin), *FACES_NAMED)
    evaluated = cli("evaluate", "faces", "--checkpoint", tmp_path / "one", "--data", crops_of_people)
    assert evaluated.code == 0, evaluated.err
    assert sum(name in evaluated.err for name in FACES_NAMED) == 4


@pytest.fixture(scope="module")
def travels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damaged.placed(tmp_path_factory.mktemp("places") / "data", each=10)


def test_places_are_learned_evaluated_and_located(
    travels: Path, classifier: Path, cli: Cli, tmp_path: Path
) -> None:
    cells = ("--split-km", 0.5, "--t-max", 20, "--t-min", 1, "--val-share", 0.3)
    words = ("finetune", "places", "--data", travels / "places.csv", *SMALL, *cells)
    scratch = cli(*words, "--epochs", 1, "--out", tmp_path / "one")
    names_both(scratch, splits=2)
    probe = cli(*words, "--weights", classifier, "--freeze", "--out", tmp_path / "two")
    names_both(probe, splits=2)
    evaluated = cli("evaluate", "places", "--checkpoint", tmp_path / "one", *READ)
    assert evaluated.code == 0, evaluated.err
    located = cli("locate", travels / "paris", "--checkpoint", tmp_path / "one", "--album", *READ)
    assert errors(located) == {TRUNCATED, GARBAGE}


def test_a_joint_training_skips_them_in_every_task(
    boxes: Path, folders: Path, labelled: Path, cli: Cli, tmp_path: Path
) -> None:
    answer = cli(
        "joint", "objects", "dogs", "attributes", "--data", f"objects={boxes}", "--data", f"dogs={folders}",
        "--data", f"attributes={labelled}", *SMALL, "--epochs", 1, "--out", tmp_path / "run",
    )
    names_both(answer, splits=6)
    assert any(f"{name}: " in answer.err for name in ATTRIBUTES_NAMED)
    assert answer.lines[0]["skipped"] > 12
