"""What is answered for one image: typed values, and the JSON line that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "AttributePrediction", "AttributeScore", "ClassPrediction", "ClassScore", "EmbeddingPrediction",
    "FailedPrediction", "HeadsPrediction", "ObjectScore", "ObjectsPrediction", "PlacePrediction",
    "Prediction",
]


@dataclass(frozen=True)
class Prediction:
    """An answer for one image; each kind of head has its own below."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the commands print them."""
        raise TypeError(f"{type(self).__name__} is no kind of answer")


@dataclass(frozen=True)
class ClassScore:
    """A class with its probability, 0 to 1."""

    name: str
    probability: float


@dataclass(frozen=True)
class ClassPrediction(Prediction):
    """The likeliest classes of an image, best first.

    Args:
        classes: at least one.
        unknown: the image shows nothing of the classes; None where no rule for that was fitted.
        breed: of the dog on the image, among breeds alone; None where there is none, or nothing says breeds.
    """

    classes: tuple[ClassScore, ...]
    unknown: bool | None = None
    breed: ClassScore | None = None

    @property
    def name(self) -> str:
        """The likeliest class."""
        return self.classes[0].name

    @property
    def probability(self) -> float:
        """Of the likeliest class, 0 to 1."""
        return self.classes[0].probability

    def to_dict(self) -> dict[str, Any]:
        """``{"predictions": [{"name", "probability"}, ...], "unknown"}``, and of a dog ``"breed"``."""
        shown = [{"name": c.name, "probability": round(c.probability, 6)} for c in self.classes]
        line: dict[str, Any] = {"predictions": shown, "unknown": self.unknown}
        if self.breed is not None:
            line["breed"] = {"name": self.breed.name, "probability": round(self.breed.probability, 6)}
        return line


@dataclass(frozen=True)
class AttributeScore:
    """A yes/no attribute.

    Args:
        probability: 0 to 1.
        threshold: from which on the decision is yes.
    """

    probability: float
    threshold: float

    @property
    def decision(self) -> bool:
        """Whether the image has it."""
        return self.probability >= self.threshold


@dataclass(frozen=True)
class AttributePrediction(Prediction):
    """Attributes of what an image shows.

    Args:
        attributes: by name.
        values: expected class of each group, such as an age in years.
    """

    attributes: Mapping[str, AttributeScore]
    values: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """``{"attributes": {NAME: {"probability", "threshold", "decision"}}, "values": {NAME: number}}``."""
        scores = {
            name: {"probability": round(a.probability, 6), "threshold": round(a.threshold, 6),
                   "decision": a.decision}
            for name, a in self.attributes.items()
        }
        return {"attributes": scores, "values": {name: round(v, 2) for name, v in self.values.items()}}


@dataclass(frozen=True)
class EmbeddingPrediction(Prediction):
    """A unit vector; near vectors show the same."""

    embedding: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """``{"embedding": [...]}``."""
        return {"embedding": [round(x, 7) for x in self.embedding]}


@dataclass(frozen=True)
class ObjectScore:
    """An object.

    Args:
        score: 0 to 1.
        box: (x1, y1, x2, y2) in pixels of the image.
    """

    name: str
    score: float
    box: tuple[float, float, float, float]

    def to_dict(self) -> dict[str, Any]:
        """``{"name", "score", "box"}``."""
        box = [round(x, 1) for x in self.box]
        return {"name": self.name, "score": round(self.score, 4), "box": box}


@dataclass(frozen=True)
class ObjectsPrediction(Prediction):
    """The objects on an image, best first."""

    objects: tuple[ObjectScore, ...]

    def to_dict(self) -> dict[str, Any]:
        """``{"objects": [{"name", "score", "box"}, ...]}``."""
        return {"objects": [o.to_dict() for o in self.objects]}


@dataclass(frozen=True)
class PlacePrediction(Prediction):
    """Where an image may have been taken; ``answer`` is as :func:`apps.places.answers.describe` gives it."""

    answer: Mapping[str, Any]

    @property
    def position(self) -> tuple[float, float] | None:
        """Latitude and longitude in degrees; None where the model abstains."""
        return None if self.answer["lat"] is None else (self.answer["lat"], self.answer["lon"])

    def to_dict(self) -> dict[str, Any]:
        """``{"lat", "lon", "country", "city", ..., "cells": [...]}``."""
        return dict(self.answer)


@dataclass(frozen=True)
class HeadsPrediction(Prediction):
    """The answers of several heads for one image, by their names."""

    answers: Mapping[str, Prediction]

    def to_dict(self) -> dict[str, Any]:
        """``{"answers": {NAME: {...}}}``."""
        return {"answers": {name: answer.to_dict() for name, answer in self.answers.items()}}


@dataclass(frozen=True)
class FailedPrediction(Prediction):
    """An image that could not be answered for, and why, in one line."""

    error: str

    def to_dict(self) -> dict[str, Any]:
        """``{"error"}``."""
        return {"error": self.error}
