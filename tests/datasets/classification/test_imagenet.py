"""ImageNet's validation photos in each layout that people have, and what they get wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from datasets.classification.imagenet import ImageNetTrain, ImageNetVal, imagenet_classes, imagenet_wnids

TENCH, GOLDFISH, SAMOYED = "n01440764", "n01443537", "n02111889"
LABELS = {TENCH: 0, GOLDFISH: 1, SAMOYED: 258}  # by the lists that every pretrained network follows


def photo(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 8), 128 if mode == "L" else (200, 40, 40)).save(path, "JPEG")


def flat(folder: Path, numbers: tuple[int, ...] = (1, 2, 3)) -> Path:
    for number in numbers:
        photo(folder / f"ILSVRC2012_val_{number:08}.JPEG", "L" if number == 1 else "RGB")
    return folder


def folders(root: Path, *wnids: str) -> Path:
    for wnid in wnids:
        photo(root / wnid / f"{wnid}_1.JPEG")
    return root


def meta(path: Path, wnids: list[str]) -> None:
    """The devkit's file in small: class numbers from 1, then a synset above the classes."""
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(np.uint16(n), wnid, "a word", np.uint8(0)) for n, wnid in enumerate(wnids, start=1)]
    rows.append((np.uint16(1001), "n00001740", "entity", np.uint8(3)))
    table = np.empty((len(rows), 1), dtype=kinds)
    for index, row in enumerate(rows):
        table[index, 0] = row
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"synsets": table})


def labels(data: ImageNetVal | ImageNetTrain) -> list[int]:
    return [one.label for one in data.photos]


def test_the_classes_are_the_1000_in_the_order_of_their_wordnet_numbers() -> None:
    assert len(imagenet_wnids()) == len(set(imagenet_classes())) == 1000
    assert list(imagenet_wnids()) == sorted(imagenet_wnids())
    assert [imagenet_wnids().index(wnid) for wnid in LABELS] == list(LABELS.values())
    assert imagenet_classes()[258] == "Samoyed"


@pytest.mark.parametrize("inside", ["val", "."])
def test_some_of_the_class_folders_keep_the_numbers_of_the_1000(tmp_path: Path, inside: str) -> None:
    folders(tmp_path / inside, SAMOYED, GOLDFISH)
    photo(tmp_path / inside / "loose.JPEG")
    data = ImageNetVal(tmp_path)
    assert labels(data) == [1, 258]
    assert len(data.classes) == 1000
    assert data[1][0].size == (8, 8)
    assert any(note.startswith("2 of the 1000 classes have photos") for note in data.notes)
    assert any(note.startswith("1 photos lie in") for note in data.notes)


def test_a_folder_may_carry_its_name_and_other_folders_beside_the_classes_are_let_be(tmp_path: Path) -> None:
    folders(tmp_path, f"{SAMOYED}-Samoyed")
    (tmp_path / "notes").mkdir()
    assert labels(ImageNetVal(tmp_path)) == [258]


@pytest.mark.parametrize("inside", ["val", "."])
@pytest.mark.parametrize("name", ["synset_labels.txt", "imagenet_2012_validation_synset_labels.txt"])
def test_flat_photos_take_the_line_of_their_own_number(tmp_path: Path, inside: str, name: str) -> None:
    """The second photo is not there: counting files instead would give the third its label."""
    flat(tmp_path / inside, (1, 3))
    (tmp_path / name).write_text(f"{SAMOYED}\n{TENCH}\n{GOLDFISH}\n")
    data = ImageNetVal(tmp_path)
    assert labels(data) == [258, 1]
    assert data[0][0].mode == "RGB"


def test_the_list_may_lie_beside_the_folder_that_is_given(tmp_path: Path) -> None:
    flat(tmp_path / "val", (1,))
    (tmp_path / "synset_labels.txt").write_text(SAMOYED)
    assert labels(ImageNetVal(tmp_path / "val")) == [258]


@pytest.mark.parametrize("inside", [".", "ILSVRC2012_devkit_t12/data"])
def test_the_challenges_own_class_numbers_are_read_through_meta_mat(tmp_path: Path, inside: str) -> None:
    """Number 1 of the challenge is not the first WordNet number: taken for an index, all would be wrong."""
    flat(tmp_path)
    meta(tmp_path / inside / "meta.mat", [SAMOYED, TENCH, GOLDFISH])
    (tmp_path / inside / "ILSVRC2012_validation_ground_truth.txt").write_text("3\n1\n2\n")
    assert labels(ImageNetVal(tmp_path)) == [1, 258, 0]


def test_kaggles_solution_is_read_by_the_photos_names(tmp_path: Path) -> None:
    flat(tmp_path / "val", (1, 2))
    (tmp_path / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\r\n"
        f"ILSVRC2012_val_00000002,{SAMOYED} 85 1 499 272 {SAMOYED} 0 0 9 9 \r\n"
        f"ILSVRC2012_val_00000001,{GOLDFISH} 1 2 3 4 \r\n"
    )
    assert labels(ImageNetVal(tmp_path)) == [1, 258]


def test_training_photos_are_those_of_train(tmp_path: Path) -> None:
    folders(tmp_path / "train", TENCH, SAMOYED)
    folders(tmp_path / "val", GOLDFISH)
    assert labels(ImageNetTrain(tmp_path)) == [0, 258]
    with pytest.raises(FileNotFoundError, match=r"val.train is missing: training .* needs train/WNID"):
        ImageNetTrain(tmp_path / "val")


@pytest.mark.parametrize(("files", "message"), [
    ({}, "is empty; expected val/WNID"),
    ({"train/n01440764/1.JPEG": ""}, "has no validation photos; expected val/WNID"),
    ({"val/n99999999/1.JPEG": ""}, r"n99999999: 'n99999999' is none of ImageNet's 1000 WordNet numbers"),
    ({"n99999999/1.JPEG": ""}, r"'n99999999' is none of ImageNet's 1000"),
    ({"val/Samoyed/1.JPEG": ""}, r"'Samoyed' is none of ImageNet's 1000 WordNet numbers, which look like n0"),
    ({"val/n01440764/1.txt": ""}, "n01440764 has no photo; put some there or remove the folder"),
    ({"1.JPEG": ""}, "there is no list of their labels: put synset_labels.txt, LOC_val_solution.csv, or"),
    ({"cat.JPEG": "", "synset_labels.txt": TENCH}, "cat.JPEG is not called like ILSVRC2012_val_00000001"),
    ({"ILSVRC2012_val_00000002.JPEG": "", "synset_labels.txt": TENCH + "\n"},
     r"synset_labels.txt has 1 lines, none for ILSVRC2012_val_00000002.JPEG; give the official"),
    ({"ILSVRC2012_val_00000001.JPEG": "", "synset_labels.txt": ""}, "has 0 lines, none for"),
    ({"ILSVRC2012_val_00000000.JPEG": "", "synset_labels.txt": TENCH}, "is not called like"),
    ({"ILSVRC2012_val_00000001.JPEG": "", "synset_labels.txt": f"{TENCH}\nn1\n"}, "txt line 2: 'n1' is none"),
    ({"ILSVRC2012_val_00000001.JPEG": "", "LOC_val_solution.csv": "a,b\n"},
     "must begin with 'ImageId,PredictionString', not with 'a,b'"),
    ({"ILSVRC2012_val_00000001.JPEG": "", "LOC_val_solution.csv": ""}, "must begin with"),
    ({"ILSVRC2012_val_00000001.JPEG": "", "LOC_val_solution.csv": "ImageId,PredictionString\nx\n"},
     "csv line 2: '' is none"),
    ({"ILSVRC2012_val_00000001.JPEG": "",
      "LOC_val_solution.csv": "ImageId,PredictionString\nILSVRC2012_val_00000009,n01440764 1 2 3 4\n"},
     "has 1 rows, none for ILSVRC2012_val_00000001.JPEG"),
    ({"ILSVRC2012_val_00000001.JPEG": "", "ILSVRC2012_validation_ground_truth.txt": "1\n"},
     "has the challenge's own class numbers, not in the order of the WordNet numbers: put meta.mat of"),
    ({"ILSVRC2012_val_00000001.JPEG": "", "ILSVRC2012_validation_ground_truth.txt": "1\n", "meta.mat": "no"},
     r"meta.mat is not the devkit's list of classes \(.*\); unpack it again"),
])
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        if name.endswith(".JPEG"):
            photo(tmp_path / name)
        else:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        ImageNetVal(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_class_number_that_meta_mat_lacks_is_named_with_its_line(tmp_path: Path) -> None:
    flat(tmp_path, (1,))
    meta(tmp_path / "meta.mat", [SAMOYED])
    (tmp_path / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n0\n")
    with pytest.raises(ValueError, match=r"truth.txt line 2: '0' is no class number of meta.mat \(1 to 1\)"):
        ImageNetVal(tmp_path)


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    flat(tmp_path, (1,))
    (tmp_path / "synset_labels.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ValueError, match="is no text in UTF-8"):
        ImageNetVal(tmp_path)


def test_a_root_that_is_missing_or_a_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist; give a folder with val/WNID"):
        ImageNetVal(tmp_path / "nowhere")
    photo(tmp_path / "a.JPEG")
    with pytest.raises(NotADirectoryError, match="is a file; give a folder"):
        ImageNetVal(tmp_path / "a.JPEG")
