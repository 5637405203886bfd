"""Folders of photos as they are: what is found in them, and what is left out and said."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from support import Cli, save_colour, unprivileged

from datasets.classification.folders import ImageFolders
from datasets.folders import find_images, list_photos, loose_images, subfolders


def photo(path: Path, kind: str = "JPEG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        Image.new("RGB", (40, 32), (90, 60, 30)).save(file, kind)


@pytest.fixture
def notes(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING, "datasets"):
        yield caplog


JUNK = [
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
    "#recycle/a.jpg",
    "__MACOSX/a.jpg",
    "$RECYCLE.BIN/a.jpg",
    "lost+found/a.jpg",
    ".thumbnails/a.jpg",
    "sub/@EADIR/b.jpg",
    "System Volume Information/a.jpg",
]


def test_folders_that_are_not_data_are_left_out_and_counted(
    tmp_path: Path, notes: pytest.LogCaptureFixture
) -> None:
    for name in ["a.jpg", "sub/b.jpg", "._a.jpg", ".hidden.jpg", *JUNK]:
        photo(tmp_path / name)
    assert list_photos([tmp_path]) == [tmp_path / "a.jpg", tmp_path / "sub/b.jpg"]
    assert [path.name for path in subfolders(tmp_path)] == ["sub"]
    (record,) = notes.records
    assert record.getMessage().startswith(f"{tmp_path}: left out 9 files that are not data: ")
    assert "1 in @eaDir" in record.getMessage() and "1 in ._ (AppleDouble)" in record.getMessage()


def test_other_files_are_counted_by_suffix_and_labels_beside_photos_are_not(
    tmp_path: Path, notes: pytest.LogCaptureFixture
) -> None:
    photo(tmp_path / "a.jpg")
    for name in [*(f"{n}.MOV" for n in range(12)), "b.txt", "c.txt", "d", "Thumbs.db", "desktop.ini"]:
        (tmp_path / name).write_bytes(b"no photo")
    assert list(find_images([tmp_path])) == [tmp_path / "a.jpg"]
    list(find_images([tmp_path]))
    assert [record.getMessage() for record in notes.records] == [
        f"{tmp_path}: left out 15 files of other kinds: 12 .mov, 2 .txt, 1 without suffix"
    ], "said once"
    notes.clear()
    list(find_images([tmp_path], beside=(".txt", ".mov", "")))
    assert not notes.records


SUFFIXES = [
    "a.jpg",
    "b.JPG",
    "c.jpeg",
    "d.jpe",
    "e.jfif",
    "f.JFIF",
    "g",
    "h.jpg_large",
    "i.20240102",
    "j.png",
]


def test_photos_are_known_by_suffix_and_without_one_by_content(tmp_path: Path) -> None:
    for name in SUFFIXES:
        photo(tmp_path / name)
    for name, kind in (
        ("k.avif", "AVIF"),
        ("l.jp2", "JPEG2000"),
        ("m.bmp", "BMP"),
        ("n.tif", "TIFF"),
        ("o", "PNG"),
    ):
        photo(tmp_path / name, kind)
    (tmp_path / "p").write_text("a text")
    assert [path.name for path in find_images([tmp_path])] == sorted(
        [*SUFFIXES, *"o", "k.avif", "l.jp2", "m.bmp", "n.tif"]
    )
    assert [path.name for path in loose_images(tmp_path)] == [path.name for path in find_images([tmp_path])]


def test_a_folder_that_may_not_be_read_is_named_and_passed_over(notes: pytest.LogCaptureFixture) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        for name in ["a/1.jpg", "secret/2.jpg", "z/3.jpg"]:
            photo(root / name)
        (root / "secret").chmod(0)
        with unprivileged():
            assert [path.name for path in list_photos([root])] == ["1.jpg", "3.jpg"]
            assert [path.name for path in subfolders(root)] == ["a", "z"]
        (root / "secret").chmod(0o755)
    assert {record.getMessage() for record in notes.records} == {
        f"{root / 'secret'} cannot be read (Permission denied): skipped"
    }


def test_thumbnails_of_a_disk_station_are_no_photos_of_a_class(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in (
            "heads/1.jpg",
            "heads/@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg",
            "tails/1.jpg",
            "@eaDir/2.jpg",
        ):
            photo(tmp_path / split / name)
    data = ImageFolders(tmp_path, "train")
    assert data.classes == ("heads", "tails") and data.counts() == [1, 1]


def test_the_folders_of_the_disk_station_case_hold_twenty_photos_each(shared: Path) -> None:
    root = shared / "cases/01-synology-eadir"
    if not root.is_dir():
        pytest.skip(f"{root} is not here")
    data = ImageFolders(root, "train")
    assert data.classes == ("heads", "tails") and data.counts() == [20, 20]


def test_a_class_saved_under_another_spelling_of_its_name_is_the_same_class(tmp_path: Path) -> None:
    """A Mac stores an accent as a letter of its own, and a blank at the end of a name is easily made."""
    for name in (
        "train/caf\u00e9/1.jpg",
        "train/tea/1.jpg",
        "train/tea /2.jpg",
        "val/cafe\u0301/1.jpg",
        "val/Tea/1.jpg",
    ):
        photo(tmp_path / name)
    train, val = (ImageFolders(tmp_path, split) for split in ("train", "val"))
    assert train.classes == val.classes == ("caf\u00e9", "tea")
    assert train.counts() == [1, 2] and val.counts() == [1, 1]
    assert any("folders 'tea', 'tea ' in" in note and "are one class, 'tea'" in note for note in train.notes)
    assert ImageFolders(tmp_path, "val", classes=["cafe\u0301", "tea"]).counts() == [1, 1]


def test_a_name_that_is_no_utf8_is_answered_for_and_round_trips(
    colour_run: Path, cli: Cli, tmp_path: Path
) -> None:
    name = os.fsdecode(b"K\xf6ln.jpg")
    photo(tmp_path / name)
    answer = cli("predict", tmp_path, "--checkpoint", colour_run, "--workers", 0)
    assert answer.code == 0, answer.err
    path = json.loads(answer.out)["path"]
    assert path == str(tmp_path / name) and Path(path).is_file() and "predictions" in answer.lines[0]


def test_a_training_on_names_that_are_no_utf8_finishes_with_its_report(cli: Cli, tmp_path: Path) -> None:
    """Names go into hashes of features, tables and pages, all of which are UTF-8."""
    for split in ("train", "val"):
        for name, colour in (("red", (200, 30, 30)), (os.fsdecode(b"gr\xfcn"), (30, 200, 30))):
            for number in range(3):
                photo_name = os.fsdecode(b"K\xf6ln %d.png" % number)
                save_colour(tmp_path / split / name / photo_name, colour, seed=number)
    answer = cli(
        "finetune", "dogs", "--data", tmp_path, "--resolution", 32, "--epochs", 1, "--batch-size", 4,
        "--workers", 0, "--out", tmp_path / "run",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert (tmp_path / "run/report.html").is_file()
    classes = json.loads((tmp_path / "run/config.json").read_text())["classes"]
    assert classes == [os.fsdecode(b"gr\xfcn"), "red"]
    answer = cli("evaluate", "dogs", "--checkpoint", tmp_path / "run", "--workers", 0)
    assert answer.code == 0 and answer.lines[0]["n"] == 6, answer.err
    answer = cli("predict", tmp_path / "val", "--checkpoint", tmp_path / "run", "--top", 2, "--workers", 0)
    assert answer.code == 0, answer.err
    assert {item["name"] for line in answer.lines for item in line["predictions"]} == set(classes)
