"""Lists of labelled photos: reading, counting, subsets, and the split by class."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from datasets.base import ImageDataset, Photo
from datasets.image_io import BadImageError


def photos_of(folder: Path, counts: list[int]) -> list[Photo]:
    """Grey photos of 40 x 20 pixels whose level is their number."""
    made = []
    for label, count in enumerate(counts):
        for number in range(count):
            path = folder / f"{label}_{number}.png"
            Image.new("L", (40, 20), len(made)).save(path)
            made.append(Photo(path, label, box=(10, 5, 20, 15)))
    return made


def test_an_item_is_the_picture_in_rgb_and_its_label(tmp_path: Path) -> None:
    data = ImageDataset(photos_of(tmp_path, [2, 3]), ["a", "b"])
    image, label = data[4]
    assert (image.mode, image.size, image.getpixel((0, 0)), label) == ("RGB", (40, 20), (4, 4, 4), 1)
    assert len(data) == 5
    assert data.counts() == [2, 3]


def test_photos_are_cut_to_their_box_only_on_request(tmp_path: Path) -> None:
    photos = photos_of(tmp_path, [1, 1])
    photos[1] = Photo(photos[1].path, 1)
    data = ImageDataset(photos, ["a", "b"], crop_to_box=True)
    assert [data[i][0].size for i in range(2)] == [(10, 10), (40, 20)]
    assert ImageDataset(photos, ["a", "b"])[0][0].size == (40, 20)


def test_min_side_reaches_the_reader(tmp_path: Path) -> None:
    Image.new("RGB", (800, 400)).save(tmp_path / "a.jpg")
    assert ImageDataset([Photo(tmp_path / "a.jpg", 0)], ["a"], min_side=100)[0][0].size == (200, 100)


def test_a_bad_photo_raises_when_it_is_read_and_not_before(tmp_path: Path) -> None:
    data = ImageDataset([Photo(tmp_path / "gone.jpg", 0)], ["a"])
    with pytest.raises(BadImageError, match=r"gone\.jpg"):
        data[0]


def test_a_label_without_a_class_and_a_class_named_twice_are_errors() -> None:
    with pytest.raises(ValueError, match="label 2; the classes are 0 to 1"):
        ImageDataset([Photo(Path("a.jpg"), 2)], ["a", "b"])
    with pytest.raises(ValueError, match="got a more than once"):
        ImageDataset([], ["a", "b", "a"])


def test_a_subset_keeps_the_order_asked_for_and_leaves_the_whole_alone(tmp_path: Path) -> None:
    data = ImageDataset(photos_of(tmp_path, [2, 2]), ["a", "b"], crop_to_box=True)
    data.notes.append("about the whole")
    part = data.subset([3, 0])
    assert (part.notes, data.notes) == ([], ["about the whole"])
    assert [photo.path.name for photo in part.photos] == ["1_1.png", "0_0.png"]
    assert (part.counts(), part.classes, part[0][0].size) == ([1, 1], ("a", "b"), (10, 10))
    assert len(data) == 4


def test_the_split_takes_its_share_of_every_class_and_loses_no_photo(tmp_path: Path) -> None:
    data = ImageDataset(photos_of(tmp_path, [10, 4, 2]), ["a", "b", "c"])
    train, val = data.split_off(0.25, seed=0)
    assert val.counts() == [2, 1, 1]
    assert sorted(p.path for p in train.photos + val.photos) == sorted(p.path for p in data.photos)


def test_the_split_is_the_same_again_and_another_with_another_seed(tmp_path: Path) -> None:
    data = ImageDataset(photos_of(tmp_path, [20, 20]), ["a", "b"])
    first, again, other = (data.split_off(0.5, seed=seed)[1].photos for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_split_of_a_class_does_not_depend_on_the_other_classes(tmp_path: Path) -> None:
    photos = photos_of(tmp_path, [20, 20])
    alone = ImageDataset(photos[:20], ["a", "b"]).split_off(0.5, seed=3)[1].photos
    both = ImageDataset(photos, ["a", "b"]).split_off(0.5, seed=3)[1].photos
    assert alone == both[: len(alone)]


def test_the_only_photo_of_a_class_stays_in_train_and_is_named(tmp_path: Path) -> None:
    train, val = ImageDataset(photos_of(tmp_path, [5, 1]), ["many", "single"]).split_off(0.9, seed=0)
    assert (train.counts(), val.counts()) == ([1, 1], [4, 0])
    assert len(train.notes) == 1
    assert "'single'" in train.notes[0]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_that_leaves_one_side_empty_is_an_error(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction must be between 0 and 1"):
        ImageDataset([], ["a"]).split_off(fraction, seed=0)


def test_a_split_without_a_photo_for_val_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="val would be empty"):
        ImageDataset(photos_of(tmp_path, [1, 1]), ["a", "b"]).split_off(0.5, seed=0)
