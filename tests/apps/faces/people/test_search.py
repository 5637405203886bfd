"""Real faces: found on any photo, verified, searched, clustered, enrolled; strangers, bad queries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from faces_support import unit_vectors, write_face_weights, write_table
from PIL import Image
from support import Cli

from apps.faces.extraction.embedder import ModelInfo
from apps.faces.verification.thresholds import FILE, find_threshold


@pytest.fixture(scope="module")
def colour(shared: Path) -> Path:
    return shared / "data" / "faces_colour" / "images"


@pytest.fixture(scope="module")
def group(shared: Path) -> Path:
    return shared / "data" / "faces_colour" / "group"


@pytest.fixture(scope="module")
def trunk(shared: Path) -> Path:
    return shared / "weights" / "faces_mobilenetv1_1.0_224.safetensors"


@pytest.fixture(scope="module")
def gallery(cli: Cli, colour: Path, trunk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people, three photos each."""
    out = tmp_path_factory.mktemp("gallery") / "faces.parquet"
    people = ("Tony_Blair", "Colin_Powell", "Jacques_Chirac")
    photos = [photo for name in people for photo in sorted((colour / name).iterdir())[:3]]
    answer = cli("embed-faces", *photos, "--out", out, "--weights", trunk, "--faces", "largest")
    assert (answer.code, answer.lines[0]["faces"]) == (0, 9), answer.err
    return out


def photo_of(colour: Path, name: str, number: int) -> Path:
    return colour / name / f"{name}_{number:04d}.jpg"


def test_two_photos_of_one_person_are_the_same_and_of_two_are_not(
    cli: Cli, colour: Path, trunk: Path
) -> None:
    for other, same in (("Tony_Blair", True), ("Vladimir_Putin", False)):
        answer = cli(
            "verify-faces", photo_of(colour, "Tony_Blair", 1), photo_of(colour, other, 6), "--weights", trunk
        )
        (line,) = answer.lines
        assert line["same"] is same, answer.err
        assert line["false_accept_rate"] == 1e-3
        assert line["same"] == (line["similarity"] >= line["threshold"])
        assert [one["faces"] for one in line["photos"]] == [1, 1]


def test_a_known_person_is_found_with_the_photo_and_a_stranger_is_unknown(
    cli: Cli, colour: Path, gallery: Path
) -> None:
    (known,) = cli("search-faces", photo_of(colour, "Tony_Blair", 10), "--gallery", gallery, "--top", 2).lines
    (face,) = known["faces"]
    assert not face["unknown"]
    assert all("Tony_Blair" in match["path"] for match in face["matches"])
    assert 1 <= len(face["matches"]) <= 2
    assert known["gallery_faces"] == 9
    assert known["false_accept_rate_of_search"] == pytest.approx(1 - (1 - 1e-3) ** 9, abs=1e-6)
    (strange,) = cli(
        "search-faces", photo_of(colour, "Hugo_Chavez", 1), "--gallery", gallery, "--far", "1e-4"
    ).lines
    (face,) = strange["faces"]
    assert (face["unknown"], face["matches"]) == (True, [])
    assert face["best_similarity"] < strange["threshold"]


def test_folders_and_patterns_give_a_line_a_photo_and_what_is_wrong_has_one_too(
    cli: Cli, colour: Path, gallery: Path, tmp_path: Path
) -> None:
    blair = colour / "Tony_Blair"
    photos = tmp_path / "party"
    photos.mkdir()
    for number in (1, 9):  # the first is in the gallery
        (photos / f"{number}.jpg").write_bytes(photo_of(colour, "Tony_Blair", number).read_bytes())
    (photos / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    answer = cli("search-faces", photos, f"{photos}/9.*", "none.jpg", "--gallery", gallery)
    assert answer.code == 0
    lines = {Path(line["query"]).name: line for line in answer.lines}
    assert set(lines) == {"none.jpg", "1.jpg", "9.jpg", "cut.jpg"}
    assert "none.jpg does not exist" in lines["none.jpg"]["error"]
    assert "error" in lines["cut.jpg"]
    assert answer.last_error == "2 of 4 images could not be searched for"
    assert (lines["1.jpg"]["left_out"], lines["9.jpg"]["left_out"]) == (1, 0)
    nearest = lines["1.jpg"]["faces"][0]["matches"][0]
    assert nearest["path"] != str(blair / "Tony_Blair_0001.jpg")
    rows = cli("search-faces", photos, "--gallery", gallery, "--format", "csv").out.splitlines()
    assert rows[0] == "query,face,box,unknown,name,similarity,match,error"
    assert len(rows) == 4


def test_a_query_without_a_face_a_broken_one_and_a_missing_one_are_refused(
    cli: Cli, gallery: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (200, 150), "green").save(tmp_path / "meadow.png")
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    for name, message in (
        ("meadow.png", "no face found; give a photo of a face"),
        ("cut.jpg", "cut.jpg: "),
        ("none.jpg", "none.jpg does not exist; name a photo"),
    ):
        answer = cli("search-faces", tmp_path / name, "--gallery", gallery)
        assert answer.code == 1
        assert message in answer.last_error


def test_a_gallery_of_another_model_is_refused_and_both_are_named(
    cli: Cli, colour: Path, gallery: Path, tmp_path: Path
) -> None:
    other = write_face_weights(tmp_path / "other.safetensors")
    answer = cli("search-faces", photo_of(colour, "Tony_Blair", 1), "--gallery", gallery, "--weights", other)
    assert answer.code == 1
    assert pq.read_table(gallery)["model"][0].as_py() in answer.last_error
    assert "(faces_mobilenetv1_1.0_224), the query by" in answer.last_error
    assert "(other): their vectors cannot be compared" in answer.last_error


def test_enrolled_people_are_found_by_name_and_stay_when_photos_are_embedded_again(
    cli: Cli, colour: Path, group: Path, trunk: Path, tmp_path: Path
) -> None:
    table = tmp_path / "people.parquet"
    both = ("--weights", trunk, "--checkpoint", tmp_path)
    assert cli("enroll", "Tony", photo_of(colour, "Tony_Blair", 1), "--gallery", table, *both).code == 2
    answer = cli(
        "enroll",
        "Tony",
        photo_of(colour, "Tony_Blair", 1),
        group / "data_multiface.jpg",
        "--gallery",
        table,
        "--weights",
        trunk,
    )
    (line,) = answer.lines
    assert (answer.code, line["name"], line["faces"], line["photos"]) == (0, "Tony", 1, 2)
    assert "6 faces found" in line["refused"][0]["reason"]
    (line,) = cli("enroll", "Colin", photo_of(colour, "Colin_Powell", 1), "--gallery", table).lines
    assert line["faces"] == 1
    cli("embed-faces", colour / "Tony_Blair/Tony_Blair_0001.jpg", "--out", table, "--weights", trunk)
    assert sorted(pq.read_table(table)["name"].to_pylist()) == ["Colin", "Tony"]
    (found,) = cli("search-faces", photo_of(colour, "Tony_Blair", 10), "--gallery", table).lines
    assert [match["name"] for match in found["faces"][0]["matches"]] == ["Tony"]
    (line,) = cli("enroll", "Prime minister", photo_of(colour, "Tony_Blair", 1), "--gallery", table).lines
    assert line["faces"] == 1
    assert sorted(pq.read_table(table)["name"].to_pylist()) == ["Colin", "Prime minister"]
    assert cli("enroll", " ", photo_of(colour, "Tony_Blair", 1), "--gallery", table).code == 1


def test_the_contact_sheet_is_one_file_with_a_section_a_person(
    cli: Cli, gallery: Path, tmp_path: Path
) -> None:
    answer = cli("cluster-faces", gallery, "--out", tmp_path / "people")
    (line,) = answer.lines
    assert (line["faces"], line["clusters"], line["alone"], line["largest"]) == (9, 3, 0, 3), answer.err
    assert line["cohesion"] > line["threshold"]
    page = (tmp_path / "people/index.html").read_text()
    assert page.count("<img") == 9
    assert page.count('src="data:image/jpeg;base64,') == 9
    assert "http" not in page.replace("http-equiv", "")
    listed = [json.loads(text) for text in (tmp_path / "people/clusters.jsonl").read_text().splitlines()]
    assert [one["size"] for one in listed] == [3, 3, 3]
    for one in listed:
        assert len({Path(face["path"]).parent.name for face in one["faces"]}) == 1


def test_a_sheet_has_a_grey_tile_where_a_photo_is_gone_and_the_name_where_one_is_known(
    cli: Cli, tmp_path: Path
) -> None:
    vectors = np.repeat(unit_vectors(2, 32), 3, axis=0) + 0.5 * unit_vectors(6, 32, seed=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = write_table(tmp_path / "f.parquet", vectors, names=["<Ada>"] * 3 + [None] * 3)  # type: ignore[list-item]
    (line,) = cli("cluster-faces", table, "--out", tmp_path / "people", "--threshold", 0.5).lines
    assert (line["clusters"], line["largest"]) == (2, 3)
    page = (tmp_path / "people/index.html").read_text()
    assert "&lt;Ada&gt;" in page
    assert page.count("<img") == 6


def test_without_a_known_rate_a_threshold_must_be_given(cli: Cli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "f.parquet", unit_vectors(4, 32))
    answer = cli("cluster-faces", table, "--out", tmp_path / "people")
    assert answer.code == 1
    assert (
        "no rate of false accepts is known for model 0123456789abcdef (drawn, --align none)"
        in answer.last_error
    )
    assert "give --threshold" in answer.last_error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"far": 0.5}, "--far 0.5 was not measured; known: 1e-2, 1e-3, 1e-4, 1e-5"),
        ({"threshold": 2.0}, "a cosine, -1 to 1, got 2.0"),
        ({"far": 1e-3, "threshold": 0.5}, "either --far or --threshold"),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(options: dict[str, float], message: str) -> None:
    known = next(iter(json.loads(FILE.read_text())))
    with pytest.raises(ValueError, match=message):
        find_threshold(ModelInfo(known, "trunk", 1024, 224), "five-point", **options)


def test_a_stricter_rate_has_a_higher_threshold() -> None:
    known = next(iter(json.loads(FILE.read_text())))
    limits = [
        find_threshold(ModelInfo(known, "trunk", 1024, 224), "none", far=far).similarity
        for far in (1e-2, 1e-3, 1e-4, 1e-5)
    ]
    assert limits == sorted(limits)
