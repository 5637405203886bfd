"""Positions beside photos: Takeout's JSON under all its names, and XMP in the photo and beside it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import Cli

from datasets.geo.geotags import NoPositionError, read_folder, read_geotag
from datasets.geo.sidecars import xmp_angle

PARIS = {"latitude": 48.8566, "longitude": 2.3522, "altitude": 35.0}
NONE = {"latitude": 0.0, "longitude": 0.0, "altitude": 0.0}
LONG = "a-name-of-a-photo-that-is-far-too-long-for-Takeo"  # .jpg follows: 52 letters


def photo(path: Path, seed: int = 0, **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **more)
    return path


def takeout(path: Path, geo: object = PARIS, exif: object = NONE) -> None:
    stamp = {"timestamp": "1577934245", "formatted": "Jan 2, 2020, 3:04:05 AM UTC"}
    path.write_text(json.dumps({"title": "x", "photoTakenTime": stamp, "geoData": geo, "geoDataExif": exif}))


def xmp(lat: str, lon: str, *, element: bool = False) -> bytes:
    fields = f'exif:GPSLatitude="{lat}" exif:GPSLongitude="{lon}"'
    inner = f"<exif:GPSLatitude>{lat}</exif:GPSLatitude><exif:GPSLongitude>{lon}</exif:GPSLongitude>"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:exif="http://ns.adobe.com/exif/1.0/" {"" if element else fields}>{inner if element else ""}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


@pytest.mark.parametrize(("name", "beside"), [
    ("photo.jpg", "photo.jpg.json"),
    ("photo.jpg", "photo.jpg.supplemental-metadata.json"),
    ("photo.jpg", "photo.jpg.suppl.json"),
    ("photo.jpg", "photo.jpg.s.json"),
    ("photo(1).jpg", "photo.jpg(1).json"),
    ("photo(12).jpg", "photo.jpg.supplemental-metadata(12).json"),
    ("photo(1).jpg", "photo(1).jpg.json"),
    ("photo-edited.jpg", "photo.jpg.json"),
    ("photo-bearbeitet(2).jpg", "photo.jpg(2).json"),
    (f"{LONG}.jpg", f"{LONG}.jpg"[:46] + ".json"),
    ("IMG.PNG", "IMG.PNG.json"),
])
def test_takeout_s_json_is_found_under_its_names(name: str, beside: str, tmp_path: Path) -> None:
    path = photo(tmp_path / name)
    for other in ("photo.jpeg.json", "photo.json", "pho.json", "photo.jpg(3).json", "metadata.json"):
        takeout(tmp_path / other, {"latitude": 1.0, "longitude": 1.0})
    takeout(tmp_path / beside)
    tag = read_geotag(path)
    assert (tag.lat, tag.lon, tag.taken) == (48.8566, 2.3522, "2020:01:02 03:04:05")
    assert tag.source == "Takeout's JSON"


@pytest.mark.parametrize(("text", "reference", "sides", "expected"), [
    ("52,30.5N", "", "NS", 52 + 30.5 / 60), ("52,30,30S", "", "NS", -(52 + 30 / 60 + 30 / 3600)),
    ("2,21.132w", "", "EW", -(2 + 21.132 / 60)), ("-33.5", "", "NS", -33.5), ("33.5", "S", "NS", -33.5),
    ("52,30.5", "", "NS", math.nan), ("52,30.5E", "", "NS", math.nan), ("52,75N", "", "NS", math.nan),
    ("somewhere", "", "NS", math.nan), ("52,30.5", "North", "NS", 52 + 30.5 / 60),
])
def test_angles_of_xmp(text: str, reference: str, sides: str, expected: float) -> None:
    assert xmp_angle(text, reference, sides) == pytest.approx(expected, nan_ok=True)


def test_the_first_good_position_counts(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg", xmp=xmp("48,51.396N", "2,21.132E"))
    assert (read_geotag(path).lat, read_geotag(path).source) == (pytest.approx(48.8566), "XMP")
    (tmp_path / "a.xmp").write_bytes(xmp("52,30.5N", "13,22.5E", element=True))
    assert read_geotag(path).lat == pytest.approx(52 + 30.5 / 60), "the sidecar was written later"
    (tmp_path / "a.xmp").write_bytes(xmp("0,0.0N", "0,0.0E"))
    assert read_geotag(path).lat == pytest.approx(48.8566)
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (10.0, 0.0, 0.0), 3: "E", 4: (20.0, 0.0, 0.0)})
    assert read_geotag(photo(path, exif=exif, xmp=xmp("48,51.4N", "2,21.1E"))).lat == 10
    png = photo(tmp_path / "b.png")
    takeout(tmp_path / "b.png.json", NONE, PARIS)
    assert read_geotag(png).lat == 48.8566, "what the camera wrote, where nobody set another"


@pytest.mark.parametrize(("content", "why"), [
    (json.dumps({"geoData": NONE, "geoDataExif": NONE}), r"latitude and longitude are 0, as of a camera"),
    (json.dumps({"geoData": {"latitude": 91, "longitude": 0}}), "latitude is beyond 90 degrees: 91"),
    (json.dumps({"geoData": {"latitude": "48", "longitude": True}}), r"a.jpg.json tells no position"),
    ("[]", r"a.jpg.json is damaged \(is no object\)"), ('{"geoData":', r"a.jpg.json is damaged"),
    ("[" * 5000, r"a.jpg.json is damaged"),
])
def test_what_tells_no_position_is_named(content: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg.json").write_text(content)
    with pytest.raises(NoPositionError, match=rf"a.jpg: it has no EXIF, and .*{why}"):
        read_geotag(photo(tmp_path / "a.jpg"))


def test_entities_of_a_sidecar_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.xmp").write_bytes(b'<!DOCTYPE x [<!ENTITY a "b">]>' + xmp("52,30.5N", "13,22.5E"))
    with pytest.raises(NoPositionError, match=r"a.xmp declares entities, so no position"):
        read_geotag(photo(tmp_path / "a.jpg"))


@pytest.mark.slow
def test_places_learn_from_an_album_of_takeout(cli: Cli, tmp_path: Path) -> None:
    album = tmp_path / "Takeout" / "Google Photos" / "Trip"
    for n, (lat, lon) in enumerate([(48.8, 2.3), (52.5, 13.4), (40.4, -3.7), (41.9, 12.5)] * 6):
        photo(album / f"p{n}.jpg", seed=n)
        takeout(album / f"p{n}.jpg.supplemental-metadata.json", {"latitude": lat + n / 50, "longitude": lon})
    photo(album / "nowhere.jpg", seed=99)
    takeout(album / "nowhere.jpg.json", NONE)
    takeout(album / "gone.jpg.json")
    (album / "metadata.json").write_text('{"title": "Trip"}')
    photos = read_folder(tmp_path)
    assert len(photos) == 24 and photos.skipped == 1
    assert any("of 24 positions 24 from Takeout's JSON" in note for note in photos.notes)
    assert any("1 JSON files of Takeout have no photo here, such as gone.jpg.json" in n for n in photos.notes)
    run = tmp_path / "run"
    small = ("--resolution", 32, "--width", 0.25, "--epochs", 1, "--batch-size", 4, "--workers", 0)
    trained = cli(
        "finetune", "places", "--photos", album, "--t-max", 8, "--t-min", 1, *small, "--out", run
    )
    assert trained.code == 0, trained.err
    assert cli("evaluate", "places", "--checkpoint", run, "--data", album).code == 0
    checked = cli("check", "places", album, "--no-network").lines[0]
    assert checked["images"] == 24 and any("gone.jpg.json" in note for note in checked["notes"])
