"""What damaged files of data sets end with: a line that names the file; found by fuzzing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import savemat

from apps.attributes.names import Layout
from datasets.classification.imagenet import ImageNetVal
from datasets.described.metadata import read_metadata
from datasets.detection.imagefolder import read_imagefolder
from datasets.detection.yolo_files import yolo_files
from datasets.faces.celeba import celeba
from datasets.faces.lfw import LFW
from datasets.geo.position_tables import read_positions


def test_metadata_without_names_of_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    path.write_text(",\nfile_name,label\n1.png,cat\n")
    with pytest.raises(ValueError, match=r"metadata\.csv has no column file_name"):
        read_metadata(path)


@pytest.mark.parametrize("head", ["9" * 5000, "²", ""])
def test_celebas_number_of_photos_must_be_one(tmp_path: Path, head: str) -> None:
    (tmp_path / "img_align_celeba").mkdir()
    (tmp_path / "list_attr_celeba.txt").write_text(f"{head}\nSmiling\n1.jpg 1\n")
    (tmp_path / "list_eval_partition.txt").write_text("1.jpg 0\n")
    with pytest.raises(ValueError, match=r"list_attr_celeba\.txt: lines 1 and 2 must be"):
        celeba(tmp_path, "train")


@pytest.mark.parametrize("text", [
    "[" * 3000, "names: [a]\ntrain: 2020-13-45", "names: {null: a}\ntrain: images",
    "nc: 1000000000000\ntrain: images", "nc: -1\ntrain: images", "nc: true\ntrain: images",
])  # fmt: skip
def test_descriptions_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"data\.yaml"):
        yolo_files(tmp_path)


@pytest.mark.parametrize("name", ["a" * 5000, "a\\0b"])
def test_a_place_that_no_file_system_has_is_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "data.yaml").write_text(f'names: [a]\ntrain: "{name}"\n')
    with pytest.raises(FileNotFoundError, match=r"data\.yaml names train"):
        yolo_files(tmp_path)


def test_people_with_impossible_names_are_missing(tmp_path: Path) -> None:
    (tmp_path / "lfw/Ann").mkdir(parents=True)
    for number in (1, 2):
        Image.new("RGB", (8, 8)).save(tmp_path / f"lfw/Ann/Ann_000{number}.png")
    (tmp_path / "pairs.txt").write_text(f"1\nAnn 1 2\nAnn 1 {'B' * 5000} 2\n")
    assert len(LFW(tmp_path).pairs) == 1


def test_columns_of_another_type_hold_no_positions(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"lat": [[1.0], [2.0]], "lon": [1.0, 2.0]}), path)
    with pytest.raises(ValueError, match=r"p\.parquet"):
        read_positions(path)


LONG = "9" * 5000  # Python itself makes no number of it


def test_numbers_of_any_length_are_no_class_of_imagenet(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "ILSVRC2012_val_00000001.png")
    (tmp_path / "ILSVRC2012_validation_ground_truth.txt").write_text(f"{LONG}\n")
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O")]
    savemat(tmp_path / "meta.mat", {"synsets": np.array([[(1, "n02111889")]], dtype=kinds)})
    with pytest.raises(ValueError, match=r"ground_truth\.txt.* is no class number of meta\.mat"):
        ImageNetVal(tmp_path)


def test_classes_that_are_numbers_are_ordered_by_size_however_long(tmp_path: Path) -> None:
    names = ["10", "9", "0", LONG, "a", "007"]
    (tmp_path / "train").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "train/1.png")
    row = {"file_name": "1.png", "objects": {"bbox": [[0, 0, 4, 4]] * len(names), "categories": names}}
    (tmp_path / "train/metadata.jsonl").write_text(json.dumps(row))
    classes = [category.name for category in read_imagefolder(tmp_path, "train").categories]
    assert classes == ["0", "007", "9", "10", LONG, "a"]


def test_a_group_of_too_many_classes_is_none() -> None:
    with pytest.raises(ValueError, match="a group of classes is named NAME:CLASSES"):
        Layout.of([f"age:{LONG}"])
