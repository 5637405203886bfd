"""What applications that name one class an image have in common: head, terms, figures, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from apps.engine.core.metrics import POSITIVE, Metric, Metrics, MetricTable, logged
from apps.engine.core.settings import Settings, option
from apps.engine.defaults import TaskDefaults

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from apps.engine.core.run_dir import Calibration
    from apps.engine.core.task import Evaluator, Losses, ReportInputs
    from apps.engine.evaluation.classification import Predictions
    from datasets.base import ImageDataset
    from heads import Classifier


METRICS = MetricTable("an application of one class a photo", (
    Metric("top1", True), Metric("top5", True), Metric("ece", False),
    Metric("cross_entropy", False, "nats", POSITIVE),
), primary="top1", watchable=("top5", "ece", "cross_entropy"))


@dataclass(frozen=True)
class ClassificationSettings(Settings):
    """Options of the head and its loss."""

    refused: ClassVar[Mapping[str, str]] = {}

    smoothing: float = option(0.1, "label smoothing, 0 to 1", low=0, high=0.99)
    dropout: float = option(0.0, "share of features dropped before the last layer", low=0, high=0.95)
    mixup: float = option(0.0, "strength of mixup: blends of two images and their labels", low=0)
    cutmix: float = option(0.0, "strength of cutmix: a rectangle of one image in another", low=0)
    class_weights: str = option(
        "none", "balanced: rare classes weigh more in the loss", choices=("none", "balanced")
    )
    tta: str = option(
        "none", "views of an image whose answers are averaged when it is evaluated",
        choices=("none", "mirror", "ten", "scales"),
    )
    teacher_weight: float = option(0.5, "share of the loss that --teacher gives", low=0, high=1)
    teacher_temperature: float = option(2.0, "how soft the teacher's answers are taken", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.class_weights == "balanced" and self.sampling == "balanced":
            raise ValueError("--class-weights balanced and --sampling balanced do the same twice; give one")


L = TypeVar("L", bound=ClassificationSettings)


class ClassificationTask(TaskDefaults[L, "Classifier"]):
    """The parts of the contract of an application that such applications share."""

    name: ClassVar[str]
    metrics: ClassVar[MetricTable] = METRICS
    head_kind: ClassVar[str] = "classes"
    head_outputs: ClassVar[tuple[str, ...]] = ("logits",)

    @property
    def tta(self) -> str:
        """As the settings say."""
        return self.settings.tta

    def head(self, channels: dict[int, int], classes: Sequence[str]) -> Classifier:
        """A classifier on the deepest map."""
        from heads import Classifier

        stride = max(channels)
        return Classifier(
            channels[stride], len(classes), stride=stride, dropout=self.settings.dropout,
            label_smoothing=self.settings.smoothing,
        )

    def fit_head(self, head: Classifier, features: NDArray[np.float32], targets: Tensor) -> str:
        """A linear probe on pooled features, put into the head; says how good it was."""
        from apps.engine.training.frozen.linear_probe import fit_probe

        probe = fit_probe(head, features, targets.numpy(), seed=self.settings.seed)
        if not probe.accuracy_by_strength:
            return "linear probe: too few photos to validate it"
        best = probe.accuracy_by_strength[probe.strength]
        return f"linear probe: C = {probe.strength:g}, {best:.1%} right in {probe.folds}-fold validation"

    def losses(self, head: Classifier, images: ImageDataset) -> Losses[Tensor]:
        """The loss of a batch: mixed images, weighed classes and a teacher where the settings say so."""
        from apps.engine.core.machine import choose_precision
        from apps.engine.data.class_weights import class_weights
        from apps.engine.data.samplers import as_floats
        from apps.engine.training.distillation import load_teacher, with_teacher
        from apps.engine.training.mixup import Mixer

        s = self.settings
        if s.class_weights != "none":
            head.set_class_weights(class_weights(images.counts(), "balanced"))
        mix = Mixer(len(images.classes), mixup=s.mixup, cutmix=s.cutmix) if s.mixup or s.cutmix else None
        teacher = None if s.teacher is None else load_teacher(
            Path(s.teacher), classes=images.classes, dtype=choose_precision(s.precision)
        )

        def losses(images: Tensor, model: nn.Module, targets: Tensor) -> dict[str, Tensor]:
            if mix is not None:
                images, targets = mix(as_floats(images), targets)
            output = model(images)
            answers = None if teacher is None else teacher(images)
            results: dict[str, Tensor] = head.loss(output, targets)
            if answers is None:
                return results
            return with_teacher(
                results, output, answers, temperature=s.teacher_temperature, weight=s.teacher_weight
            )

        return losses

    def evaluator(
        self, images: ImageDataset, classes: Sequence[str], calibration: Calibration | None = None
    ) -> Evaluator[Tensor, Tensor, Predictions]:
        """Logits beside the truth, at the temperature of the calibration."""
        from apps.engine.evaluation.classification import Predictions
        from apps.engine.evaluation.collecting import CollectingEvaluator

        temperature = (calibration or {}).get("temperature", 1.0)
        count = len(classes)  # without the logit of all others, where there is one
        return CollectingEvaluator(lambda logits, targets, indices: Predictions(
            logits.numpy()[:, :count], targets.numpy(), images.paths(indices), tuple(classes), temperature
        ))

    def calibrate(self, raw: Predictions) -> tuple[Predictions, Calibration, dict[str, float]]:
        """Temperature and the rule for the unknown, fitted on these images.

        Returns:
            The predictions at that temperature, what ``config.json`` keeps, and the figures that would
            flatter if they were taken from the fitted predictions: ``ece`` is cross-fitted, each fold
            evaluated with the temperature of the others.
        """
        from apps.engine.evaluation.calibration import cross_fitted_ece, fit_temperature, fit_unknown_rule

        temperature = fit_temperature(raw.logits, raw.targets)
        rule = fit_unknown_rule(raw.logits, raw.targets, temperature)
        kept: Calibration = {
            "temperature": temperature, "unknown": rule.to_dict(), "fitted_on": "val",
            "photos": len(raw.targets),
        }
        cross_validated = {"ece": cross_fitted_ece(raw.logits, raw.targets)} if len(raw.targets) > 1 else {}
        return replace(raw, temperature=temperature), kept, cross_validated

    def log_dict(self, metrics: Metrics) -> dict[str, float]:
        """Loss and top-1."""
        return logged(metrics, {"cross_entropy": "loss", "top1": "top1"})

    def report(self, folder: Path, inputs: ReportInputs[Predictions]) -> list[Path]:
        """The report of a classifier, with where the network looked."""
        from apps.classification.report import write_classification_report
        from apps.engine.reporting.thumbnails import looks, thumbnail

        cams = looks(inputs.model, self.name, inputs.config, inputs.evaluation)
        return write_classification_report(
            folder, title=inputs.title, predictions=inputs.evaluation, facts=inputs.facts,
            history=inputs.history, thumbnail=thumbnail, cams=cams, ece=inputs.cross_validated.get("ece"),
        )
