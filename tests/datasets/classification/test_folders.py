"""The plain layout, as people have it and as they get it wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from datasets.classification.folders import ImageFolders, has_split

SHARED = Path(__file__).parents[3].parent / "shared"


def write(root: Path, names: list[str]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(path)
    return root


def usual(root: Path) -> Path:
    classes = [f"{split}/{breed}" for split in ("train", "val") for breed in ("pug", "wolf")]
    return write(root, [f"{folder}/{n}.jpg" for folder in classes for n in "12"])


def test_classes_are_the_folders_and_labels_follow_their_names(tmp_path: Path) -> None:
    data = ImageFolders(usual(tmp_path), "train")
    assert (data.classes, data.class_ids, data.counts()) == (("pug", "wolf"), ("pug", "wolf"), [2, 2])
    assert [photo.label for photo in data.photos] == [0, 0, 1, 1]
    assert data[3][0].size == (8, 8)
    assert data.notes == []


def test_imagenet_folders_are_shown_by_name_and_kept_by_id(tmp_path: Path) -> None:
    write(tmp_path, ["train/n02111889/a.JPEG", "train/n02086240-Shih-Tzu/a.png"])
    data = ImageFolders(tmp_path, "train")
    assert data.classes == ("Shih-Tzu", "Samoyed")
    assert data.class_ids == ("n02086240-Shih-Tzu", "n02111889")


@pytest.mark.parametrize("name", ["val", "valid", "test"])
def test_val_may_be_called_valid_or_test(tmp_path: Path, name: str) -> None:
    write(tmp_path, ["train/a/1.jpg", "train/b/1.jpg", f"{name}/a/1.jpg", f"{name}/b/1.jpg"])
    assert has_split(tmp_path, "val")
    assert [p.path.parts[-3] for p in ImageFolders(tmp_path, "val").photos] == [name, name]


def test_val_itself_goes_before_test(tmp_path: Path) -> None:
    write(usual(tmp_path), ["test/pug/9.jpg"])
    assert {p.path.parts[-3] for p in ImageFolders(tmp_path, "val").photos} == {"val"}


def test_a_class_that_val_lacks_does_not_shift_the_labels(tmp_path: Path) -> None:
    write(tmp_path, ["train/a/1.jpg", "train/b/1.jpg", "train/c/1.jpg", "val/a/1.jpg", "val/c/1.jpg"])
    data = ImageFolders(tmp_path, "val")
    assert [photo.label for photo in data.photos] == [0, 2]
    assert any("have no photo" in note and note.endswith(": b") for note in data.notes)


def test_a_class_in_val_that_train_does_not_know_is_named(tmp_path: Path) -> None:
    write(usual(tmp_path), ["val/zebra/1.jpg"])
    with pytest.raises(ValueError, match="'zebra' is not among the 2 classes of"):
        ImageFolders(tmp_path, "val")


def test_labels_follow_the_classes_of_a_checkpoint(tmp_path: Path) -> None:
    data = ImageFolders(usual(tmp_path), "val", classes=["wolf", "fox", "pug"])
    assert data.classes == ("wolf", "fox", "pug")
    assert data.class_ids == ("wolf", "fox", "pug")
    assert data.counts() == [2, 0, 2]
    with pytest.raises(ValueError, match="'wolf' is not among the 2 classes of the checkpoint"):
        ImageFolders(tmp_path, "val", classes=["pug", "fox"])


def test_one_class_is_enough_to_evaluate_a_checkpoint_but_not_to_train(tmp_path: Path) -> None:
    write(tmp_path, ["train/a/1.jpg", "train/a/2.jpg"])
    assert ImageFolders(tmp_path, "train", classes=["a", "b"]).counts() == [2, 0]
    with pytest.raises(ValueError, match="1 class folder; there must be 2 or more"):
        ImageFolders(tmp_path, "train")


def test_class_folders_without_train_are_told_where_to_go(tmp_path: Path) -> None:
    write(tmp_path, ["pug/1.jpg", "wolf/1.jpg"])
    with pytest.raises(FileNotFoundError) as caught:
        ImageFolders(tmp_path, "train")
    message = str(caught.value)
    assert "class folders (pug, wolf) but no train folder" in message
    assert f"move them into {tmp_path / 'train'}" in message
    assert not has_split(tmp_path, "train")


def test_the_folder_of_a_split_given_for_the_root_is_recognised(tmp_path: Path) -> None:
    usual(tmp_path)
    with pytest.raises(FileNotFoundError, match="folder of one split; give the folder above it"):
        ImageFolders(tmp_path / "train", "train")


def test_a_missing_val_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, ["train/a/1.jpg", "train/b/1.jpg"])
    with pytest.raises(FileNotFoundError, match=r"no val folder .* or split some of train off"):
        ImageFolders(tmp_path, "val")


def test_a_missing_an_empty_and_a_wrong_root_are_each_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    write(tmp_path / "other", ["a.jpg"])
    with pytest.raises(FileNotFoundError, match="does not exist; give a folder with train/CLASS"):
        ImageFolders(tmp_path / "nowhere", "train")
    with pytest.raises(FileNotFoundError, match="is empty; expected train/CLASS"):
        ImageFolders(tmp_path / "empty", "train")
    with pytest.raises(NotADirectoryError, match="is a file"):
        ImageFolders(tmp_path / "file", "train")
    with pytest.raises(FileNotFoundError, match="has no train folder; expected train/CLASS"):
        ImageFolders(tmp_path / "other", "train")


def test_a_train_folder_without_classes_and_a_class_without_photos_are_errors(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match="has no class folders"):
        ImageFolders(tmp_path, "train")
    write(tmp_path, ["train/a/1.jpg"])
    (tmp_path / "train" / "b").mkdir()
    (tmp_path / "train" / "b" / "notes.txt").touch()
    with pytest.raises(ValueError, match="b has no photo; put some there or remove the folder"):
        ImageFolders(tmp_path, "train")


def test_a_class_with_one_photo_and_photos_outside_classes_are_noted(tmp_path: Path) -> None:
    write(tmp_path, ["train/a/1.jpg", "train/a/2.jpg", "train/b/1.jpg", "train/lost.jpg", "train/.DS/x.jpg"])
    notes = ImageFolders(tmp_path, "train").notes
    assert [note.split(" in ")[0] for note in notes] == ["class 'b' has one photo only", "1 photos lie"]


def test_a_split_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split must be one of train, val, got 'trian'"):
        ImageFolders(usual(tmp_path), "trian")


def test_parts_split_off_are_still_image_folders(tmp_path: Path) -> None:
    train, val = ImageFolders(usual(tmp_path), "train").split_off(0.5, seed=0)
    assert (train.class_ids, val.counts()) == (("pug", "wolf"), [1, 1])


def test_the_ten_breeds_of_imagewoof_are_read_by_name() -> None:
    root = SHARED / "data" / "imagewoof"
    if not root.is_dir():
        pytest.skip("the shared Imagewoof photos are not on this machine")
    train, val = ImageFolders(root, "train"), ImageFolders(root, "val")
    assert (train.counts(), val.counts()) == ([160] * 10, [30] * 10)
    assert train.classes == val.classes
    assert {"Samoyed", "Shih-Tzu", "Old English sheepdog", "dingo"} < set(val.classes)


def test_classes_may_be_in_metadata_beside_the_photos(tmp_path: Path) -> None:
    """Hugging Face's imagefolder."""
    write(tmp_path, ["train/1.jpg", "train/deep/2.jpg", "train/3.jpg", "validation/4.jpg"])
    (tmp_path / "train/deep/2.jpg").rename(tmp_path / "train/2.jpg")
    (tmp_path / "train/deep").rmdir()
    rows = [("1.jpg", "tea"), ("2.jpg", "caf\u00e9 "), ("3.jpg", "tea"), ("9.jpg", "tea")]
    lines = [f'{{"file_name": "{name}", "label": "{label}"}}' for name, label in rows]
    (tmp_path / "train/metadata.jsonl").write_text("\n".join(lines), "utf-8-sig")
    (tmp_path / "validation/metadata.csv").write_text('file_name;text;label\n4.jpg;"two\nlines";cafe\u0301\n')
    train, val = (ImageFolders(tmp_path, split) for split in ("train", "val"))
    assert train.classes == val.classes == ("caf\u00e9", "tea")
    assert train.counts() == [1, 2] and val.counts() == [1, 0]
    listing = tmp_path / "train/metadata.jsonl"
    assert f"{listing}: 1 of 4 photos are missing and left out: 9.jpg" in train.notes
    (tmp_path / "train/metadata.jsonl").write_text('{"file_name": "1.jpg", "colour": 3}')
    with pytest.raises(ValueError, match=r"1.jpg has no label; it has file_name, colour"):
        ImageFolders(tmp_path, "train")
