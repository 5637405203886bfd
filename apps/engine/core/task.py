"""The contract of a task: data, head, losses, evaluation and defaults; everything else is shared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

from apps.engine.core.metrics import Metric, MetricTable
from apps.engine.core.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from apps.engine.core.console import Console
    from apps.engine.core.run_dir import RunConfig
    from apps.engine.core.spec import HeadSpec
    from backbone import Backbone, Weights
    from datasets.base import ImageDataset
    from heads import Head, MultiHead

Subject = Literal["images", "faces", "own"]  # what answers are of; own: in a way of its own


class Evaluation(Protocol):
    """Outputs over a split beside their targets, from which metrics are computed."""

    def __len__(self) -> int:
        """Images, or other things, that the metrics are computed from."""

    def metrics(self) -> dict[str, Any]:
        """Metrics by the names of the task's table, floats; one that is undefined on these images is None."""

    def intervals(self) -> dict[str, list[float]]:
        """95 % intervals [lower, upper] of the metrics that have one."""


class Trainable(Protocol):
    """What the training loop asks of a task, or of several that are trained as one."""

    @property
    def name(self) -> str:
        """Of the task."""

    @property
    def metrics(self) -> MetricTable:
        """The table of all that it reports."""

    @property
    def primary_metric(self) -> Metric:
        """The one of them that tells the best epoch."""

    def log_dict(self, metrics: dict[str, Any]) -> dict[str, float]:
        """The metrics that a line of ``metrics.jsonl`` has, as ``val/NAME``."""


class FilePredictor(Protocol):
    """A task's way from files to lines, where it is more than images to the head's output."""

    def __call__(
        self, paths: Iterable[Path], *, checkpoint: Path, top: int, workers: int | None, precision: str,
        crops: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """The lines of ``predict`` with a run, as JSON objects."""


S = TypeVar("S", bound=Settings)
S_co = TypeVar("S_co", bound=Settings, covariant=True)
H = TypeVar("H", bound="Head")
T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
K = TypeVar("K")
E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)
Losses = Callable[["Tensor", "nn.Module", T], dict[str, "Tensor"]]


@dataclass(frozen=True)
class ReportInputs(Generic[E_co]):
    """What a report is written from.

    Args:
        title: of the page.
        evaluation: of the validation images, calibrated.
        facts: settings and provenance, for a table.
        history: the rows of ``metrics.jsonl``.
        model: in evaluation mode.
        config: of the run.
        cross_validated: metrics that calibration on the same images would flatter; empty without a training.
    """

    title: str
    evaluation: E_co
    facts: Mapping[str, str | float]
    history: Sequence[dict[str, Any]]
    model: MultiHead
    config: RunConfig
    cross_validated: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PretrainedHead(Generic[H]):
    """A head that published weights bring along.

    Args:
        head: with its weights.
        classes: names of what it answers, as a run's configuration has them.
        calibration: as a run's configuration has it; empty where nothing was fitted.
    """

    head: H
    classes: tuple[str, ...]
    calibration: dict[str, Any] = field(default_factory=dict)


class Task(Protocol[S_co, H, T_contra, K, E]):
    """What the shared commands and the engine ask of a task.

    It is generic in its settings, its head, the targets of a batch (a tensor, or a dict of tensors), what is
    kept of a batch's output, and its evaluation. An instance holds its settings. :class:`TaskDefaults` has
    the parts that most tasks leave as they are. A command of its own, such as another ``evaluate NAME``, is
    added in ``apps/cli/main.py``.

    Attributes:
        Settings: its options.
        has_sample: whether it can be tried without data.
        metrics: the table of all that it reports; best epoch, early stopping and reports read it there.
        primary_metric: the one of them that tells the best epoch.
        predict_options: those of ``top``, ``tta`` and ``crops`` that ``predict`` understands for its runs.
        subject: what its answers are of; ``predict --heads`` finds faces once for all runs of ``faces``.
        file_predictor: its own way to answer for files; None where images to the head's output is all.
        fit_head_distills: whether ``fit_head`` uses a teacher's answers.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[Settings]]
    has_sample: ClassVar[bool]
    metrics: ClassVar[MetricTable]
    primary_metric: ClassVar[Metric]
    predict_options: ClassVar[frozenset[str]]
    subject: ClassVar[Subject]
    file_predictor: ClassVar[FilePredictor | None]
    fit_head_distills: ClassVar[bool]

    def __init__(self, settings: Any) -> None: ...

    @property
    def settings(self) -> S_co:
        """Its options, with every None chosen once a training has begun."""

    @property
    def data(self) -> Path:
        """The folder of its images; raises ValueError where the settings name none."""

    @property
    def tta(self) -> str:
        """Views of an image whose answers are averaged in evaluation."""

    @property
    def eval_crop(self) -> float | None:
        """Share of an image's side that evaluation sees, above 0 to 1; None for that of the weights."""

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> ImageDataset:
        """The images of ``train`` or ``val``; labels follow ``classes`` where they are given.

        It opens files and nothing else; what has to be computed first is :meth:`prepare`'s.
        """

    def prepare(self, split: str, console: Console, *, classes: Sequence[str] | None = None) -> None:
        """Compute what :meth:`dataset` opens, such as a teacher's answers, where it is not there yet."""

    def head(self, channels: dict[int, int], classes: Sequence[str]) -> H:
        """A new head for a backbone with these channels by stride."""

    def adopt(self, backbone: Backbone, head: H) -> None:
        """Give a new head what it takes from its backbone, if anything."""

    def pretrained_head(self, weights: Weights, channels: dict[int, int]) -> PretrainedHead[H]:
        """The head that weights bring for this task; raises ValueError where they bring none."""

    @classmethod
    def with_weights(cls, settings: Any, weights: Weights) -> Any:
        """The settings with what is chosen by the head that weights bring, where they leave it open."""

    def start_head(self, head: H, classes: Sequence[str], weights: Weights) -> str:
        """Put into a new head what weights bring for it; returns a sentence on it, empty for nothing."""

    def fit_head(self, head: H, features: NDArray[np.float32], targets: T_contra) -> str:
        """Fit a head that pools to (N, C) pooled features; returns a sentence on how well it went."""

    def losses(self, head: H, photos: Any) -> Losses[T_contra]:
        """(images, module, targets) -> named losses, each a mean over the images of the batch.

        ``photos`` is what :meth:`dataset` gave.
        """

    def postprocess(self, head: H, output: Any) -> K:
        """What is kept of a batch's output: a tensor, or a dict, tuple or list of such, images first."""

    def predictions(
        self, outputs: K, targets: T_contra, paths: tuple[str, ...], classes: Sequence[str],
        calibration: dict[str, Any] | None = None,
    ) -> E:
        """The kept outputs over a split beside their targets."""

    def head_spec(self, head: H, config: RunConfig) -> HeadSpec:
        """What the head's outputs mean, so that one decoder a kind of head reads what is kept."""

    def graph_head(self, head: H) -> Any:
        """The trained head as it stands in an exported graph, with what follows its layers there.

        One whose outputs mean something else than :meth:`head_spec` says has a ``describe``.

        Raises:
            ValueError: such a head cannot be exported.
        """

    def calibrate(self, raw: E) -> tuple[E, dict[str, Any], dict[str, float]]:
        """The calibrated evaluation, what to keep of the calibration, and metrics it must not flatter."""

    def log_dict(self, metrics: dict[str, Any]) -> dict[str, float]:
        """The metrics that a line of ``metrics.jsonl`` has, as ``val/NAME``."""

    def after_fit(self, run: Path, model: MultiHead, config: RunConfig, console: Console) -> dict[str, str]:
        """What else is learned and written into a run once its weights are; returns facts for its report."""

    def report(self, folder: Path, inputs: ReportInputs[E]) -> list[Path]:
        """Write ``report.html`` and its plots; returns the files."""


AnyTask: TypeAlias = Task[Any, Any, Any, Any, Any]


class TaskDefaults(Generic[S, H]):
    """The parts of :class:`Task` that most tasks leave as they are."""

    name: ClassVar[str]
    has_sample: ClassVar[bool] = False
    subject: ClassVar[Subject] = "images"
    file_predictor: ClassVar[FilePredictor | None] = None
    fit_head_distills: ClassVar[bool] = False

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

    def adopt(self, backbone: Backbone, head: H) -> None:
        """Nothing is taken from the backbone."""

    def pretrained_head(self, weights: Weights, channels: dict[int, int]) -> PretrainedHead[H]:
        """No weights bring one: raises ValueError."""
        raise ValueError(
            f"weights {weights.info.name} bring no head of {self.name!r}: give --checkpoint RUN, made by "
            f"`finetune {self.name}`"
        )

    def graph_head(self, head: H) -> Any:
        """The head itself."""
        return head

    @classmethod
    def with_weights(cls, settings: Any, weights: Weights) -> Any:
        """They choose nothing."""
        return settings

    def start_head(self, head: H, classes: Sequence[str], weights: Weights) -> str:
        """A new head starts from nothing."""
        return ""

    def after_fit(self, run: Path, model: MultiHead, config: RunConfig, console: Console) -> dict[str, str]:
        """Nothing else is learned."""
        return {}
