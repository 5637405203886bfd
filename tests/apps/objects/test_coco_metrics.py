"""COCO's figures: equal to pycocotools, intervals, kinds of errors, result files that are refused."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from apps.objects.coco_metrics import FIGURES, CocoMatches, DetectionEvaluation, check_results, evaluate_coco

KINDS = ["perfect", "random", "crowd", "one photo's results only"]


def scene(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    images = [{"id": n, "width": 400, "height": 300} for n in range(1, 9)]
    annotations = []
    for number in range(1, 41):
        width, height = rng.uniform(8, 200, 2)
        annotations.append({
            "id": number, "image_id": int(rng.integers(1, 8)), "category_id": int(rng.integers(1, 4)),
            "bbox": [float(rng.uniform(0, 200)), float(rng.uniform(0, 100)), float(width), float(height)],
            "area": float(width * height), "iscrowd": 0,
        })
    return {
        "images": images, "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in enumerate(("cat", "dog", "bus"), start=1)],
    }


def perfect(truth: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"score": 0.9, **{key: one[key] for key in ("image_id", "category_id", "bbox")}}
        for one in truth["annotations"] if not one["iscrowd"]
    ]


def shaken(truth: dict[str, Any], seed: int = 1) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        one | {
            "bbox": [float(max(x + rng.normal(0, 8), 1)) for x in one["bbox"]], "score": float(rng.random()),
            "category_id": one["category_id"] if rng.random() < 0.8 else int(rng.integers(1, 4)),
        } for one in perfect(truth) for _ in range(3)
    ]


def case(kind: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    truth = scene(3)
    if kind == "crowd":
        for one in truth["annotations"][::4]:
            one["iscrowd"] = 1
    if kind == "perfect":
        return truth, perfect(truth)
    found = shaken(truth)
    return truth, [one for one in found if one["image_id"] == 1] if kind.startswith("one") else found


def reference(truth: dict[str, Any], results: list[dict[str, Any]]) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = json.loads(json.dumps(truth | {"info": {}}))
        known.createIndex()
        judge = COCOeval(known, known.loadRes([dict(one) for one in results]), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats


@pytest.mark.parametrize("kind", KINDS)
def test_the_twelve_figures_equal_pycocotools(kind: str) -> None:
    truth, results = case(kind)
    assert evaluate_coco(truth, results).stats[:12] == pytest.approx(reference(truth, results), abs=1e-6)


def test_real_annotations_give_the_figures_of_pycocotools(shared: Path) -> None:
    truth = json.loads((shared / "data/coco128/annotations/instances_val2017.json").read_text())
    results = shaken(truth)
    assert evaluate_coco(truth, results).stats[:12] == pytest.approx(reference(truth, results), abs=1e-6)


def test_no_detection_at_all_is_an_ap_of_zero() -> None:
    figures = DetectionEvaluation(scene(3), [], ("",) * 8).figures
    assert figures["ap"] == figures["ap50"] == 0 and figures["errors/missed"] == 40


def test_figures_have_names_and_undefined_ones_are_left_out() -> None:
    """No object of the scene is small, and of that nothing can be said."""
    truth = scene(3)
    figures = DetectionEvaluation(truth, perfect(truth), ("",) * 8).figures
    assert set(FIGURES) - figures.keys() == {"ap_small", "ar_small"}
    assert figures["ap/cat"] == figures["ap/dog"] == figures["ap"] == pytest.approx(1)


def test_intervals_hold_the_figure_and_are_the_same_each_time() -> None:
    judged = DetectionEvaluation(*case("random"), ("",) * 8)
    once, again = judged.bootstrap(draws=30), judged.bootstrap(draws=30)
    assert once == again and once["ap50"][0] < judged.figures["ap50"] < once["ap50"][1]


def repeated(truth: dict[str, Any], results: list[dict[str, Any]], places: list[int]) -> Any:
    """Truth and results of some images, each under a new number, by way of COCO's own files."""
    images: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    for number, place in enumerate(places, start=1):
        old = truth["images"][place]["id"]
        images.append({"id": number})
        for item in truth["annotations"]:
            if item["image_id"] == old:
                marks.append(dict(item, image_id=number, id=len(marks) + 1))
        answers += [dict(item, image_id=number) for item in results if item["image_id"] == old]
    return dict(truth, images=images, annotations=marks), answers


@pytest.mark.parametrize("kind", KINDS)
def test_any_choice_of_images_is_counted_as_if_it_were_evaluated_anew(kind: str) -> None:
    """Scores that are equal come in the order of the images there, too."""
    truth, results = case(kind)
    results = [dict(item, score=round(item["score"], 1)) for item in results]
    matches, rng = CocoMatches(truth, results), np.random.default_rng(0)
    for _ in range(5):
        chosen = rng.choice(8, 8)
        stats = evaluate_coco(*repeated(truth, results, chosen.tolist())).stats
        assert matches.ap(chosen) == pytest.approx((stats[0], stats[1]), abs=1e-12)


@pytest.mark.parametrize(("results", "said"), [
    ({"boxes": []}, "no COCO result file"),
    ([{"image_id": 99, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}], "such as 99; the data has 8"),
    ([{"image_id": 1, "category_id": 9, "bbox": [0, 0, 1, 1], "score": 1}], "such as 9; the data has 3 cat"),
    ([{"image_id": 1, "category_id": 1, "bbox": [0, 0, -1, 1], "score": 1}], "sides of 0 or more"),
])
def test_results_that_do_not_fit_are_refused(results: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_results(results, scene(3), "found.json")
