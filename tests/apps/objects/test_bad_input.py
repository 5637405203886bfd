"""Bad boxes and result files, through the real command: one line that says what is wrong, nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import Cli

from datasets.validation import finite, short, whole

RESULT = {"image_id": 5, "category_id": 3, "bbox": [1, 1, 5, 5], "score": 0.5}


def coco() -> dict[str, Any]:
    return {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 80, "height": 60} for n in (5, 6)],
        "annotations": [
            {"id": n, "image_id": 5, "category_id": 3, "bbox": [10, 10, 20, 30], "area": 600, "iscrowd": 0}
            for n in (1, 2)
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }


def write_coco(root: Path, content: str) -> Path:
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").mkdir()
    for n in (5, 6):
        Image.new("RGB", (80, 60)).save(root / "val2017" / f"{n}.png")
    (root / "annotations" / "instances_val2017.json").write_text(content)
    return root


def refused(cli: Cli, root: Path, results: Path) -> str:
    """The one line of a judging that fails, and that wrote nothing."""
    out = root / "out"
    answer = cli(
        "evaluate", "objects", "--predictions", results, "--data", root, "--report", out
    )
    assert answer.code == 1 and answer.out == "" and not out.exists()
    assert len(answer.err.strip().splitlines()) == 1 and "unforeseen" not in answer.err
    return answer.last_error


def changed(*keys: Any, to: Any) -> str:
    data = coco()
    place: Any = data
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    return json.dumps(data)


MARK, IMAGE, CLASS = ("annotations", 1), ("images", 0), ("categories", 0)


@pytest.mark.parametrize(("content", "said"), [
    (changed(*MARK, "bbox", to=[10, 10, -5, 5]), "annotation 2: a box has a width and a height of 0 or more"),
    (changed(*MARK, "bbox", to=[10, 10, float("nan"), 5]), "annotation 2: bbox: each number must be a"),
    (changed(*MARK, "bbox", to=[10, 10, 1e308, 5]), "to 10,000,000, got 1e+308"),
    (changed(*MARK, "bbox", to=[10, 10, 10**400, 5]), "to 10,000,000, got 1000"),
    (changed(*MARK, "bbox", to=[1, 2, 3]), "bbox must be four numbers, got [1, 2, 3]"),
    (changed(*MARK, "bbox", to=["1", "2", "3", "4"]), "bbox must be four numbers, got ['1', '2', '3', '4']"),
    (changed(*MARK, "bbox", to=None), "bbox must be four numbers, got None"),
    (changed(*MARK, "category_id", to=99), "is of category 99, which is not in the list"),
    (changed(*MARK, "category_id", to=[3]), "category_id must be a whole number, got [3]"),
    (changed(*MARK, "image_id", to=99), "is of image 99, which is not in the list"),
    (changed(*MARK, "image_id", to={}), "image_id must be a whole number, got {}"),
    (changed(*MARK, "id", to=1), "annotation id 1 comes twice"),
    (changed(*MARK, "area", to="big"), "area must be a number of 0 or more, got 'big'"),
    (changed(*MARK, "iscrowd", to="no"), "iscrowd must be a whole number of 0 to 1, got 'no'"),
    (changed(*IMAGE, "id", to=6), "image id 6 comes twice"),
    (changed(*IMAGE, "width", to="wide"), "width must be a whole number of 0 to 1,000,000, got 'wide'"),
    (changed(*IMAGE, "file_name", to="gone.png"), "are missing and left out: gone.png); give a"),
    (changed(*IMAGE, "file_name", to="."), "none of the 1 photos has a box"),
    (changed(*IMAGE, "file_name", to=5), "image 5: file_name must be words, got 5"),
    (changed(*CLASS, "id", to=7), "category id 7 comes twice"),
    (changed(*CLASS, "name", to=None), "category 3: name must be words, got None"),
    (changed("annotations", to=None), "annotations must be a list of objects"),
    (changed("annotations", to=["a"]), "annotations must be a list of objects"),
    (changed("annotations", to=[]), "none of the 2 photos has a box"),
    (json.dumps(coco() | {"annotations": [], "categories": []}), "none of the 2 photos has a box"),
    (json.dumps(coco())[:-9], "is no whole JSON file"), ("", "is no whole JSON file"),
    ("[" * 100_000, "is no whole JSON file"), ('{"images": ' + "1" * 5000 + "}", "is no whole JSON file"),
    ("[]", "is no COCO file: it needs images, annotations and categories"),
])
def test_a_broken_coco_file_is_told_in_one_line(content: str, said: str, cli: Cli, tmp_path: Path) -> None:
    results = tmp_path / "found.json"
    results.write_text(json.dumps([RESULT]))
    assert said in refused(cli, write_coco(tmp_path / "data", content), results)


@pytest.mark.parametrize(("content", "said"), [
    ([RESULT | {"score": float("nan")}], "result 0: score must be a number, got nan"),
    ([RESULT, RESULT | {"score": "high"}], "result 1: score must be a number, got 'high'"),
    ([RESULT | {"bbox": [1, float("nan"), 1, 1]}], "result 0: bbox: each number must be a number of"),
    ([RESULT | {"bbox": [1, 1, 1e308, 1e308]}], "to 10,000,000, got 1e+308"),
    ([RESULT | {"score": "0.5"}], "result 0: score must be a number, got '0.5'"),
    ([RESULT | {"bbox": "abcd"}], "bbox must be four numbers, got 'abcd'"),
    ([RESULT | {"bbox": [1, 1, -1, 1]}], "sides of 0 or more, got [1, 1, -1, 1]"),
    ([RESULT | {"image_id": "5"}, RESULT | {"image_id": 9}], "image_id must be a whole number, got '5'"),
    ([RESULT | {"image_id": [5]}], "image_id must be a whole number, got [5]"),
    ([RESULT | {"image_id": 777}], "results for images that are not in the data, 1 in number, such as 777"),
    ([RESULT | {"category_id": 4}], "such as 4; the data has 2 categories: 3 cat, 7 dog"),
    ({"annotations": [RESULT]}, "is no COCO result file: a list of"), (["a"], "is no COCO result file"),
    (None, "is no COCO result file"), (json.dumps([RESULT])[:-5], "is no whole JSON file"),
    ("", "is no whole JSON file"),
])
def test_a_broken_result_file_is_told_in_one_line(
    content: Any, said: str, cli: Cli, tmp_path: Path
) -> None:
    results = tmp_path / "found.json"
    results.write_text(content if isinstance(content, str) else json.dumps(content))
    assert said in refused(cli, write_coco(tmp_path / "data", json.dumps(coco())), results)


def test_a_result_file_that_is_not_there_is_named(cli: Cli, tmp_path: Path) -> None:
    root = write_coco(tmp_path / "data", json.dumps(coco()))
    gone = tmp_path / "gone.json"
    assert f"{gone} is missing: a COCO result file" in refused(cli, root, gone)
    assert f"{tmp_path} holds no parts; give a folder that --out FOLDER wrote" in refused(cli, root, tmp_path)


VOC = (
    "<annotation><filename>a.png</filename><size><width>80</width><height>60</height></size><object>"
    "<name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>"
    "</annotation>"
)
BOMB = "<!DOCTYPE l [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(9)
) + "]>"


def write_voc(root: Path, xml: str, listing: str = "a\n") -> Path:
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    Image.new("RGB", (80, 60)).save(root / "JPEGImages" / "a.png")
    (root / "Annotations" / "a.xml").write_text(xml)
    (root / "ImageSets/Main/val.txt").write_text(listing)
    return root


def write_yolo(root: Path, line: str) -> Path:
    for folder in ("images/val", "labels/val"):
        (root / folder).mkdir(parents=True)
    Image.new("RGB", (80, 60)).save(root / "images" / "val" / "a.png")
    (root / "classes.txt").write_text("cat\ndog\n")
    (root / "labels" / "val" / "a.txt").write_bytes(line.encode("latin-1"))
    return root


def write_table(root: Path, content: str) -> Path:
    root.mkdir()
    Image.new("RGB", (80, 60)).save(root / "a.png")
    (root / "val.csv").write_bytes(content.encode("latin-1"))
    return root


HEAD = "path,x1,y1,x2,y2,class\n"


@pytest.mark.parametrize(("write", "content", "said"), [
    (write_voc, BOMB + VOC.replace("cat", "&j;"), "it has a <!DOCTYPE l>, which VOC's files have not"),
    (write_voc, "<!DOCTYPE l [<!ENTITY x SYSTEM 'file:///etc/hostname'>]>" + VOC, "it has a <!DOCTYPE l>"),
    (write_voc, VOC[:-20], "a.xml is no whole XML file"), (write_voc, "", "a.xml is no whole XML file"),
    (write_voc, VOC.replace(">80<", ">wide<"), "width must be a number of 0 to 1,000,000, got 'wide'"),
    (write_voc, VOC.replace(">30<", ">x<"), "xmax must be a number of -10,000,000 to 10,000,000, got 'x'"),
    (write_voc, VOC.replace(">30<", ">-9<"), "a box has a width and a height of 0 or more, got -9 x 39"),
    (write_voc, VOC.replace("name>", "nam>"), "a.xml: <object> has no <name>; mend the file"),
    (write_yolo, "0 a b c d", "a class and the points of a polygon, got '0 a b c d'"),
    (write_yolo, "0 0.5 0.5 0.1 0.1\n9 0.5 0.5 0.1 0.1", "a.txt:2: class 9 is not in classes.txt"),
    (write_yolo, "-1 0.5 0.5 0.1 0.1", "class -1 is not in classes.txt, which lists 2"),
    (write_yolo, "0 40 30 20 10", "are shares of the photo, not pixels, got '0 40 30 20 10'"),
    (write_yolo, "0 0.5 0.5 -0.1 0.1", "a box has a width and a height of 0 or more, got -8 x 6"),
    (write_yolo, "0 nan 0.5 0.1 0.1", "a box has a width and a height of 0 or more, got nan x 6"),
    (write_yolo, "\xff\xfe\0", "a.txt is no text in UTF-8"),
    (write_table, HEAD.replace("x2,", "") + "a.png,1,2,4,cat\n", "val.csv has no column x2"),
    (write_table, HEAD + "a.png,one,2,3,4,cat\n", "val.csv:2: x1 must be a number of"),
    (write_table, HEAD + "a.png,1,2,3,4,cat\na.png,1,2\n", "val.csv:3: a row must have as many columns"),
    (write_table, HEAD + "a.png,1,2,3,4,\n", "val.csv:2: a box must have a class"),
    (write_table, HEAD + ",1,2,3,4,cat\n", "val.csv:2: a row must name its photo"),
    (write_table, HEAD + "z.png,1,2,3,4,cat\n", "z.png (line 2) is not there: "),
    (write_table, HEAD + "a.png,1,2,3,4,\"cat", "a quotation mark that is never closed, in row 1"),
    (write_table, "", "val.csv is empty; give a heading"),
    (write_table, "\xff\xfe\0", "val.csv is no CSV in UTF-8"),
])
def test_broken_boxes_of_the_other_layouts_are_told_in_one_line(
    write: Callable[[Path, str], Path], content: str, said: str, cli: Cli, tmp_path: Path
) -> None:
    results = tmp_path / "found.json"
    results.write_text("[]")
    assert said in refused(cli, write(tmp_path / "data", content), results)


def test_a_list_that_names_a_photo_twice_is_refused(cli: Cli, tmp_path: Path) -> None:
    results = tmp_path / "found.json"
    results.write_text("[]")
    assert "val.txt lists a twice" in refused(cli, write_voc(tmp_path / "data", VOC, "a\na\n"), results)


@pytest.mark.parametrize(("write", "content"), [
    (write_voc, VOC.replace("</annotation>", VOC[VOC.index("<object>"):].replace(">1<", ">900<")
                            .replace(">30<", ">930<"))),
    (write_yolo, "0 0.5 0.5 0.1 0.1\n1 1.6 0.5 0.1 0.1"),
    (write_table, HEAD + "a.png,1,2,3,4,cat\na.png,90,2,99,4,cat\n"),
])
def test_boxes_outside_their_photo_are_left_out_and_told(
    write: Callable[[Path, str], Path], content: str, tmp_path: Path
) -> None:
    from datasets.detection.layouts import read_boxes

    found = read_boxes(write(tmp_path / "data", content), "val")
    assert len(found.photos[0].objects) == 1 and "1 boxes lie outside their photo" in found.notes[0]


def test_training_refuses_broken_boxes_before_it_writes(cli: Cli, tmp_path: Path) -> None:
    root = write_coco(tmp_path / "data", changed(*MARK, "category_id", to=99))
    listing = root / "annotations" / "instances_val2017.json"
    (root / "annotations" / "instances_train2017.json").write_text(listing.read_text())
    (root / "train2017").symlink_to(root / "val2017")
    answer = cli("finetune", "objects", "--data", root, "--out", tmp_path / "run")
    assert answer.code == 1 and "category 99" in answer.last_error and not (tmp_path / "run").exists()


def test_a_value_in_a_message_is_short_whatever_it_is() -> None:
    assert short("a" * 500).endswith("...") and len(short("a" * 500)) == 60
    assert short(10**6000) == "a number too long to be written"
    assert whole(7, "n") == 7 and finite("2.5", "x") == 2.5
    with pytest.raises(ValueError, match="n must be a whole number, got True"):
        whole(True, "n")
    with pytest.raises(ValueError, match="x must be a number, got False"):
        finite(False, "x")


def test_results_that_look_like_a_mistake_are_judged_and_told(cli: Cli, tmp_path: Path) -> None:
    """Corners in place of sides, and percents in place of shares, are the commonest mistakes."""
    root = write_coco(tmp_path / "data", json.dumps(coco()))
    (tmp_path / "r.json").write_text(json.dumps([RESULT | {"bbox": [10, 40, 79, 59], "score": 90}, RESULT]))
    answer = cli("evaluate", "objects", "--predictions", tmp_path / "r.json", "--data", root)
    assert answer.code == 0, answer.err
    assert "1 of 2 boxes reach out of their photos; a bbox is x, y, width, height in pixels" in answer.err
    assert "1 of 2 scores are not from 0 to 1" in answer.err


def test_a_threshold_that_is_no_number_and_a_file_to_draw_into_are_refused(cli: Cli, tmp_path: Path) -> None:
    answer = cli("detect", tmp_path, "--checkpoint", tmp_path, "--threshold", "nan")
    assert answer.code == 2
    assert "'nan' is not in the range 0<=x<=1." in answer.last_error
