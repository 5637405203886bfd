"""embed-faces: what the table holds, what is skipped and redone, shared, broken off and gone on."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from faces_support import draw_crops, embed, write_face_weights
from support import Cli

from apps.faces.extraction import resumable_job as workshop_module


def problems(out: Path) -> dict[str, str]:
    lines = out.with_name(f"{out.stem}.problems.jsonl").read_text().splitlines()
    return {Path(one["path"]).name: one["reason"] for one in map(json.loads, lines)}


def test_a_table_has_a_row_a_face_with_all_that_is_promised(
    cli: Cli, weights: Path, crops: Path, out: Path
) -> None:
    answer = embed(cli, weights, out, crops)
    assert (answer["faces"], answer["photos"], answer["skipped"]) == (12, 12, 0)
    table = pq.read_table(out)
    assert table.schema.names == [
        "path",
        "sha256",
        "face",
        "name",
        "box",
        "landmarks",
        "probability",
        "size_px",
        "sharpness",
        "pose",
        "date",
        "time",
        "vector",
        "model",
    ]
    assert str(table.schema.field("vector").type) in (
        "fixed_size_list<element: float>[256]",
        "fixed_size_list<item: float>[256]",
    )
    vectors = np.array(table["vector"].to_pylist())
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert table["path"].to_pylist() == sorted(map(str, crops.rglob("*.png")))
    assert len(set(table["model"].to_pylist())) == 1
    assert table["box"][0].as_py() == [0, 0, 48, 48]
    assert {path.name for path in out.parent.iterdir()} == {
        "crops",
        "faces.parquet",
        "faces.photos.parquet",
        "faces.problems.jsonl",
    }


def test_photos_of_one_person_are_nearer_than_photos_of_two(
    cli: Cli, weights: Path, crops: Path, out: Path
) -> None:
    embed(cli, weights, out, crops)
    vectors = np.array(pq.read_table(out)["vector"].to_pylist())
    alike = (vectors @ vectors.T).reshape(4, 3, 4, 3).mean(axis=(1, 3))
    assert (alike.argmax(axis=1) == np.arange(4)).all()


def test_what_is_unchanged_is_skipped_what_changed_is_redone_what_is_new_is_added(
    cli: Cli, weights: Path, crops: Path, out: Path
) -> None:
    embed(cli, weights, out, crops)
    before = pq.read_table(out)
    assert embed(cli, weights, out, crops) | {"seconds": 0} == {
        "faces": 12,
        "new_faces": 0,
        "photos": 0,
        "skipped": 12,
        "without_face": 0,
        "unreadable": 0,
        "gone": {"photos": 0, "faces": 0},
        "refused": [],
        "seconds": 0,
        "out": str(out),
    }
    changed, touched = crops / "PERSON_0/PERSON_0_0001.png", crops / "PERSON_0/PERSON_0_0002.png"
    shutil.copy(crops / "PERSON_1/PERSON_1_0001.png", changed)
    touched.touch()
    draw_crops(crops, people=5, each=1)
    shutil.copy(crops / "PERSON_1/PERSON_1_0001.png", changed)
    answer = embed(cli, weights, out, crops)
    assert (answer["photos"], answer["skipped"]) == (2, 11)
    after = pq.read_table(out)
    assert after.num_rows == 13
    assert after["path"].to_pylist() == sorted(after["path"].to_pylist())
    assert after["vector"][0] == after["vector"][3]  # the changed photo is now a copy of another person's
    assert after["vector"][1] == before["vector"][1]
    assert embed(cli, weights, out, crops)["skipped"] == 13


def test_rows_of_photos_that_are_not_asked_for_stay(cli: Cli, weights: Path, crops: Path, out: Path) -> None:
    embed(cli, weights, out, crops / "PERSON_2", crops / "PERSON_0")
    embed(cli, weights, out, crops / "PERSON_1")
    people = [Path(path).parent.name for path in pq.read_table(out)["path"].to_pylist()]
    assert people == ["PERSON_0"] * 3 + ["PERSON_1"] * 3 + ["PERSON_2"] * 3


def test_a_lost_list_of_photos_is_made_again_from_the_table(
    cli: Cli, weights: Path, crops: Path, out: Path
) -> None:
    embed(cli, weights, out, crops)
    (out.parent / "faces.photos.parquet").unlink()
    assert embed(cli, weights, out, crops)["skipped"] == 12


@pytest.mark.parametrize("how", ["folder", "files", "pattern", "list", "tar"])
def test_photos_are_named_in_five_ways_and_give_the_same_vectors(
    cli: Cli, weights: Path, crops: Path, out: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(cli, weights, out.with_name("plain.parquet"), crops)
    photos = sorted(crops.rglob("*.png"))
    shard = out.with_name("shard.tar")
    with tarfile.open(shard, "w") as tar:
        for photo in photos:
            tar.add(photo, arcname=photo.name)
        tar.addfile(tarfile.TarInfo("notes.txt"), io.BytesIO())
    monkeypatch.setattr("sys.stdin", io.StringIO("\ufeff" + "".join(f"{photo}\n" for photo in photos)))
    paths = {
        "folder": [crops],
        "files": photos,
        "pattern": [f"{crops}/**/*.png"],
        "list": ["-"],
        "tar": [shard],
    }
    assert embed(cli, weights, out, *paths[how], *paths[how][:1])["faces"] == 12
    vectors = [pq.read_table(path)["vector"] for path in (out, out.with_name("plain.parquet"))]
    assert vectors[0] == vectors[1]
    if how == "tar":
        assert pq.read_table(out)["path"][0].as_py() == f"{shard}::PERSON_0_0001.png"
        assert embed(cli, weights, out, shard)["skipped"] == 12


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.jpg", "does not exist; name a photo or a folder"),
        ("*.webp", "matches no file; check it"),
        ("no.tar", "does not exist; name a photo, a folder or a .tar file"),
        ("shard.tar.gz", "is compressed, so its photos cannot be found again; give a plain .tar"),
        ("broken.tar", "is not a whole tar file"),
        ("empty", "no photo in"),
    ],
)
def test_inputs_that_hold_nothing_are_refused_with_a_way_out(
    cli: Cli, weights: Path, tmp_path: Path, out: Path, name: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.tar").write_bytes(b"no tar at all" * 100)
    (tmp_path / "shard.tar.gz").write_bytes(b"")
    answer = cli("embed-faces", tmp_path / name, "--out", out, "--weights", weights)
    assert (answer.code, message in answer.last_error) == (1, True), answer.err
    assert not out.exists()


def test_a_path_that_is_missing_among_others_is_an_unreadable_photo(
    cli: Cli, weights: Path, crops: Path, out: Path
) -> None:
    answer = embed(cli, weights, out, crops, crops / "gone.png", crops / "gone.tar")
    assert (answer["faces"], answer["photos"], answer["unreadable"]) == (12, 14, 2)
    assert set(problems(out).values()) == {"file not found"}


def test_bad_photos_are_named_with_the_reason_and_the_rest_goes_on(
    cli: Cli, weights: Path, crops: Path, out: Path
) -> None:
    good = (crops / "PERSON_0/PERSON_0_0001.png").read_bytes()
    (crops / "cut.png").write_bytes(good[: len(good) // 2])
    (crops / "video.jpg").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(500))
    (crops / "empty.jpg").touch()
    answer = embed(cli, weights, out, crops)
    assert (answer["faces"], answer["photos"], answer["unreadable"]) == (12, 15, 3)
    told = problems(out)
    assert set(told) == {"cut.png", "video.jpg", "empty.jpg"}
    assert "damaged or cut off" in told["cut.png"]
    assert "not a photo but a video named .jpg; take pictures out of it" in told["video.jpg"]
    assert told["empty.jpg"] == "the file is empty"
    assert embed(cli, weights, out, crops)["skipped"] == 15
    alone = cli("embed-faces", crops / "cut.png", "--out", out.with_name("a.parquet"), "--weights", weights)
    assert (alone.code, alone.lines[0]["unreadable"]) == (1, 1)


def test_a_picture_of_two_hundred_megapixels_is_refused_by_the_stated_limit(
    cli: Cli, weights: Path, tmp_path: Path, out: Path
) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    (tmp_path / "bomb.png").write_bytes(bomb)
    answer = cli("embed-faces", tmp_path / "bomb.png", "--out", out, "--weights", weights)
    (refused,) = answer.lines[0]["refused"]
    assert "above the limit of 178956970 pixels" in refused["reason"]
    assert not out.exists(), "where every photo is refused nothing is written"


def test_another_model_or_alignment_is_refused_and_both_are_named(
    cli: Cli, weights: Path, crops: Path, out: Path, tmp_path: Path
) -> None:
    embed(cli, weights, out, crops)
    own = pq.read_table(out)["model"][0].as_py()
    other = write_face_weights(tmp_path / "other.safetensors", seed=1)
    answer = cli("embed-faces", crops, "--out", out, "--weights", other, "--align", "none")
    assert answer.code == 1
    assert f"was made by model {own} (tiny), not by" in answer.last_error
    assert "(other)" in answer.last_error
    answer = cli("embed-faces", crops, "--out", out, "--weights", weights)
    assert "was made with --align none, not five-point" in answer.last_error


def test_a_second_run_on_the_same_table_is_kept_off(cli: Cli, weights: Path, crops: Path, out: Path) -> None:
    with workshop_module.ResumableJob(out).locked():
        answer = cli("embed-faces", crops, "--out", out, "--weights", weights, "--align", "none")
    assert answer.last_error == f"error: another process is at work on {out}; wait for it, or stop it"
    assert embed(cli, weights, out, crops)["faces"] == 12


def test_at_most_one_model_option_is_taken(cli: Cli, crops: Path, out: Path, weights: Path) -> None:
    assert cli("embed-faces", crops, "--out", out, "--weights", weights, "--checkpoint", crops).code == 2
    assert cli("embed-faces", crops, "--out", out, "--weights", "no.safetensors").code == 1
