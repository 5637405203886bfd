"""The application ``objects``: boxes and classes, by SSD or Faster R-CNN."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from apps.engine.core.metric_table import POSITIVE, Metric, MetricTable
from apps.engine.core.settings import Settings, option

if TYPE_CHECKING:
    from torch import Tensor, nn

    from apps.engine.core.run_dir import RunConfig
    from apps.engine.core.spec import HeadSpec
    from apps.objects.coco_metrics import Judged
    from apps.objects.transforms import ToSquare
    from backbone import Backbone
    from datasets.detection.base import BoxedPhotos
    from heads import Head

USUAL_CROPS = (0.35, 0.8)  # what the engine fills in
SHOWN = 0.3  # least score that is told unless asked otherwise
SIDES = {"ssd300": 300, "frcnn300": 300, "frcnn600": 600, "frcnn-fpn": 320}


METRICS = MetricTable("objects", (
    *(Metric(name, True) for name in (
        "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small",
        "ar_medium", "ar_large", "ap/*",
    )),
    Metric("errors/right", True, "count", POSITIVE), Metric("errors/*", False, "count", POSITIVE),
), primary="ap50")


@dataclass(frozen=True)
class ObjectsSettings(Settings):
    """Options of ``finetune objects``."""

    judged_finer: ClassVar[bool] = False  # boxes are judged at the size that they are learned at

    data: Path | None = option(None, "boxes: COCO's, Pascal VOC's or YOLO's layout, or train.csv and val.csv")
    head: str = option("ssd300", "the detector; --resolution changes its size", choices=tuple(SIDES))
    augment: str = option(
        "ssd", "distortions: ssd (colour, zoom out, crop by overlap, mirror), mirror or none",
        choices=("ssd", "mirror", "none"),
    )

    def __post_init__(self) -> None:
        if self.resolution is None:
            object.__setattr__(self, "resolution", SIDES.get(self.head))
        super().__post_init__()
        if self.resolution is not None and self.resolution < 64:
            raise ValueError(f"--resolution must be 64 or more for objects, got {self.resolution}")
        if self.train_resolution not in (None, self.resolution):
            raise ValueError("--train-resolution must be --resolution for objects; leave it out")
        if self.sampling == "balanced":
            raise ValueError("--sampling balanced needs one class a photo; leave it out for objects")
        own = {
            "--erase": self.erase > 0, "--randaugment": self.randaugment is not None,
            "--jitter": self.jitter != 0.2, "--min-crop": self.min_crop not in (None, *USUAL_CROPS),
        }
        for flag in (flag for flag, given in own.items() if given):
            raise ValueError(f"{flag} would move no box with its photo; use --augment for objects")
        if self.teacher is not None:
            raise ValueError("--teacher needs class logits; leave it out for objects")
        if self.freeze and self.epochs is None:
            raise ValueError("--freeze fits no detector at once; give --epochs, too")
        if self.freeze:
            object.__setattr__(self, "cached_features", False)


class Objects:
    """Photos to boxes with classes."""

    name: ClassVar[str] = "objects"
    Settings: ClassVar[type[Settings]] = ObjectsSettings
    has_sample: ClassVar[bool] = False
    monitor: ClassVar[str] = "ap50"
    figures: ClassVar[tuple[str, ...]] = ("ap", "ap50", "ap75")
    predict_options: ClassVar[frozenset[str]] = frozenset({"top"})
    metric_table: ClassVar[MetricTable] = METRICS

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def square(self) -> ToSquare:
        """How photos come onto the square that the network sees: SSD squashes, Faster R-CNN pads."""
        from apps.objects.transforms import ToSquare

        return ToSquare(self.settings.resolution, keep_aspect=not self.settings.head.startswith("ssd"))

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> BoxedPhotos:
        """Boxes in whichever layout the folder has."""
        from apps.objects.layouts import read_boxes
        from apps.objects.transforms import Augmented
        from datasets.detection.base import BoxedPhotos

        photos = BoxedPhotos(read_boxes(Path(self.settings.data), split), classes)
        square = self.square()
        photos.transforms = (Augmented(square, self.settings.augment), square)
        return photos

    def head(self, channels: dict[int, int], classes: Sequence[str]) -> Head:
        """The detector that the settings name."""
        from heads import SSD, FasterRCNN, FasterRCNNPyramid

        kinds: dict[str, Any] = {"ssd": SSD, "frcnn-fpn": FasterRCNNPyramid}
        name = self.settings.head
        kind = kinds.get(name, kinds["ssd"] if name.startswith("ssd") else FasterRCNN)
        strides = (16, 32) if kind is FasterRCNN else kind.strides
        widths = [channels[stride] for stride in strides]
        made: Head = kind(widths, len(classes), size=self.settings.resolution)
        return made

    def adopt(self, network: Backbone, head: Any) -> None:
        """C4: the box head starts as the backbone's last stage, which itself is then not learned."""
        from heads import FasterRCNN

        if not isinstance(head, FasterRCNN):
            return
        stage: Any = getattr(network, "blocks", [None])[-1]
        own: Any = head.roi.box_head
        state = {} if stage is None else stage.state_dict()
        if state.keys() != own.blocks.state_dict().keys():
            raise ValueError("--head frcnn300 and frcnn600 need MobileNetV1; use --head frcnn-fpn")
        own.blocks.load_state_dict(state)
        network.retire(stage)

    def fit_head(self, head: Any, features: Any, targets: Any) -> str:
        """Detectors have no closed-form start."""
        return "a detector's head is taught, not fitted"

    def losses(self, head: Any, photos: Any) -> Callable[[Tensor, nn.Module, Any], dict[str, Tensor]]:
        """The head's own loss terms."""
        from apps.engine.training.losses import plain_terms

        return plain_terms(head)

    def postprocess(self, head: Any, output: Any) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Boxes on the square, scores and labels a photo."""
        return [(one.boxes, one.scores, one.labels) for one in head.decode(output)]

    def predictions(
        self, outputs: Any, targets: Any, paths: tuple[str, ...], classes: Sequence[str],
        calibration: dict[str, Any] | None = None,
    ) -> Judged:
        """Detections beside the truth, in pixels of the photos."""
        from apps.objects.evaluator import judged

        return judged(outputs, targets, paths, classes, self.square())

    def head_spec(self, head: Any, config: RunConfig) -> HeadSpec:
        """Boxes on the square, scores and labels, suppressed already."""
        from apps.engine.core.spec import HeadSpec

        square = self.square()
        return HeadSpec.of(
            "detections", config, ("boxes", "scores", "labels"), size=square.side,
            resize="pad" if square.keep_aspect else "squash", shown=SHOWN,
        )

    @staticmethod
    def predict(paths: Iterable[Path], *, checkpoint: Path, **options: Any) -> Iterator[dict[str, Any]]:
        """The lines of ``detect``, for ``predict``."""
        from apps.objects.detect import detect

        return detect(paths, checkpoint=checkpoint, **options)

    def calibrate(self, raw: Judged) -> tuple[Judged, dict[str, Any], dict[str, float]]:
        """Nothing is calibrated."""
        return raw, {}, {}

    def metrics(self, predictions: Judged) -> dict[str, float]:
        """COCO's twelve figures, ``ap/NAME`` and counts of errors."""
        return predictions.figures

    def log_dict(self, figures: dict[str, float]) -> dict[str, float]:
        """What a line of ``metrics.jsonl`` tells of an epoch."""
        return {f"val/{name}": figures[name] for name in self.figures if name in figures}

    def count(self, predictions: Judged) -> int:
        """Photos judged."""
        return len(predictions.paths)

    def intervals(self, predictions: Judged) -> dict[str, list[float]]:
        """95 % bootstrap intervals over photos."""
        return predictions.spread

    def report(self, folder: Path, **parts: Any) -> list[Path]:
        """``report.html``: figures, precision against recall, errors, best and worst photos."""
        from apps.objects.report import write_objects_report

        return write_objects_report(
            folder, parts["title"], parts["predictions"], parts["facts"], history=parts["history"]
        )
