"""The application ``faces``: a student's vectors, learned from a teacher's."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from apps.engine.core.metrics import POSITIVE, Metric, Metrics, MetricTable, logged
from apps.engine.core.settings import REFUSED, Settings, option
from apps.engine.core.task import D, FilePredictor, Subject
from apps.engine.data.problems import ALL, Problems, Survey
from apps.engine.defaults import TaskDefaults
from apps.faces.lines import FaceLines

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from apps.engine.core.console import Console
    from apps.engine.core.run_dir import Calibration
    from apps.engine.core.task import Evaluator, Losses, ReportInputs
    from apps.faces.evaluator import FaceEvaluation
    from datasets.base import ImageDataset, Photo
    from datasets.faces.distillation import FaceDistillationDataset
    from datasets.faces.identities import Identities
    from heads import Embedding

LEAST_PEOPLE = 4  # people: two in each of two folds
FARS_KEPT = (1e-2, 1e-3, 1e-4)


METRICS = MetricTable("faces", (
    Metric("accuracy", True), Metric("accuracy_se", None), Metric("auc", True), Metric("eer", False),
    Metric("rank1", True), Metric("tar@far=*", True), Metric("threshold@far=*", None, "cosine", (-1.0, 1.0)),
    Metric("teacher_share@far=*", True, "fraction", POSITIVE),
), primary="auc", watchable=(  # auc, as rates of rare accepts need many images
    "accuracy", "eer", "tar@far=1e-2", "tar@far=1e-3", "tar@far=1e-4", "rank1"
))


@dataclass(frozen=True)
class FacesSettings(Settings):
    """Options of a student of faces."""

    example: ClassVar[str] = "--data people --weights mobilenetv1_1.0_224 --out runs/faces"
    finer_evaluation: ClassVar[bool] = False  # crops are of one scale
    refused: ClassVar[Mapping[str, str]] = {"sampling": REFUSED["sampling"]}

    data: Path | None = option(None, "folder with a folder a person in it, or LFW's layout; face crops")
    listing: Path | None = option(None, "file that lists the images of --data, a line each; default: all")
    val_folds: str | None = option(
        None, "folds of --data's pairs.txt whose people are evaluated on and never learned from, as in 7,8"
    )
    val_share: float = option(
        0.1, "without --val-folds: share of the people for validation", above=0, below=1
    )
    teacher: str | None = option(
        None, "a .npz file of vectors, facenet:vggface2, facenet:casia-webface, a run, or an .onnx file"
    )
    centre: bool = option(
        True, "learn the teacher's vectors less their mean: what all faces share tells nobody apart"
    )
    each_view: bool = option(
        False, "ask the teacher about each distorted view of a photo, not once about the photo"
    )
    dim: int = option(128, "length of the vectors; with a teacher, the teacher's", low=128, high=512)
    pooled: bool = option(True, "vectors from the mean of the last map, else from the whole of it")
    cosine: float = option(0.0, "weight of the loss term cosine", low=0)
    relational: float = option(0.0, "weight of the loss term relational", low=0)
    margin_loss: str = option(
        "none", "learn from the people's names, too", choices=("none", "arcface", "cosface")
    )
    margin: float = option(0.35, "of --margin-loss: radians of arcface, cosine of cosface", low=0, below=1)
    margin_scale: float = option(32.0, "by which --margin-loss multiplies cosines", above=0)
    dropout: float = option(0.0, "share of features dropped before the last layer", low=0, high=0.95)
    eval_crop: float = option(
        1.0, "share of an image's side that is seen when it is evaluated", above=0, high=1
    )
    min_crop: float | None = option(
        0.7, "least share of an image that a training crop shows", above=0, high=1
    )
    lr: float | None = option(1e-3, "learning rate of the head", above=0)
    backbone_lr: float | None = option(0.5, "the backbone's rate as a share of --lr", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.each_view and (self.teacher is None or self.freeze or Path(self.teacher).suffix == ".npz"):
            raise ValueError(
                "--each-view asks a network about what the student sees: give one as --teacher (.onnx, a "
                "run, facenet:...), not a file of vectors, and no --freeze"
            )
        if self.listing is not None:
            object.__setattr__(self, "listing", Path(self.listing).absolute())


class Faces(TaskDefaults[FacesSettings, "Embedding"]):
    """Photos of faces to unit vectors."""

    name: ClassVar[str] = "faces"
    Settings: ClassVar[type[Settings]] = FacesSettings
    metrics: ClassVar[MetricTable] = METRICS
    head_kind: ClassVar[str] = "embedding"
    head_outputs: ClassVar[tuple[str, ...]] = ("embedding",)
    subject: ClassVar[Subject] = "faces"
    file_predictor: ClassVar[FilePredictor | None] = FaceLines("faces")
    fit_head_distills: ClassVar[bool] = True
    check_splits: ClassVar[tuple[str, ...]] = (ALL,)

    @property
    def eval_crop(self) -> float | None:
        """As the settings say."""
        return self.settings.eval_crop

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> FaceDistillationDataset:
        """The images of the people to train on, or of those to evaluate on, with the teacher's vectors.

        Raises:
            OSError: images or the teacher's vectors are missing; :meth:`prepare` computes the latter.
            ValueError: there is nothing to learn from, or too few people.
        """
        from apps.faces.teachers import centred, kept_vectors
        from datasets.faces.distillation import FaceDistillationDataset
        from datasets.synthetic.drawn_dogs import default_cache

        s, (chosen, people, names, fixed) = self.settings, self._people(split)
        if s.teacher is None or split == "val":
            photos = FaceDistillationDataset(chosen, people, None)
            photos.fixed = fixed if split == "train" else {}
            return photos
        folder = default_cache() / "teachers"
        vectors, gone = kept_vectors(s.teacher, [p.path for p in chosen], names, folder=folder)
        known = vectors[~gone]
        mean = known.mean(axis=0) if s.centre else None
        if mean is not None:
            known = centred(known, mean)
        kept = [p for p, missing in zip(chosen, gone, strict=True) if not missing]
        photos = FaceDistillationDataset(kept, people, known)
        photos.fixed, photos.mean = fixed, mean
        photos.notes += [f"{gone.sum()} photos have no vector of the teacher: left out"] if gone.any() else []
        return photos

    def fixed(self, images: D) -> D:
        """As they are: :meth:`dataset` moves them between people, whom it then numbers."""
        return images

    def check_dataset(self, split: str) -> ImageDataset:
        """All people, whether or not there is something to learn from."""
        from apps.faces.checks import People
        from datasets.faces.lfw import people_folder

        return People(people_folder(self.data), listing=self.settings.listing)

    def problems(self, survey: Survey) -> Problems:
        """Folders that hold two people, and people in two folders."""
        from apps.faces.checks import people_problems

        return people_problems(survey)

    def prepare(self, split: str, console: Console, *, classes: Sequence[str] | None = None) -> None:
        """Compute the teacher's vectors of the images to train on, unless they are kept already."""
        if self.settings.teacher is None or split == "val":
            return
        from apps.faces.teachers import teacher_vectors
        from datasets.synthetic.drawn_dogs import default_cache

        chosen, _, names, _ = self._people(split)
        teacher_vectors(
            self.settings.teacher, [p.path for p in chosen], names, folder=default_cache() / "teachers",
            console=console,
        )

    def _people(self, split: str) -> tuple[list[Photo], list[str], list[str], dict[str, int]]:
        """The images of a split, a word a person, their names for a teacher's file, what --fix did."""
        from datasets.faces.identities import Identities
        from datasets.faces.lfw import people_folder

        s = self.settings
        if s.teacher is None and s.margin_loss == "none":
            raise ValueError("nothing to learn from: give --teacher, or --margin-loss arcface or cosface")
        root = people_folder(self.data)
        photos = super().fixed(Identities(root, listing=s.listing))
        part = photos.subset(self._part(photos, split))
        numbers = {label: n for n, label in enumerate(sorted({p.label for p in part.photos}))}
        names = [str(p.path.relative_to(root).with_suffix("")) for p in part.photos]
        chosen = [replace(p, label=numbers[p.label]) for p in part.photos]
        return chosen, [f"person {n}" for n in range(len(numbers))], names, photos.fixed

    def _part(self, photos: Identities, split: str) -> list[int]:
        """Which photos: nobody is in both splits."""
        held = self._held_out(photos)
        counts = zip(photos.classes, photos.counts(), strict=True)
        several = [person for person, count in counts if person in held and count > 1]
        if len(held) < LEAST_PEOPLE or len(several) < 2 or len(held) == len(photos.classes):
            raise ValueError(
                f"of the {len(photos.classes)} people in {self.settings.data} {len(held)} are left to "
                f"evaluate on, {len(several)} of them with two photos; {LEAST_PEOPLE} and 2 are needed, and "
                f"others to learn from: give more people, or another --val-share or --val-folds"
            )
        people = [photos.classes[photo.label] for photo in photos.photos]
        return [n for n, person in enumerate(people) if (person in held) == (split == "val")]

    def _held_out(self, photos: Identities) -> set[str]:
        from datasets.faces.lfw import LFW

        s = self.settings
        if s.val_folds is not None:
            try:
                folds = [int(word) for word in s.val_folds.split(",")]
            except ValueError as err:
                raise ValueError(f"--val-folds are numbers such as 7,8, got {s.val_folds!r}") from err
            return {name.split("/")[0] for name in LFW(self.data, folds=folds).paths}
        people = sorted(photos.classes)
        random.Random(f"{s.seed} faces").shuffle(people)
        return set(people[: max(LEAST_PEOPLE, round(len(people) * s.val_share))])

    def head(self, channels: dict[int, int], classes: Sequence[str]) -> Embedding:
        """An embedding of the deepest map."""
        from heads import Embedding
        from heads.arcface import AngularMargin

        s = self.settings
        stride = max(channels)
        side = -(-(s.resolution or 224) // stride)
        margin = None if s.margin_loss == "none" else AngularMargin(
            len(classes), s.dim, margin_type=s.margin_loss, margin=s.margin, scale=s.margin_scale
        )
        return Embedding(
            channels[stride], s.dim, map_size=None if s.pooled else side, cosine_weight=s.cosine,
            relational_weight=s.relational, dropout=s.dropout, stride=stride, margin_loss=margin,
        )

    def fit_head(self, head: Embedding, features: NDArray[np.float32], targets: dict[str, Tensor]) -> str:
        """A ridge regression from features to the teacher's vectors, put into the head."""
        import torch
        from sklearn.linear_model import RidgeCV

        if "vector" not in targets:
            return "no teacher: the head starts at random"
        vectors = targets["vector"].numpy()
        fitted = RidgeCV(alphas=[10.0**n for n in range(7)]).fit(features, vectors)
        with torch.no_grad():
            head.linear.weight.copy_(torch.as_tensor(fitted.coef_))
            head.linear.bias.copy_(torch.as_tensor(fitted.intercept_))
        return f"head fitted to the teacher's vectors by ridge regression, strength {fitted.alpha_:g}"

    def losses(self, head: Embedding, images: FaceDistillationDataset) -> Losses[dict[str, Tensor]]:
        """The difference from the teacher's vectors, and the margin where it is asked for."""
        from apps.engine.training.losses import plain_losses
        from apps.faces.each_view import ViewTeacher, on_views
        from apps.faces.teachers import open_teacher

        vectors = images.vectors
        if vectors is not None and vectors.shape[1] != self.settings.dim:
            raise ValueError(
                f"the teacher's vectors have {vectors.shape[1]} dimensions; give --dim {vectors.shape[1]}"
            )

        losses = plain_losses(head)
        if not self.settings.each_view:
            return losses
        return on_views(losses, ViewTeacher(*open_teacher(str(self.settings.teacher)), images.mean))

    def evaluator(
        self, images: FaceDistillationDataset, classes: Sequence[str], calibration: Calibration | None = None
    ) -> Evaluator[Tensor, dict[str, Tensor], FaceEvaluation]:
        """Vectors with the person of each."""
        from apps.engine.evaluation.collecting import CollectingEvaluator
        from apps.faces.evaluator import FaceEvaluation

        return CollectingEvaluator(lambda vectors, targets, indices: FaceEvaluation(
            vectors.numpy(), targets["person"].numpy(), images.paths(indices)
        ))

    def calibrate(self, raw: FaceEvaluation) -> tuple[FaceEvaluation, Calibration, dict[str, float]]:
        """The thresholds at some rates of false accepts, for crops as they were evaluated."""
        from apps.faces.verification.protocol import far_name

        s = self.settings
        people = f"people of folds {s.val_folds}" if s.val_folds else f"{s.val_share:g} of the people"
        thresholds = {far_name(p.far): p.threshold for p in raw.points if p.far in FARS_KEPT}
        source = f"{len(raw.people)} photos of {self.data.name}, {people}, all against all"
        return raw, {"faces": {"none": {"source": source, "thresholds": thresholds}}}, {}

    def log_dict(self, metrics: Metrics) -> dict[str, float]:
        """Accuracy of pairs, rates of true accepts, and rank 1."""
        return logged(metrics, ("accuracy", "tar@far=1e-2", "tar@far=1e-3", "tar@far=1e-4", "rank1"))

    def report(self, folder: Path, inputs: ReportInputs[FaceEvaluation]) -> list[Path]:
        """The report of ``evaluate faces``."""
        from apps.faces.verification.report import write_report

        named = inputs.evaluation.verification(inputs.config.backbone.name)
        return write_report(folder, [named], self.data)
