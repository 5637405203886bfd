"""Tables of attributes, CelebA's layout, and splits by people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datasets.described.label_tables import photos_of_table, read_label_table
from datasets.faces.celeba import celeba, is_celeba
from datasets.multilabel import MultiLabelDataset


def _photo(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 8), 90).save(path)


def _csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_csv_knows_yes_no_and_unknown(tmp_path):
    table = read_label_table(_csv(tmp_path / "t.csv", "image,A,B\na.jpg,1,0\nb.jpg,-1,\nc.jpg,,1\n"))
    assert table.images == ("a.jpg", "b.jpg", "c.jpg")
    assert table.names == ("A", "B")
    np.testing.assert_array_equal(table.values, [[1, 0], [0, np.nan], [np.nan, 1]])


def test_a_parquet_reads_as_the_csv_does(tmp_path):
    columns = {"image": ["a.jpg", "b.jpg"], "A": [1, None], "B": [0.0, 1.0]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = read_label_table(tmp_path / "t.parquet", names=["B", "A"])
    np.testing.assert_array_equal(table.values, [[0, 1], [1, np.nan]])


def test_lfw_scores_above_0_are_a_yes(tmp_path):
    text = "# lfw_attributes\n#\tperson\timagenum\tMale\tSmiling\nAaron Eckhart\t1\t1.5\t-0.2\n"
    table = read_label_table(_csv(tmp_path / "lfw_attributes.txt", text))
    assert table.images == ("Aaron_Eckhart/Aaron_Eckhart_0001.jpg",)
    assert table.people == ("Aaron_Eckhart",)
    np.testing.assert_array_equal(table.values, [[1, 0]])


def test_a_class_column_holds_numbers(tmp_path):
    path = _csv(tmp_path / "t.csv", "image,A,age\na.jpg,1,33\nb.jpg,0,\n")
    table = read_label_table(path, counts={"age": 100})
    np.testing.assert_array_equal(table.values[:, 1], [33, np.nan])


@pytest.mark.parametrize(("text", "message"), [
    ("image,A\na.jpg,maybe\n", "row 1, column A: expected 0, 1, -1, yes, no or blank, got 'maybe'"),
    ("image,A\na.jpg,0.5\n", "expected 0, 1, -1, yes, no or blank, got '0.5'"),
    ("snap,A\na.jpg,1\n", "has no column 'image'; it has snap, A"),
    ("image,A\na.jpg,1\na.jpg,0\n", "names a.jpg more than once"),
    ("image\na.jpg\n", "has no column of labels"),
    ("image,A\n", "has no rows"),
    ("image,A\na.jpg,1,2\n", "row 1: 2 columns expected, got 3; mend the row"),
])
def test_a_table_that_makes_no_sense_is_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_label_table(_csv(tmp_path / "t.csv", text))
    assert str(tmp_path) in str(caught.value)


def test_other_columns_than_wanted_are_named(tmp_path):
    path = _csv(tmp_path / "t.csv", "image,A,B\na.jpg,1,0\n")
    with pytest.raises(ValueError, match="has no column Smiling; it has A, B"):
        read_label_table(path, names=["A", "Smiling"])


@pytest.mark.parametrize("cell", ["nan", "", "1.2", "-1"])
def test_probabilities_are_from_0_to_1_and_never_missing(tmp_path, cell):
    path = _csv(tmp_path / "t.csv", f"image,A\na.jpg,0.25\nb.jpg,{cell}\n")
    with pytest.raises(ValueError, match="row 2, column A: expected a probability from 0 to 1"):
        read_label_table(path, soft=True)


def test_photos_on_one_side_only_are_told_and_left_out(tmp_path):
    for name in ("p/1.jpg", "p/2.jpg", "q/3.jpg"):
        _photo(tmp_path / "images" / name, "L")
    path = _csv(tmp_path / "t.csv", "image,A\np/1.jpg,1\nq/3.jpg,0\nq/4.jpg,0\n")
    images = photos_of_table(tmp_path, read_label_table(path), path)
    assert [photo.path.name for photo in images.photos] == ["1.jpg", "3.jpg"]
    assert images.people == ("p", "q")
    assert any("names 1 photos that are missing, such as q/4.jpg" in note for note in images.notes)
    assert any("1 photos are not in" in note and "2.jpg" in note for note in images.notes)


def test_a_table_of_missing_photos_only_is_an_error(tmp_path):
    path = _csv(tmp_path / "t.csv", "image,A\np/1.jpg,1\n")
    with pytest.raises(FileNotFoundError, match=r"none of the 1 photos of .* is there"):
        photos_of_table(tmp_path, read_label_table(path), path)


def test_nobody_is_in_both_splits():
    people = [f"person {n // 3}" for n in range(60)]
    photos = MultiLabelDataset([Path(f"{n}.jpg") for n in range(60)], ["A"], np.zeros((60, 1)), people=people)
    train, val = photos.split_by_people(0.25, seed=1)
    assert len(train) + len(val) == 60
    assert len(val) == 15
    assert not set(train.people) & set(val.people)
    again = photos.split_by_people(0.25, seed=1)[1]
    assert [p.path for p in again.photos] == [p.path for p in val.photos]


def test_values_must_fit_the_photos():
    with pytest.raises(ValueError, match=r"2 attributes need as many values, got an array \(1, 1\)"):
        MultiLabelDataset([Path("a.jpg")], ["A", "B"], np.zeros((1, 1)))


def _celeba(root: Path, *, rows: str = "", there: int = 4) -> Path:
    lines = "".join(f"{n:06d}.jpg {1 if n % 2 else -1} -1\n" for n in range(1, 5))
    (root / "list_attr_celeba.txt").write_text(f"4\nMale Smiling\n{lines}{rows}")
    (root / "list_eval_partition.txt").write_text("".join(f"{n:06d}.jpg {n // 4}\n" for n in range(1, 6)))
    for n in range(1, there + 1):
        _photo(root / "img_align_celeba" / f"{n:06d}.jpg", "L" if n == 2 else "RGB")
    return root


def test_celeba_is_read_in_its_own_splits(tmp_path):
    assert is_celeba(_celeba(tmp_path))
    train, val = celeba(tmp_path, "train"), celeba(tmp_path, "val")
    assert train.classes == ("Male", "Smiling")
    np.testing.assert_array_equal(train.values, [[1, 0], [0, 0], [1, 0]])
    assert [photo.path.name for photo in val.photos] == ["000004.jpg"]
    assert not train.notes


def test_a_subset_of_celeba_is_taken_and_told(tmp_path):
    found = celeba(_celeba(tmp_path, there=2), "train")
    assert len(found) == 2
    assert "lists 3 photos, 2 are there" in found.notes[0]


@pytest.mark.parametrize(("rows", "message"), [
    ("000005.jpg 1\n", "line 7: 2 values expected, got 1; is it cut off"),
    ("000005.jpg 1 yes\n", "line 7: values are 1 and -1, got 'yes'"),
    ("000009.jpg 1 1\n", "has no line `000009.jpg 0`"),
])
def test_a_damaged_list_of_celeba_is_refused_with_its_line(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        celeba(_celeba(tmp_path, rows=rows), "train")


def test_celeba_without_its_partition_says_what_to_put_where(tmp_path):
    (_celeba(tmp_path) / "list_eval_partition.txt").unlink()
    with pytest.raises(FileNotFoundError, match="put CelebA's lists beside img_align_celeba/"):
        celeba(tmp_path, "train")


def test_words_captions_index_columns_and_backslashes_of_a_table_are_read(tmp_path):
    """As spreadsheets and pandas write: 400 rows with captions of several lines, semicolons, a mark."""
    words = ["True", "yes", "Y", "1", "1.0", "false", "No", "0", "-1", "NA", "nan", "", "None"]
    values = [1] * 5 + [0] * 4 + [np.nan] * 4
    rows = [
        f'{n};photos\\{n}.jpg; {words[n % 13]} ;"line one of {n}\nline ""two"""' for n in range(400)
    ]
    text = "\r\n".join([";image; Smiling ;caption", *rows])
    (tmp_path / "t.csv").write_bytes(text.encode("utf-8-sig"))
    table = read_label_table(tmp_path / "t.csv", names=["Smiling"])
    assert table.images == tuple(f"photos/{n}.jpg" for n in range(400))
    np.testing.assert_array_equal(table.values[:, 0], [values[n % 13] for n in range(400)])


def test_a_photo_of_a_table_is_found_under_another_suffix_and_a_missing_one_is_told(tmp_path):
    for name in ("a.png", "b c.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    text = "filename,A\nC:\\x\\a.jpg,1\nb c,0\nd.jpg,0\n"
    table = read_label_table(_csv(tmp_path / "attributes.csv", text))
    photos = photos_of_table(tmp_path, table, tmp_path / "attributes.csv")
    assert [photo.path.name for photo in photos.photos] == ["a.png", "b c.jpg"]
    assert photos.values[:, 0].tolist() == [1, 0]
    assert any("names 1 photos that are missing, such as d.jpg" in note for note in photos.notes)
