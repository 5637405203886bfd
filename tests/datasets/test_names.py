"""Names of photos as annotations have them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from datasets.names import NamedPhotos, missing_photos
from datasets.tables import clean_name


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


@pytest.mark.parametrize(
    "name",
    [
        "images/été 1.JPG",
        "images\\été 1.JPG",
        ".\\images\\été 1.JPG",
        "C:\\Users\\me\\set\\images\\été 1.JPG",
        "/home/me/set/images/été 1.JPG",
        "../../data/images/été 1.JPG",
        "images/%C3%A9t%C3%A9%201.JPG",
        "images/été 1",
        "images/été 1.png",
        "images/été 1.jpg",
        "images/e\u0301te\u0301 1.jpg",
        "images//été 1.JPG",
    ],
)
def test_a_name_is_found_however_it_was_written(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "images/été 1.JPG", "images/été 2.JPG", "images/été 1.txt", "other/x.jpg")
    assert NamedPhotos(tmp_path).find(name) == tmp_path / "images/été 1.JPG"
    assert NamedPhotos(tmp_path / "images").find(name) == tmp_path / "images/été 1.JPG"


def test_what_could_be_two_files_is_none(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png", "b/1.jpg")
    named = NamedPhotos(tmp_path)
    assert named.find("a") is None and named.find("a.webp") is None
    assert named.find("a.png") == tmp_path / "a.png"
    assert named.find("x/b/1.jpg") == tmp_path / "b/1.jpg"
    assert named.find("y/b/1.jpg") is None, "one file for two names would be two photos"
    assert named.find("x/b/1.jpg") == tmp_path / "b/1.jpg"
    assert named.find("..") is None and named.find("") is None and named.find("a\0b") is None
    assert named.find("n" * 5000) is None


def test_a_point_in_a_name_is_no_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "photo.v2.jpg", "photo.v3.jpg")
    assert NamedPhotos(tmp_path).find("photo.v2") == tmp_path / "photo.v2.jpg"
    assert NamedPhotos(tmp_path).find("photo") is None


def test_missing_photos_are_counted_and_named_and_refused_only_where_all_are(tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    assert missing_photos(listing, [], 3) == []
    assert missing_photos(listing, ["a", "b", "c", "d"], 9) == [
        f"{listing}: 4 of 9 photos are missing and left out: a, b, c, ..."
    ]
    with pytest.raises(
        FileNotFoundError, match=r"none of the 2 photos, such as a, is there: .*list.txt names it"
    ):
        missing_photos(listing, ["a", "b"], 2)


def test_a_name_is_compared_without_blanks_marks_and_macs_accents() -> None:
    assert {
        clean_name(name) for name in (" cup", "cup ", "cup", "\ufeffcup", "cup\u200b", "\u00a0cup\t")
    } == {"cup"}
    assert clean_name(unicodedata.normalize("NFD", "café")) == "café"
