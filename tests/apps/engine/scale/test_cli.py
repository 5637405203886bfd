"""``predict``, ``detect``, ``locate`` with ``--out``, and packed images: the same lines and figures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from faces_support import write_face_weights
from runs_support import make_runs
from scale_support import draw_many, parts_of, write_tar
from support import Cli

from apps.engine.scale.parts import PartsFolder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("all")


@pytest.fixture(scope="module")
def runs(cli: Cli, root: Path) -> dict[str, Path]:
    return make_runs(cli, root, ("dogs", "objects", "places", "faces"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    draw_many(folder, 4)
    (folder / "00002.png").write_text("no image", encoding="utf-8")
    return folder


PAIRS = [("predict", "dogs"), ("detect", "objects"), ("locate", "places")]


@pytest.mark.parametrize(("command", "app"), PAIRS)
def test_parts_hold_the_lines_that_are_printed_without_them(
    cli: Cli, runs: dict[str, Path], photos: Path, tmp_path: Path, command: str, app: str
) -> None:
    more = ("--threshold", "0.01", "--top", "3") if command == "detect" else ()
    printed = cli(command, photos, "--checkpoint", runs[app], *more)
    assert printed.code == 0, printed.err
    written = cli(
        command, photos, "--checkpoint", runs[app], *more, "--out", tmp_path / "out", "--shard-size", 3,
        "--image-seconds", 0 if command == "locate" else 60,
    )
    assert written.code == 0, written.err
    (summary,) = written.lines
    assert (summary["images"], summary["failed"], summary["parts"]) == (4, 1, 2)
    assert list(PartsFolder(str(tmp_path / "out")).lines()) == printed.lines


def test_a_tar_shard_is_answered_on_stdout_too(
    cli: Cli, runs: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    images = sorted(photos.iterdir())
    tar = write_tar(tmp_path / "a.tar", images)
    plain = cli("predict", photos, "--checkpoint", runs["dogs"]).lines
    packed = cli("predict", tar, "--checkpoint", runs["dogs"]).lines
    assert [line.get("predictions") for line in packed] == [line.get("predictions") for line in plain]
    assert [line["path"] for line in packed] == [f"{tar}::{at:04d}.png" for at in range(4)]


def test_what_cannot_be_is_refused_in_one_line(
    cli: Cli, runs: dict[str, Path], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dogs, out = ("--checkpoint", runs["dogs"]), ("--out", tmp_path / "out")
    for arguments, code, says in (
        (("predict", photos, *dogs, "--runner", "ray"), 2, "--runner is for --out FOLDER"),
        (("predict", photos, *dogs, *out, "--runner", "spark"), 2, "--runner is local, ray or ray://HOST:PORT"),
        (("predict", photos, "--checkpoint", runs["faces"], *out), 1, "ask them by `embed-faces`"),
        (("predict", photos, "--checkpoint", runs["objects"], *out), 1, "ask them by `detect`"),
        (("detect", photos, "--checkpoint", runs["objects"], *out, "--draw", "d"), 2, "--draw is for lines"),
        (("locate", photos, "--checkpoint", runs["places"], *out, "--album"), 2, "--album is for lines"),
    ):
        answer = cli(*arguments)
        assert (answer.code, says in answer.last_error) == (code, True), answer.err
        assert not parts_of(tmp_path / "out")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    answer = cli("predict", photos, *dogs, *out, "--runner", "ray")
    assert answer.code == 1
    assert "Ray is not installed: pip install 'mobilenet-apps[cluster]'" in answer.last_error


def figures(cli: Cli, app: str, *how: object) -> dict[str, object]:
    answer = cli("evaluate", app, *how)
    assert answer.code == 0, answer.err
    return answer.lines[0]


def answered(cli: Cli, command: str, run: Path, out: Path, *paths: object) -> Path:
    answer = cli(command, *paths, "--checkpoint", run, "--out", out, "--image-seconds", 0, "--shard-size", 2)
    assert answer.code == 0, answer.err
    return out


def near(ours: dict[str, object], theirs: dict[str, object], *left_out: str) -> None:
    wanted = {name: value for name, value in theirs["metrics"].items() if name not in left_out}
    assert ours["metrics"] == pytest.approx(wanted, abs=1e-3, nan_ok=True)
    assert ours["n"] == theirs["n"]


def test_classes_are_evaluated_as_the_run(
    cli: Cli, runs: dict[str, Path], root: Path, tmp_path: Path
) -> None:
    data = root / "dogs"
    parts = answered(cli, "predict", runs["dogs"], tmp_path / "parts", data)
    ours = figures(cli, "dogs", "--predictions", parts, "--data", data)
    near(ours, figures(cli, "dogs", "--checkpoint", runs["dogs"]), "cross_entropy")
    assert ours["skipped"] == 0
    first = sorted((data / "val").rglob("*.*"))[0]
    moved = shutil.copytree(data, tmp_path / "elsewhere" / "data")
    (moved / first.relative_to(data)).with_stem("another").write_bytes(first.read_bytes())
    again = figures(cli, "dogs", "--predictions", parts, "--data", moved)
    assert (again["n"], again["skipped"]) == (ours["n"], 1)


def test_boxes_are_evaluated_as_the_document_of_them(
    cli: Cli, runs: dict[str, Path], root: Path, tmp_path: Path
) -> None:
    data = root / "objects"
    answer = cli(
        "detect", data, "--checkpoint", runs["objects"], "--out", tmp_path / "parts", "--threshold", 0.001,
        "--image-seconds", 0,
    )
    assert answer.code == 0, answer.err
    written = cli("detect", data, "--checkpoint", runs["objects"], "--threshold", 0.001, "--format", "coco")
    (tmp_path / "coco.json").write_text(written.out)
    ours, theirs = (
        figures(cli, "objects", "--predictions", tmp_path / name, "--data", data)
        for name in ("parts", "coco.json")
    )
    assert ours == theirs


def test_places_are_evaluated_as_the_run(
    cli: Cli, runs: dict[str, Path], root: Path, tmp_path: Path
) -> None:
    answer = cli(
        "locate", root / "places", "--checkpoint", runs["places"], "--out", tmp_path / "parts", "--precise",
        "--image-seconds", 0,
    )
    assert answer.code == 0, answer.err
    how = ("--data", data_of(root / "places"))
    ours = figures(cli, "places", "--predictions", tmp_path / "parts", *how)
    theirs = figures(cli, "places", "--checkpoint", runs["places"], *how, "--no-baselines", "--split", "all")
    assert ours["n"] == theirs["n"]
    same = [name for name in theirs["metrics"] if "within" in name or name in ("median_km", "mean_km")]
    assert {name: ours["metrics"][name] for name in same} == pytest.approx(
        {name: theirs["metrics"][name] for name in same}, rel=1e-3, abs=1.0
    )
    refused = cli("evaluate", "places", "--predictions", tmp_path / "parts")
    assert (refused.code, "by --data" in refused.last_error) == (1, True)


def data_of(folder: Path) -> Path:
    return next(iter(sorted(folder.rglob("*.csv"))), folder)


def test_faces_are_evaluated_as_the_weights(cli: Cli, people: Path, tmp_path: Path) -> None:
    weights = write_face_weights(tmp_path / "faces.safetensors")
    answer = cli(
        "embed-faces", people, "--out", f"{tmp_path}/parts/", "--weights", weights, "--align", "none",
        "--image-seconds", 0, "--shard-size", 7,
    )
    assert answer.code == 0, answer.err
    ours = figures(cli, "faces", "--predictions", tmp_path / "parts", "--data", people)
    near(ours, figures(cli, "faces", "--weights", weights, "--data", people))
    assert ours["skipped"] == 0


def test_parts_that_cannot_be_evaluated_are_refused_in_one_line(
    cli: Cli, runs: dict[str, Path], root: Path, tmp_path: Path
) -> None:
    data, photos = root / "dogs", sorted((root / "dogs" / "val").rglob("*.*"))
    parts = answered(cli, "predict", runs["dogs"], tmp_path / "parts", data)
    packed = answered(cli, "predict", runs["dogs"], tmp_path / "tar", write_tar(tmp_path / "a.tar", photos))
    located = answered(cli, "locate", runs["places"], tmp_path / "located", data)
    (tmp_path / "empty").mkdir()
    with_data = ("--data", data)
    for how, code, says in (
        ((tmp_path / "empty", *with_data), 1, "holds no parts"),
        ((tmp_path / "nowhere", *with_data), 1, "holds no parts"),
        ((parts,), 1, "no photos to evaluate on; give --data DIR"),
        ((parts, *with_data, "--tta", "mirror"), 2, "--tta is for a model"),
        ((packed, *with_data), 1, "has an answer for none of the"),
        ((located, *with_data), 1, "holds answers that do not name classes"),
    ):
        answer = cli("evaluate", "dogs", "--predictions", *how)
        assert (answer.code, says in answer.last_error) == (code, True), answer.err
    other = cli("evaluate", "objects", "--predictions", parts, "--data", root / "objects")
    assert (other.code, "holds no boxes" in other.last_error) == (1, True), other.err
