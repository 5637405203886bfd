"""LFW's layout, folders and lists by identity, insightface's files: as distributed, and broken."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.faces.identities import Identities, draw_pairs
from datasets.faces.insightface_bin import VerificationBin
from datasets.faces.lfw import LFW, Pair, is_lfw, read_pairs
from datasets.image_io import BadImageError


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (20, 20), 90).save(path)
    return path


def lfw_root(root: Path, *, folder: str = "images", header: str = "2\t1") -> Path:
    for name in ("Ann_A", "Bob_B", "Cy_C", "Di_D"):
        for number in (1, 2):
            photo(root / folder / name / f"{name}_{number:04d}.jpg")
    lines = [header, "Ann_A\t1\t2", "Ann_A\t1\tBob_B\t2", "Cy_C\t1\t2", "Cy_C\t2\tDi_D\t1"]
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("folder", ["images", "lfw", "lfw-deepfunneled", "."])
def test_lfw_is_read_wherever_the_people_lie(tmp_path: Path, folder: str) -> None:
    lfw = LFW(lfw_root(tmp_path, folder=folder))
    assert is_lfw(tmp_path)
    assert lfw.pairs[1] == Pair("Ann_A/Ann_A_0001", "Bob_B/Bob_B_0002", False, 1)
    assert [(pair.same, pair.fold) for pair in lfw.pairs] == [(True, 1), (False, 1), (True, 2), (False, 2)]
    assert lfw.paths["Di_D/Di_D_0001"].is_file()
    assert len(lfw.paths) == 6
    assert [pair.fold for pair in LFW(tmp_path, folds=[2]).pairs] == [2, 2]


def test_pairs_that_lack_a_photo_are_left_out_and_counted(tmp_path: Path) -> None:
    lfw_root(tmp_path)
    (tmp_path / "images/Bob_B/Bob_B_0002.jpg").unlink()
    lfw = LFW(tmp_path)
    assert len(lfw.pairs) == 3
    assert lfw.notes[0].startswith("1 of 4 pairs of")


def test_a_list_without_folds_is_one_fold(tmp_path: Path) -> None:
    lfw_root(tmp_path, header="2")
    (tmp_path / "pairs.txt").write_text("1\nAnn_A 1 2\nAnn_A 1 Bob_B 2\n")
    assert [pair.fold for pair in read_pairs(tmp_path / "pairs.txt")] == [1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line must be `folds pairs`"),
        ("ten 300\n", "the first line must be"),
        ("0\n", "both 1 or more"),
        ("-1 -1\nAnn\t1\t2\nAnn\t1\tBob\t1\n", "both 1 or more"),
        ("1 2\nA 1 2\n", "make 4 lines, got 1; the file is cut off"),
        ("1 1\nA 1 2\nA 1 B\n", "line 3: expected `NAME 1 4` or `NAME 1 OTHER 2`, got 'A 1 B'"),
        ("1 1\nA 1 2\nA one B 2\n", "line 3: expected"),
    ],
)
def test_lists_in_another_format_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_pairs(tmp_path / "pairs.txt")


def test_missing_lists_photos_and_folds_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"put LFW's pairs\.txt into"):
        LFW(tmp_path)
    lfw_root(tmp_path)
    with pytest.raises(ValueError, match="has the folds 1 to 2, not 7"):
        LFW(tmp_path, folds=[7])
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"none of the photos .* as Ann_A/Ann_A_0001.jpg"):
        LFW(tmp_path)


def test_people_are_folders_and_photos_are_read_when_asked_for(tmp_path: Path) -> None:
    for name in ("n000002/0001_01.jpg", "n000002/0002_01.jpg", "n000009/0001_01.jpg"):
        photo(tmp_path / name)
    (tmp_path / "n000009/0002_01.jpg").write_text("no photo")
    people = Identities(tmp_path)
    assert people.classes == ("n000002", "n000009")
    assert [one.label for one in people.photos] == [0, 0, 1, 1]
    assert people[0][0].mode == "RGB"
    with pytest.raises(BadImageError):
        people[3]


@pytest.mark.parametrize(
    "lines",
    [
        "n2/1.jpg\nn2/2.jpg\nn9/1.jpg\n",
        "n2/1.jpg 7\nn2/2.jpg 7\nn9/1.jpg 11\n",
        "n2/1.jpg,7\nn2/2.jpg,7\n\nn9/1.jpg,11\n",
    ],
)
def test_list_files_name_photos_with_or_without_a_number(tmp_path: Path, lines: str) -> None:
    for name in ("n2/1.jpg", "n2/2.jpg", "n9/1.jpg"):
        photo(tmp_path / name)
    (tmp_path / "list.txt").write_text(lines)
    people = Identities(tmp_path, listing=tmp_path / "list.txt")
    counts = [people.classes[one.label] for one in people.photos]
    assert counts[0] == counts[1] != counts[2]
    several = Identities(tmp_path, listing=tmp_path / "list.txt", min_photos=2)
    assert len(several) == 2
    assert several.notes == ["1 people with fewer than 2 photos are left out"]


def test_what_is_missing_in_folders_and_lists_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder with photos; expected PERSON/photo.jpg"):
        Identities(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no folder; give one with a folder a person"):
        Identities(tmp_path / "no")
    photo(tmp_path / "a/1.jpg")
    with pytest.raises(ValueError, match=r"nobody in .* has 5 photos or more"):
        Identities(tmp_path, min_photos=5)
    (tmp_path / "list.txt").write_text("a/2.jpg\na/3.jpg\n")
    with pytest.raises(FileNotFoundError, match=r"none of the 2 photos, such as a/2\.jpg.*; a line is"):
        Identities(tmp_path, listing=tmp_path / "list.txt")


def test_a_list_may_have_marks_blanks_backslashes_and_a_photo_that_is_missing(tmp_path: Path) -> None:
    for name in ("Ann B/a 1.jpg", "Ann B/a 2.jpg", "Cy/1.jpg"):
        photo(tmp_path / name)
    lines = ["Ann B/a 1.jpg", "Ann B\\a 2.jpg", "Cy/1.jpg Cy", "Cy/1\tCy", "Cy/9.jpg", ""]
    (tmp_path / "list.txt").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    people = Identities(tmp_path, listing=tmp_path / "list.txt")
    assert people.classes == ("Ann B", "Cy") and people.counts() == [2, 2]
    assert people.notes == [f"{tmp_path / 'list.txt'}: 1 of 5 photos are missing and left out: Cy/9.jpg"]


def test_pairs_may_have_names_with_blanks_between_tabs_and_a_mark(tmp_path: Path) -> None:
    text = "1\t1\r\nAnn B\t1\t2\r\nAnn B\t1\tCy\t3\r\n"
    (tmp_path / "pairs.txt").write_bytes(text.encode("utf-8-sig"))
    assert [(pair.first, pair.second, pair.same) for pair in read_pairs(tmp_path / "pairs.txt")] == [
        ("Ann B/Ann B_0001", "Ann B/Ann B_0002", True), ("Ann B/Ann B_0001", "Cy/Cy_0003", False),
    ]


def test_drawn_pairs_keep_people_in_one_fold_and_are_the_same_at_every_call() -> None:
    labels = [person for person in range(40) for _ in range(1 + person % 4)]
    pairs = draw_pairs(labels, folds=5, each=8)
    assert pairs == draw_pairs(labels, folds=5, each=8)
    assert pairs != draw_pairs(labels, folds=5, each=8, seed=1)
    fold_of: dict[int, int] = {}
    for first, second, same, fold in pairs:
        assert (labels[first] == labels[second]) == same
        assert first != second
        for photo_number in (first, second):
            assert fold_of.setdefault(labels[photo_number], fold) == fold
    assert {fold for *_, fold in pairs} == {1, 2, 3, 4, 5}
    assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 0, 1], "2 folds need 4 people, got 2"),
        (list(range(8)), "nobody in fold 1 has two photos"),
    ],
)
def test_too_few_people_for_pairs_are_said(labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_pairs(labels, folds=2)


def encoded(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (112, 112), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("wrap", [lambda b: b, lambda b: np.frombuffer(b, np.uint8)])
@pytest.mark.parametrize("protocol", [2, 4])
def test_verification_files_are_read_as_bytes_or_arrays(tmp_path: Path, wrap, protocol: int) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "lfw.bin"
    content = ([wrap(encoded(value)) for value in (10, 20, 30, 40)], [True, np.bool_(False)])
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    crops = VerificationBin(path)
    assert (crops.same, len(crops)) == ([True, False], 4)
    assert crops[2].getpixel((5, 5)) == (30, 30, 30)


class _Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.marker}",)


def test_a_file_that_wants_to_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "evil.bin"
    path.write_bytes(pickle.dumps(([b"", _Bomb(marker)], [True])))
    with pytest.raises(ValueError, match=r"wants to run code, or is damaged .*system.*; refused"):
        VerificationBin(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole verification file"),
        (pickle.dumps((1, 2)), "not a whole verification file"),
        (pickle.dumps(([b"x"], [True])), "1 images for 1 pairs; expected two a pair"),
        (pickle.dumps(([], [])), "0 images for 0 pairs"),
        (pickle.dumps(([b"x"] * 50, [True] * 25))[:40], "damaged|not a whole"),
    ],
)
def test_broken_verification_files_are_refused_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        VerificationBin(tmp_path / "a.bin")


def test_a_broken_picture_in_a_verification_file_is_named_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(pickle.dumps(([encoded(1), b"no picture"], [True])))
    with pytest.raises(BadImageError, match=r"a\.bin#1: damaged"):
        VerificationBin(tmp_path / "a.bin")[1]
    with pytest.raises(FileNotFoundError, match=r"such as lfw\.bin"):
        VerificationBin(tmp_path / "no.bin")


def test_too_few_people_for_pairs_says_how_many_are_needed() -> None:
    with pytest.raises(ValueError, match="so 4 people; got 2: give more"):
        draw_pairs([0, 0, 1], folds=1)
