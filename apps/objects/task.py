"""The application ``objects``: boxes and classes, by SSD or Faster R-CNN."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from apps.engine.core.metrics import POSITIVE, Metric, MetricTable
from apps.engine.core.settings import REFUSED, Settings, option
from apps.engine.core.task import FilePredictor, PretrainedHead, Subject
from apps.engine.data.problems import Problems, Survey
from apps.engine.defaults import TaskDefaults

if TYPE_CHECKING:
    from torch import Tensor

    from apps.engine.core.run_dir import Calibration, RunConfig
    from apps.engine.core.spec import HeadSpec
    from apps.engine.core.task import Evaluator, ReportInputs
    from apps.objects.coco_metrics import DetectionEvaluation
    from apps.objects.transforms import ToSquare
    from backbone import Backbone, Weights
    from datasets.detection.base import DetectionDataset
    from heads import Head

    BoxTargets = list[tuple[Any, ...]]  # a tuple of boxes, labels and what else an image has
    Detected = list[tuple[Tensor, Tensor, Tensor]]

MOVES_NO_BOX = "would move no box with its photo; use --augment for objects"
USUAL_CROPS = (0.35, 0.8)  # what the engine fills in
THRESHOLD = 0.3  # least score of an answer unless asked otherwise
SIDES = {"ssd300": 300, "ssd300-tf": 300, "frcnn300": 300, "frcnn600": 600, "frcnn-fpn": 320}
DEFAULT_HEAD, TENSORFLOW_HEAD = "ssd300", "ssd300-tf"
TENSORFLOW: dict[str, Any] = {"padding": "same", "anchors": "tensorflow", "score_converter": "sigmoid"}
SSD_LR, TWO_STAGE_LR = 2e-3, 1e-3  # of a head that starts at random on a trained backbone
LEAST_UPDATES, MOST_EPOCHS = 400, 100  # of a new detector, where nothing is said
LAST_CHANNELS = 1024  # of the backbone at width 1


METRICS = MetricTable("objects", (
    *(Metric(name, True) for name in (
        "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small",
        "ar_medium", "ar_large", "ap/*",
    )),
    Metric("errors/right", True, "count", POSITIVE), Metric("errors/*", False, "count", POSITIVE),
), primary="ap50", watchable=("ap", "ap75"))


@dataclass(frozen=True)
class ObjectsSettings(Settings):
    """Options of ``finetune objects``."""

    example: ClassVar[str] = "--data boxes --weights ssd_mobilenetv1_0.75_coco --out runs/objects"
    takes_folds: ClassVar[bool] = True
    finer_evaluation: ClassVar[bool] = False  # boxes are evaluated at the size that they are learned at
    refused: ClassVar[Mapping[str, str]] = REFUSED | dict.fromkeys(
        ("erase", "randaugment", "jitter"), MOVES_NO_BOX
    )

    data: Path | None = option(None, "boxes: COCO's, Pascal VOC's or YOLO's layout, or train.csv and val.csv")
    head: str | None = option(
        None, "the detector; ssd300-tf is TensorFlow's SSD; --resolution changes its size; default: that of "
        "the weights, else ssd300", choices=tuple(SIDES),
    )
    epochs: int | None = option(
        None, "passes over the training images; default: 12 with weights, 60 without, more for few images",
        low=1,
    )
    lr: float | None = option(
        None, "learning rate of the head; default: with weights 2e-3 for ssd300, 1e-3 for frcnn, 2e-4 where "
        "they bring the detector; 1e-2 from scratch", above=0,
    )
    augment: str = option(
        "ssd", "distortions: ssd (colour, zoom out, crop by overlap, mirror), mirror or none",
        choices=("ssd", "mirror", "none"),
    )

    def scaled(self, recipe: Mapping[str, Any], photos: int) -> Mapping[str, Any]:
        """A new detector wants a higher rate than a classifier, and few images more epochs."""
        if self.freeze or self.head == TENSORFLOW_HEAD:
            return recipe
        updates = -(-photos // (self.batch_size or min(32, photos)))
        epochs = min(max(recipe["epochs"], -(-LEAST_UPDATES // updates)), max(MOST_EPOCHS, recipe["epochs"]))
        rate = SSD_LR if self.head == DEFAULT_HEAD else TWO_STAGE_LR
        return {**recipe, "epochs": epochs, "lr": rate if self.weights is not None else recipe["lr"]}

    def __post_init__(self) -> None:
        if self.head is None and self.weights is None:
            object.__setattr__(self, "head", DEFAULT_HEAD)
        if self.resolution is None and self.head is not None:
            object.__setattr__(self, "resolution", SIDES.get(self.head))
        super().__post_init__()
        if self.resolution is not None and self.resolution < 64:
            raise ValueError(f"--resolution must be 64 or more for objects, got {self.resolution}")
        if self.train_resolution not in (None, self.resolution):
            raise ValueError("--train-resolution must be --resolution for objects; leave it out")
        if self.min_crop not in (None, *USUAL_CROPS):
            raise ValueError(f"--min-crop {MOVES_NO_BOX}")
        if self.freeze:
            object.__setattr__(self, "cached_features", False)


def predict_boxes(
    paths: Iterable[Path], *, checkpoint: Path, crops: bool = False, detector: str | None = None, **how: Any,
) -> Iterator[dict[str, Any]]:
    """The lines of ``detect``, for ``predict``."""
    from apps.objects.detect import detect

    del crops, detector
    return detect(paths, str(checkpoint), threshold=THRESHOLD, **how)


class Objects(TaskDefaults[ObjectsSettings, "Head"]):
    """Photos to boxes with classes."""

    name: ClassVar[str] = "objects"
    Settings: ClassVar[type[Settings]] = ObjectsSettings
    metrics: ClassVar[MetricTable] = METRICS
    head_kind: ClassVar[str] = "detections"
    subject: ClassVar[Subject] = "own"
    file_predictor: ClassVar[FilePredictor | None] = predict_boxes

    def square(self) -> ToSquare:
        """How images come onto the square that the network sees: SSD squashes, Faster R-CNN pads."""
        from apps.objects.transforms import ToSquare

        name = self.settings.head or DEFAULT_HEAD
        return ToSquare(self.settings.resolution or SIDES[name], keep_aspect=not name.startswith("ssd"))

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> DetectionDataset:
        """Boxes in whichever layout the folder has."""
        from apps.objects.transforms import Augmented
        from datasets.detection.base import DetectionDataset
        from datasets.detection.layouts import read_split

        s = self.settings
        if s.fold is None:
            photos = DetectionDataset(read_split(self.data, split, s.seed), classes)
        else:
            from apps.engine.data.folds import folded

            train = DetectionDataset(read_split(self.data, "train", s.seed), classes)
            val = DetectionDataset(read_split(self.data, "val", s.seed), classes or train.classes)
            photos = folded(train, val, split, s.fold, s.seed)
        square = self.square()
        photos.transforms = (Augmented(square, self.settings.augment), square)
        return photos

    def check_dataset(self, split: str) -> DetectionDataset:
        """The same without distortions; boxes that break the rules are left out and reported."""
        from datasets.detection.base import DetectionDataset
        from datasets.detection.layouts import read_split

        return DetectionDataset(read_split(self.data, split, self.settings.seed, lenient=True))

    def problems(self, survey: Survey) -> Problems:
        """Boxes that cannot be right, and such that a detector doubts."""
        from apps.objects.checks import box_problems

        return box_problems(survey)

    def learned_nothing(self, evaluation: DetectionEvaluation) -> str:
        """Where next to nothing is found."""
        from apps.objects.checks import learned_nothing

        return learned_nothing(evaluation.metrics()["ap50"], self.data)

    def head(self, channels: dict[int, int], classes: Sequence[str]) -> Head:
        """The detector that the settings name."""
        from heads import SSD, FasterRCNN, FasterRCNNPyramid

        kinds: dict[str, Any] = {"ssd": SSD, "frcnn-fpn": FasterRCNNPyramid}
        name = self.settings.head or DEFAULT_HEAD
        kind = kinds.get(name, kinds["ssd"] if name.startswith("ssd") else FasterRCNN)
        strides = (16, 32) if kind is FasterRCNN else kind.strides
        widths = [channels[stride] for stride in strides]
        variant = TENSORFLOW | {"width": widths[-1] / LAST_CHANNELS} if name == TENSORFLOW_HEAD else {}
        made: Head = kind(widths, len(classes), size=self.settings.resolution, **variant)
        return made

    @classmethod
    def with_weights(cls, settings: Any, weights: Weights) -> Any:
        """The detector of the weights, where ``--head`` names none.

        Raises:
            ValueError: theirs is none of the detectors that ``--head`` knows.
        """
        if settings.head is not None:
            return settings
        brought = weights.info.head
        if not brought:
            return replace(settings, head=DEFAULT_HEAD)
        arguments = brought["arguments"]
        if brought["kind"] != "ssd" or {key: arguments.get(key) for key in TENSORFLOW} != TENSORFLOW:
            raise ValueError(
                f"the detector of weights {weights.info.name} cannot be trained on; give --head "
                f"{DEFAULT_HEAD} to take their backbone alone"
            )
        return replace(
            settings, head=TENSORFLOW_HEAD, resolution=settings.resolution or arguments["size"]
        )

    def pretrained_head(self, weights: Weights, channels: dict[int, int]) -> PretrainedHead[Head]:
        """The SSD that weights bring.

        Raises:
            ValueError: they bring none.
        """
        from apps.engine.core.model import pretrained_ssd

        return PretrainedHead(pretrained_ssd(weights, channels), tuple(weights.info.head["classes"]), {})

    def start_head(self, head: Head, classes: Sequence[str], weights: Weights) -> str:
        """All of the weights' SSD but the rows of classes that it does not know."""
        if self.settings.head != TENSORFLOW_HEAD or not weights.info.head:
            return ""
        from apps.objects.start import start_ssd
        from heads import SSD

        assert isinstance(head, SSD)
        return start_ssd(head, classes, weights, freeze_bn_stats=self.settings.bn in ("auto", "frozen"))

    def init_head(self, backbone: Backbone, head: Head) -> None:
        """C4: the box head starts as the backbone's last stage, which itself is then not learned."""
        from backbone import MobileNetV1
        from heads import FasterRCNN

        if not isinstance(head, FasterRCNN):
            return
        box_head: Any = head.roi.box_head
        if not isinstance(backbone, MobileNetV1) or (
            backbone.blocks[-1].state_dict().keys() != box_head.blocks.state_dict().keys()
        ):
            raise ValueError("--head frcnn300 and frcnn600 need MobileNetV1; use --head frcnn-fpn")
        box_head.blocks.load_state_dict(backbone.blocks[-1].state_dict())
        backbone.detach_unused(backbone.blocks[-1])

    def postprocess(self, head: Head, output: Any) -> Detected:
        """Boxes on the square, scores and labels an image."""
        return [(item.boxes, item.scores, item.labels) for item in head.decode(output)]

    def evaluator(
        self, images: DetectionDataset, classes: Sequence[str], calibration: Calibration | None = None
    ) -> Evaluator[Detected, BoxTargets, DetectionEvaluation]:
        """Detections beside the truth, in pixels of the images."""
        from apps.engine.evaluation.collecting import CollectingEvaluator
        from apps.objects.evaluator import as_evaluation

        return CollectingEvaluator(lambda outputs, targets, indices: as_evaluation(
            outputs, targets, images.paths(indices), classes, self.square()
        ))

    def head_spec(self, head: Head, config: RunConfig) -> HeadSpec:
        """Boxes on the square, scores and labels, suppressed already."""
        from apps.engine.core.spec import HeadSpec
        from heads import SSD

        square, made = self.square(), cast("Any", head)
        limits = {name: getattr(made, name) for name in ("score_thresh", "nms_thresh", "detections_per_img")}
        if isinstance(head, SSD):
            limits["topk_candidates"] = head.topk_candidates
        return HeadSpec.of(
            self.head_kind, config, ("boxes", "scores", "labels"), size=square.side,
            resize="pad" if square.keep_aspect else "squash", threshold=THRESHOLD, **limits,
        )

    def graph_head(self, head: Head) -> Any:
        """The detector with its boxes decoded and suppressed."""
        from apps.engine.inference.graph.boxes import DecodedSSD
        from apps.engine.inference.graph.two_stage import DecodedTwoStage
        from heads import SSD

        return DecodedSSD(head) if isinstance(head, SSD) else DecodedTwoStage(cast("Any", head))

    def report(self, folder: Path, inputs: ReportInputs[DetectionEvaluation]) -> list[Path]:
        """``report.html``: metrics, precision against recall, errors, best and worst images."""
        from apps.objects.report import write_objects_report

        return write_objects_report(
            folder, inputs.title, inputs.evaluation, inputs.facts, history=inputs.history
        )
