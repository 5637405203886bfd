"""`people`: names, merges, splits, undo, forget; corrections bind clusters and are never half there."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faces_support import unit_vectors, write_table
from people_support import crowd, names, sign
from support import Cli

from apps.engine.inference.decode.overlap import box_iou
from apps.faces.people.album import clusters_path
from apps.faces.people.corrections import (
    Corrections,
    FaceRef,
    corrections_path,
    edit_corrections,
    read_corrections,
)


@pytest.fixture
def table(cli: Cli, tmp_path: Path) -> Path:
    """A table of four people, clustered once, so that the limit is known."""
    made = write_table(tmp_path / "faces.parquet", crowd())
    answer = cli("cluster-faces", made, "--out", tmp_path / "sheet", "--threshold", 0.5)
    assert (answer.lines[0]["clusters"], answer.lines[0]["alone"]) == (2, 2), answer.err
    return made


def person_of(cli: Cli, table: Path) -> dict[str, str]:
    """Sign of a face -> sign of its person."""
    return {line["id"]: line["person"] for line in cli("people", "list", table, "--faces", "--all").lines}


def test_a_cluster_gets_a_name_that_is_taken_back(cli: Cli, table: Path) -> None:
    answer = cli("people", "name", table, sign(table, 2), "  Ada ")
    assert answer.lines == [{"correction": 1, "verb": "name", "faces": 5, "name": "Ada"}]
    assert names(cli, table) == {"Ada": 5, None: 3}
    cli("cluster-faces", table, "--out", table.parent / "sheet", "--threshold", 0.5)
    page = (table.parent / "sheet/index.html").read_text()
    assert "Ada" in page
    assert "5 corrected by hand" in page
    assert cli("people", "undo", table).lines == [{"undone": "name", "number": 1, "name": "Ada", "faces": 5}]
    assert names(cli, table) == {None: 3}
    assert "holds no correction to take back" in cli("people", "undo", table).last_error


@pytest.mark.parametrize("keep", [0, 30, 200])
def test_clusters_kept_beside_the_table_are_made_again_where_they_are_damaged(
    cli: Cli, table: Path, keep: int
) -> None:
    before = cli("people", "list", table).out
    kept = clusters_path(table)
    kept.write_bytes(kept.read_bytes()[:keep])
    again = cli("people", "list", table)
    assert (again.code, again.out) == (0, before), again.err


def test_one_face_of_a_group_photo_is_named_by_its_place(cli: Cli, table: Path) -> None:
    path = pq.read_table(table)["path"][8].as_py()
    assert cli("people", "name", table, f"{path}#0", "Bob", "--face").lines[0]["faces"] == 1
    assert names(cli, table)["Bob"] == 1


def test_merge_makes_one_person_and_faces_of_one_name_are_one(cli: Cli, table: Path) -> None:
    assert cli("people", "merge", table, sign(table, 0), sign(table, 5)).lines[0]["faces"] == 8
    assert names(cli, table) == {None: 8}
    cli("people", "name", table, sign(table, 8), "Cleo")
    cli("people", "name", table, sign(table, 9), "Cleo")
    assert names(cli, table) == {None: 8, "Cleo": 2}
    cli("people", "merge", table, "Cleo", sign(table, 0))
    assert names(cli, table) == {"Cleo": 10}


def test_split_faces_are_another_person_and_lose_the_name(cli: Cli, table: Path) -> None:
    cli("people", "name", table, sign(table, 0), "Ada")
    answer = cli("people", "split", table, sign(table, 3), sign(table, 4))
    assert (answer.lines[0]["faces"], answer.lines[0]["apart_from"]) == (2, 3)
    whose = person_of(cli, table)
    assert whose[sign(table, 3)] == whose[sign(table, 4)] != whose[sign(table, 0)]
    assert names(cli, table) == {"Ada": 3, None: 2}
    everyone = [sign(table, row) for row in range(3)]
    assert "nothing to split" in cli("people", "split", table, *everyone).last_error


def test_same_and_not_same_bind_and_the_later_one_wins(cli: Cli, table: Path) -> None:
    first, second = sign(table, 0), sign(table, 8)
    cli("people", "same", table, first, second)
    whose = person_of(cli, table)
    assert whose[first] == whose[second]
    cli("people", "not-same", table, first, second)
    whose = person_of(cli, table)
    assert whose[first] != whose[second]
    line = cli("cluster-faces", table, "--out", table.parent / "sheet", "--threshold", 0.5).lines[0]
    assert (line["corrections"], line["contradictions"]) == (2, 1)
    assert "are one face" in cli("people", "not-same", table, first, first).last_error


def test_not_same_takes_the_name_of_the_second_where_both_have_it(cli: Cli, table: Path) -> None:
    cli("people", "name", table, sign(table, 0), "Ada")
    cli("people", "not-same", table, sign(table, 0), sign(table, 1))
    assert person_of(cli, table)[sign(table, 0)] != person_of(cli, table)[sign(table, 1)]
    assert names(cli, table)["Ada"] == 4


def test_two_names_are_two_people_until_they_are_merged(cli: Cli, table: Path) -> None:
    cli("people", "name", table, sign(table, 0), "Ada", "--face")
    cli("people", "name", table, sign(table, 1), "Bea", "--face")
    assert person_of(cli, table)[sign(table, 0)] != person_of(cli, table)[sign(table, 1)]
    answer = cli("people", "same", table, sign(table, 0), sign(table, 1))
    assert answer.code == 1
    assert "are named 'Ada' and 'Bea'; make one person of these: people merge" in answer.last_error


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("A" * 10_000, "a name has 200 letters at most, got 10000"),
        ("two\nlines", r"a name is one line of letters, got 'two\nlines'"),
        (" ", "a person needs a name, got an empty one"),
    ],
)
def test_names_that_are_none_are_refused_everywhere(cli: Cli, table: Path, name: str, message: str) -> None:
    for command in (
        ("people", "name", table, sign(table, 0), name),
        ("enroll", name, table, "--gallery", table, "--weights", "none.safetensors"),
    ):
        answer = cli(*command)
        assert (answer.code, message in answer.last_error) == (1, True), answer.err
    assert not read_corrections(table).entries


def test_a_face_that_is_not_there_is_named_with_what_is(cli: Cli, table: Path) -> None:
    cli("people", "name", table, sign(table, 0), "Ada")
    answer = cli("people", "name", table, "abcdef012345-7", "X")
    assert answer.code == 1
    assert "is called 'abcdef012345-7', nor is it a face's sign or photo; known are Ada" in answer.last_error


def test_a_forgotten_person_is_gone_for_good(cli: Cli, table: Path) -> None:
    sheet, vector = table.parent / "sheet/index.html", pq.read_table(table)["vector"][0].as_py()
    cli("people", "name", table, sign(table, 0), "Ada Lovelace")
    cli("cluster-faces", table, "--out", sheet.parent, "--threshold", 0.5)
    assert "Ada Lovelace" in sheet.read_text()
    gone = sign(table, 0)
    answer = cli("people", "forget", table, "Ada Lovelace")
    assert (answer.code, answer.lines[0]["faces"]) == (0, 5), answer.err
    assert pq.read_table(table).num_rows == 5
    for path in (path for path in table.parent.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert b"Ada Lovelace" not in content, path
        assert np.array(vector, np.float32).tobytes() not in content, path
    assert gone not in sheet.read_text()
    assert "is called 'Ada Lovelace'" in cli("people", "forget", table, "Ada Lovelace").last_error
    assert names(cli, table) == {None: 3}


def test_a_killed_forget_is_finished_by_the_next_command_that_writes(cli: Cli, table: Path) -> None:
    rows = pq.read_table(table).slice(0, 5).to_pylist()
    half = table.with_name(".faces.parquet.abc.parquet")
    half.write_bytes(table.read_bytes())  # as a killed process leaves it
    with edit_corrections(table) as corrections:
        corrections.forgotten += [FaceRef(row["sha256"], tuple(row["box"]), "") for row in rows]
        corrections.unfinished = True
    assert cli("people", "forget", table, sign(table, 9)).lines[0]["faces"] == 1
    assert pq.read_table(table).num_rows == 4
    assert not read_corrections(table).unfinished
    assert not half.exists()


def test_a_search_goes_on_while_a_person_is_forgotten(cli: Cli, table: Path) -> None:
    from apps.faces.people.gallery import Gallery

    opened = Gallery.open(table)
    before = opened.vectors(np.arange(10))
    cli("people", "forget", table, sign(table, 0))
    np.testing.assert_array_equal(opened.vectors(np.arange(10)), before)
    assert len(Gallery.open(table)) == 5


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"version": 1}', '{"version": 2}', '{"version": 1, "entries": [1]}']
)
def test_damaged_corrections_are_refused_and_stay(cli: Cli, table: Path, text: str) -> None:
    path = corrections_path(table)
    path.write_text(text)
    for command in (("list", table), ("name", table, sign(table, 0), "Ada"), ("undo", table)):
        answer = cli("people", *command)
        assert answer.code == 1
        assert f"{path} cannot be read as corrections" in answer.last_error
    assert path.read_text() == text


def add_names(table: Path, worker: int, times: int) -> None:
    for number in range(times):
        with edit_corrections(table) as corrections:
            corrections.add("name", [FaceRef("0" * 64, (0, 0, 1, 1), "x")], name=f"{worker}-{number}")


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    table = tmp_path / "faces.parquet"
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=add_names, args=(table, number, 10)) for number in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    entries = read_corrections(table).entries
    names = sorted(f"{worker}-{number}" for worker in (0, 1) for number in range(10))
    assert sorted(entry.name or "" for entry in entries) == names
    assert [entry.number for entry in entries] == list(range(1, 21))


def test_an_interrupted_correction_leaves_the_old_ones(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with edit_corrections(table) as corrections:
        corrections.add("name", [FaceRef("0" * 64, (0, 0, 1, 1), "x")], name="Ada")
    before = corrections_path(table).read_bytes()

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", dies)
    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt), edit_corrections(table) as corrections:
        corrections.add("name", [FaceRef("1" * 64, (0, 0, 1, 1), "x")], name="Bob")
    assert corrections_path(table).read_bytes() == before


def test_the_list_has_csv_and_doubts_are_marked(cli: Cli, tmp_path: Path) -> None:
    vectors = np.array([[1, 0, 0, 0], [0.48, 0.8773, 0, 0], [0, 0, 1, 0], [0, 0, 0.8, 0.6]], np.float32)
    table = write_table(tmp_path / "faces.parquet", vectors)
    line = cli("cluster-faces", table, "--out", tmp_path / "sheet", "--threshold", 0.5).lines[0]
    assert (line["clusters"], line["alone"], line["doubtful"]) == (1, 2, 1)
    assert "Perhaps one person" in (tmp_path / "sheet/index.html").read_text()
    assert len(cli("people", "list", table).lines) == 1
    lines = cli("people", "list", table, "--all").lines
    assert [line["perhaps"] for line in lines] == [[], [lines[2]["id"]], [lines[1]["id"]]]
    rows = cli("people", "list", table, "--faces", "--format", "csv").out.splitlines()
    assert rows[0] == "id,path,face,box,date,person,name,corrected"
    assert len(rows) == 3


def test_every_face_can_be_found_from_the_sheet(cli: Cli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "faces.parquet", crowd((20, 1)))
    cli("cluster-faces", table, "--out", tmp_path / "sheet", "--threshold", 0.5)
    page = (tmp_path / "sheet/index.html").read_text()
    for row in range(21):
        assert sign(table, row) in page
        assert pq.read_table(table)["path"][row].as_py().rpartition("/")[2] in page
    listed = json.loads((tmp_path / "sheet/clusters.jsonl").read_text().splitlines()[0])
    assert (listed["size"], len(listed["faces"])) == (20, 20)


def test_a_thousand_faces_of_one_photo_are_a_thousand_people(cli: Cli, tmp_path: Path) -> None:
    vectors = unit_vectors(500, 64)[np.arange(1000) % 500] + 0.6 * unit_vectors(1000, 64, seed=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = write_table(tmp_path / "faces.parquet", vectors)
    rows = pq.read_table(table)
    same = rows.set_column(1, rows.schema.field("sha256"), [["a" * 64] * 1000])
    same = same.set_column(0, rows.schema.field("path"), [["/photos/crowd.jpg"] * 1000])
    same = same.set_column(2, rows.schema.field("face"), pa.array(range(1000), pa.int32()))
    pq.write_table(same.replace_schema_metadata(rows.schema.metadata), table)
    line = cli("cluster-faces", table, "--out", tmp_path / "sheet", "--threshold", 0.5).lines[0]
    assert (line["clusters"], line["alone"]) == (0, 1000)


def test_overlap_is_intersection_over_union() -> None:
    assert box_iou((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert box_iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert box_iou((0, 0, 1, 1), (1, 1, 2, 2)) == 0


def test_corrections_come_back_as_they_were_kept(tmp_path: Path) -> None:
    table = tmp_path / "faces.parquet"
    ref, other = FaceRef("a" * 64, (0.5, 1, 2, 3), "/p.jpg"), FaceRef("b" * 64, (0, 0, 1, 1), "/q\udcff.jpg")
    with edit_corrections(table) as corrections:
        corrections.add("split", [ref], [other], unnamed=[ref])
        corrections.forgotten.append(FaceRef("c" * 64, (0, 0, 1, 1), ""))
        kept = Corrections(**vars(corrections))
    assert read_corrections(table) == kept
