"""``detect`` for many images: what :mod:`apps.engine.scale` takes to its workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apps.engine.inference.decode import decode
from apps.engine.inference.predictor import Predictor
from apps.engine.scale.answering import Line, ModelAnswers, about_model
from apps.engine.scale.rows import columns_of
from apps.objects.detect import choose, open_detector


@dataclass(frozen=True)
class Detections(ModelAnswers):
    """The answers of ``detect``; see :class:`apps.engine.scale.answering.Answers`.

    Args:
        predictor: of a detector, with one thread.
        threshold: least score, 0 to 1.
        classes: the only ones reported; none for all.
        top: most objects an image; None for all.
    """

    predictor: Predictor
    threshold: float
    classes: tuple[str, ...] = ()
    top: int | None = None

    @property
    def about(self) -> Mapping[str, Any]:
        """The model, which of its objects are reported, and the tiles that it sees."""
        asked = {"threshold": self.threshold, "classes": list(self.classes), "top": self.top}
        slices = self.predictor.slices
        tiles = {} if slices is None else {"slices": slices.side or self.predictor.loaded.spec.resolution}
        return about_model(self.predictor) | asked | tiles

    @property
    def columns(self) -> Any:
        """Those of objects."""
        return columns_of(["detections"])

    def line(self, raw: Any, size: tuple[int, int]) -> Line:
        """As the line of ``detect``."""
        (plain,) = self.predictor.heads
        head = replace(plain, extra={**plain.extra, "threshold": self.threshold})
        (answer,) = decode(head, raw, [size])
        objects = answer.to_dict()["objects"]
        return {"objects": choose(objects, threshold=self.threshold, classes=self.classes, top=self.top)}


def detections(
    source: str, *, threshold: float, classes: Sequence[str] = (), top: int | None = None, **how: Any
) -> Detections:
    """The answers of a detector; arguments as of :func:`apps.objects.detect.detect`.

    Raises:
        FileNotFoundError, ValueError: as there.
    """
    predictor, _ = open_detector(source, classes, (), workers=1, **how)
    return Detections(predictor, threshold, tuple(classes), top)
