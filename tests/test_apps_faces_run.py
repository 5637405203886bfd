"""embed-faces: what the table holds, what is skipped and redone, shared, broken off and gone on."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from faces_support import draw_crops, write_face_weights
from support import ROOT, Cli

from apps.faces import table as table_module
from apps.faces import workshop as workshop_module


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_face_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    draw_crops(tmp_path / "crops", people=4, each=3)
    return tmp_path / "crops"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "faces.parquet"


def embed(
    cli: Cli, weights: Path, out: Path, *paths: object, align: str = "none", **more: object
) -> dict[str, object]:
    told = [f"--{key}={value}" for key, value in more.items()]
    answer = cli("embed-faces", *paths, "--out", out, "--weights", weights, "--align", align, *told)
    assert answer.code == 0, answer.err
    (line,) = answer.lines
    return line


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
        "faces": 0,
        "photos": 0,
        "skipped": 12,
        "without_face": 0,
        "unreadable": 0,
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
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{photo}\n" for photo in photos)))
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
    assert "not a photo in a known format" in told["video.jpg"]
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
    cli("embed-faces", tmp_path / "bomb.png", "--out", out, "--weights", weights)
    assert "above the limit of 178956970 pixels" in problems(out)["bomb.png"]


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
    with workshop_module.Workshop(out).locked():
        answer = cli("embed-faces", crops, "--out", out, "--weights", weights, "--align", "none")
    assert answer.last_error == f"error: another process is at work on {out}; wait for it, or stop it"
    assert embed(cli, weights, out, crops)["faces"] == 12


def test_one_of_model_options_is_wanted(cli: Cli, crops: Path, out: Path, weights: Path) -> None:
    assert cli("embed-faces", crops, "--out", out).code == 2
    assert cli("embed-faces", crops, "--out", out, "--weights", weights, "--checkpoint", crops).code == 2
    assert cli("embed-faces", crops, "--out", out, "--weights", "no.safetensors").code == 1


def test_a_run_broken_off_goes_on_and_ends_with_the_same_bytes(
    cli: Cli, weights: Path, crops: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off after every part, in the merge, and after the table was put in its place."""
    monkeypatch.setattr(workshop_module, "CHUNK", 2)
    monkeypatch.setattr(table_module, "ROWS", 5)
    embed(cli, weights, out, crops)
    whole = out.read_bytes()
    broken = out.with_name("broken.parquet")
    put, assembled = workshop_module.Workshop.put, workshop_module.write_ledger

    def dies_after_one(self: workshop_module.Workshop, *rest: object) -> None:
        put(self, *rest)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    command = ("embed-faces", crops, "--out", broken, "--weights", weights, "--align", "none")
    monkeypatch.setattr(workshop_module.Workshop, "put", dies_after_one)
    assert [cli(*command).code for _ in range(3)] == [130] * 3
    assert len(list(broken.with_name(".broken.parquet.parts").glob("0*.parquet"))) == 3
    monkeypatch.setattr(workshop_module.Workshop, "put", put)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workshop_module, "merge", dies)
    assert cli(*command).code == 130
    monkeypatch.setattr(workshop_module, "merge", table_module.merge)
    monkeypatch.setattr(workshop_module, "write_ledger", dies)
    assert cli(*command).code == 130
    assert broken.exists()
    monkeypatch.setattr(workshop_module, "write_ledger", assembled)
    assert embed(cli, weights, broken, crops)["photos"] == 12
    assert broken.read_bytes() == whole
    assert not list(broken.parent.glob(".broken*"))


def test_parts_of_another_run_are_kept_when_the_photos_have_changed_since(
    cli: Cli, weights: Path, crops: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop_module, "CHUNK", 4)
    put = workshop_module.Workshop.put

    def dies_after_one(self: workshop_module.Workshop, *rest: object) -> None:
        put(self, *rest)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(workshop_module.Workshop, "put", dies_after_one)
    assert cli("embed-faces", crops, "--out", out, "--weights", weights, "--align", "none").code == 130
    monkeypatch.setattr(workshop_module.Workshop, "put", put)
    shutil.rmtree(crops / "PERSON_3")
    answer = embed(cli, weights, out, crops)
    assert (answer["photos"], answer["skipped"]) == (5, 4)
    assert pq.read_table(out).num_rows == 9


def start(rank: int, world: int, *command: object, **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1", **more}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *map(str, command)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
def test_two_processes_make_the_table_that_one_makes(
    cli: Cli, weights: Path, tmp_path: Path, out: Path
) -> None:
    draw_crops(tmp_path / "many", people=25, each=4)
    embed(cli, weights, out, tmp_path / "many", workers=1)
    shared = out.with_name("shared.parquet")
    command = (
        "embed-faces",
        tmp_path / "many",
        "--out",
        shared,
        "--weights",
        weights,
        "--align",
        "none",
        "--workers",
        1,
    )
    for faces in (100, 0):  # the second time there is nothing to do, for neither of them
        both = [start(rank, 2, *command) for rank in (1, 0)]
        told = [process.communicate(timeout=200) for process in both]
        assert [process.returncode for process in both] == [0, 0], told
        assert told[0][0] == ""
        assert json.loads(told[1][0])["faces"] == faces
    ours, theirs = pq.read_table(out), pq.read_table(shared)
    assert ours.drop_columns(["vector"]) == theirs.drop_columns(["vector"])
    np.testing.assert_allclose(ours["vector"].to_pylist(), theirs["vector"].to_pylist(), atol=1e-5)


def test_ranks_that_do_not_go_together_are_refused(
    cli: Cli, weights: Path, crops: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    answer = cli("embed-faces", crops, "--out", out, "--weights", weights)
    assert "RANK=2 and WORLD_SIZE=2 do not go together; use torchrun" in answer.last_error


@pytest.mark.slow
def test_killed_at_ten_random_moments_it_ends_with_the_same_table(
    shared: Path, weights: Path, tmp_path: Path
) -> None:
    """Real photos with real detection; SIGKILL leaves no time to tidy up."""
    photos = tmp_path / "photos"
    for folder in sorted((shared / "data/faces_colour/images").iterdir())[:8]:
        shutil.copytree(folder, photos / folder.name)
    command = ("embed-faces", photos, "--weights", weights, "--workers", 1, "--out")
    began = time.perf_counter()
    whole = start(0, 1, *command, tmp_path / "whole.parquet")
    assert whole.wait(timeout=300) == 0
    took = time.perf_counter() - began
    rng, kills, broken = np.random.default_rng(0), 0, tmp_path / "broken.parquet"
    while kills < 10 or not broken.exists():
        if broken.exists():  # done before ten kills: once more from the start
            assert broken.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
            broken.unlink()
        process = start(0, 1, *command, broken)
        try:
            process.wait(timeout=float(rng.uniform(0.2, 1.0)) * took if kills < 10 else 300)
            assert process.returncode == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    assert broken.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not list(tmp_path.glob(".broken.parquet*"))
