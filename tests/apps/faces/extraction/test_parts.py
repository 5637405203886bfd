"""embed-faces into a folder of parts: a row a face, photos without one, the same rows by all runners."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from faces_support import draw_crops, embed
from PIL import Image
from scale_support import parts_of, write_tar
from support import ROOT, Cli

from apps.engine.scale.parts import PartsFolder
from apps.faces.extraction.answers import FaceAnswers
from apps.faces.extraction.embedder import ModelInfo
from apps.faces.extraction.loading import load_face_model
from apps.faces.extraction.planning import Order, make_plan
from apps.faces.extraction.resumable_job import ResumableJob
from apps.faces.extraction.sources import find_sources
from apps.faces.extraction.table import About, part_columns


def embed_parts(cli: Cli, weights: Path, out: Path, *paths: object, **more: object) -> dict[str, object]:
    how = {"align": "none", "shard_size": 5, "image_seconds": 0} | more
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in how.items()]
    answer = cli("embed-faces", *paths, "--out", f"{out}/", "--weights", weights, *flags)
    assert answer.code == 0, answer.err
    (line,) = answer.lines
    return line


def test_parts_hold_the_faces_of_the_table_and_say_which_photos_were_bad(
    cli: Cli, weights: Path, crops: Path, out: Path, tmp_path: Path
) -> None:
    (crops / "cut.png").write_bytes(b"no photo")
    made = embed_parts(cli, weights, tmp_path / "parts", crops)
    assert {name: made[name] for name in ("faces", "images", "without_face", "failed", "parts")} == {
        "faces": 12, "images": 13, "without_face": 0, "failed": 1, "parts": 3,
    }
    (refused,) = made["refused"]
    assert (Path(refused["path"]).name, "not a photo" in refused["reason"]) == ("cut.png", True)
    embed(cli, weights, out, crops)
    table, parts = pq.read_table(out), ds.dataset(tmp_path / "parts", exclude_invalid_files=True).to_table()
    faces = parts.filter(parts["face"].is_valid())
    assert faces.select(table.schema.names).sort_by("path").to_pylist() == table.to_pylist()
    (bad,) = parts.filter(parts["error"].is_valid()).to_pylist()
    assert bad["sha256"] == hashlib.sha256(b"no photo").hexdigest()
    assert (bad["bytes"], bad["face"], bad["vector"]) == (8, None, None)


def test_started_again_it_goes_on_with_the_parts_that_are_missing(
    cli: Cli, weights: Path, crops: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "parts"
    embed_parts(cli, weights, folder, crops)
    whole = parts_of(folder)
    next(folder.glob("part-000001*")).unlink()
    assert embed_parts(cli, weights, folder, crops)["kept_parts"] == 2
    assert parts_of(folder) == whole
    answer = cli("embed-faces", crops, "--out", folder, "--weights", weights, "--shard-size", 5)
    assert "holds the answers of another job: model differs" in answer.last_error
    assert parts_of(folder) == whole


@pytest.mark.slow
def test_processes_write_the_bytes_that_one_writes(
    cli: Cli, weights: Path, crops: Path, tmp_path: Path
) -> None:
    embed_parts(cli, weights, tmp_path / "here", crops)
    embed_parts(cli, weights, tmp_path / "two", crops, image_seconds=60, workers=2)
    assert len(parts_of(tmp_path / "here")) == 3
    assert parts_of(tmp_path / "two") == parts_of(tmp_path / "here")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_ray_cluster_writes_the_bytes_that_one_process_writes(
    cli: Cli, weights: Path, crops: Path, out: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    embed_parts(cli, weights, tmp_path / "here", crops)
    embed_parts(cli, weights, tmp_path / "ray", crops, image_seconds=60, workers=2, runner="ray")
    assert parts_of(tmp_path / "ray") == parts_of(tmp_path / "here")
    embed(cli, weights, out, crops)
    embed(cli, weights, out.with_name("ray.parquet"), crops, workers=2, runner="ray")
    assert out.with_name("ray.parquet").read_bytes() == out.read_bytes()


@pytest.mark.slow
def test_a_photo_that_is_not_answered_for_in_time_is_named(
    cli: Cli, weights: Path, tmp_path: Path, out: Path
) -> None:
    """None is within a microsecond."""
    draw_crops(tmp_path / "two", people=2, each=1)
    embed(cli, weights, out, tmp_path / "two" / "PERSON_0")
    (answer,) = cli(
        "embed-faces", tmp_path / "two", "--out", out, "--weights", weights, "--align", "none",
        "--runner", "local", "--workers", 1, "--image-seconds", 0.000001,
    ).lines
    assert (answer["photos"], answer["skipped"], answer["unreadable"]) == (1, 1, 1)
    assert "no answer within 1e-06 s" in answer["refused"][0]["reason"]


def test_a_photo_that_was_given_up_is_not_tried_again_until_it_changes(
    cli: Cli, weights: Path, crops: Path, out: Path
) -> None:
    model, first = load_face_model(weights=str(weights)), crops / "PERSON_0/PERSON_0_0001.png"
    about, sources = About(model.info, "none"), {one.name: one for one in find_sources([str(crops)], None)}
    job = ResumableJob(out)
    job.folder.mkdir()
    (shard,) = make_plan(job, sources, about, Order(out, align="none")).shards
    lines = FaceAnswers(model.info, "none").lines([Path(place) for place in shard.places])
    named = [{"path": place, **line} for place, line in zip(shard.places, lines, strict=True)]
    named[0] = {"path": str(first), "error": "no answer within 30 s; look at this file"}
    PartsFolder(str(job.folder)).put(shard, named, part_columns(about))
    answer = embed(cli, weights, out, crops)
    assert (answer["photos"], answer["unreadable"], answer["faces"]) == (12, 1, 11)
    assert embed(cli, weights, out, crops)["skipped"] == 12
    first.touch()
    assert embed(cli, weights, out, crops)["faces"] == 12


def test_packed_photos_have_the_vectors_of_plain_ones(
    cli: Cli, weights: Path, crops: Path, tmp_path: Path
) -> None:
    photos = sorted(crops.rglob("*.png"))
    shard = write_tar(tmp_path / "a.tar", photos)
    embed_parts(cli, weights, tmp_path / "packed", shard)
    embed_parts(cli, weights, tmp_path / "plain", crops)
    tables = [
        ds.dataset(tmp_path / name, exclude_invalid_files=True).to_table() for name in ("packed", "plain")
    ]
    same = ["sha256", "bytes", "vector", "box"]
    assert tables[0].select(same).equals(tables[1].select(same))
    assert tables[0]["path"][0].as_py() == f"{shard}::0000.png"


def test_people_are_looked_for_in_a_folder_of_parts(
    cli: Cli, weights: Path, crops: Path, out: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "parts"
    embed_parts(cli, weights, folder, crops)
    embed(cli, weights, out, crops)
    Image.new("RGB", (48, 48), (200, 30, 90)).save(tmp_path / "query.png")
    asked = ("search-faces", tmp_path / "query.png", "--threshold", "0.1", "--gallery")
    of_parts, of_table = cli(*asked, folder), cli(*asked, out)
    assert of_parts.code == 0, of_parts.err
    assert of_parts.lines == of_table.lines
    draw_crops(tmp_path / "more", people=1, each=4)
    embed_parts(cli, weights, tmp_path / "other", tmp_path / "more")
    assert (folder / "faces.arrow").exists()
    for part in (tmp_path / "other").glob("part-*"):
        part.rename(folder / part.name.replace("part-0", "part-9"))
    assert cli(*asked, folder).lines != of_table.lines, "the rows are laid out again"


def test_what_writes_into_a_table_refuses_a_folder_of_parts(
    cli: Cli, weights: Path, crops: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "parts"
    embed_parts(cli, weights, folder, crops)
    photo = crops / "PERSON_0/PERSON_0_0001.png"
    for words in (("enroll", "Ada", photo, "--gallery", folder), ("people", "forget", folder, f"{photo}#0")):
        answer = cli(*words)
        assert (answer.code, "is a folder of parts" in answer.last_error) == (2, True), answer.err
    assert len(parts_of(folder)) == 3


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--out", "{}/parts/", "--prune"), "--prune is for a table in one file"),
        (("--out", "{}/parts/", "--runner", "spark"), "--runner is local, ray or ray://HOST:PORT"),
        (("--out", "{}/f.parquet", "--shard-size", "9"), "--shard-size is for --out FOLDER/"),
        (("--out", "{}/f.parquet", "--image-seconds", "9"), "--image-seconds is for --runner"),
        (("-", "--out", "{}/parts/"), "give a list of paths as a file, .txt"),
    ],
)
def test_what_does_not_go_together_is_refused(
    cli: Cli, weights: Path, crops: Path, tmp_path: Path, given: tuple[str, ...], says: str
) -> None:
    words = [word.format(tmp_path) for word in given]
    answer = cli("embed-faces", crops, *words, "--weights", weights)
    assert (answer.code, says in answer.last_error) == (2, True), answer.err
    assert not list(tmp_path.glob("parts*")) and not list(tmp_path.glob("f.*"))


def test_a_worker_with_other_weights_of_that_name_is_refused(weights: Path) -> None:
    info = ModelInfo("0" * 16, "other", 256, 64, weights=str(weights))
    with pytest.raises(ValueError, match="is another model here"):
        FaceAnswers(info).load()


def test_the_process_that_answers_is_light() -> None:
    """A worker's memory is bounded: tables are made where its lines arrive."""
    code = "import sys, apps.faces.extraction.answers; sys.exit(len({'pyarrow', 'torch'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
