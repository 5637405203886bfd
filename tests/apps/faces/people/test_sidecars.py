"""XMP sidecars: names out as face regions and in again; exiftool reads the same; nothing there is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faces_support import unit_vectors, write_table
from PIL import Image, ImageOps
from support import Cli

from apps.faces.people.corrections import read_corrections
from apps.faces.people.xmp import Frame, Region, Sidecar

BOX = (60.0, 20.0, 90.0, 60.0)  # of the face on the upright photo, 120 x 80 px
OTHER = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#" xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#">
<dc:subject><rdf:Bag><rdf:li>holiday</rdf:li></rdf:Bag></dc:subject>
<mwg-rs:Regions rdf:parseType="Resource">
<mwg-rs:AppliedToDimensions stDim:w="120" stDim:h="80" stDim:unit="pixel"/>
<mwg-rs:RegionList><rdf:Bag>
<rdf:li><rdf:Description mwg-rs:Name="Ada" mwg-rs:Type="Face">
<mwg-rs:Area stArea:x="0.62" stArea:y="0.5" stArea:w="0.25"
 stArea:h="0.5" stArea:unit="normalized"/></rdf:Description></rdf:li>
<rdf:li rdf:parseType="Resource"><mwg-rs:Name>Rex</mwg-rs:Name>
<mwg-rs:Type>Pet</mwg-rs:Type><mwg-rs:Area stArea:x="0.62"
 stArea:y="0.5" stArea:w="0.25" stArea:h="0.5" stArea:unit="normalized"/></rdf:li>
</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions></rdf:Description></rdf:RDF></x:xmpmeta>"""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "party.jpg"
    path.parent.mkdir()
    Image.new("RGB", (120, 80), "grey").save(path)
    return path


@pytest.fixture
def table(cli: Cli, photo: Path, tmp_path: Path) -> Path:
    """One face on the photo, two of others elsewhere."""
    paths = [str(photo), str(photo.with_name("gone.jpg")), f"{photo.with_name('shard.tar')}::2.jpg"]
    made = write_table(tmp_path / "faces.parquet", unit_vectors(3, 32), paths=paths)
    rows = pq.read_table(made)
    boxes = pa.array([list(BOX)] * 3, rows.schema.field("box").type)
    pq.write_table(rows.set_column(4, rows.schema.field("box"), boxes), made)
    cli("cluster-faces", made, "--out", tmp_path / "sheet", "--threshold", 0.5)
    return made


def test_names_come_out_and_in_again_and_the_photo_is_not_touched(cli: Cli, table: Path, photo: Path) -> None:
    before = photo.read_bytes()
    cli("people", "name", table, f"{photo}#0", "Zoë <&> Q")
    line = cli("people", "write-xmp", table).lines[0]
    assert (line["photos"], line["faces"], line["refused"]) == (1, 1, [])
    assert photo.read_bytes() == before
    assert cli("people", "read-xmp", table).lines[0]["faces"] == 0, "nothing new"
    cli("people", "undo", table)
    line = cli("people", "read-xmp", table).lines[0]
    assert (line["photos"], line["faces"], line["people"], line["unmatched"]) == (1, 1, 1, 0)
    (entry,) = read_corrections(table).entries
    assert (entry.name, entry.source) == ("Zoë <&> Q", "sidecar")
    assert cli("people", "list", table).lines[0]["name"] == "Zoë <&> Q"


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("orientation", [1, 6])
def test_exiftool_reads_the_same_regions(cli: Cli, table: Path, photo: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (120, 80) if orientation == 1 else (80, 120), "grey").save(photo, exif=exif)
    cli("people", "name", table, f"{photo}#0", "Ada Lovelace")
    cli("people", "write-xmp", table)
    command = ["exiftool", "-j", "-struct", "-XMP:RegionInfo", f"{photo}.xmp"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    told = json.loads(done.stdout)[0]["RegionInfo"]
    (region,) = told["RegionList"]
    assert (region["Name"], region["Type"], region["Area"]["Unit"]) == ("Ada Lovelace", "Face", "normalized")
    area = [float(region["Area"][key]) for key in "XYWH"]
    upright = [75 / 120, 40 / 80, 30 / 120, 40 / 80]
    stored = [upright[1], 1 - upright[0], upright[3], upright[2]]
    np.testing.assert_allclose(area, upright if orientation == 1 else stored, atol=1e-4)
    sides = told["AppliedToDimensions"]
    assert (float(sides["W"]), float(sides["H"])) == ((120, 80) if orientation == 1 else (80, 120))


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_regions_that_exiftool_wrote_are_read(cli: Cli, table: Path, photo: Path) -> None:
    area = "{X=0.625,Y=0.5,W=0.25,H=0.5,Unit=normalized}"
    sides = "{W=120,H=80,Unit=pixel}"
    regions = f"{{AppliedToDimensions={sides},RegionList=[{{Area={area},Name=Bob,Type=Face}}]}}"
    sidecar = photo.with_suffix(".xmp")  # as Lightroom names it
    command = ["exiftool", f"-RegionInfo={regions}", str(sidecar)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    assert cli("people", "read-xmp", table).lines[0]["faces"] == 1
    assert cli("people", "list", table).lines[0]["name"] == "Bob"


def test_what_a_sidecar_holds_stays_and_its_region_gets_the_name(cli: Cli, table: Path, photo: Path) -> None:
    sidecar = photo.with_name("party.jpg.xmp")
    sidecar.write_text(OTHER)
    line = cli("people", "read-xmp", table).lines[0]
    assert (line["faces"], line["unmatched"]) == (1, 0)
    cli("people", "name", table, "Ada", "Grace")
    assert cli("people", "write-xmp", table).lines[0]["faces"] == 1
    text = sidecar.read_text()
    for kept in ('Rating="4"', "holiday", "Rex", "Pet"):
        assert kept in text
    assert "Ada" not in text
    frame = Frame(120, 80, 1)
    assert [region.name for region in Sidecar.read(sidecar).regions(frame)] == ["Grace"]
    out = table.parent / "xmp"
    cli("people", "write-xmp", table, "--out", out)
    assert [path.name for path in out.iterdir()] == ["party.jpg.xmp"]
    cli("people", "undo", table)
    cli("people", "undo", table)
    assert cli("people", "read-xmp", table, "--from", out).lines[0]["faces"] == 1


def test_an_older_sidecar_is_left_out_and_named_unless_it_is_asked_for(
    cli: Cli, table: Path, photo: Path
) -> None:
    sidecar = photo.with_name("party.jpg.xmp")
    sidecar.write_text(OTHER)
    os.utime(sidecar, (1, 1))
    line = cli("people", "read-xmp", table).lines[0]
    assert (line["faces"], line["older"], line["refused"][0]["path"]) == (0, 1, str(sidecar))
    assert cli("people", "read-xmp", table, "--older").lines[0]["faces"] == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<x:xmpmeta", "it is damaged"),
        (b"", "it is damaged"),
        (b"\xff\xd8\xff\xe0 no XML", "it is damaged"),
        (b"<html/>", "it is no XMP"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x/>', "it declares entities"),
        (OTHER.replace('w="120"', 'w="80"').encode(), "it is of a photo of 80 x 80 pixels, not 120 x 80"),
        (OTHER.replace('"Ada"', f'"{"A" * 999}"').encode(), "a name has 200 letters at most"),
    ],
)
def test_broken_sidecars_are_named_and_never_written_over(
    cli: Cli, table: Path, photo: Path, content: bytes, reason: str
) -> None:
    sidecar = photo.with_name("party.jpg.xmp")
    sidecar.write_bytes(content)
    line = cli("people", "read-xmp", table).lines[0]
    assert (line["faces"], reason in line["refused"][0]["reason"]) == (0, True), line
    if "XMP" in reason or "damaged" in reason or "entities" in reason:
        cli("people", "name", table, f"{photo}#0", "Bob")
        answer = cli("people", "write-xmp", table).lines[0]
        assert (answer["photos"], answer["refused_count"]) == (0, 1)
        assert sidecar.read_bytes() == content


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_as_pillow_turns_photos(orientation: int) -> None:
    stored = np.zeros((80, 120), np.uint8)
    stored[10:20, 30:70] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(stored)
    image.info["exif"] = exif.tobytes()
    upright = np.asarray(ImageOps.exif_transpose(image)) > 128
    rows, columns = np.flatnonzero(upright.any(1)), np.flatnonzero(upright.any(0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    frame = Frame(120, 80, orientation)
    shares = frame.to_stored(box)
    np.testing.assert_allclose(shares, [30 / 120, 10 / 80, 70 / 120, 20 / 80], atol=1e-9)
    np.testing.assert_allclose(frame.to_upright(shares), box, atol=1e-9)


def test_a_new_sidecar_reads_as_it_was_made() -> None:
    frame, region = Frame(100, 50, 1), Region((0.1, 0.2, 0.3, 0.6), "Ada")
    sidecar = Sidecar()
    sidecar.put([region], frame)
    (again,) = sidecar.regions(frame)
    assert again.name == "Ada"
    np.testing.assert_allclose(again.box, region.box, atol=1e-5)


def test_people_are_folders_of_links_that_follow_corrections(cli: Cli, table: Path, photo: Path) -> None:
    out = table.parent / "folders"
    cli("people", "name", table, f"{photo}#0", "A/B: C")
    line = cli("people", "folders", table, "--out", out).lines[0]
    assert (line["people"], line["links"]) == (1, 1)
    (link,) = out.glob("*/*")
    assert (link.parent.name, link.name, link.readlink()) == ("A_B_ C", "party.jpg", photo)
    (out / "A_B_ C" / "mine.txt").write_text("stays")
    cli("people", "undo", table)
    cli("people", "name", table, f"{photo}#0", "Dora")
    line = cli("people", "folders", table, "--out", out).lines[0]
    assert (line["links"], line["removed"]) == (1, 1)
    there = sorted(place.relative_to(out).as_posix() for place in out.glob("*/*"))
    assert there == ["A_B_ C/mine.txt", "Dora/party.jpg"]
