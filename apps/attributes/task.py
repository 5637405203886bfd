"""The application ``attributes``: many yes/no answers a face, from labels, from a teacher, or from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from apps.engine.core.metrics import POSITIVE, SHARE, Metric, Metrics, MetricTable, logged
from apps.engine.core.settings import Settings, option
from apps.engine.core.task import FilePredictor, PretrainedHead, Subject
from apps.engine.data.problems import Problems, Survey
from apps.engine.defaults import TaskDefaults
from apps.engine.inference.weights_check import FACE_HEADS
from apps.faces.lines import FaceLines

if TYPE_CHECKING:

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from apps.attributes.evaluator import AttributeEvaluation
    from apps.engine.core.console import Console
    from apps.engine.core.run_dir import Calibration
    from apps.engine.core.task import Evaluator, ReportInputs
    from backbone import Weights
    from datasets.multilabel import MultiLabelDataset
    from heads import MultiLabelClassifier


METRICS = MetricTable("attributes", (
    Metric("mean_ap", True), Metric("ap/*", True), Metric("balanced_accuracy/*", True),
    Metric("balanced_accuracy@chosen/*", True), Metric("agreement/*", True),
    Metric("ece", False), Metric("ece/*", False),
    Metric("cross_entropy", False, "nats", POSITIVE), Metric("cross_entropy/*", False, "nats", POSITIVE),
    Metric("mae/*", False, "classes", POSITIVE),
    Metric("prevalence/*", None), Metric("threshold/*", None, bounds=SHARE),
    Metric("entropy", None, "nats", POSITIVE), Metric("entropy/*", None, "nats", POSITIVE),
), primary="mean_ap", watchable=("ece", "cross_entropy"))

GENDER, AGE = "Male", "age"


@dataclass(frozen=True)
class AttributesSettings(Settings):
    """Options of a student of attributes."""

    example: ClassVar[str] = "--data crops --table labels.csv --weights faces_mobilenetv1_1.0_224"
    finer_evaluation: ClassVar[bool] = False  # crops of faces are of one scale
    refused: ClassVar[Mapping[str, str]] = {
        "sampling": "balanced needs one class a photo; give --weights-of NAME=WEIGHT"
    }
    takes_folds: ClassVar[bool] = True

    data: Path | None = option(None, "CelebA, or a folder of face crops, with a table of attributes in it")
    table: Path | None = option(
        None, "CSV or Parquet with a column image and one an attribute; default: that in --data"
    )
    names: str | None = option(
        None, "attributes to learn, as in Male,Smiling,age:100; NAME:K is a class of K; default: all yes/no"
    )
    val_share: float = option(0.2, "share of the people for validation, where no split is given",
                              above=0, below=1)
    teacher: str | None = option(
        None, "a run of attributes, face-network:FILE, an .onnx file, or a table of probabilities"
    )
    teacher_weight: float = option(
        1.0, "share of the teacher where it and the labels speak; 1: the paper's emulation", low=0, high=1
    )
    weights_of: str | None = option(None, "weights in the loss, as in Smiling=2,Sad=5; the others weigh 1")
    preset: str = option(
        "none", "paper: no weight decay, no early stopping", choices=("none", "paper")
    )
    dropout: float = option(0.0, "share of features dropped before the last layer", low=0, high=0.95)
    eval_crop: float = option(
        1.0, "share of an image's side that is seen when it is evaluated", above=0, high=1
    )
    min_crop: float | None = option(
        0.7, "least share of an image that a training crop shows", above=0, high=1
    )

    def __post_init__(self) -> None:
        if self.preset == "paper":
            if self.patience is not None or self.weight_decay:
                raise ValueError(
                    "--preset paper has no weight decay and no early stopping; leave --weight-decay and "
                    "--patience out, or the preset"
                )
            object.__setattr__(self, "weight_decay", 0.0)
        super().__post_init__()
        if self.teacher is None and self.teacher_weight != 1:
            raise ValueError("--teacher-weight is a teacher's share: give --teacher, or leave it out")
        if self.table is not None:
            object.__setattr__(self, "table", Path(self.table).absolute())


class Attributes(TaskDefaults[AttributesSettings, "MultiLabelClassifier"]):
    """Photos of faces to the probabilities of their attributes."""

    name: ClassVar[str] = "attributes"
    Settings: ClassVar[type[Settings]] = AttributesSettings
    metrics: ClassVar[MetricTable] = METRICS
    head_kind: ClassVar[str] = "attributes"
    head_outputs: ClassVar[tuple[str, ...]] = ("logits",)
    subject: ClassVar[Subject] = "faces"
    file_predictor: ClassVar[FilePredictor | None] = FaceLines("attributes")
    fit_head_distills: ClassVar[bool] = True

    @property
    def eval_crop(self) -> float | None:
        """As the settings say."""
        return self.settings.eval_crop

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> MultiLabelDataset:
        """The images of a split; in ``train`` with the teacher's answers where there is one."""
        from apps.attributes.data import attribute_split

        return attribute_split(self.settings, split, classes=classes)

    def check_dataset(self, split: str) -> MultiLabelDataset:
        """The images of a split with their labels, also where an attribute is the same on all."""
        from apps.attributes.labels import is_labelled, labelled, unlabelled

        if not is_labelled(self.settings):
            return unlabelled(self.settings, split, [])[0]
        return labelled(self.settings, split, [], lenient=True)[0]

    def problems(self, survey: Survey) -> Problems:
        """Values that contradict what holds for all other images."""
        from apps.attributes.checks import attribute_problems

        return attribute_problems(survey)

    def prepare(self, split: str, console: Console, *, classes: Sequence[str] | None = None) -> None:
        """Ask the teacher for what it says of the images, unless its answers are kept already."""
        from apps.attributes.data import attribute_split
        from apps.attributes.teachers import is_table

        if self.settings.teacher is not None and not is_table(self.settings.teacher):
            attribute_split(self.settings, split, classes=classes, console=console)

    def head(self, channels: dict[int, int], classes: Sequence[str]) -> MultiLabelClassifier:
        """Logits of the deepest map."""
        from apps.attributes.names import Layout, weights_of
        from heads import MultiLabelClassifier

        layout, stride = Layout.of(classes), max(channels)
        return MultiLabelClassifier(
            channels[stride], layout.names, groups=layout.groups, dropout=self.settings.dropout,
            weights=weights_of(self.settings.weights_of, layout.names), stride=stride,
        )

    def pretrained_head(
        self, weights: Weights, channels: dict[int, int]
    ) -> PretrainedHead[MultiLabelClassifier]:
        """Sex and age, as the face network answers them.

        Raises:
            ValueError: the weights are of another network.
        """
        import torch

        from apps.attributes.names import Layout
        from heads import MultiLabelClassifier

        parts = [f"{name}.{part}" for name in FACE_HEADS for part in ("weight", "bias")]
        if not set(parts) <= set(weights.others):
            raise ValueError(
                f"{weights.info.name} has no heads {', '.join(FACE_HEADS)}; give the face network, such as "
                "faces_mobilenetv1_1.0_224.safetensors, or a run of finetune attributes"
            )
        hidden, hidden_bias, gender, gender_bias, age, age_bias = (weights.others[part] for part in parts)
        layout, stride = Layout((GENDER,), {AGE: len(age)}), max(channels)
        head = MultiLabelClassifier(
            channels[stride], layout.names, groups=layout.groups, stride=stride, hidden=len(hidden)
        )
        head.load_state_dict({
            "hidden.weight": hidden, "hidden.bias": hidden_bias,
            "linear.weight": torch.cat([gender, age]), "linear.bias": torch.cat([gender_bias, age_bias]),
        })
        return PretrainedHead(head, layout.classes, {})

    def fit_head(self, head: MultiLabelClassifier, features: NDArray[np.float32], targets: Tensor) -> str:
        """Logistic regression on pooled features, hard or soft targets, put into the head."""
        from apps.engine.training.frozen.logistic import fit_logistic

        return fit_logistic(head, features, targets.numpy(), seed=self.settings.seed)

    def evaluator(
        self, images: MultiLabelDataset, classes: Sequence[str], calibration: Calibration | None = None
    ) -> Evaluator[Tensor, Tensor, AttributeEvaluation]:
        """Probabilities beside the labels, with the thresholds of the calibration."""
        from apps.attributes.data import evaluation_of
        from apps.attributes.names import Layout
        from apps.engine.evaluation.collecting import CollectingEvaluator

        layout, thresholds = Layout.of(classes), (calibration or {}).get("thresholds", {})
        head = self.head({32: 1}, classes)
        return CollectingEvaluator(lambda logits, targets, indices: evaluation_of(
            head.probabilities(logits).numpy(), targets.numpy(), layout, images.paths(indices), thresholds,
            owners=images.owners,
        ))

    def calibrate(
        self, raw: AttributeEvaluation
    ) -> tuple[AttributeEvaluation, Calibration, dict[str, float]]:
        """The threshold of each attribute that gives the best balanced accuracy.

        The honest figures, ``balanced_accuracy@chosen/NAME``, use for each half of the people the
        thresholds chosen on the other.
        """
        thresholds = raw.chosen_thresholds()
        kept: Calibration = {"thresholds": thresholds, "fitted_on": "val", "photos": len(raw.paths)}
        return replace(raw, thresholds=thresholds), kept, raw.crossed()

    def log_dict(self, metrics: Metrics) -> dict[str, float]:
        """Loss and average precision, the mean and each attribute's."""
        shown = [name for name in metrics if name == "mean_ap" or name.startswith("ap/")]
        return logged(metrics, {name: name for name in shown} | {"cross_entropy": "loss"})

    def report(self, folder: Path, inputs: ReportInputs[AttributeEvaluation]) -> list[Path]:
        """Metrics, precision over recall, calibration, groups and the worst mistakes."""
        from apps.attributes.report import write_report

        return write_report(
            folder, inputs.evaluation, title=inputs.title, cross_validated=inputs.cross_validated,
            facts=inputs.facts,
        )
