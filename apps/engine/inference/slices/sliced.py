"""A detector's answer for a whole photo from many small ones: the same outputs, and more objects in them."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.core.spec import HeadSpec
from apps.engine.data.in_order import in_order
from apps.engine.inference.decode.boxes import on_image
from apps.engine.inference.engines import Engine
from apps.engine.inference.preprocess import square
from apps.engine.inference.slices.merge import Boxes, merged
from apps.engine.inference.slices.tiles import Slices, Tile, tiles

BATCH = 8  # tiles that are computed at once; 300 regions of each are in memory
NMS_THRESH = 0.5  # of a detector that names none


def check_detector(engine: Engine, source: object) -> None:
    """Refuse slices for what has no boxes.

    Raises:
        ValueError: see above.
    """
    kinds = [head.kind for head in engine.spec.heads]
    if kinds != ["detections"]:
        raise ValueError(f"slices are for models of objects; {source} answers {', '.join(kinds)}")


def sliced(engine: Engine, pixels: NDArray[np.uint8], slices: Slices, threads: int = 1) -> list[Any]:
    """The outputs of a detector for a photo, of which it sees tiles, too.

    No more than a few batches of tiles are in memory at once, whatever the size of the photo.

    Args:
        engine: of a detector.
        pixels: of the photo.
        slices: how large the tiles are.
        threads: that compute.

    Shape:
        pixels: (H, W, 3).
        returns: boxes (1, N, 4) on the square that shows the whole photo, scores (1, N), labels (1, N), best
        first.

    Raises:
        ValueError: the engine cannot compute them.
    """
    (head,) = engine.spec.heads
    size = pixels.shape[1], pixels.shape[0]
    rest = tiles(*size, slices.side or engine.spec.resolution)
    batches = iter(lambda: list(islice(rest, BATCH)), [])
    computed = in_order(partial(_batch, engine, pixels), batches, threads)
    parts = [part for batch in computed for part in batch]
    seen = Boxes(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    if np.isfinite(seen.scores).all():  # who reads the outputs refuses the others
        seen = merged(seen, size, head.extra.get("nms_thresh", NMS_THRESH))
    width, height = (max(size),) * 2 if head.extra["resize"] == "pad" else size
    boxes = seen.boxes * (head.extra["size"] / np.array([width, height, width, height]))
    return [boxes.astype(np.float32)[None], seen.scores.astype(np.float32)[None], seen.labels[None]]


def _batch(engine: Engine, pixels: NDArray[np.uint8], batch: list[Tile]) -> list[Boxes]:
    spec = engine.spec
    squares = np.stack([
        square(pixels[y1:y2, x1:x2], spec.resolution, spec.crop, spec.resize) for x1, y1, x2, y2 in batch
    ])
    outputs = engine.run(engine.laid_out(squares))
    return [_on_photo(spec.heads[0], tile, *rows) for tile, *rows in zip(batch, *outputs, strict=True)]


def _on_photo(head: HeadSpec, tile: Tile, boxes: Any, scores: Any, labels: Any) -> Boxes:
    """The objects of a tile in pixels of the photo."""
    scores = np.asarray(scores, np.float64)
    real = ~(scores <= 0)
    left, top, right, bottom = tile
    moved = on_image(np.asarray(boxes)[real], head.extra, (right - left, bottom - top))
    return Boxes(
        moved + np.array([left, top, left, top], np.float64), scores[real],
        np.asarray(labels)[real].astype(np.int64), np.tile(np.array(tile, np.float64), (int(real.sum()), 1)),
    )
