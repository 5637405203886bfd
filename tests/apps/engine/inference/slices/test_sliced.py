"""A detector that sees tiles: small objects in pixels of the photo, each once; batches; bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from apps.engine.core.spec import HeadSpec, ModelSpec
from apps.engine.inference.decode import decode
from apps.engine.inference.engines import Engine
from apps.engine.inference.predictor import Predictor
from apps.engine.inference.slices import sliced as module
from apps.engine.inference.slices.sliced import BATCH, check_detector, sliced
from apps.engine.inference.slices.tiles import Slices, tiles

SIDE = 96
LEAST_AREA = 40  # pixels of the square that the drawn detector wants to see of an object


def red_finder(resize: str, layout: str, sizes: list[int]) -> Engine:
    """A detector of what is red: not small ones, so that it needs tiles."""
    head = HeadSpec("objects", "objects", "detections", ("boxes", "scores", "labels"), ("red",), extra={
        "size": SIDE, "resize": resize, "threshold": 0.3, "nms_thresh": 0.5,
    })
    spec = ModelSpec("0", SIDE, 1.0, layout, "fp32", {}, (head,), resize=resize)

    def run(images: NDArray[np.uint8]) -> Sequence[Any]:
        assert images.shape[1:] == ((SIDE, SIDE, 3) if layout == "nhwc" else (3, SIDE, SIDE))
        sizes.append(len(images))
        boxes, scores = np.zeros((len(images), 20, 4), np.float32), np.zeros((len(images), 20), np.float32)
        for number, image in enumerate(images if layout == "nhwc" else images.transpose(0, 2, 3, 1)):
            red = (image[..., 0] > 150) & (image[..., 1] < 90)
            for at, (rows, columns) in enumerate(ndimage.find_objects(ndimage.label(red)[0])[:20]):
                area = red[rows, columns].sum()
                boxes[number, at] = columns.start, rows.start, columns.stop, rows.stop
                scores[number, at] = 0.5 + 0.4 * area / (area + 400) if area >= LEAST_AREA else 0
        return boxes, scores, np.zeros(scores.shape, np.int64)

    return Engine(spec, run)


def painted(width: int, height: int, places: Sequence[tuple[int, int, int, int]]) -> NDArray[np.uint8]:
    photo = np.full((height, width, 3), 100, np.uint8)
    for x1, y1, x2, y2 in places:
        photo[y1:y2, x1:x2] = (220, 20, 20)
    return photo


PLACES = [
    (5, 5, 15, 15), (66, 66, 80, 82), (90, 200, 104, 214), (300, 300, 312, 311), (500, 100, 620, 260),
    (200, 380, 330, 410), (985, 585, 1000, 600),
]


@pytest.mark.parametrize(("resize", "layout"), [("squash", "nhwc"), ("pad", "nchw")])
def test_each_object_of_each_size_is_answered_once_where_it_is(resize: str, layout: str) -> None:
    sizes: list[int] = []
    engine, photo = red_finder(resize, layout, sizes), painted(1000, 600, PLACES)
    outputs = sliced(engine, photo, Slices(), 2)
    (answer,) = decode(engine.spec.heads[0], outputs, [(1000, 600)])
    objects: Any = answer.to_dict()["objects"]
    assert len(objects) == len(PLACES), objects
    for place in PLACES:
        near = 0.02 * max(place[2] - place[0], SIDE) + 1
        assert any(np.abs(np.subtract(item["box"], place)).max() <= near for item in objects), place
    count = sum(1 for _ in tiles(1000, 600, SIDE))
    assert sum(sizes) == count and sorted(sizes)[1:] == [BATCH] * (len(sizes) - 1)
    (alone,) = decode(engine.spec.heads[0], engine.run(engine.laid_out(
        module.square(photo, SIDE, 1.0, resize)[None]
    )), [(1000, 600)])
    assert len(alone.to_dict()["objects"]) < len(PLACES) / 2


def test_answers_do_not_depend_on_threads_and_few_batches_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, photo = red_finder("squash", "nhwc", []), painted(1000, 600, PLACES)
    one, many = (sliced(engine, photo, Slices(64), threads) for threads in (1, 4))
    assert all((a == b).all() for a, b in zip(one, many, strict=True))
    drawn, done, waiting = [0], [0], list[int]()
    batch_of = module._batch

    def counted(*size: int) -> Any:
        for tile in tiles(*size):
            drawn[0] += 1
            yield tile

    def watched(*arguments: Any) -> Any:
        waiting.append(drawn[0] - done[0])
        result = batch_of(*arguments)
        done[0] += len(result)
        return result

    monkeypatch.setattr(module, "tiles", counted)
    monkeypatch.setattr(module, "_batch", watched)
    sliced(engine, photo, Slices(64), 1)
    assert len(waiting) > 10
    assert max(waiting) <= BATCH * 3


def test_no_numbers_are_a_failure_of_that_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = red_finder("squash", "nhwc", [])

    def broken(images: NDArray[np.uint8]) -> Sequence[Any]:
        boxes, scores, labels = engine.run(images)
        return boxes, np.full_like(scores, np.nan), labels

    predictor = Predictor("x", slices=Slices())
    monkeypatch.setitem(predictor.__dict__, "loaded", Engine(engine.spec, broken))
    with pytest.raises(ValueError, match="holds no finite numbers"):
        predictor.predict(painted(300, 300, []))


def test_what_has_no_boxes_is_refused() -> None:
    head = HeadSpec("dogs", "dogs", "classes", ("dogs",), ("a", "b"))
    engine = Engine(ModelSpec("0", SIDE, 1.0, "nhwc", "fp32", {}, (head,)), lambda images: [images])
    with pytest.raises(ValueError, match="slices are for models of objects; runs/dogs answers classes"):
        check_detector(engine, Path("runs/dogs"))
