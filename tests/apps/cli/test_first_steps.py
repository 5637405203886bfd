"""What a newcomer meets first: mistakes that cost nothing are said before anything is fetched or made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image
from support import Cli

from apps.engine.core.console import quantity
from apps.engine.inference.predictor import _expanded
from apps.faces.extraction.sources import find_sources
from apps.zoo import defaults
from backbone.storage import CACHE_VARIABLE, MIRROR_VARIABLE


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, no mirror, and no server that answers."""
    monkeypatch.setattr(defaults, "unreachable", lambda _: "no answer")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path / "weights"))


@pytest.mark.parametrize("command", ["predict", "detect"])
def test_a_photo_that_is_not_there_is_said_before_the_network_is_asked(
    cli: Cli, tmp_path: Path, command: str
) -> None:
    answer = cli(command, tmp_path / "nowhere.jpg")
    assert answer.code == 1 and not answer.lines
    assert "nowhere.jpg" in answer.last_error and "sources answer" not in answer.err


def test_faces_are_written_under_no_name_of_another_kind(cli: Cli, tmp_path: Path) -> None:
    photo, out = tmp_path / "a.png", tmp_path / "made" / "e.csv"
    Image.new("RGB", (64, 64)).save(photo)
    for command, flag in ((("embed-faces", photo), "--out"), (("enroll", "Tony", photo), "--gallery")):
        answer = cli(*command, flag, out)
        assert answer.code == 2
        assert answer.last_error == f"Error: {flag} {out} is to be a .parquet file; give one of that name"
    assert not out.parent.exists()


def test_check_leaves_no_folder_of_a_refused_report(cli: Cli, tmp_path: Path) -> None:
    report = tmp_path / "report"
    for made in (False, True):
        if made:
            report.mkdir()
        answer = cli("check", "dogs", tmp_path / "nowhere", "--no-network", "--report", report)
        assert answer.code == 1, answer.err
        assert report.exists() is made, "a folder of the user's stays"


def test_no_image_at_all_is_a_sentence() -> None:
    with pytest.raises(TypeError, match="expected a path, an array, a Pillow image or several of them, got"):
        _expanded(None)  # type: ignore[arg-type]


def test_photos_of_faces_are_shown_as_they_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And known by their absolute paths."""
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    (source,) = find_sources(["a.png"], None)
    assert (source.place(), source.name) == ({"path": "a.png"}, os.path.join(tmp_path, "a.png"))  # noqa: PTH118


def test_one_is_no_plural() -> None:
    assert [quantity(number, "photo") for number in (0, 1, 2)] == ["0 photos", "1 photo", "2 photos"]
