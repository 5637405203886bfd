"""Exact search: equal to a plain product, whatever the sizes; bad galleries are refused."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from faces_support import unit_vectors, write_table
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.engine.core.files import write_bytes
from apps.faces import nearest as module
from apps.faces.extraction.embedder import ModelInfo
from apps.faces.people import layout
from apps.faces.people.gallery import Gallery

pytestmark = pytest.mark.computes


def plain(queries: np.ndarray, vectors: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    products = queries @ vectors.T
    rows = np.argsort(-products, axis=1, kind="stable")[:, :top]
    return np.take_along_axis(products, rows, axis=1), rows


@pytest.mark.parametrize(
    ("count", "queries", "top"),
    [
        (1, 1, 5),
        (31, 3, 5),
        (32, 3, 1),
        (33, 2, 33),
        (1000, 7, 5),
        (3001, 40, 17),
        (100, 3, 500),
    ],
)
def test_the_search_is_exact_whatever_the_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, queries: int, top: int
) -> None:
    monkeypatch.setattr(layout, "BATCH_ROWS", 700)  # several batches, none a multiple of the group
    monkeypatch.setattr("apps.faces.extraction.table.ROWS", 300)
    monkeypatch.setattr(module, "PRODUCTS", 2000)
    vectors, asked = unit_vectors(count, 24), unit_vectors(queries, 24, seed=1)
    found, rows = Gallery.open(write_table(tmp_path / "f.parquet", vectors)).search(asked, top)
    want, want_rows = plain(asked, vectors, top)
    np.testing.assert_allclose(found, want, atol=1e-6)
    np.testing.assert_array_equal(rows, want_rows)


@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_the_best_rows_lie_in_the_best_groups_also_where_products_are_equal(data: st.DataObject) -> None:
    """Few different values make ties; the similarities found must still be the largest ones."""
    count, top = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 9))
    values = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    angles = np.array(values) / 3
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    import pyarrow as pa

    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 2)
    batch = pa.record_batch([flat], names=["vector"])
    about = type("About", (), {"model": ModelInfo("0", "x", 2, 32)})()
    found, _ = Gallery(about, [batch], Path("x")).search(np.array([[1.0, 0.0]], np.float32), top)
    np.testing.assert_allclose(found[0], np.sort(vectors[:, 0])[::-1][:top], atol=1e-6)


def test_a_match_says_which_photo_face_and_person(tmp_path: Path) -> None:
    vectors = unit_vectors(5, 16)
    names = [None, None, "Ada", None, None]
    gallery = Gallery.open(write_table(tmp_path / "f.parquet", vectors, names=names))
    similarities, rows = gallery.search(vectors[2:3], 1)
    (match,) = gallery.matches(similarities[0], rows[0])
    assert (match.path, match.face, match.name, match.box) == ("/photos/000002.jpg", 0, "Ada", (0, 0, 9, 9))
    assert match.similarity == pytest.approx(1)


def test_a_changed_table_is_laid_out_anew_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    table, laid_out = tmp_path / "f.parquet", tmp_path / "f.arrow"
    Gallery.open(write_table(table, unit_vectors(5, 16)))
    first = laid_out.stat().st_mtime_ns
    Gallery.open(table)
    assert laid_out.stat().st_mtime_ns == first
    assert len(Gallery.open(write_table(table, unit_vectors(7, 16, seed=3)))) == 7


def test_a_laid_out_file_that_is_cut_off_is_made_again(tmp_path: Path) -> None:
    table = write_table(tmp_path / "f.parquet", unit_vectors(50, 16))
    Gallery.open(table)
    (tmp_path / "f.arrow").write_bytes((tmp_path / "f.arrow").read_bytes()[:300])
    assert len(Gallery.open(table)) == 50


def test_a_laid_out_file_with_damage_anywhere_is_made_again_or_read(tmp_path: Path) -> None:
    """Also where only the reading of a batch meets it: its description stands before its rows."""
    table = write_table(tmp_path / "f.parquet", unit_vectors(50, 16))
    Gallery.open(table)
    whole, seeded = (tmp_path / "f.arrow").read_bytes(), random.Random(0)
    for _ in range(60):
        at = seeded.randrange(len(whole) - 8)
        (tmp_path / "f.arrow").write_bytes(whole[:at] + b"\xff" * 8 + whole[at + 8 :])
        assert len(Gallery.open(table)) == 50, at


def test_a_gallery_that_grows_meanwhile_is_read_whole(tmp_path: Path) -> None:
    table, sizes, stop = tmp_path / "f.parquet", (5, 7), threading.Event()
    made = [write_table(tmp_path / f"{size}.parquet", unit_vectors(size, 16)).read_bytes() for size in sizes]
    write_bytes(table, made[0])

    def grow() -> None:
        while not stop.is_set():
            for content in made:
                write_bytes(table, content)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for _ in range(40):
            gallery = Gallery.open(table)
            assert len(gallery) in sizes
            np.testing.assert_array_equal(gallery.vectors(np.arange(5)), unit_vectors(len(gallery), 16)[:5])
    finally:
        stop.set()
        writer.join()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_gallery_in_a_folder_that_cannot_be_written_is_searched_all_the_same(tmp_path: Path) -> None:
    table = write_table(tmp_path / "f.parquet", unit_vectors(5, 16))
    tmp_path.chmod(0o500)
    assert len(Gallery.open(table)) == 5


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda v: v * np.where(np.arange(len(v)) == 3, np.nan, 1)[:, None],
            "of /photos/000003.jpg is not finite",
        ),
        (
            lambda v: v * np.where(np.arange(len(v)) == 2, 2, 1)[:, None],
            "has length 2, not 1; remove the table",
        ),
        (lambda v: v[:0], "holds no face, so nobody can be found in it; embed photos first"),
    ],
)
def test_spoilt_and_empty_galleries_are_refused(tmp_path: Path, spoil, message: str) -> None:  # type: ignore[no-untyped-def]
    table = write_table(tmp_path / "f.parquet", spoil(unit_vectors(5, 16)))
    with pytest.raises(ValueError, match=message):
        Gallery.open(table)


def test_files_that_are_no_tables_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no\.parquet is missing; make it: python cli.py embed-faces"
    ):
        Gallery.open(tmp_path / "no.parquet")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="not a whole Parquet file"):
        Gallery.open(tmp_path / "cut.parquet")
    import pyarrow as pa

    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="is no table of faces; make one with embed-faces"):
        Gallery.open(tmp_path / "other.parquet")


def test_another_model_is_refused_and_both_are_named(tmp_path: Path) -> None:
    gallery = Gallery.open(write_table(tmp_path / "f.parquet", unit_vectors(3, 16), fingerprint="a" * 16))
    with pytest.raises(
        ValueError, match=f"made by model {'a' * 16} .drawn., the query by {'b' * 16} .other."
    ):
        gallery.check_model(ModelInfo("b" * 16, "other", 16, 64))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (np.full((1, 16), np.nan, np.float32), "numbers that are not finite"),
        (np.ones((1, 8), np.float32), r"16 numbers each, got shape \(1, 8\)"),
    ],
)
def test_bad_queries_are_refused(tmp_path: Path, query: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gallery.open(write_table(tmp_path / "f.parquet", unit_vectors(3, 16))).search(query, 1)
