"""Stanford Dogs in its official layout, written in small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from datasets.classification.stanford_dogs import StanfordDogs, is_stanford_dogs

CHIHUAHUA, PUG = "n02085620-Chihuahua", "n02110958-pug"
TRAIN = [f"{CHIHUAHUA}/n02085620_10074", f"{PUG}/n02110958_10"]
TEST = [f"{CHIHUAHUA}/n02085620_7", f"{PUG}/n02110958_20"]
LABELS = {CHIHUAHUA: 1, PUG: 2}


def cells(texts: list[str]) -> np.ndarray:
    """MATLAB's column of cells, as in the published lists."""
    column = np.empty((len(texts), 1), dtype=object)
    column[:, 0] = texts
    return column


def write_list(path: Path, stems: list[str], labels: list[int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = labels or [LABELS[stem.split("/")[0]] for stem in stems]
    savemat(path, {
        "file_list": cells([f"{stem}.jpg" for stem in stems]),
        "annotation_list": cells(stems),
        "labels": np.array(labels, dtype=np.uint8)[:, None],
    })  # fmt: skip


def annotation(boxes: list[tuple[int, int, int, int]]) -> str:
    objects = "".join(
        f"\t<object>\n\t\t<name>dog</name>\n\t\t<bndbox>\n\t\t\t<xmin>{x1}</xmin>\n\t\t\t<ymin>{y1}</ymin>\n"
        f"\t\t\t<xmax>{x2}</xmax>\n\t\t\t<ymax>{y2}</ymax>\n\t\t</bndbox>\n\t</object>\n"
        for x1, y1, x2, y2 in boxes
    )
    return f"<annotation>\n\t<folder>02085620</folder>\n\t<filename>%s</filename>\n{objects}</annotation>"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four photos of one colour, one of them grey; the second has two annotated dogs."""
    root = tmp_path / "dogs"
    colours: list[tuple[str, str, object]] = [
        (TRAIN[0], "RGB", "red"), (TRAIN[1], "L", 90), (TEST[0], "RGB", "blue"), (TEST[1], "RGB", "lime")
    ]  # fmt: skip
    boxes = {TRAIN[1]: [(0, 0, 9, 9), (10, 5, 40, 25), (50, 0, 55, 29)], TEST[1]: [(30, 10, 99, 99)]}
    for stem, mode, colour in colours:
        photo, text = root / "Images" / f"{stem}.jpg", root / "Annotation" / stem
        photo.parent.mkdir(parents=True, exist_ok=True)
        text.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (60, 30), colour).save(photo)  # type: ignore[arg-type]
        text.write_text(annotation(boxes.get(stem, [(1, 2, 31, 22)])))
    write_list(root / "lists" / "train_list.mat", TRAIN)
    write_list(root / "lists" / "test_list.mat", TEST)
    return root


def test_the_official_split_gives_photos_labels_and_breeds(root: Path) -> None:
    train, val = StanfordDogs(root, "train"), StanfordDogs(root, "val")
    assert train.classes == val.classes == ("Chihuahua", "pug")
    assert train.class_ids == (CHIHUAHUA, PUG)
    assert [photo.path.name for photo in train.photos] == ["n02085620_10074.jpg", "n02110958_10.jpg"]
    assert [val[i][1] for i in range(2)] == [0, 1]  # the file counts from 1
    image, label = train[1]
    assert (image.mode, image.size, label) == ("RGB", (60, 30), 1)
    assert StanfordDogs(root, "test").photos == val.photos


def test_crop_takes_the_largest_dog_and_stops_at_the_edge(root: Path) -> None:
    train, val = StanfordDogs(root, "train", crop=True), StanfordDogs(root, "val", crop=True)
    assert [train[i][0].size for i in range(2)] == [(30, 20), (30, 20)]
    assert train.photos[1].box == (10, 5, 40, 25)
    assert val[1][0].size == (30, 20)  # the box says 99, the photo ends at 60 x 30


def test_without_crop_the_annotations_are_not_needed(root: Path) -> None:
    for path in (root / "Annotation").rglob("n*_*"):
        path.unlink()
    assert len(StanfordDogs(root, "train")) == 2
    with pytest.raises(FileNotFoundError, match="2 of 2 annotations in the list are missing"):
        StanfordDogs(root, "train", crop=True)


@pytest.mark.parametrize("place", [".", ".."])
def test_lists_are_found_in_the_root_and_beside_it(root: Path, place: str) -> None:
    lists = root / "lists"
    if place == ".":
        for path in list(lists.iterdir()):
            path.rename(root / path.name)
    else:
        lists.rename(root.parent / "lists")
    assert len(StanfordDogs(root, "train")) == 2
    assert is_stanford_dogs(root)


def test_labels_follow_the_classes_of_a_checkpoint(root: Path) -> None:
    data = StanfordDogs(root, "val", classes=["pug", "Samoyed", "Chihuahua"])
    assert [photo.label for photo in data.photos] == [2, 0]
    assert data.classes == ("pug", "Samoyed", "Chihuahua")
    assert data.class_ids == (PUG, "Samoyed", CHIHUAHUA)
    with pytest.raises(ValueError, match=f"'{PUG}' is not among the 1 classes of the checkpoint"):
        StanfordDogs(root, "val", classes=["Chihuahua"])


def test_a_partial_download_is_counted_and_mended(root: Path) -> None:
    (root / "Images" / f"{TRAIN[1]}.jpg").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        StanfordDogs(root, "train")
    message = str(caught.value)
    assert message.startswith("1 of 2 photos in the list are missing, such as ")
    assert "n02110958_10.jpg" in message
    assert message.endswith(f"python cli.py fetch stanford-dogs --root {root}")
    assert len(StanfordDogs(root, "val")) == 2


def test_missing_lists_and_a_missing_root_say_how_to_get_them(root: Path) -> None:
    (root / "lists" / "test_list.mat").unlink()
    assert len(StanfordDogs(root, "train")) == 2
    with pytest.raises(FileNotFoundError, match=r"test_list.mat is missing; unpack .* fetch stanford-dogs"):
        StanfordDogs(root, "val")
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder; unpack"):
        StanfordDogs(root / "nowhere", "val")
    with pytest.raises(ValueError, match="split must be train, val or test"):
        StanfordDogs(root, "dev")


@pytest.mark.parametrize("content", [b"", b"no list at all", b"MATLAB 5.0 MAT-file" + bytes(200)])
def test_a_broken_list_is_one_line(root: Path, content: bytes) -> None:
    (root / "lists" / "train_list.mat").write_bytes(content)
    with pytest.raises(ValueError, match=r"train_list.mat is no list .*unpack lists.tar again") as caught:
        StanfordDogs(root, "train")
    assert "\n" not in str(caught.value)


def test_lists_that_contradict_each_other_are_refused(root: Path) -> None:
    write_list(root / "lists" / "test_list.mat", TEST, labels=[2, 1])
    with pytest.raises(ValueError, match="give label 2 to"):
        StanfordDogs(root, "train")
    write_list(root / "lists" / "test_list.mat", TEST[1:], labels=[4])
    with pytest.raises(ValueError, match=r"without gaps, got \[1, 2, 4\]"):
        StanfordDogs(root, "train")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("<annotation><obj", "no annotation"), ("<annotation/>", "no box"),
     (annotation([(5, 5, 5, 9)]), "no box"),
     ("<a><bndbox><xmin>left</xmin></bndbox></a>", "no annotation")],
)  # fmt: skip
def test_a_broken_annotation_is_named(root: Path, text: str, reason: str) -> None:
    (root / "Annotation" / TRAIN[0]).write_text(text)
    with pytest.raises(ValueError, match=f"n02085620_10074 .*{reason}|n02085620_10074 has {reason}"):
        StanfordDogs(root, "train", crop=True)


def test_the_layout_is_recognised_and_others_are_not(root: Path, tmp_path: Path) -> None:
    assert is_stanford_dogs(root)
    for path in (root / "lists").iterdir():
        path.unlink()
    assert is_stanford_dogs(root)  # incomplete: the error should be about Stanford Dogs
    (tmp_path / "else" / "Images" / "pug").mkdir(parents=True)
    assert not is_stanford_dogs(tmp_path / "else")
    assert not is_stanford_dogs(tmp_path / "nowhere")
