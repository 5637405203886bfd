"""Colours of classes, objects cut out, and objects that nobody can recognise any more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import Cli

from apps.cli.objects import _face_boxes
from apps.engine.core.device import AS_USUAL
from apps.objects.detect import FACES, Pictures, check_folders
from apps.objects.drawing import CONTRAST, MARGIN, TILES, class_colours, cut_out, drawn, luminance, pixelated


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def test_each_class_has_a_colour_on_which_white_words_can_be_read() -> None:
    colours = class_colours([str(number) for number in range(80)])
    assert len(set(colours.values())) == 80
    assert all(1.05 / (luminance(colour) + 0.05) >= CONTRAST for colour in colours.values())


def test_frames_have_the_colours_of_their_classes() -> None:
    colours = class_colours(["cat", "dog"])
    boxes = {"cat": [5, 40, 45, 90], "dog": [55, 40, 95, 90]}
    picture = np.asarray(drawn(
        Image.new("RGB", (100, 100)), [{"name": name, "box": box} for name, box in boxes.items()], colours
    ))
    for name, box in boxes.items():
        assert (picture[box[3] - 1, (box[0] + box[2]) // 2] == colours[name]).all()


@pytest.mark.parametrize("box", [(10, 10, 90, 50), (-20, -5, 300, 300), (10.2, 10.7, 12.1, 11.3)])
def test_nothing_but_tiles_is_left_in_a_box_and_all_is_left_beside_it(box: tuple[float, ...]) -> None:
    image = noise(100, 60)
    before, after = np.asarray(image), np.asarray(pixelated(image, [box]))
    aside, above = MARGIN * (box[2] - box[0]), MARGIN * (box[3] - box[1])
    x1, y1 = max(0, math.floor(box[0] - aside)), max(0, math.floor(box[1] - above))
    x2, y2 = min(100, math.ceil(box[2] + aside)), min(60, math.ceil(box[3] + above))
    inside = after[y1:y2, x1:x2].reshape(-1, 3)
    assert len(np.unique(inside, axis=0)) <= TILES * TILES
    outside = np.ones((60, 100), bool)
    outside[y1:y2, x1:x2] = False
    assert (before[outside] == after[outside]).all()


@pytest.mark.parametrize("box", [(200, 200, 300, 300), (10, 10, 10, 20), (-9, -9, 0, 0)])
def test_a_box_without_pixels_changes_and_cuts_nothing(box: tuple[float, ...]) -> None:
    image = noise(100, 60)
    assert (np.asarray(pixelated(image, [box])) == np.asarray(image)).all()
    assert cut_out(image, box) is None


def written(folder: Path, blur: Sequence[str], **changes: Any) -> Pictures:
    how: dict[str, Any] = {"find_faces": None, "colours": class_colours(["cat", "a/b"])}
    return Pictures(folder / "drawn", folder / "crops", tuple(blur), **how | changes)


def test_objects_are_cut_out_and_hidden_though_they_are_not_shown(tmp_path: Path) -> None:
    noise(100, 60).save(tmp_path / "x.png")
    hidden = {"name": "cat", "box": [0, 0, 50, 60], "score": 0.2}
    shown = {"name": "a/b", "box": [0, 0, 100, 60], "score": 0.9}
    written(tmp_path, ["cat"]).write(tmp_path / "x.png", 3, [hidden, shown], [shown])
    (crop,) = (tmp_path / "crops").iterdir()
    assert crop.name == "0003-x-000-a_b.jpg"
    pixels = np.asarray(Image.open(crop)).astype(float)
    rough = np.abs(np.diff(pixels, axis=1)).mean((0, 2))
    assert rough[:49].mean() < rough[50:].mean() / 3
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["0003-x.jpg"]


def test_faces_that_could_not_be_looked_for_leave_no_picture(tmp_path: Path) -> None:
    def fails(_: Image.Image) -> list[list[float]]:
        raise ValueError("the face detector failed on this photo")

    noise(100, 60).save(tmp_path / "x.png")
    pictures = written(tmp_path, [FACES], find_faces=fails)
    with pytest.raises(ValueError, match="failed"):
        pictures.write(tmp_path / "x.png", 0, [], [])
    assert not list((tmp_path / "drawn").iterdir())


def test_pictures_never_go_among_the_photos_nor_beside_those_that_hide_nothing(tmp_path: Path) -> None:
    photo, other = tmp_path / "in" / "x.png", tmp_path / "out"
    for folder in (photo.parent, other):
        folder.mkdir()
    (other / "0000-x.jpg").write_bytes(b"a face")
    check_folders([photo], {"--draw": other, "--crops": None}, empty=False)
    with pytest.raises(ValueError, match=r"--crops .*in holds the photos themselves"):
        check_folders([photo], {"--draw": other, "--crops": other / ".." / "in"}, empty=False)
    with pytest.raises(ValueError, match="may show what --blur is to hide"):
        check_folders([photo], {"--draw": other}, empty=True)
    check_folders([photo], {"--draw": tmp_path / "new"}, empty=True)


@pytest.mark.parametrize("nothing", ["", " ", ","])
def test_blur_that_names_nothing_is_refused(cli: Cli, tmp_path: Path, nothing: str) -> None:
    answer = cli("detect", tmp_path, "--draw", tmp_path / "drawn", "--blur", nothing)
    assert answer.code == 2 and "names nothing" in answer.last_error


@pytest.mark.parametrize("words", [
    ("check", "dogs", "D", "--fix"), ("evaluate", "objects", "--checkpoint", "D", "--write-predictions"),
    ("evaluate", "places", "--checkpoint", "D", "--write-predictions"),
], ids=lambda words: " ".join(words[:2]))
def test_no_file_of_another_kind_is_written_over(cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    noise(40, 40).save(tmp_path / "x.jpg")
    before = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "folder.csv").mkdir()
    for name in ("x.jpg", "folder.csv"):
        answer = cli(*(tmp_path if word == "D" else word for word in words), tmp_path / name)
        assert answer.code == 2 and "file; give one of that name" in answer.last_error
    assert (tmp_path / "x.jpg").read_bytes() == before


def test_blur_without_a_folder_is_a_usage_error(cli: Cli, tmp_path: Path) -> None:
    noise(40, 40).save(tmp_path / "x.png")
    answer = cli("detect", tmp_path / "x.png", "--model", tmp_path / "x.png", "--blur", "person")
    assert answer.code == 2 and "--draw" in answer.last_error


def test_no_face_is_left_on_what_is_written_of_real_portraits(shared: Path, tmp_path: Path) -> None:
    find = _face_boxes(AS_USUAL)
    photos = sorted((shared / "data" / "portraits").rglob("*.jpg"))[:4]
    pictures = written(tmp_path, [FACES], find_faces=find)
    for index, path in enumerate(photos):
        pictures.write(path, index, [], [])
    assert sum(len(find(Image.open(path))) for path in photos) >= 4
    after = sorted((tmp_path / "drawn").iterdir())
    assert len(after) == 4 and not any(find(Image.open(path)) for path in after)
