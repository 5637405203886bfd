"""EXIF positions: real photos against another reader, and every odd block that cameras write."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import exifread
import pytest
from exifread.utils import get_gps_coords
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from datasets.geo.geotags import NoPositionError, position_of, read_folder, read_geotag, read_photos


def gps(
    lat: Any = (48, 51, 30), lat_ref: Any = "N", lon: Any = (2, 21, 0), lon_ref: Any = "E"
) -> dict[int, Any]:
    tags = {1: lat_ref, 2: lat, 3: lon_ref, 4: lon}
    return {tag: value for tag, value in tags.items() if value is not None}


def photo(path: Path, block: dict[int, Any] | None, **more: str) -> Path:
    """A JPEG with a GPS block, and with artist and time where given."""
    exif = Image.Exif()
    if block is not None:
        exif.get_ifd(0x8825).update(block)
    if "artist" in more:
        exif[0x013B] = more["artist"]
    if "taken" in more:
        exif.get_ifd(0x8769)[0x9003] = more["taken"]
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    return path


def test_all_real_photos_tell_the_position_that_another_reader_finds(shared: Path) -> None:
    found = read_folder(shared / "data" / "geo" / "photos")
    assert (len(found), found.left_out) == (245, ())
    for path, lat, lon in zip(found.paths, found.lat, found.lon, strict=True):
        with Path(path).open("rb") as file:
            other = get_gps_coords(exifread.process_file(file, details=False))
        assert other == pytest.approx((lat, lon), abs=1e-9), path


def test_a_written_block_is_read_back_with_time_and_author(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg", gps(lat_ref="S"), artist="Ann ", taken="2020:01:02 03:04:05")
    tag = read_geotag(path)
    assert (tag.lat, tag.lon) == pytest.approx((-48.8583333333, 2.35))
    assert (tag.author, tag.taken) == ("Ann", "2020:01:02 03:04:05")


@pytest.mark.parametrize(("block", "expected"), [
    (gps(lat=(48.5,), lon=2.25), (48.5, 2.25)),
    (gps(lat=(48, 30.6), lon=(2, 15)), (48.51, 2.25)),
    (gps(lat_ref=b"S\x00", lon_ref="w"), (-48.8583333333, -2.35)),
    (gps(lat_ref="South", lon_ref=" E\x00"), (-48.8583333333, 2.35)),
    (gps(lat=(-33, 30, 0), lat_ref=None), (-33.5, 2.35)),
    (gps(lat=(-33, 30, 0), lat_ref="S"), (-33.5, 2.35)),
    (gps(lat=(0, -30, 0), lat_ref=None), (-0.5, 2.35)),
    (gps(lat=(0, 0, 0), lat_ref=None), (0, 2.35)),
    (gps(lat=(90, 0, 0), lon=(180, 0, 0), lon_ref="W"), (90, -180)),
    (gps(lat=(48, 59, 60.0)), (49, 2.35)),
    (gps(lat=tuple(IFDRational(n, d) for n, d in ((48, 1), (5130, 100), (0, 1)))), (48.855, 2.35)),
])
def test_odd_ways_to_write_a_position_are_understood(
    block: dict[int, Any], expected: tuple[float, float]
) -> None:
    assert position_of(block) == pytest.approx(expected)


@pytest.mark.parametrize(("block", "reason"), [
    ({}, "it has no GPS block in its EXIF"),
    ({29: "2020:01:01"}, "its GPS block has no latitude"),
    (gps(lon=None), "its GPS block has no longitude"),
    (gps(lat_ref=None), "its latitude has no reference, so N or S is not known"),
    (gps(lon_ref=b"\x00"), "its longitude has no reference, so E or W is not known"),
    (gps(lon_ref="N"), "the reference of its longitude is 'N', expected E or W"),
    (gps(lat_ref="?"), "the reference of its latitude is '[?]', expected N or S"),
    (gps(lat=(-33, 30, 0)), "its latitude is negative, but its reference is N"),
    (gps(lat=tuple(IFDRational(0, 0) for _ in range(3))), r"its latitude is not a number \(0/0\)"),
    (gps(lon=(2, 21, IFDRational(0, 0))), r"its longitude is not a number \(0/0\)"),
    (gps(lat=(float("nan"), 0, 0)), "its latitude is not a number"),
    (gps(lat=(0, 0, 0), lon=(0, 0, 0)), "latitude and longitude are 0"),
    (gps(lat=(200, 0, 0)), "latitude is beyond 90 degrees: 200"),
    (gps(lon=(181, 0, 0)), "longitude is beyond 180 degrees: 181"),
    (gps(lat=(48, 75, 0)), "its latitude has more than 60 minutes or seconds"),
    (gps(lat=b"here"), r"its latitude cannot be read"),
    (gps(lat=("48", "x", "1")), "its latitude cannot be read"),
    (gps(lat=(1, 2, 3, 4)), "its latitude cannot be read"),
    (gps(lat=()), "its latitude cannot be read"),
])
def test_a_block_that_cannot_be_trusted_says_why(block: dict[int, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        position_of(block)


def test_photos_without_a_position_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", gps())
    photo(tmp_path / "b.jpg", gps(lat_ref=None))
    Image.new("RGB", (8, 8)).save(tmp_path / "c.png")
    (tmp_path / "d.jpg").write_text("no photo")
    photo(tmp_path / "e.jpg", None, artist="Ann")
    found = read_folder(tmp_path)
    assert found.paths == (str(tmp_path / "a.jpg"),)
    assert found.remarks() == [
        f"{tmp_path / 'b.jpg'}: its latitude has no reference, so N or S is not known; left out",
        f"{tmp_path / 'c.png'}: it has no EXIF; left out",
        f"{tmp_path / 'd.jpg'}: not a photo but a text named .jpg; download the photo itself; left out",
        f"{tmp_path / 'e.jpg'}: it has no GPS block in its EXIF; left out",
    ]


def test_damaged_exif_stops_nothing(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg", gps())
    whole = path.read_bytes()
    start = whole.index(b"Exif")
    for length in range(10, 200, 7):  # zeros over a growing part of the block
        path.write_bytes(whole[: start + 14] + b"\xff" * length + whole[start + 14 + length :])
        try:
            read_geotag(path)
        except NoPositionError as err:
            assert err.reason


def test_a_folder_in_which_nothing_tells_its_position_is_refused_with_an_example(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "c.png")
    words = r"none of 1 photos in .* \(such as .*c.png: it has no EXIF\); give photos"
    with pytest.raises(ValueError, match=words):
        read_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_folder(tmp_path / "missing")
    with pytest.raises(ValueError, match="none of 1 photos in here"):
        read_photos([tmp_path / "missing.jpg"], "here")


def test_the_error_crosses_from_a_worker() -> None:
    again = pickle.loads(pickle.dumps(NoPositionError("a.jpg", "it has no EXIF")))  # noqa: S301
    assert (again.path, again.reason) == (Path("a.jpg"), "it has no EXIF")
