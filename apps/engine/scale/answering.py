"""What answers for images on a worker: it is pickled, and loads its model where it arrives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from apps.engine.inference.predictions import FailedPrediction

if TYPE_CHECKING:
    from apps.engine.inference.predictor import Predictor
    from apps.engine.inference.preprocess import ImageLike

Line = dict[str, Any]


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


class ModelAnswers(ABC):
    """What the answers of a model share: its batch, and a line from its outputs of each image."""

    predictor: Predictor

    @property
    def batch(self) -> int:
        """As the model's."""
        return self.predictor.loaded.batch

    def lines(self, images: Sequence[ImageLike]) -> list[Line]:
        """As the command prints them, without the path."""
        return [
            raw.to_dict() if isinstance(raw, FailedPrediction) else self.line(raw, size)
            for raw, size in self.predictor.computed(images)
        ]

    @abstractmethod
    def line(self, raw: Any, size: tuple[int, int]) -> Line:
        """The line of one image, of a width and height in pixels, from the model's outputs."""


@dataclass(frozen=True)
class Predictions(ModelAnswers):
    """The answers of ``predict``.

    Args:
        predictor: with one thread.
        top: how many classes, cells or objects an image; None for 5, and for all objects.
    """

    predictor: Predictor
    top: int | None = None

    @property
    def about(self) -> Mapping[str, Any]:
        """The model, how its answers are read, and how many are given."""
        return about_model(self.predictor) | {"top": self.top}

    @property
    def columns(self) -> Any:
        """By the kind of the head."""
        from apps.engine.scale.rows import columns_of

        return columns_of([head.kind for head in self.predictor.heads])

    def line(self, raw: Any, size: tuple[int, int]) -> Line:
        """As the line of ``predict``."""
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
