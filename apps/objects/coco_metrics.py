"""COCO's figures of detections, their intervals, and what kinds of errors there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.objects.errors import Confusion, Matched, confusion, matched
from datasets.detection.faults import UNIT
from datasets.validation import finite, four, short, whole

FIGURES = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small",
    "ar_medium", "ar_large",
)
DRAWS = 100  # of the bootstrap


@dataclass(frozen=True)
class DetectionEvaluation:
    """Detections beside the truth, in COCO's own form.

    Args:
        truth: ``images``, ``annotations`` and ``categories``.
        results: ``image_id``, ``category_id``, ``bbox`` (x, y, width, height) and ``score`` each.
        paths: of the images, in the order of the images.
    """

    truth: dict[str, Any]
    results: list[dict[str, Any]]
    paths: tuple[str, ...]

    @cached_property
    def evaluated(self) -> Any:
        """What COCO's evaluator says of all images."""
        return evaluate_coco(self.truth, self.results)

    def __len__(self) -> int:
        return len(self.paths)

    def metrics(self) -> dict[str, float]:
        """The same as ``figures``."""
        return self.figures

    @cached_property
    def figures(self) -> dict[str, float]:
        """The twelve figures, ``ap/NAME`` a class, and counts of errors; undefined ones are left out."""
        result = dict(zip(FIGURES, map(float, self.evaluated.stats[:12]), strict=True))
        precision = self.evaluated.eval["precision"][:, :, :, 0, -1]
        for number, category in enumerate(sorted(self.truth["categories"], key=lambda c: c["id"])):
            result[f"ap/{category['name']}"] = mean_of(precision[:, :, number])
        return {k: v for k, v in result.items() if v > -1} | self.errors

    @cached_property
    def matched(self) -> list[Matched]:
        """What became of each object and each detection of 0.3 and more, a list entry an image."""
        return matched(self.truth, self.results)

    @cached_property
    def errors(self) -> dict[str, float]:
        """Counts by kind, at scores of 0.3 and more."""
        total: dict[str, float] = {}
        for photo in self.matched:
            for kind, count in photo.counts.items():
                total[f"errors/{kind}"] = total.get(f"errors/{kind}", 0.0) + count
        return total

    @cached_property
    def confusion(self) -> Confusion:
        """Which class is taken for which, at scores of 0.3 and more."""
        return confusion(self.truth["categories"], self.matched)

    def curve(self, overlap: float = 0.5, name: str | None = None) -> NDArray[np.float64]:
        """Precision at 101 recalls.

        Args:
            overlap: least intersection over union, 0.5 to 0.95 in steps of 0.05.
            name: of a class; None for the mean over the classes that have objects.
        """
        precision = self.evaluated.eval["precision"][round((overlap - 0.5) / 0.05), :, :, 0, -1]
        names = [category["name"] for category in sorted(self.truth["categories"], key=lambda c: c["id"])]
        wanted = (precision > -1).all(0) & np.asarray([name in (None, item) for item in names], bool)
        array: NDArray[np.float64] = precision[:, wanted]
        return array.mean(1) if array.shape[1] else np.zeros(101)

    @cached_property
    def spread(self) -> dict[str, list[float]]:
        """The intervals, drawn once."""
        return self.bootstrap()

    def intervals(self) -> dict[str, list[float]]:
        """95 % bootstrap intervals of ``ap`` and ``ap50`` over images."""
        return self.spread

    def bootstrap(self, draws: int = DRAWS, seed: int = 0) -> dict[str, list[float]]:
        """95 % bootstrap intervals of ``ap`` and ``ap50`` over images."""
        rng, matches = np.random.default_rng(seed), CocoMatches(self.truth, self.results)
        drawn = [matches.ap(rng.choice(len(self), len(self))) for _ in range(draws)]
        rows = np.asarray(drawn)
        rows = rows[rows[:, 0] > -1]
        if not len(rows):
            return {}
        low, high = np.quantile(rows, [0.025, 0.975], axis=0)
        return {name: [float(low[n]), float(high[n])] for n, name in enumerate(("ap", "ap50"))}


def evaluate_coco(truth: dict[str, Any], results: list[dict[str, Any]]) -> Any:
    """COCO's evaluator over a truth and results: its ``stats`` and ``eval``."""
    evaluator = _evaluator(truth, results)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator


def _evaluator(truth: dict[str, Any], results: list[dict[str, Any]], **options: Any) -> Any:
    from faster_coco_eval import COCO, COCOeval_faster

    result = [
        dict(item, id=number, area=item["bbox"][2] * item["bbox"][3], iscrowd=0)
        for number, item in enumerate(results, start=1)
    ]
    return COCOeval_faster(
        COCO(truth), COCO(dict(truth, annotations=result)), "bbox", print_function=lambda *_: None, **options
    )


class CocoMatches:
    """Which detection found which object, image by image: found once, counted for any choice of images.

    Args:
        truth: as of :class:`DetectionEvaluation`.
        results: as of :class:`DetectionEvaluation`.
    """

    def __init__(self, truth: dict[str, Any], results: list[dict[str, Any]]) -> None:
        evaluator = _evaluator(truth, results, separate_eval=True)
        self.settings = evaluator.params
        self.settings.areaRng, self.settings.areaRngLbl = [self.settings.areaRng[0]], ["all"]
        self.settings.maxDets = self.settings.maxDets[-1:]
        evaluator.evaluate()
        order = {number: place for place, number in enumerate(self.settings.imgIds)}
        self.places = np.array([order[image["id"]] for image in truth["images"]], np.int64)
        self.images = evaluator._evalImgs_cpp  # by category, then by image

    def ap(self, chosen: NDArray[np.int64]) -> tuple[float, float]:
        """``ap`` and ``ap50`` of some images; -1 where they hold no object.

        Args:
            chosen: places of images in the truth, which may come several times.
        """
        from faster_coco_eval.faster_eval_api_cpp import COCOevalAccumulate

        count, places = len(self.places), self.places[chosen].tolist()
        images = self.images
        seen = [images[start + place] for start in range(0, len(images), count) for place in places]
        precision = np.asarray(COCOevalAccumulate(self.settings, seen)["precision"])
        precision = precision.reshape(len(self.settings.iouThrs), -1)
        return mean_of(precision), mean_of(precision[0])


def mean_of(precision: NDArray[np.float64]) -> float:
    """The mean of the defined entries; -1 where there is none."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else -1.0


def doubts(results: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> list[str]:
    """What is likely a mistake in results that can be evaluated: a sentence each."""
    sizes = {image["id"]: (image["width"], image["height"]) for image in truth["images"]}
    outside = odd = shares = 0
    for result in results:
        x, y, width, height = result["bbox"]
        right, bottom = sizes[result["image_id"]]
        outside += x < -1 or y < -1 or x + width > right + 1 or y + height > bottom + 1
        odd += not 0 <= result["score"] <= 1
        shares += max(map(abs, result["bbox"])) <= UNIT < min(right, bottom)
    hits = []
    if shares and shares == len(results):
        hits.append(
            f"all {shares} boxes lie within {UNIT:g} pixels of the corner of their photos: they seem to be "
            "shares of the photo; a bbox is x, y, width, height in pixels"
        )
    if outside:
        hits.append(
            f"{outside} of {len(results)} boxes reach out of their photos; a bbox is x, y, width, height in "
            "pixels"
        )
    if odd:
        hits.append(f"{odd} of {len(results)} scores are not from 0 to 1; errors count those of 0.3 up")
    return hits


def check_results(results: Any, truth: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """Results of any system, held against the images and categories that are evaluated.

    Raises:
        ValueError: it is no list of COCO results, or it is of other images or categories.
    """
    wanted = {"image_id", "category_id", "bbox", "score"}
    if not isinstance(results, list) or not all(isinstance(o, dict) and wanted <= o.keys() for o in results):
        raise ValueError(f"{where} is no COCO result file: a list of {', '.join(sorted(wanted))}")
    for n, result in enumerate(results):
        place = f"{where}: result {n}"
        for key in ("image_id", "category_id"):
            whole(result[key], f"{place}: {key}")
        if isinstance(result["score"], str):
            raise ValueError(f"{place}: score must be a number, got {short(result['score'])}")
        finite(result["score"], f"{place}: score")
        if min(four(result["bbox"], f"{place}: bbox")[2:]) < 0:
            raise ValueError(
                f"{place}: bbox is x, y, width, height with sides of 0 or more, got {result['bbox']}"
            )
    for kind, key in (("images", "image_id"), ("categories", "category_id")):
        known = {item["id"]: item.get("name", "") for item in truth[kind]}
        strange = sorted({item[key] for item in results} - set(known))
        if strange:
            some = ", ".join(f"{number} {name}".strip() for number, name in list(known.items())[:3])
            raise ValueError(
                f"{where} has results for {kind} that are not in the data, {len(strange)} in number, such as "
                f"{strange[0]}; the data has {len(known)} {kind}: {some}{', ...' if len(known) > 3 else ''}"
            )
    return results
