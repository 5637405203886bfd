"""Data sets as other tools export them: the right photos, boxes and classes, whatever their habits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import Cli

from datasets.detection.base import DetectionDataset
from datasets.detection.layouts import read_boxes, read_split

BOX = (8.0, 6.0, 24.0, 30.0)  # of every object here, on photos of 40 x 32
YOLO_LINE = f"{16 / 40} {18 / 32} {16 / 40} {24 / 32}"
SPLITS = {"train": ["a", "b", "c"], "val": ["d", "e"]}
CLASSES = {"a": "cup", "b": "fork", "c": "cup", "d": "fork", "e": "cup"}


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 32), (ord(path.stem[0]) * 2, 90, 40)).save(path)


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def check(root: Path, split: str, names: list[str] | None = None) -> DetectionDataset:
    found = DetectionDataset(read_boxes(root, split))
    names = SPLITS[split] if names is None else names
    assert found.classes == ("cup", "fork")
    assert [photo.path.stem for photo in found.photos] == names
    for index, name in enumerate(names):
        boxes, labels, *_ = found.target(index)
        assert np.allclose(boxes, [BOX], atol=1e-4), name
        assert [found.classes[label] for label in labels] == [CLASSES[name]]
    return found


def coco(names: list[str], file: str = "{}.jpg", **changes: Any) -> dict[str, Any]:
    categories = [{"id": 1, "name": "cup", "supercategory": "none"}, {"id": 2, "name": "fork"}]
    marks = [
        {"id": n, "image_id": n, "category_id": 1 + (CLASSES[name] == "fork"), "bbox": [8, 6, 16, 24]}
        for n, name in enumerate(names)
    ]
    images = [
        {"id": n, "file_name": file.format(name), "width": 40, "height": 32} for n, name in enumerate(names)
    ]
    return {"images": images, "annotations": marks, "categories": categories} | changes


def voc(name: str, filename: str | None = None, size: str = "<width>40</width><height>32</height>") -> str:
    marks = "<xmin>9</xmin><ymin>7</ymin><xmax>24</xmax><ymax>30</ymax>"
    named = f"<filename>{filename}</filename>" if filename else ""
    return (
        f"<annotation>{named}<size>{size}</size><object><name>{CLASSES[name[0]]}</name>"
        f"<bndbox>{marks}</bndbox></object></annotation>"
    )


def roboflow_coco(root: Path) -> None:
    for split, names in SPLITS.items():
        folder = root / {"val": "valid"}.get(split, split)
        write(folder / "_annotations.coco.json", json.dumps(coco(names)), "utf-8-sig")
        for name in names:
            photo(folder / f"{name}.jpg")


def coco_backslash(root: Path) -> None:
    for split, names in SPLITS.items():
        write(
            root / f"annotations/instances_{split}2017.json",
            json.dumps(coco(names, "D:\\set\\images\\{}.jpg")),
        )
        for name in names:
            photo(root / f"{split}2017/images/{name}.jpg")


def coco_sizeless(root: Path) -> None:
    for split, names in SPLITS.items():
        data = coco(names)
        for number, image in enumerate(data["images"]):
            image.update({"width": 0, "height": 0} if number else {"width": None, "height": None})
        for mark in data["annotations"]:
            mark |= {"bbox": [], "segmentation": [[8, 6, 24, 6, 24, 30, 10, 29]]}
        write(root / f"annotations/{split}.json", json.dumps(data), "utf-16")
        for name in names:
            photo(root / f"images/{split}/{name}.jpg")


def coco_of_cvat_with_subsets(root: Path) -> None:
    for split, names in {"Train": SPLITS["train"], "Validation": SPLITS["val"]}.items():
        write(root / f"annotations/instances_{split}.json", json.dumps(coco(names)))
        for name in names:
            photo(root / f"images/{split}/{name}.jpg")


def voc_lists(root: Path) -> None:
    for split, names in SPLITS.items():
        for name in names:
            write(root / f"Annotations/{name}.xml", voc(name, f"C:\\x\\{name}"), "utf-8-sig")
            photo(root / f"JPEGImages/{name}.png")
        write(root / f"ImageSets/Main/{split}.txt", "\r\n".join([*names, ""]), "utf-8-sig")


def voc_sizeless(root: Path) -> None:
    sizes = ["<width>0</width><height>0</height>", "", "<width/><height/>"]
    for split, names in SPLITS.items():
        for name in names:
            write(root / f"Annotations/{name}.xml", voc(name, f"{name}.jpg", sizes[ord(name) % 3]))
            photo(root / f"images/{name}.jpg")
        write(root / f"ImageSets/Main/{split}.txt", "\n".join(f"{name}.jpg" for name in names))


def voc_roboflow(root: Path) -> None:
    for split, names in SPLITS.items():
        for name in names:
            folder = root / {"val": "valid"}.get(split, split)
            write(folder / f"{name}.xml", voc(name, f"{name}.jpg"))
            photo(folder / f"{name}.jpg")


def yolo_roboflow(root: Path) -> None:
    write(
        root / "data.yaml",
        "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cup', 'fork']\n",
        "utf-8-sig",
    )
    for split, names in SPLITS.items():
        folder = root / {"val": "valid"}.get(split, split)
        for name in names:
            photo(folder / f"images/{name}.jpg")
            write(folder / f"labels/{name}.txt", f"{int(CLASSES[name] == 'fork')} {YOLO_LINE}\n", "utf-8-sig")


def yolo_ultralytics(root: Path) -> None:
    names_of = "names:\n  0: ' cup'\n  1: fork\n"
    places = "path: /content/set  # elsewhere\ntrain: images/train\nval: images/val\n"
    write(root / "set.yaml", places + names_of)
    for split, names in SPLITS.items():
        for name in names:
            photo(root / f"images/{split}/{name}.jpg")
            polygon = "0.2 0.1875 0.6 0.1875 0.6 0.9375 0.2 0.9 "
            write(root / f"labels/{split}/{name}.txt", f"{float(CLASSES[name] == 'fork')} {polygon}\n")


def yolo_lists(root: Path) -> None:
    write(root / "data.yaml", "train: train.txt\nval: [val.txt]\nnames: [cup, fork]\n")
    for split, names in SPLITS.items():
        write(
            root / f"{split}.txt",
            "".join(f".\\images\\{split}\\{name}.jpg\r\n" for name in names),
            "utf-8-sig",
        )
        for name in names:
            photo(root / f"images/{split}/{name}.jpg")
            write(root / f"labels/{split}/{name}.txt", f"{int(CLASSES[name] == 'fork')} {YOLO_LINE} 0.91\n")


def yolo_valid(root: Path) -> None:
    write(root / "classes.txt", " cup \r\nfork\r\n\r\n", "utf-8-sig")
    for split, names in SPLITS.items():
        folder = {"val": "valid"}.get(split, split)
        for name in names:
            photo(root / f"images/{folder}/{name}.jpg")
            write(root / f"labels/{folder}/{name}.txt", f"{int(CLASSES[name] == 'fork')} {YOLO_LINE}\n")


def csv_tensorflow(root: Path) -> None:
    for split, names in SPLITS.items():
        rows = [f'{name}.jpg;40;32;" {CLASSES[name]}";8,0;6;24,0;30;"a\n""note"""\r\n' for name in names]
        head = "filename;width;height;class;xmin;ymin;xmax;ymax;remark\r\n"
        write(root / f"{split}_labels.csv", head + "".join(rows), "utf-16")
        for name in names:
            photo(root / f"images/{name}.jpg")


def csv_pandas(root: Path) -> None:
    for split, names in SPLITS.items():
        rows = [
            f"{n},images\\{name}.jpg, 8.0, 6.0, 24.0, 30.0, {CLASSES[name]} \n"
            for n, name in enumerate(names)
        ]
        write(root / f"{split}.csv", ",path, x1, y1,x2,y2 ,class\n" + "".join(rows), "utf-8-sig")
        for name in names:
            photo(root / f"images/{name}.jpg")


def imagefolder(root: Path) -> None:
    for split, names in SPLITS.items():
        folder = root / {"val": "validation"}.get(split, split)
        rows = [
            {"file_name": f"{name}.jpg", "objects": {"bbox": [[8, 6, 16, 24]], "categories": [CLASSES[name]]}}
            for name in names
        ]
        write(folder / "metadata.jsonl", "\n".join(map(json.dumps, rows)), "utf-8-sig")
        for name in names:
            photo(folder / f"{name}.jpg")


EXPORTS = [
    imagefolder,
    roboflow_coco,
    coco_backslash,
    coco_sizeless,
    coco_of_cvat_with_subsets,
    voc_lists,
    voc_sizeless,
    voc_roboflow,
    yolo_roboflow,
    yolo_ultralytics,
    yolo_lists,
    yolo_valid,
    csv_tensorflow,
    csv_pandas,
]


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.__name__)
def test_an_export_with_both_splits_gives_its_boxes(export: Callable[[Path], None], tmp_path: Path) -> None:
    export(tmp_path)
    for split in SPLITS:
        assert check(tmp_path, split).notes == []


def coco_of_label_studio(root: Path, names: list[str]) -> None:
    write(root / "result.json", json.dumps(coco(names, "../../data/media/upload/1/{}%20(1).jpg")))
    for name in names:
        photo(root / f"images/{name} (1).jpg")


def coco_of_cvat(root: Path, names: list[str]) -> None:
    write(root / "annotations/instances_default.json", json.dumps(coco(names)))
    for name in names:
        photo(root / f"images/default/{name}.jpg")


def yolo_of_label_studio(root: Path, names: list[str]) -> None:
    write(root / "classes.txt", "cup\nfork")
    write(root / "notes.json", "{}")
    for name in names:
        photo(root / f"images/{name}.jpg")
        write(root / f"labels/{name}.txt", f"{int(CLASSES[name] == 'fork')} {YOLO_LINE}")


def yolo_of_cvat(root: Path, names: list[str]) -> None:
    write(
        root / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    )
    write(root / "obj.names", "cup\nfork\n")
    write(root / "train.txt", "".join(f"data/obj_train_data/{name}.jpg\n" for name in names))
    for name in names:
        photo(root / f"obj_train_data/{name}.jpg")
        write(root / f"obj_train_data/{name}.txt", f"{int(CLASSES[name] == 'fork')} {YOLO_LINE}\n")


def voc_of_cvat(root: Path, names: list[str]) -> None:
    """Folders of the task are kept, and the one list is of no split."""
    write(root / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\n")
    write(root / "ImageSets/Main/default.txt", "".join(f"sub dir/{name}\n" for name in names))
    for name in names:
        photo(root / f"JPEGImages/sub dir/{name}.jpg")
        write(root / f"Annotations/sub dir/{name}.xml", voc(name, f"sub dir/{name}.jpg"))


def yolo_of_labelimg(root: Path, names: list[str]) -> None:
    write(root / "classes.txt", "cup\nfork\n")
    for name in names:
        photo(root / f"{name}.jpg")
        write(root / f"{name}.txt", f"{int(CLASSES[name] == 'fork')} {YOLO_LINE}\n")


def voc_flat(root: Path, names: list[str]) -> None:
    for name in names:
        photo(root / f"{name}.jpg")
        write(root / f"{name}.xml", voc(name, f"{name}.jpg"))


def voc_of_kaggle(root: Path, names: list[str]) -> None:
    for name in names:
        photo(root / f"images/{name}.png")
        write(root / f"annotations/{name}.xml", voc(name))


def csv_whole(root: Path, names: list[str]) -> None:
    rows = [f"{name}.jpg,8,6,24,30,{CLASSES[name]}\n" for name in names]
    write(root / "annotations.csv", "filename,xmin,ymin,xmax,ymax,class\n" + "".join(rows))
    for name in names:
        photo(root / f"{name}.jpg")


WHOLE = [
    coco_of_label_studio,
    coco_of_cvat,
    yolo_of_label_studio,
    yolo_of_cvat, voc_of_cvat,
    yolo_of_labelimg,
    voc_flat,
    voc_of_kaggle,
    csv_whole,
]


@pytest.mark.parametrize("export", WHOLE, ids=lambda export: export.__name__)
def test_an_export_without_val_has_a_part_drawn_for_it(
    export: Callable[[Path, list[str]], None], tmp_path: Path
) -> None:
    names = list("abcde")
    export(tmp_path, names)
    if export is coco_of_label_studio:
        CLASSES.update({f"{name} (1)": CLASSES[name] for name in names})
        names = [f"{name} (1)" for name in names]
    check(tmp_path, "train", names)
    parts = {split: read_split(tmp_path, split, seed=3) for split in SPLITS}
    stems = {split: [photo.path.stem for photo in part.photos] for split, part in parts.items()}
    assert sorted(stems["train"] + stems["val"]) == names and len(stems["val"]) == 1
    assert read_split(tmp_path, "val", seed=3).photos == parts["val"].photos
    assert parts["train"].notes[-1] == f"{tmp_path} has no val split: 1 of 5 photos are drawn for it"
    assert {item.label for photo in parts["train"].photos for item in photo.objects} == {0, 1}


def test_a_category_that_only_groups_others_is_no_class(tmp_path: Path) -> None:
    """Roboflow's root; but a group that any split has boxes of is a class in all."""
    roboflow_coco(tmp_path)
    listings = [tmp_path / f"{folder}/_annotations.coco.json" for folder in ("train", "valid")]
    for path, names in zip(listings, SPLITS.values(), strict=True):
        group = {"id": 0, "name": "kitchen", "supercategory": "none"}
        parts = [{"id": n, "name": name, "supercategory": "kitchen"} for n, name in ((1, "cup"), (2, "fork"))]
        write(path, json.dumps(coco(names, categories=[group, *parts])))
    found = check(tmp_path, "train")
    assert found.notes == ["category 'kitchen' only groups others and has no box: it is no class"]
    data = coco(SPLITS["val"], categories=[group, *parts])
    data["annotations"][0]["category_id"] = 0
    write(listings[1], json.dumps(data))
    assert DetectionDataset(read_boxes(tmp_path, "train")).classes == ("kitchen", "cup", "fork")
    single = [
        {"id": 0, "name": "cup", "supercategory": "none"},
        {"id": 1, "name": "cup", "supercategory": "cup"},
    ]
    write(listings[0], json.dumps(coco(["a", "c"], categories=single)))
    (listings[1]).unlink()
    assert DetectionDataset(read_boxes(tmp_path, "train")).classes == ("cup",)


def test_an_unannotated_class_that_groups_nothing_stays(tmp_path: Path) -> None:
    roboflow_coco(tmp_path)
    extra = [
        {"id": n, "name": name, "supercategory": name} for n, name in ((1, "cup"), (2, "fork"), (7, "person"))
    ]
    write(tmp_path / "train/_annotations.coco.json", json.dumps(coco(SPLITS["train"], categories=extra)))
    assert DetectionDataset(read_boxes(tmp_path, "train")).classes == ("cup", "fork", "person")


@pytest.mark.parametrize(
    "names",
    [
        ["train photo 1", "train photo 2"],
        ["photo", "photo (2)"],
        ["photo", "photo 1"],
        ["p.v1", "p.v2"],
        ["e\u0301te\u0301", "hiver"],
    ],
)
def test_names_of_voc_with_blanks_points_and_accents_are_whole(names: list[str], tmp_path: Path) -> None:
    """Each split has its own photo: none is read as another whose name begins alike."""
    for name, split in zip(names, SPLITS, strict=True):
        write(tmp_path / f"Annotations/{name}.xml", voc("a", f"{name}.jpg"))
        photo(tmp_path / f"JPEGImages/{name}.jpg")
        write(tmp_path / f"ImageSets/Main/{split}.txt", f"{name}\n")
    for name, split in zip(names, SPLITS, strict=True):
        assert [photo.path.stem for photo in read_boxes(tmp_path, split).photos] == [name]


def test_flags_of_vocs_lists_of_a_class_are_no_part_of_the_name(tmp_path: Path) -> None:
    voc_lists(tmp_path)
    write(tmp_path / "ImageSets/Main/train.txt", "a  1\nb -1\nc  0\n")
    assert len(check(tmp_path, "train").photos) == len(SPLITS["train"])


@pytest.mark.parametrize(
    ("export", "gone"),
    [
        (roboflow_coco, "train/b.jpg"),
        (voc_lists, "JPEGImages/b.png"),
        (voc_lists, "Annotations/b.xml"),
        (yolo_lists, "images/train/b.jpg"),
        (csv_pandas, "images/b.jpg"),
    ],
)
def test_a_missing_photo_is_named_counted_and_left_out(
    export: Callable[[Path], None], gone: str, tmp_path: Path
) -> None:
    export(tmp_path)
    (tmp_path / gone).unlink()
    (note,) = check(tmp_path, "train", ["a", "c"]).notes
    assert "1 of 3 photos are missing and left out: " in note and Path(gone).stem in note.rpartition(": ")[2]


@pytest.mark.parametrize("export", [roboflow_coco, voc_lists, yolo_lists, csv_pandas])
def test_where_all_photos_are_missing_the_set_is_refused(
    export: Callable[[Path], None], tmp_path: Path
) -> None:
    export(tmp_path)
    for path in [*tmp_path.rglob("*.jpg"), *tmp_path.rglob("*.png")]:
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"none of the 3 photos, such as .*, is there: ") as caught:
        read_boxes(tmp_path, "train")
    assert "\n" not in str(caught.value)


def test_results_for_a_missing_photo_are_left_out_of_an_evaluation(cli: Cli, tmp_path: Path) -> None:
    roboflow_coco(tmp_path)
    (tmp_path / "valid/e.jpg").unlink()
    results = [
        {"image_id": n, "category_id": 1 + (n == 0), "bbox": [8, 6, 16, 24], "score": 0.9} for n in (0, 1)
    ]
    write(tmp_path / "results.json", json.dumps(results))
    answer = cli("evaluate", "objects", "--predictions", tmp_path / "results.json", "--data", tmp_path)
    assert answer.code == 0, answer.err
    assert answer.lines[0]["n"] == 1 and answer.lines[0]["skipped"] == 1
    assert answer.lines[0]["metrics"]["ap50"] == pytest.approx(1)
    assert "1 of 2 photos are missing and left out: e.jpg" in answer.err
    assert "1 results are for photos that are missing: left out" in answer.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0.5 0.1 0.1 0.2 0.2", "a line is `class x y width height`"),
        ("0 0.1 0.1 0.2 0.2 0.3 nan", "0 or more"),
        ("0 0.1 0.1 0.2", "got '0 0.1 0.1 0.2'"),
        ("0 0.1 0.1 30 0.1 0.2 0.2", "are shares of the photo, not pixels"),
        ("2.0 0.1 0.1 0.2 0.2", "class 2 is not in classes.txt, which lists 2"),
    ],
)
def test_lines_that_are_neither_box_nor_polygon_are_refused(
    line: str, words: str | None, tmp_path: Path
) -> None:
    yolo_valid(tmp_path)
    write(tmp_path / "labels/train/a.txt", line)
    with pytest.raises(ValueError, match=words):
        read_boxes(tmp_path, "train")


def test_keypoints_after_a_box_are_no_polygon(tmp_path: Path) -> None:
    yolo_roboflow(tmp_path)
    with (tmp_path / "data.yaml").open("a") as file:
        file.write("kpt_shape: [2, 2]\n")
    write(tmp_path / "train/labels/a.txt", f"0 {YOLO_LINE} 0.9 0.9 0.8 0.8\n")
    assert len(check(tmp_path, "train").photos) == len(SPLITS["train"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: a\n", "needs train, val and names"),
        ("a: [", "is no YAML"),
        ("train: nowhere\nval: x\nnames: [a]\n", "names train 'nowhere' and val 'x', and neither is there"),
        ("train: train/images\nnames: {1: cup}\n", "must be numbered 0, 1, 2"),
        ("train: train/images\nnames: 7\n", "must be a list of the classes, got 7"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused_in_one_line(
    text: str, words: str, tmp_path: Path
) -> None:
    yolo_roboflow(tmp_path)
    write(tmp_path / "data.yaml", text)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        read_boxes(tmp_path, "train")
    assert "\n" not in str(caught.value)


def test_yes_and_no_are_names_of_classes_and_a_place_that_is_not_there_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    yolo_roboflow(tmp_path)
    text = "train: [train/images, more/images]\nval: valid/images\nnames: [yes, no]\n"
    write(tmp_path / "data.yaml", text)
    found = read_boxes(tmp_path, "train")
    assert {item.name for item in found.categories} == {"yes", "no"}
    assert "names more/images for train, which is not there" in caplog.text


def test_the_description_itself_may_be_given(tmp_path: Path) -> None:
    yolo_roboflow(tmp_path)
    assert len(check(tmp_path / "data.yaml", "train").photos) == len(SPLITS["train"])


def test_a_blank_line_among_classes_is_refused_since_it_would_shift_the_numbers(tmp_path: Path) -> None:
    yolo_valid(tmp_path)
    write(tmp_path / "classes.txt", "cup\n\nfork\n")
    with pytest.raises(ValueError, match=r"classes.txt:2: the line is blank"):
        read_boxes(tmp_path, "train")


def test_an_empty_photo_of_pandas_has_cells_that_say_nan(tmp_path: Path) -> None:
    csv_pandas(tmp_path)
    with (tmp_path / "train.csv").open("a") as file:
        file.write("3,images/d.jpg,NaN,nan,NA,,NaN\n")
    found = read_boxes(tmp_path, "train")
    assert [len(photo.objects) for photo in found.photos] == [1, 1, 1, 0]
    assert [category.name for category in found.categories] == ["cup", "fork"]


def test_sides_in_place_of_corners_are_named(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    write(tmp_path / "train.csv", "path,x1,y1,width,height,class\na.jpg,1,1,4,4,cup\n")
    with pytest.raises(ValueError, match=r"no column x2, y2; .* corners are wanted, not a width"):
        read_boxes(tmp_path, "train")


@pytest.mark.parametrize(
    "case",
    [
        "04-coco-backslash",
        "06-roboflow-root-category",
        "06c-roboflow-layout",
        "07-voc-spaces",
        "07d-voc-second-shots",
        "08-voc-size-zero",
        "09-voc-filename-no-suffix",
        "09b-voc-png",
        "10-yolo-polygons",
        "10b-yolo-confidence",
        "11-yolo-data-yaml",
        "11b-yolo-images-labels-yaml",
        "12-csv-backslash",
        "12c-csv-blank-after-comma",
        "26-coco-missing-images",
        "26b-coco-bom",
    ],
)
def test_the_cases_of_public_reports_have_two_classes_and_all_their_boxes(shared: Path, case: str) -> None:
    root = shared / "cases" / case
    if not root.is_dir():
        pytest.skip(f"{root} is not here")
    each = 2 if case == "10-yolo-polygons" else 1
    paths: set[Path] = set()
    for split in SPLITS:
        found = DetectionDataset(read_split(root, split))
        assert found.classes == ("cup", "fork")
        assert {len(found.target(n)[0]) for n in range(len(found))} == {each}
        assert paths.isdisjoint(photo.path for photo in found.photos), "val reads what train reads"
        paths |= {photo.path for photo in found.photos}
    assert len(paths) == (15 if case.startswith("26-") else 12)
