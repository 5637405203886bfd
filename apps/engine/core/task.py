"""The contract of a task: data, head, losses, evaluation and defaults; everything else is shared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

from apps.engine.core.metrics import Intervals, Metric, Metrics, MetricTable
from apps.engine.core.settings import Settings
from apps.engine.data.problems import Problems, Survey
from datasets.file_kinds import ONE_A_SECOND, Sampling

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from apps.engine.core.console import Console
    from apps.engine.core.distributed import World
    from apps.engine.core.run_dir import Calibration, RunConfig
    from apps.engine.core.spec import HeadSpec
    from backbone import Backbone, Weights
    from datasets.base import ImageDataset
    from heads import Head, MultiHead

Subject = Literal["images", "faces", "own"]  # what answers are of; own: in a way of its own
Row = Mapping[str, float]  # of ``metrics.jsonl``

S = TypeVar("S", bound=Settings)
S_co = TypeVar("S_co", bound=Settings, covariant=True)
H = TypeVar("H", bound="Head")
D = TypeVar("D", bound="ImageDataset")
O_contra = TypeVar("O_contra", contravariant=True)
T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
K = TypeVar("K")
K_contra = TypeVar("K_contra", contravariant=True)
E = TypeVar("E", bound="Evaluation")
E_co = TypeVar("E_co", bound="Evaluation", covariant=True)
Losses = Callable[["Tensor", "nn.Module", T], dict[str, "Tensor"]]


class Evaluation(Protocol):
    """What an evaluator computed: metrics, their intervals, and in fields of its own the rows of a report."""

    def __len__(self) -> int:
        """Images, or other things, that the metrics are computed from."""

    def metrics(self) -> Metrics:
        """Metrics by the names of the task's table; one that is undefined on these images is None."""

    def intervals(self) -> Intervals:
        """95 % intervals [lower, upper] of the metrics that have one."""


class Evaluator(Protocol[K_contra, T_contra, E_co]):
    """Takes the outputs of a split batch by batch.

    ``apps.engine.evaluation.collecting`` has one that keeps all of them.
    """

    def update(self, outputs: K_contra, targets: T_contra, indices: Sequence[int]) -> None:
        """Take a batch: what ``postprocess`` gave, the targets, and the images' places in the dataset."""

    def share(self, world: World) -> None:
        """Take what the evaluators of the other processes took."""

    def compute(self) -> E_co:
        """The evaluation of all that was taken."""


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

    def log_dict(self, metrics: Metrics) -> dict[str, float]:
        """The metrics that a line of ``metrics.jsonl`` has, as ``val/NAME``."""


class FilePredictor(Protocol):
    """A task's way from files to lines, where it is more than images to the head's output."""

    def __call__(
        self, paths: Iterable[Path], *, checkpoint: Path, top: int | None, workers: int | None,
        precision: str, engine: str = "auto", device: str = "auto", crops: bool = False,
        detector: str | None = None, sampling: Sampling = ONE_A_SECOND,
        say: Callable[[str], None] = lambda _: None,
    ) -> Iterator[dict[str, Any]]:
        """The lines of ``predict`` with a run, as JSON objects; ``say`` takes a line on what answers."""


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
    history: Sequence[Row]
    model: MultiHead
    config: RunConfig
    cross_validated: Metrics = field(default_factory=dict)


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
    calibration: Calibration


class Task(Protocol[S_co, H, D, O_contra, T_contra, K, E]):
    """What the shared commands and the engine ask of a task.

    It is generic in its settings, head, dataset, the output of its head, the targets of a batch (a tensor, or
    a dict of tensors), what is kept of an output, and its evaluation. An instance holds its settings.
    ``TaskDefaults`` (``apps/engine/defaults.py``) has the parts that most leave as they are. A command of its
    own, such as another ``evaluate NAME``, is added in ``apps/cli/main.py``.

    Attributes:
        Settings: its options.
        has_sample: whether it can be tried without data.
        metrics: the table of all that it reports; best epoch, early stopping and reports read it there.
        primary_metric: the one of them that tells the best epoch.
        predict_options: those of ``top``, ``tta``, ``crops`` and ``detector`` that it takes.
        subject: what its answers are of; ``predict --heads`` finds faces once for all runs of ``faces``.
        file_predictor: its own way to answer for files; None where images to the head's output is all.
        fit_head_distills: whether ``fit_head`` uses a teacher's answers.
        check_splits: the splits that ``check`` looks at.
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
    check_splits: ClassVar[tuple[str, ...]]

    def __init__(self, settings: S_co) -> None: ...

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

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> D:
        """The images of ``train`` or ``val``; labels follow ``classes`` where they are given.

        It opens files and nothing else; what has to be computed first is :meth:`prepare`'s.
        """

    def prepare(self, split: str, console: Console, *, classes: Sequence[str] | None = None) -> None:
        """Compute what :meth:`dataset` opens, such as a teacher's answers, where it is not there yet."""

    def fixed(self, images: D) -> D:
        """The images of a split as ``--fix`` corrects them."""

    def check_dataset(self, split: str) -> ImageDataset:
        """The images of one of ``check_splits``, also of data that a training would refuse."""

    def problems(self, survey: Survey) -> Problems:
        """What ``check`` looks for besides what holds for all images, by kind; empty lists are fine."""

    def learned_nothing(self, evaluation: E) -> str:
        """A sentence with what to do where a trained model is no better than none; else empty."""

    def head(self, channels: dict[int, int], classes: Sequence[str]) -> H:
        """A new head for a backbone with these channels by stride."""

    def init_head(self, backbone: Backbone, head: H) -> None:
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

    def losses(self, head: H, images: D) -> Losses[T_contra]:
        """(images, module, targets) -> named losses, each a mean over the images of the batch."""

    def postprocess(self, head: H, output: O_contra) -> K:
        """What is kept of a batch's output: a tensor, or a dict, tuple or list of such, images first."""

    def evaluator(
        self, images: D, classes: Sequence[str], calibration: Calibration | None = None
    ) -> Evaluator[K, T_contra, E]:
        """What computes the metrics of a split of these images, at the calibration of a run."""

    def head_spec(self, head: H, config: RunConfig) -> HeadSpec:
        """What the head's outputs mean, so that one decoder a kind of head reads what is kept."""

    def graph_head(self, head: H) -> nn.Module:
        """The trained head as it stands in an exported graph, with what follows its layers there.

        One whose outputs mean something else than :meth:`head_spec` says has a ``describe``.

        Raises:
            ValueError: such a head cannot be exported.
        """

    def calibrate(self, raw: E) -> tuple[E, Calibration, Mapping[str, float]]:
        """The calibrated evaluation, what to keep of the calibration, and metrics it must not flatter."""

    def log_dict(self, metrics: Metrics) -> dict[str, float]:
        """The metrics that a line of ``metrics.jsonl`` has, as ``val/NAME``."""

    def after_fit(self, run: Path, model: MultiHead, config: RunConfig, console: Console) -> dict[str, str]:
        """What else is learned and written into a run once its weights are; returns facts for its report."""

    def report(self, folder: Path, inputs: ReportInputs[E]) -> list[Path]:
        """Write ``report.html`` and its plots; returns the files."""


AnyTask: TypeAlias = Task[Any, Any, Any, Any, Any, Any, Any]
