"""The parts of the contract of a task that most tasks leave as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from apps.engine.core.metrics import Metric, Metrics, MetricTable, logged
from apps.engine.core.settings import Settings
from apps.engine.core.task import D, FilePredictor, H, Losses, PretrainedHead, ReportInputs, S, Subject
from apps.engine.data.problems import Problems, Survey
from apps.engine.inference.decode.kinds import kind_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from apps.engine.core.console import Console
    from apps.engine.core.run_dir import Calibration, RunConfig
    from apps.engine.core.spec import HeadSpec
    from backbone import Backbone, Weights
    from datasets.base import ImageDataset
    from heads import MultiHead


class TaskDefaults(Generic[S, H]):
    """What a ``Task`` has besides its name, settings, metrics, dataset, head and evaluator.

    Where a method passes what differs from task to task, ``Any`` leaves the type to the task; ``Task`` has
    them all, and a test holds each registered task against it.

    Attributes:
        head_kind: how the head's outputs are read, a name of ``inference/decode/kinds.py``; "" for
            the task's name. With ``subject`` it says which options ``predict`` takes.
        head_outputs: names of what ``postprocess`` keeps, as an exported file has them.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[Settings]]
    metrics: ClassVar[MetricTable]
    primary_metric: ClassVar[Metric]
    has_sample: ClassVar[bool] = False
    head_kind: ClassVar[str] = ""
    head_outputs: ClassVar[tuple[str, ...]] = ("output",)
    predict_options: ClassVar[frozenset[str]] = frozenset()
    subject: ClassVar[Subject] = "images"
    file_predictor: ClassVar[FilePredictor | None] = None
    fit_head_distills: ClassVar[bool] = False
    check_splits: ClassVar[tuple[str, ...]] = ("train", "val")

    def __init_subclass__(cls, **options: Any) -> None:
        """What follows from other members: the primary metric, the options of ``predict``, ``fits_head``."""
        super().__init_subclass__(**options)
        if "metrics" in vars(cls) and "primary_metric" not in vars(cls):
            cls.primary_metric = cls.metrics.primary_metric
        if issubclass(vars(cls).get("Settings", object), Settings):
            cls.Settings.fits_head = cls.fit_head is not TaskDefaults.fit_head
        if "predict_options" not in vars(cls):
            cls.predict_options = kind_of(cls.head_kind or vars(cls).get("name", "")).options(cls.subject)

    dataset: Callable[..., Any]  # of the task

    def __init__(self, settings: S) -> None:
        self.settings = settings

    @property
    def data(self) -> Path:
        """The folder of its images.

        Raises:
            ValueError: the settings name none.
        """
        if self.settings.data is None:
            raise ValueError(f"{self.name} has no images to read; give --data DIR")
        return self.settings.data

    @property
    def tta(self) -> str:
        """One view, the image itself."""
        return "none"

    @property
    def eval_crop(self) -> float | None:
        """That of the weights."""
        return None

    def prepare(self, split: str, console: Console, *, classes: Sequence[str] | None = None) -> None:
        """Nothing has to be computed first."""

    def fixed(self, images: D) -> D:
        """Without those that the table leaves out, and with moved ones in their new class."""
        if self.settings.fix is None:
            return images
        from apps.engine.checking.moves import followed

        return followed(images, self.settings.fix, self.data)

    def check_dataset(self, split: str) -> ImageDataset:
        """Those that a training sees."""
        images: ImageDataset = self.dataset(split)
        return images

    def problems(self, survey: Survey) -> Problems:
        """Nothing else is looked for."""
        del survey
        return {}

    def learned_nothing(self, evaluation: Any) -> str:
        """Nothing is known."""
        del evaluation
        return ""

    def init_head(self, backbone: Backbone, head: H) -> None:
        """Nothing is taken from the backbone."""

    def pretrained_head(self, weights: Weights, channels: dict[int, int]) -> PretrainedHead[H]:
        """No weights bring one.

        Raises:
            ValueError: always.
        """
        del channels
        raise ValueError(
            f"weights {weights.info.name} bring no head of {self.name!r}: give --checkpoint RUN, made by "
            f"`finetune {self.name}`"
        )

    @classmethod
    def with_weights(cls, settings: Any, weights: Weights) -> Any:
        """They choose nothing."""
        del weights
        return settings

    def start_head(self, head: H, classes: Sequence[str], weights: Weights) -> str:
        """A new head starts from nothing."""
        del head, classes, weights
        return ""

    def fit_head(self, head: H, features: NDArray[np.float32], targets: Any) -> str:
        """Nothing is fitted, and ``--freeze`` without ``--epochs`` is refused."""
        return "the head starts at random"

    def losses(self, head: H, images: Any) -> Losses[Any]:
        """The head's own."""
        from apps.engine.training.losses import plain_losses

        return plain_losses(head)

    def postprocess(self, head: H, output: Any) -> Any:
        """The output as it is."""
        return output

    def head_spec(self, head: H, config: RunConfig) -> HeadSpec:
        """Outputs as ``head_outputs`` names them, of the kind ``head_kind``."""
        from apps.engine.core.spec import HeadSpec

        return HeadSpec.of(self.head_kind or self.name, config, self.head_outputs)

    def graph_head(self, head: H) -> nn.Module:
        """The head itself."""
        return head

    def calibrate(self, raw: Any) -> tuple[Any, Calibration, Mapping[str, float]]:
        """Nothing is calibrated."""
        return raw, {}, {}

    def log_dict(self, metrics: Metrics) -> dict[str, float]:
        """The metrics by which a training can be watched."""
        return logged(metrics, self.metrics.monitors)

    def after_fit(self, run: Path, model: MultiHead, config: RunConfig, console: Console) -> dict[str, str]:
        """Nothing else is learned."""
        return {}

    def report(self, folder: Path, inputs: ReportInputs[Any]) -> list[Path]:
        """Metrics with their intervals, learning curves and settings."""
        from apps.engine.reporting.page import write_metrics_page

        return write_metrics_page(folder, inputs, self.metrics)
