"""Kinds of errors, the confusion matrix, and the page of a detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from apps.objects.coco_metrics import DetectionEvaluation
from apps.objects.drawing import DETECTED, drawn
from apps.objects.errors import KINDS, confusion, matched
from apps.objects.report import write_objects_report

CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}]
HOSTILE = ("$\\frac{$ <script>", "line\nbreak \udcff 犬 " + "long " * 20)
HISTORY = [
    {"epoch": n, "train/loss": 3.0 / n, "train/box": 1.0 / n, "train/class": 2.0 / n, "val/ap50": 0.1 * n,
     "val/ap": 0.05 * n} for n in (1, 2, 3)
]


def mark(category: int, box: list[float], *, image: int = 1, crowd: int = 0) -> dict[str, Any]:
    return {
        "image_id": image, "iscrowd": crowd, "category_id": category, "bbox": box, "area": box[2] * box[3]
    }


def scene(*marks: dict[str, Any], photos: int = 1) -> dict[str, Any]:
    return {
        "images": [{"id": n, "width": 640, "height": 480} for n in range(1, photos + 1)],
        "annotations": [one | {"id": n} for n, one in enumerate(marks, start=1)], "categories": CATEGORIES,
    }


def answers(*found: tuple[int, list[float], float]) -> list[dict[str, Any]]:
    return [{"image_id": 1, "category_id": c, "bbox": b, "score": s} for c, b, s in found]


TWO = scene(mark(1, [0, 0, 100, 100]), mark(5, [200, 0, 100, 100]))


def test_each_kind_of_error_is_told_from_the_others() -> None:
    """One detection of each kind; the last is below 0.3 and so is not seen."""
    results = answers(
        (1, [0, 0, 100, 100], 0.9), (1, [2, 0, 100, 100], 0.8), (1, [200, 0, 100, 100], 0.7),
        (5, [200, 60, 100, 100], 0.6), (1, [200, 70, 100, 100], 0.55), (1, [500, 400, 10, 10], 0.5),
        (1, [500, 0, 9, 9], 0.1),
    )
    assert matched(TWO, results)[0].counts == dict.fromkeys(KINDS, 1)


@pytest.mark.parametrize(("box", "kind"), [([0, 0, 40, 40], {}), ([90, 90, 40, 40], {"background": 1})])
def test_detections_in_a_crowd_of_their_class_are_no_errors(box: list[float], kind: dict[str, int]) -> None:
    truth = scene(mark(1, [0, 0, 100, 100], crowd=1), mark(5, [300, 300, 50, 50]))
    counts = matched(truth, answers((1, box, 0.9)))[0].counts
    assert {k: v for k, v in counts.items() if v} == {"missed": 1} | kind
    other = matched(truth, answers((5, [0, 0, 40, 40], 0.9)))[0].counts
    assert other["background"] == 1  # a crowd excuses only its own class


def test_of_two_detections_the_surer_one_gets_the_object_and_each_object_is_got_once() -> None:
    two = scene(mark(1, [0, 0, 100, 100]), mark(1, [20, 0, 100, 100]))
    counts = matched(two, answers((1, [10, 0, 100, 100], 0.5), (1, [0, 0, 100, 100], 0.9)))[0].counts
    assert counts["right"] == 2 and counts["twice"] == counts["missed"] == 0


def test_rows_of_the_confusion_sum_to_objects_and_columns_to_detections() -> None:
    results = answers(
        (1, [0, 0, 100, 100], 0.9), (1, [200, 0, 100, 100], 0.7), (1, [202, 0, 100, 100], 0.6),
        (5, [500, 0, 9, 9], 0.4),
    )
    found = confusion(CATEGORIES, matched(TWO, results))
    assert found.names == ("cat", "dog")
    assert found.matrix.tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 0]]


def test_a_missed_object_was_called_nothing() -> None:
    assert confusion(CATEGORIES, matched(TWO, [])).matrix.tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]


def test_classes_that_occur_least_are_one_row_and_no_object_is_lost() -> None:
    names = [{"id": n, "name": f"class {n}"} for n in range(1, 7)]
    marks = [mark(n, [100.0 * k, 60.0 * n, 50, 50]) for n in range(1, 6) for k in range(6 - n)]
    truth = scene(*marks) | {"categories": names}
    results = answers(*((one["category_id"], one["bbox"], 0.9) for one in truth["annotations"]))
    part = confusion(names, matched(truth, results)).largest(3)
    assert part.names == ("class 1", "class 2", "class 3", "2 others")
    assert np.diag(part.matrix).tolist() == [5, 4, 3, 3, 0] and part.matrix.sum() == len(marks)


def judged(folder: Path) -> DetectionEvaluation:
    truth = scene(
        mark(1, [10, 20, 200, 300]), mark(5, [300, 100, 200, 200], image=2), photos=3
    )
    results = answers((1, [12, 20, 200, 300], 0.9))
    results += [one | {"image_id": 2} for one in answers((1, [300, 100, 200, 200], 0.8))]
    paths = []
    for n in (1, 2, 3):
        paths.append(str(folder / f"<b>{n}.jpg"))
        Image.new("RGB", (640, 480), (80, 90, 160)).save(paths[-1])
    return DetectionEvaluation(truth, results, tuple(paths))


def test_the_page_has_history_matrix_curves_and_the_best_and_worst_photos(tmp_path: Path) -> None:
    files = write_objects_report(tmp_path / "out", "t", judged(tmp_path), {"seed": 0}, history=HISTORY)
    assert [one.name for one in files] == [
        "report.html", "precision-recall.png", "confusion.png", "training.png"
    ]
    page = files[0].read_text()
    best, worst = page.index("Best photos</h2>"), page.index("Worst photos</h2>")
    assert best < page.index("&lt;b&gt;1.jpg", best) < worst < page.index("&lt;b&gt;2.jpg", worst)
    assert "1 right, 0 wrong, 0 missed" in page and "0 right, 1 wrong, 1 missed" in page
    assert "3.jpg" not in page  # nothing is on it and nothing was found
    assert "<b>1" not in page


def test_results_without_a_training_or_a_photo_have_a_page_too(tmp_path: Path) -> None:
    found = judged(tmp_path)
    for path in found.paths:
        Path(path).unlink()
    nothing = DetectionEvaluation(found.truth, [], found.paths)
    files = write_objects_report(tmp_path / "out", "t", nothing, {})
    assert [one.name for one in files] == ["report.html", "precision-recall.png", "confusion.png"]
    page = files[0].read_text()
    assert "There is none to show." in page and "0 right, 0 wrong, 1 missed" in page


def test_classes_of_any_name_are_drawn_and_written(tmp_path: Path) -> None:
    """Mathematics, markup, line breaks and broken letters; a page must come whatever a class is called."""
    found = judged(tmp_path)
    names = [{"id": n, "name": name} for n, name in zip((1, 5), HOSTILE, strict=True)]
    hostile = DetectionEvaluation(found.truth | {"categories": names}, found.results, found.paths)
    page = write_objects_report(tmp_path / "out", "t", hostile, {})[0].read_text(errors="replace")
    assert "<script" not in page and "$\\frac{$ &lt;script&gt;" in page


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("box", [[0, 0, 120, 90], [100, 70, 119, 89], [110, 0, 119, 9], [0, 80, 9, 89]])
def test_names_stay_within_the_picture(box: list[float], below: bool) -> None:
    """However a box lies, its plate is drawn in full: its area does not hang on the place."""
    plain = Image.new("RGB", (120, 90))
    with_name = drawn(plain, [{"name": "dog", "box": box, "score": 0.5}], below=below)
    plate = (np.asarray(with_name) == DETECTED).all(2).sum() + (np.asarray(with_name).min(2) > 60).sum()
    assert plate >= 60 * 15
