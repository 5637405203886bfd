"""The contract of an application: data + head + metrics + defaults; everything else is shared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from apps.metrics import Predictions
    from apps.settings import Settings
    from datasets.photos import LabelledPhotos
    from heads import Classifier


class App(Protocol):
    """What the shared commands ask of an application that names one class a photo.

    ``Settings`` holds its options; ``has_sample`` says that it can be tried without data; an instance
    holds its settings.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[Settings]]
    has_sample: ClassVar[bool]
    settings: Any

    def __init__(self, settings: Any) -> None: ...

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> LabelledPhotos:
        """The photos of ``train`` or ``val``; labels follow ``classes`` where they are given."""

    def head(self, channels: dict[int, int], classes: Sequence[str]) -> Classifier:
        """A new head for a backbone with these channels by stride."""

    def metrics(self, predictions: Predictions) -> dict[str, float]:
        """The figures of a set of predictions, by the names of the design."""

    def intervals(self, predictions: Predictions) -> dict[str, list[float]]:
        """95 % intervals of the figures that have one."""

    def report(self, folder: Path, **parts: Any) -> list[Path]:
        """Write ``report.html`` and its plots; returns the files."""
