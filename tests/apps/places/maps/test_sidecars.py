"""Estimates in sidecars: marked, replaced, never mistaken for a measurement, and nothing else is touched."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import Cli

from apps.engine.core.console import Console, failed
from apps.faces.people.xmp import Frame, Region, Sidecar
from apps.places.maps.sidecars import LocatedPhoto, angle, error_km, write_estimates
from datasets.geo.geotags import NoPositionError, read_geotag
from datasets.geo.sidecars import xmp_angle

ANSWER: dict[str, Any] = {
    "lat": 52.5, "lon": -13.4, "confidence": 0.62, "area_50_km2": 31415.9, "abstains": False,
}


def photo(path: Path, *, gps: bool = False) -> Path:
    exif = Image.Exif()
    if gps:
        exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 0.0, 0.0), 3: "E", 4: (2.0, 0.0, 0.0)})
    Image.new("RGB", (40, 30), "green").save(path, exif=exif)
    return path


def written(lines: list[dict[str, Any]], *, precise: bool = True) -> list[dict[str, Any]]:
    return list(write_estimates(lines, precise=precise, console=Console(quiet=True)))


@pytest.mark.parametrize("degrees", [0.0, 12.3456789, -89.9999999, 179.99999999])
def test_an_angle_is_read_as_it_was_written(degrees: float) -> None:
    sides = "NS" if abs(degrees) <= 90 else "EW"
    assert xmp_angle(angle(degrees, sides), "", sides) == pytest.approx(degrees, abs=1e-7)


def test_an_estimate_says_that_it_is_one_and_is_no_position_of_the_photo(tmp_path: Path) -> None:
    file = photo(tmp_path / "a.jpg")
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    (line,) = written([{"path": str(file), **ANSWER}])
    assert line["xmp"] == f"{file}.xmp"
    text = Path(line["xmp"]).read_text()
    assert "52,30.000000N" in text
    assert "13,24.000000W" in text
    assert "estimated by mobilenet-apps, 62 % within 200 km" in text
    assert "100000/1" in text  # a disc of 31,416 km2
    with pytest.raises(NoPositionError, match="only an estimate"):
        read_geotag(file)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


def test_another_estimate_takes_its_place_and_the_rest_stays(tmp_path: Path) -> None:
    file = photo(tmp_path / "a.jpg")
    names, frame = Sidecar(), Frame(40, 30, 1)
    names.put([Region((0.1, 0.1, 0.4, 0.5), "Ada")], frame)
    beside = tmp_path / "a.xmp"  # as Lightroom names it
    beside.write_bytes(names.to_bytes())
    written([{"path": str(file), **ANSWER}])
    (line,) = written([{"path": str(file), **ANSWER, "lat": 10.0}])
    assert line["xmp"] == str(beside)
    again = LocatedPhoto.read(beside)
    assert again.property("http://ns.adobe.com/exif/1.0/", "GPSLatitude") == "10,0.000000N"
    assert beside.read_text().count("GPSLatitude>") == 2  # one element
    assert [region.name for region in Sidecar.read(beside).regions(frame)] == ["Ada"]


def test_what_is_not_written_is_counted_and_left_as_it_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = photo(tmp_path / "own.jpg", gps=True)
    odd, unsure = photo(tmp_path / "odd.jpg"), photo(tmp_path / "u.jpg")
    damaged = tmp_path / "odd.jpg.xmp"
    damaged.write_text("<x:xmpmeta")
    lines: list[dict[str, Any]] = [{"path": str(own), **ANSWER}, {"path": str(odd), **ANSWER},
             {"path": str(unsure), **ANSWER, "lat": None, "lon": None},
             {"path": "gone.jpg", "error": "file not found"}, {"album": str(tmp_path), **ANSWER}]
    results = list(write_estimates(lines, precise=True, console=Console()))
    assert [line.get("xmp", "none") for line in results] == [None, None, None, "none", "none"]
    assert damaged.read_text() == "<x:xmpmeta"
    assert sorted(path.name for path in tmp_path.glob("*.xmp*")) == ["odd.jpg.xmp"]
    said = capfd.readouterr().err
    assert "odd.jpg.xmp: it is damaged" in said
    assert (
        "0 sidecars written, 1 photos tell their position already, 1 photos have no answer, 1 photos have a "
        "sidecar that is left as it is"
    ) in said


def test_a_sidecar_that_cannot_be_written_is_said_and_ends_with_1(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("apps.places.maps.sidecars.write_bytes", refused)
    file = photo(tmp_path / "a.jpg")
    list(write_estimates([{"path": str(file), **ANSWER}], precise=True, console=Console()))
    said = capfd.readouterr().err
    assert "cannot write a.jpg.xmp: Permission denied" in said
    assert "error: 1 sidecars could not be written" in said
    assert "left as it is" not in said
    assert failed()


def test_a_coarse_answer_is_wrong_by_a_tenth_of_a_degree_at_least() -> None:
    assert error_km(3.14159, precise=True) == pytest.approx(1, abs=1e-3)
    assert error_km(3.14159, precise=False) == 11


def test_locate_writes_them_by_the_real_command(cli: Cli, colour_run: Path, tmp_path: Path) -> None:
    rows = ["path,lat,lon"]
    for colour, (lat, lon) in {"red": (48.8, 2.3), "blue": (52.5, 13.4)}.items():
        for number in range(6):
            Image.new("RGB", (40, 40), colour).save(tmp_path / f"{colour}{number}.png")
            rows.append(f"{colour}{number}.png,{lat + 0.02 * number},{lon}")
    (tmp_path / "photos.csv").write_text("\n".join(rows) + "\n")
    made = cli(
        "finetune", "places", "--photos", tmp_path / "photos.csv", "--weights", colour_run, "--freeze",
        "--workers", 0, "--split-km", 0.5, "--t-max", 4, "--t-min", 1, "--out", tmp_path / "run",
    )
    assert made.code == 0, made.err
    answer = cli("locate", tmp_path / "red0.png", "--checkpoint", tmp_path / "run", "--write-xmp")
    assert answer.code == 0, answer.err
    assert answer.lines[0]["xmp"] == str(tmp_path / "red0.png.xmp")
    assert "1 sidecars written" in answer.err
    refused = cli(
        "locate", tmp_path / "red0.png", "--checkpoint", tmp_path / "run", "--write-xmp", "--out",
        tmp_path / "parts",
    )
    assert refused.code == 2
    assert "--write-xmp" in refused.last_error


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_exiftool_reads_the_same(tmp_path: Path) -> None:
    file = photo(tmp_path / "a.jpg")
    (line,) = written([{"path": str(file), **ANSWER}])
    said = subprocess.run(
        ["exiftool", "-json", "-n", line["xmp"]], check=True, capture_output=True, text=True
    ).stdout
    (found,) = json.loads(said)
    assert (found["GPSLatitude"], found["GPSLongitude"]) == (52.5, -13.4)
    assert found["GPSHPositioningError"] == 100000
