"""Who it is: by person, named people first, the photo itself left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from faces_support import unit_vectors, write_table

from apps.faces.extraction.extractor import Extraction
from apps.faces.extraction.sources import Source
from apps.faces.people.corrections import FaceRef, edit_corrections
from apps.faces.people.gallery import Gallery
from apps.faces.people.who import People
from apps.faces.verification.thresholds import Threshold

LIMIT = Threshold(0.5, 1e-3, "drawn")
NOTHING = np.zeros(0, np.int64)


def near(vector: np.ndarray, similarity: float, seed: int) -> np.ndarray:
    """A unit vector of this similarity to another."""
    other = unit_vectors(1, len(vector), seed=seed)[0]
    other -= (other @ vector) * vector
    other /= np.linalg.norm(other)
    made: np.ndarray = (similarity * vector + np.sqrt(1 - similarity**2) * other).astype(np.float32)
    return made


def gallery(tmp_path: Path, similarities: list[float], names: list[str | None]) -> tuple[People, np.ndarray]:
    """Faces as near to a query as is asked for."""
    query = unit_vectors(1, 64, seed=7777)
    vectors = np.stack([near(query[0], value, number) for number, value in enumerate(similarities)])
    table = write_table(tmp_path / "f.parquet", vectors, names=names)  # type: ignore[arg-type]
    return People(Gallery.open(table), LIMIT), query


def test_a_person_is_as_near_as_the_best_face_and_named_people_come_first(tmp_path: Path) -> None:
    people, query = gallery(
        tmp_path, [0.95, 0.7, 0.9, 0.8, 0.3, 0.4], [None, "Ada", "Bob", "Ada", "Ada", "Cleo"]
    )
    (face,) = people.answer(query, NOTHING, 5)
    assert [(p["name"], round(p["similarity"], 3), p["faces"]) for p in face["people"]] == [
        ("Bob", 0.9, 1), ("Ada", 0.8, 2)
    ]
    assert face["person"]["name"] == "Bob"
    assert [(m["name"], round(m["similarity"], 3)) for m in face["matches"]] == [
        ("Bob", 0.9), ("Ada", 0.8), ("Ada", 0.7), (None, 0.95)
    ]
    assert (face["unknown"], round(face["best_similarity"], 3)) == (False, 0.95)
    assert len(people.answer(query, NOTHING, 2)[0]["matches"]) == 2


def test_who_is_near_without_a_name_has_no_person_and_a_stranger_is_unknown(tmp_path: Path) -> None:
    people, query = gallery(tmp_path, [0.8, 0.3], [None, "Ada"])
    (face,) = people.answer(query, NOTHING, 5)
    assert (face["person"], face["people"], len(face["matches"]), face["unknown"]) == (None, [], 1, False)
    (face,) = people.answer(query, np.array([0]), 5)
    assert (face["unknown"], round(face["best_similarity"], 3)) == (True, 0.3)
    (face,) = people.answer(query, np.array([0, 1]), 5)
    assert (face["unknown"], face["best_similarity"]) == (True, None)


def test_a_named_face_among_thousands_of_nearer_ones_is_seen(tmp_path: Path) -> None:
    people, query = gallery(tmp_path, [0.9] * 400 + [0.6], [None] * 400 + ["Ada"])
    (face,) = people.answer(query, NOTHING, 3)
    assert face["person"]["name"] == "Ada"
    assert [match["name"] for match in face["matches"]] == ["Ada", None, None]


def test_corrections_name_rows_and_take_names_away(tmp_path: Path) -> None:
    people, query = gallery(tmp_path, [0.9, 0.8], ["Ada", None])
    rows = pq.read_table(people.gallery.path).to_pylist()
    with edit_corrections(people.gallery.path) as corrections:
        refs = [FaceRef(row["sha256"], tuple(row["box"]), row["path"]) for row in rows]
        corrections.add("name", refs[1:], name="Bob")
        corrections.add("not-same", refs[1:], refs[:1], unnamed=refs[:1])
    (face,) = People(people.gallery, LIMIT).answer(query, NOTHING, 5)
    assert [person["name"] for person in face["people"]] == ["Bob"]
    assert [match["name"] for match in face["matches"]] == ["Bob", None]


def test_the_photo_itself_and_its_copies_are_found_by_content_and_by_place(tmp_path: Path) -> None:
    people, _ = gallery(tmp_path, [0.9, 0.8, 0.7], [None] * 3)
    digest = pq.read_table(people.gallery.path)["sha256"][1].as_py()
    by_sum = Extraction(Source("/elsewhere.jpg", Path("/elsewhere.jpg")), digest, (0, 0, 0))
    by_place = Extraction(Source("/photos/000002.jpg", Path("/photos/000002.jpg")), "0" * 64, (0, 0, 0))
    assert people.itself(by_sum).tolist() == [1]
    assert people.itself(by_place).tolist() == [2]
