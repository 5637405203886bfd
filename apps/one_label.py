"""What applications that name one class a photo have in common: head, figures, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from apps.settings import Settings, option

if TYPE_CHECKING:
    from apps.metrics import Predictions
    from heads import Classifier


@dataclass(frozen=True)
class OneLabelSettings(Settings):
    """Options of the head and its loss."""

    smoothing: float = option(0.1, "label smoothing, 0 to 1", low=0, high=0.99)
    dropout: float = option(0.0, "share of features dropped before the last layer", low=0, high=0.95)


class OneLabel:
    """The parts of the contract of an application that such applications share."""

    has_sample: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def head(self, channels: dict[int, int], classes: Sequence[str]) -> Classifier:
        """A classifier on the deepest map."""
        from heads import Classifier

        stride = max(channels)
        return Classifier(
            channels[stride], len(classes), stride=stride, dropout=self.settings.dropout,
            smoothing=self.settings.smoothing,
        )

    def metrics(self, predictions: Predictions) -> dict[str, float]:
        """``top1``, ``top5``, ``ece``, ``cross_entropy``."""
        from apps.metrics import classification_metrics

        return classification_metrics(predictions)

    def intervals(self, predictions: Predictions) -> dict[str, list[float]]:
        """95 % Wilson intervals of the accuracies."""
        from apps.metrics import intervals

        return intervals(predictions)

    def report(self, folder: Path, **parts: Any) -> list[Path]:
        """The report of a classifier."""
        from apps.report.classification import write_classification_report

        return write_classification_report(folder, **parts)
