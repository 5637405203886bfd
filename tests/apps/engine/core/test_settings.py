"""Paths of settings as they are shared and as they are used here."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.dogs import Dogs
from apps.engine.core.settings import local, portable, shareable


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))
    return tmp_path / "ann"


def test_a_path_in_the_home_folder_names_nobody_and_is_found_again(home: Path) -> None:
    for text in (f"{home}/photos", f"{home}", f"face-network:{home}/w.safetensors"):
        assert str(home) not in portable(text)
        assert local(portable(text)) == text


def test_other_texts_stay_as_they_are(home: Path) -> None:
    others = (
        "", "~", "dogs", "/data/photos", f"{home}ette/photos", f"/backup{home}/photos", f"{home}.old", "a~b",
        "~ann/x", "m9-mstd0.5",
    )
    for text in others:
        assert portable(text) == text
    for text in ("", "dogs", "/data/photos", "a~b", "~ann/x", "x~/y"):
        assert local(text) == text


def test_sentences_lists_and_paths_are_shared_without_it(home: Path) -> None:
    values = {"skipped": [f"{home}/a.jpg: damaged", f'"{home}/b.jpg", {home}'], "at": home / "x", "n": 3}
    expected = {"skipped": ["~/a.jpg: damaged", '"~/b.jpg", ~'], "at": "~/x", "n": 3}
    assert shareable(values) == expected


def test_settings_are_kept_without_the_home_folder_and_read_back(home: Path) -> None:
    settings = Dogs.Settings(data=home / "photos", teacher=str(home / "run"), weights="mobilenetv1_1.0_224")
    kept = settings.to_dict()
    assert (kept["data"], kept["teacher"], kept["weights"]) == ("~/photos", "~/run", "mobilenetv1_1.0_224")
    assert Dogs.Settings(**kept) == settings


@pytest.mark.parametrize("value", ["/", ""])
def test_where_home_is_the_root_nothing_is_changed(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", value)
    assert portable("/data/x") == local("/data/x") == "/data/x"
