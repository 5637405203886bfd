"""Finding faces: on any kind of photo, in its own pixels, all of them, the largest or one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from faces_support import write_face_weights
from PIL import Image
from support import Cli

from apps.faces.detection.detector import Detector


@pytest.fixture(scope="module")
def colour(shared: Path) -> Path:
    return shared / "data" / "faces_colour" / "images"


@pytest.fixture(scope="module")
def group(shared: Path) -> Path:
    return shared / "data" / "faces_colour" / "group"


def photo_of(colour: Path, name: str, number: int) -> Path:
    return colour / name / f"{name}_{number:04d}.jpg"


def test_the_detector_takes_every_kind_of_photo_one_after_the_other(colour: Path) -> None:
    """What facenet-pytorch raises on: grey, transparent and tiny photos, none with a face, mixed sizes."""
    detector, photo = Detector(), Image.open(photo_of(colour, "Tony_Blair", 1))
    (face,) = detector.detect(photo)
    for other in (photo.convert("L"), photo.convert("RGBA"), photo.convert("P"), photo.convert("CMYK")):
        found = detector.detect(other)
        assert len(found) == 1
        np.testing.assert_allclose(found[0].box, face.box, atol=12)
    double = detector.detect(photo.resize((500, 500)))
    np.testing.assert_allclose(double[0].box, np.array(face.box) * 2, atol=16)
    np.testing.assert_allclose(double[0].landmarks, face.landmarks * 2, atol=16)
    for size in ((1, 1), (10, 10), (19, 400), (20, 20), (2000, 25), (300, 300)):
        assert detector.detect(Image.new("RGB", size, "grey")) == []
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    assert detector.detect(Image.fromarray(noise)) == []


def test_landmarks_lie_in_the_face_with_the_eyes_above_the_mouth(colour: Path) -> None:
    (face,) = Detector().detect(Image.open(photo_of(colour, "Colin_Powell", 1)))
    x1, y1, x2, y2 = face.box
    points = face.landmarks
    assert points.shape == (5, 2)
    assert (points > [x1, y1]).all()
    assert (points < [x2, y2]).all()
    assert points[0, 0] < points[1, 0]
    assert points[:2, 1].max() < points[3:, 1].min()
    assert face.probability > 0.99


def test_boxes_of_a_large_photo_are_in_its_own_pixels(group: Path) -> None:
    """Extraction for in a copy half as large."""
    photo = Image.open(group / "data_test_images_kate_siegel_1.jpg")
    (face,) = Detector().detect(photo)
    (small,) = Detector().detect(photo.resize((photo.width // 2, photo.height // 2)))
    np.testing.assert_allclose(np.array(face.box) / 2, small.box, atol=photo.width * 0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_face_px": 5}, "20 px or more can be found, got 5"),
        ({"min_probability": 2}, "must be 0 to 1, got 2"),
    ],
)
def test_limits_of_the_detector_are_held(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Detector(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("which", "faces"), [("all", 6), ("largest", 1), ("one", 0)])
def test_a_photo_of_six_people_gives_all_the_largest_or_a_reason(
    cli: Cli, group: Path, tmp_path: Path, which: str, faces: int
) -> None:
    weights, out = write_face_weights(tmp_path / "tiny.safetensors"), tmp_path / "f.parquet"
    Image.open(group / "data_multiface.jpg").transpose(Image.Transpose.ROTATE_90).save(
        tmp_path / "turned.jpg", exif=_turned(), quality=95
    )
    answer = cli("embed-faces", tmp_path / "turned.jpg", "--out", out, "--weights", weights, "--faces", which)
    assert answer.lines[0]["faces"] == faces, answer.err
    if which == "one":
        assert "6 faces found, and exactly one was asked for" in answer.err
        assert not out.exists(), "a table without a face is no answer"
        return
    table = pq.read_table(out)
    assert table["face"].to_pylist() == list(range(faces))
    sizes = table["size_px"].to_pylist()
    assert sizes == sorted(sizes, reverse=True)
    assert all(x1 < x2 <= 1200 and y1 < y2 <= 630 for x1, y1, x2, y2 in table["box"].to_pylist())
    assert "6 faces found" not in (tmp_path / "f.problems.jsonl").read_text()


def test_twenty_people_in_one_photo_are_all_found_each_in_its_place(colour: Path) -> None:
    """Five by four photos of one face side by side."""
    side, across, down = 250, 5, 4
    photos = sorted(colour.rglob("*.jpg"))[:: len(list(colour.rglob("*.jpg"))) // (across * down)]
    sheet = Image.new("RGB", (across * side, down * side))
    for number, path in enumerate(photos[: across * down]):
        sheet.paste(Image.open(path).convert("RGB"), (number % across * side, number // across * side))
    middles = [((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in (f.box for f in Detector().detect(sheet))]
    cells = {(int(x // side), int(y // side)) for x, y in middles}
    assert cells == {(x, y) for x in range(across) for y in range(down)}


def _turned() -> Image.Exif:
    """Says that the picture must be turned to the right by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_a_photo_without_a_face_is_listed_and_not_looked_at_again(cli: Cli, tmp_path: Path) -> None:
    weights, out = write_face_weights(tmp_path / "tiny.safetensors"), tmp_path / "f.parquet"
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (200, 150), "green").save(photos / "meadow.png")
    Image.new("RGB", (10, 10), "green").save(photos / "ten.png")
    for skipped in (0, 2):
        answer = cli("embed-faces", photos, "--out", out, "--weights", weights)
        (line,) = answer.lines
        assert (answer.code, line["faces"], line["skipped"]) == (0, 0, skipped)
    reasons = [
        json.loads(line)["reason"] for line in (tmp_path / "f.problems.jsonl").read_text().splitlines()
    ]
    assert reasons == ["no face found"] * 2
    assert pq.read_table(out).num_rows == 0
