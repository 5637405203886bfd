"""The contract of an application: data + head + metrics + defaults; everything else is shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from apps.settings import Settings
    from datasets.photos import LabelledPhotos
    from heads import Classifier


class App(Protocol):
    """What the shared commands and the engine ask of an application.

    ``Settings`` holds its options; ``has_sample`` says that it can be tried without data; ``monitor`` is
    the one of its ``figures`` that tells the best epoch; an instance holds its settings.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[Settings]]
    has_sample: ClassVar[bool]
    monitor: ClassVar[str]
    figures: ClassVar[tuple[str, ...]]
    settings: Any

    def __init__(self, settings: Any) -> None: ...

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> LabelledPhotos:
        """The photos of ``train`` or ``val``; labels follow ``classes`` where they are given."""

    def head(self, channels: dict[int, int], classes: Sequence[str]) -> Classifier:
        """A new head for a backbone with these channels by stride."""

    def fit_head(self, head: Any, features: NDArray[np.float32], targets: NDArray[np.int64]) -> str:
        """Fit a head to (N, C) pooled features; returns a sentence on how well it went."""

    def terms(
        self, head: Any, photos: LabelledPhotos, cast: Callable[[], AbstractContextManager[Any]]
    ) -> Callable[[Tensor, nn.Module, Tensor], dict[str, Tensor]]:
        """(images, module, targets) -> named terms, each a mean over the photos of the batch."""

    def predictions(
        self, outputs: Tensor, targets: Tensor, paths: tuple[str, ...], classes: Sequence[str],
        calibration: dict[str, Any] | None = None,
    ) -> Any:
        """The head's outputs over a split, as what the figures are counted from."""

    def calibrate(self, raw: Any) -> tuple[Any, dict[str, Any], dict[str, float]]:
        """Calibrated predictions, what to keep of the calibration, and figures that it must not flatter."""

    def metrics(self, predictions: Any) -> dict[str, float]:
        """The figures of a set of predictions, by the names of the design."""

    def row(self, figures: dict[str, float]) -> dict[str, float]:
        """The figures that a line of ``metrics.jsonl`` tells, as ``val/NAME``."""

    def intervals(self, predictions: Any) -> dict[str, list[float]]:
        """95 % intervals of the figures that have one."""

    def report(self, folder: Path, **parts: Any) -> list[Path]:
        """Write ``report.html`` and its plots; returns the files."""
