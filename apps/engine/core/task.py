"""The contract of an application: data + head + metrics + defaults; everything else is shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from apps.engine.core.metric_table import MetricTable
    from apps.engine.core.run_dir import RunConfig
    from apps.engine.core.settings import Settings
    from apps.engine.core.spec import HeadSpec
    from datasets.base import LabelledPhotos
    from heads import Head


class Task(Protocol):
    """What the shared commands and the engine ask of an application.

    ``Settings`` holds its options; ``has_sample`` says that it can be tried without data; ``monitor`` is
    the one of its ``figures`` that tells the best epoch; ``metric_table`` has every metric that it reports:
    all others read there which way one is better; ``predict_options`` are those of ``top``, ``tta`` and
    ``crops`` that ``predict`` understands for its runs, others are refused; an instance holds its settings.

    An application whose ``predict`` is more than photos to the head's answers brings a static method
    ``predict(paths, *, checkpoint, **options)`` that yields the lines, and where these are of the faces on a
    photo, ``looks = "faces"``: ``predict --heads`` then finds them once for all such runs. A command of its
    own, such as another ``evaluate NAME``, is added in ``apps/cli/main.py``. One whose head takes something
    from the backbone brings ``adopt(network, head)``. A dataset may bring ``transforms``, a pair for learning
    and for judging, whose ``both(pixels, target)`` moves targets, too.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[Settings]]
    has_sample: ClassVar[bool]
    monitor: ClassVar[str]
    figures: ClassVar[tuple[str, ...]]
    predict_options: ClassVar[frozenset[str]]
    metric_table: ClassVar[MetricTable]
    settings: Any

    def __init__(self, settings: Any) -> None: ...

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> LabelledPhotos:
        """The photos of ``train`` or ``val``; labels follow ``classes`` where they are given."""

    def head(self, channels: dict[int, int], classes: Sequence[str]) -> Head:
        """A new head for a backbone with these channels by stride."""

    def fit_head(self, head: Any, features: NDArray[np.float32], targets: Any) -> str:
        """Fit a head that pools to (N, C) pooled features; returns a sentence on how well it went.

        ``targets`` is an array, or a dict of tensors where the dataset's targets are dicts.
        """

    def losses(
        self, head: Any, photos: LabelledPhotos
    ) -> Callable[[Tensor, nn.Module, Any], dict[str, Tensor]]:
        """(images, module, targets) -> named terms, each a mean over the photos of the batch."""

    def postprocess(self, head: Any, output: Any) -> Any:
        """What is kept of a batch's output for judging: a tensor, or a dict, tuple or list, photos first."""

    def predictions(
        self, outputs: Any, targets: Any, paths: tuple[str, ...], classes: Sequence[str],
        calibration: dict[str, Any] | None = None,
    ) -> Any:
        """The kept outputs over a split, as what the figures are counted from."""

    def head_spec(self, head: Any, config: RunConfig) -> HeadSpec:
        """What the head's outputs mean, so that one decoder a kind of head reads what is kept."""

    def calibrate(self, raw: Any) -> tuple[Any, dict[str, Any], dict[str, float]]:
        """Calibrated predictions, what to keep of the calibration, and figures that it must not flatter."""

    def metrics(self, predictions: Any) -> dict[str, float]:
        """The figures of a set of predictions, by the names of the design."""

    def log_dict(self, figures: dict[str, float]) -> dict[str, float]:
        """The figures that a line of ``metrics.jsonl`` tells, as ``val/NAME``."""

    def count(self, predictions: Any) -> int:
        """How many photos (or other things judged) the figures are counted from."""

    def intervals(self, predictions: Any) -> dict[str, list[float]]:
        """95 % intervals of the figures that have one."""

    def report(self, folder: Path, **parts: Any) -> list[Path]:
        """Write ``report.html`` and its plots; returns the files.

        ``parts``: ``title``, ``predictions``, ``history`` (rows of ``metrics.jsonl``), ``facts``,
        ``cross_validated`` (what ``calibrate`` gave, where there was a training), ``model`` and ``config``.
        """
