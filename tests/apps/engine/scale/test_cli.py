"""``predict``, ``detect`` and ``locate`` with ``--out``, and with packed images: the same lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs_support import make_runs
from scale_support import draw_many, parts_of, write_tar
from support import Cli

from apps.engine.scale.parts import PartsFolder


@pytest.fixture(scope="module")
def runs(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_runs(cli, tmp_path_factory.mktemp("all"), ("dogs", "objects", "places", "faces"))


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
