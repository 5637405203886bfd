"""What stays and what goes: moved, edited and deleted photos, the forgotten, runs that were broken off."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from faces_support import dying_after_a_part, embed, small_parts
from PIL import Image
from support import Cli

from apps.faces.extraction.opening import date_taken
from apps.faces.extraction.table import read_records
from apps.faces.people.corrections import FaceRef, edit_corrections, read_corrections

READY = ("--align", "none")


def enroll(cli: Cli, weights: Path, out: Path, name: str, *photos: Path) -> None:
    answer = cli("enroll", name, *photos, "--gallery", out, "--weights", weights, *READY)
    assert answer.code == 0, answer.err


def names_in(out: Path) -> dict[str, str | None]:
    rows = pq.read_table(out, columns=["path", "name"]).to_pylist()
    return {Path(row["path"]).name: row["name"] for row in rows}


def listed(cli: Cli, out: Path) -> dict[str, tuple[str | None, list[str]]]:
    """Name of a photo -> name of the person of its face; offers of the person."""
    cli("cluster-faces", out, "--out", out.parent / "sheet", "--threshold", "0.99999")
    offers = {line["id"]: line["offers"] for line in cli("people", "list", out, "--all").lines}
    faces = cli("people", "list", out, "--faces", "--all").lines
    return {Path(face["path"]).name: (face["name"], offers[face["person"]]) for face in faces}


def test_a_moved_photo_keeps_the_name_and_the_old_row_is_counted_and_pruned(
    cli: Cli, weights: Path, crops: Path, out: Path
) -> None:
    photo = crops / "PERSON_0/PERSON_0_0001.png"
    enroll(cli, weights, out, "Ada", photo)
    photo.rename(crops / "moved.png")
    answer = embed(cli, weights, out, crops)
    assert (answer["faces"], answer["new_faces"], answer["gone"]) == (13, 12, {"photos": 1, "faces": 1})
    assert (names_in(out)["moved.png"], names_in(out)["PERSON_0_0001.png"]) == ("Ada", "Ada")
    pruned = cli("embed-faces", crops, "--out", out, "--weights", weights, *READY, "--prune")
    assert "1 photo of" in pruned.err
    assert "their rows were removed" in pruned.err
    assert names_in(out).keys() == {path.name for path in crops.rglob("*.png")}
    assert embed(cli, weights, out, crops)["gone"] == {"photos": 0, "faces": 0}
    assert embed(cli, weights, out, crops)["skipped"] == 12


def test_an_edited_photo_is_offered_its_name_again(cli: Cli, weights: Path, crops: Path, out: Path) -> None:
    first, second = crops / "PERSON_0/PERSON_0_0001.png", crops / "PERSON_1/PERSON_1_0001.png"
    enroll(cli, weights, out, "Ada", first)
    embed(cli, weights, out, crops)
    assert listed(cli, out)["PERSON_1_0001.png"] == (None, [])
    cli("people", "name", out, f"{second}#0", "Bob", "--face")
    for photo in (first, second):
        with Image.open(photo) as image:
            image.convert("L").convert("RGB").save(photo)
    embed(cli, weights, out, crops)
    now = listed(cli, out)
    assert now["PERSON_0_0001.png"] == (None, ["Ada"])
    assert now["PERSON_1_0001.png"] == (None, ["Bob"])
    assert "Names of edited photos" in (out.parent / "sheet/index.html").read_text()
    cli("people", "name", out, f"{first}#0", "Ada", "--face")
    assert listed(cli, out)["PERSON_0_0001.png"] == ("Ada", [])


def test_the_name_of_a_pruned_photo_comes_back_with_it(
    cli: Cli, weights: Path, crops: Path, out: Path
) -> None:
    photo, away = crops / "PERSON_0/PERSON_0_0001.png", out.with_name("away.png")
    enroll(cli, weights, out, "Ada", photo)
    shutil.move(photo, away)
    cli("embed-faces", crops, "--out", out, "--weights", weights, *READY, "--prune")
    assert "Ada" not in names_in(out).values()
    shutil.move(away, photo)
    embed(cli, weights, out, crops)
    assert listed(cli, out)["PERSON_0_0001.png"][0] == "Ada"


def test_corrections_hold_for_photos_that_are_moved_and_copied(
    cli: Cli, weights: Path, crops: Path, out: Path
) -> None:
    embed(cli, weights, out, crops)
    listed(cli, out)
    photo = crops / "PERSON_2/PERSON_2_0002.png"
    cli("people", "name", out, f"{photo}#0", "Cleo", "--face")
    shutil.copy(photo, crops / "copy.png")
    photo.rename(crops / "moved.png")
    embed(cli, weights, out, crops)
    now = listed(cli, out)
    assert (now["copy.png"][0], now["moved.png"][0]) == ("Cleo", "Cleo")


def test_rows_of_a_shard_without_the_photo_are_gone(cli: Cli, weights: Path, crops: Path, out: Path) -> None:
    shard = out.with_name("shard.tar")
    for count in (3, 2):
        with tarfile.open(shard, "w") as tar:
            for photo in sorted(crops.rglob("*.png"))[:count]:
                tar.add(photo, arcname=photo.name)
        answer = embed(cli, weights, out, shard)
        assert answer["gone"] == {"photos": 3 - count, "faces": 3 - count}


def test_a_forgotten_face_is_not_embedded_again_wherever_the_photo_lies(
    cli: Cli, weights: Path, crops: Path, out: Path
) -> None:
    embed(cli, weights, out, crops)
    listed(cli, out)
    photo = crops / "PERSON_2/PERSON_2_0002.png"
    cli("people", "name", out, f"{photo}#0", "Cleo", "--face")
    assert cli("people", "forget", out, "Cleo").lines[0]["faces"] == 1
    assert embed(cli, weights, out, crops)["skipped"] == 12
    photo.rename(crops / "moved.png")
    answer = embed(cli, weights, out, crops)
    assert (answer["faces"], answer["photos"], answer["new_faces"]) == (11, 1, 0)
    assert "moved.png" not in names_in(out)
    for side in out.parent.glob("faces.*"):
        assert b"Cleo" not in side.read_bytes()
    answer = cli("enroll", "Cleo", crops / "moved.png", "--gallery", out, *READY)
    assert (answer.code, "the faces on these photos were forgotten" in answer.err) == (1, True)


def test_a_refused_enroll_leaves_a_broken_off_run_as_it_is_and_a_good_one_merges_it_first(
    cli: Cli, weights: Path, crops: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch, 4)
    photo = crops / "PERSON_3/PERSON_3_0001.png"
    enroll(cli, weights, out, "Dora", photo)
    break_off(cli, weights, crops, out)
    before = snapshot(out.parent)
    assert any(".parts" in name for name in before)
    (crops / "cut.png").write_bytes(b"no photo")
    answer = cli("enroll", "Eve", crops / "cut.png", "--gallery", out, *READY)
    assert (answer.code, answer.lines[0]["faces"]) == (1, 0)
    (crops / "cut.png").unlink()
    assert snapshot(out.parent) == before
    first = crops / "PERSON_0/PERSON_0_0001.png"  # in the part that is waiting, without a name
    enroll(cli, weights, out, "Ada", first)
    assert pq.read_table(out).num_rows == 5
    assert {n for n, name in names_in(out).items() if name} == {"PERSON_0_0001.png", "PERSON_3_0001.png"}
    answer = embed(cli, weights, out, crops)
    assert (answer["skipped"], answer["photos"], answer["faces"]) == (5, 7, 12)
    assert {n for n, name in names_in(out).items() if name} == {"PERSON_0_0001.png", "PERSON_3_0001.png"}
    assert not list(out.parent.glob(".faces*"))


def test_a_face_that_was_forgotten_is_gone_from_what_a_broken_off_run_left(
    cli: Cli, weights: Path, crops: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch, 4)
    photo = crops / "PERSON_0/PERSON_0_0001.png"
    enroll(cli, weights, out, "Ada", photo)
    photo.rename(moved := crops / "PERSON_0/PERSON_0_0000.png")
    break_off(cli, weights, crops, out)
    (part,) = out.parent.glob(".faces.parquet.parts/part-*")
    vector = pq.read_table(part)["vector"][0]
    assert [row.path for row in read_records(part) if row.faces] == [row.path for row in read_records(part)]
    listed(cli, out)
    assert cli("people", "forget", out, "Ada").lines[0]["faces"] == 1
    after = pq.read_table(part)
    assert vector not in list(after["vector"])
    assert (after["name"].to_pylist(), after["face"].to_pylist()) == ([None] * 4, [None, 0, 0, 0])
    answer = embed(cli, weights, out, crops)
    assert (answer["photos"], answer["new_faces"], answer["faces"]) == (12, 11, 11)
    assert moved.name not in names_in(out)


def break_off(cli: Cli, weights: Path, crops: Path, out: Path) -> None:
    """Begin a table, and stop when the first part is written."""
    with dying_after_a_part():
        assert cli("embed-faces", crops, "--out", out, "--weights", weights, *READY).code == 130


def snapshot(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "crops" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_runs_broken_off_one_after_the_other_lose_nothing(
    cli: Cli, weights: Path, crops: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch, 2)
    for number in range(3):
        command = ("embed-faces", crops / f"PERSON_{number}", "--out", out, "--weights", weights, *READY)
        with dying_after_a_part():
            assert cli(*command).code == 130
    answer = embed(cli, weights, out, crops / "PERSON_3")
    assert (answer["photos"], answer["faces"]) == (3, 9)
    assert not list(out.parent.glob(".faces*"))


def test_a_table_of_before_has_no_dates_and_goes_on(cli: Cli, weights: Path, crops: Path, out: Path) -> None:
    embed(cli, weights, out, crops / "PERSON_0")
    old = pq.read_table(out)
    pq.write_table(old.drop_columns(["date"]), out)
    assert len(listed(cli, out)) == 3
    answer = embed(cli, weights, out, crops)
    assert (answer["skipped"], answer["faces"]) == (3, 12)
    assert pq.read_table(out)["vector"].slice(0, 3) == old["vector"]


def test_a_row_has_the_date_on_which_the_photo_was_taken(
    cli: Cli, weights: Path, crops: Path, out: Path
) -> None:
    photo = out.with_name("dated.jpg")
    exif = Image.Exif()
    exif[0x0132] = "2024:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x9003] = "2019:07:31 18:30:05"
    with Image.open(crops / "PERSON_0/PERSON_0_0001.png") as image:
        image.save(photo, exif=exif)
    embed(cli, weights, out, photo, crops / "PERSON_1")
    dates = pq.read_table(out, columns=["path", "date"]).to_pylist()
    assert {Path(row["path"]).name: row["date"] for row in dates}["dated.jpg"] == "2019-07-31T18:30:05"
    assert sum(row["date"] is None for row in dates) == 3


@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "    :  :     :  :  ", "nonsense", "2019-07-31"])
def test_dates_that_are_none_are_left_out(text: str) -> None:
    image = Image.new("RGB", (8, 8))
    image.getexif()[0x0132] = text
    assert date_taken(image) is None


def test_a_name_that_is_not_utf8_costs_that_photo_alone(
    cli: Cli, weights: Path, crops: Path, out: Path
) -> None:
    shutil.copy(crops / "PERSON_0/PERSON_0_0001.png", os.fsencode(crops) + b"/caf\xe9.png")
    answer = cli("embed-faces", crops, "--out", out, "--weights", weights, *READY)
    assert (answer.code, answer.lines[0]["faces"]) == (0, 12), answer.err
    assert "caf\\udce9.png' is a file name in no UTF-8" in answer.err


def test_names_kept_for_later_are_kept_once(cli: Cli, weights: Path, crops: Path, out: Path) -> None:
    photo = crops / "PERSON_0/PERSON_0_0001.png"
    enroll(cli, weights, out, "Ada", photo)
    digest = pq.read_table(out)["sha256"][0].as_py()
    with edit_corrections(out) as corrections:
        corrections.add("name", [FaceRef(digest, (0, 0, 48, 48), str(photo))], name="Ada")
    photo.unlink()
    cli("embed-faces", crops, "--out", out, "--weights", weights, *READY, "--prune")
    assert len(read_corrections(out).entries) == 1


def test_what_is_enrolled_later_wins_over_an_earlier_correction_of_that_face_alone(
    cli: Cli, weights: Path, crops: Path, out: Path
) -> None:
    first, second, third = (crops / f"PERSON_0/PERSON_0_000{number}.png" for number in (1, 2, 3))
    enroll(cli, weights, out, "Ada", first, second)
    listed(cli, out)
    for photo in (first, second):
        cli("people", "name", out, f"{photo}#0", "Bea", "--face")
    answer = cli("enroll", "Ada", first, third, "--gallery", out, *READY)
    assert (answer.code, answer.lines[0]["faces"], answer.lines[0]["skipped"]) == (0, 1, 1)
    now = listed(cli, out)
    assert [now[photo.name][0] for photo in (first, second, third)] == ["Ada", "Bea", "Ada"]
