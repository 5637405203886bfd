"""What answers for images on a worker: it is pickled, and loads its model where it arrives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from apps.engine.inference.predictions import FailedPrediction
from apps.engine.inference.predictor import ImageLike, Predictor

Line = dict[str, Any]
Decode = Callable[[Any, tuple[int, int]], Line]


class Answers(Protocol):
    """From images to lines; it crosses to other processes by pickle."""

    @property
    def batch(self) -> int:
        """Images that are best given at once."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What makes two answers of the same image differ: plain values, such as the model's fingerprint."""

    @property
    def columns(self) -> Any:
        """The Arrow schema of the lines, without ``path`` and ``error``."""

    def lines(self, images: Sequence[ImageLike]) -> list[Line]:
        """A line an image, in their order; ``{"error"}`` for one that cannot be read."""


@dataclass(frozen=True)
class Predictions:
    """The answers of ``predict``.

    Args:
        predictor: with one thread.
        top: how many classes, cells or objects an image; None for 5, and for all objects.
    """

    predictor: Predictor
    top: int | None = None

    @property
    def batch(self) -> int:
        """As the model's."""
        return self.predictor.loaded.batch

    @property
    def about(self) -> Mapping[str, Any]:
        """The model, how its answers are read, and how many are given."""
        return about_model(self.predictor) | {"top": self.top}

    @property
    def columns(self) -> Any:
        """By the kind of the head."""
        from apps.engine.scale.rows import columns_of

        return columns_of([head.kind for head in self.predictor.heads])

    def lines(self, images: Sequence[ImageLike]) -> list[Line]:
        """As the lines of ``predict``, without the path."""
        return decoded(self.predictor, images, self._line)

    def _line(self, raw: Any, size: tuple[int, int]) -> Line:
        return self.predictor.decoded(raw, size, self.top).to_dict()


def about_model(predictor: Predictor) -> dict[str, Any]:
    """What of a model makes answers differ."""
    from dataclasses import asdict

    spec = asdict(predictor.loaded.spec)
    return {
        "fingerprint": spec["fingerprint"], "resolution": spec["resolution"], "crop": spec["crop"],
        "heads": [
            {name: head[name] for name in ("name", "kind", "classes", "calibration")}
            for head in spec["heads"]
        ],
        "tta": predictor.tta, "precision": predictor.precision,
    }


def decoded(predictor: Predictor, images: Sequence[ImageLike], line: Decode) -> list[Line]:
    """The lines of some images, each read from a model's outputs by ``line``."""
    return [
        raw.to_dict() if isinstance(raw, FailedPrediction) else line(raw, size)
        for raw, size in predictor.computed(images)
    ]
