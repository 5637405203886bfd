"""Every registered task with the types of its settings, head, targets, outputs and evaluation.

mypy holds each against the contract in ``apps/engine/core/task.py``, and a test the table against the
registry.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from apps.attributes.evaluator import AttributeEvaluation
from apps.attributes.task import Attributes, AttributesSettings
from apps.dogs import Dogs, DogsSettings
from apps.engine.core.task import AnyTask, Evaluation, Task
from apps.engine.evaluation.classification import Predictions
from apps.faces.evaluator import FaceEvaluation
from apps.faces.task import Faces, FacesSettings
from apps.imagenet import ImageNet, ImageNetSettings
from apps.objects.coco_metrics import DetectionEvaluation
from apps.objects.task import Objects, ObjectsSettings
from apps.places.evaluator import PlaceEvaluation
from apps.places.task import Places, PlacesSettings
from datasets.base import ImageDataset
from datasets.detection.base import DetectionDataset
from datasets.faces.distillation import FaceDistillationDataset
from datasets.geo.geotagged import GeoDataset
from datasets.multilabel import MultiLabelDataset
from heads import Classifier, Embedding, GeoCells, Head, MultiLabelClassifier

Tensors = dict[str, Tensor]
Boxes = list[tuple[Any, ...]]
Detected = list[tuple[Tensor, Tensor, Tensor]]
dogs: type[Task[DogsSettings, Classifier, ImageDataset, Tensor, Tensor, Tensor, Predictions]] = Dogs
imagenet: type[
    Task[ImageNetSettings, Classifier, ImageDataset, Tensor, Tensor, Tensor, Predictions]
] = ImageNet
attributes: type[
    Task[
        AttributesSettings, MultiLabelClassifier, MultiLabelDataset, Tensor, Tensor, Tensor,
        AttributeEvaluation,
    ]
] = Attributes
faces: type[
    Task[FacesSettings, Embedding, FaceDistillationDataset, Tensor, Tensors, Tensor, FaceEvaluation]
] = Faces
places: type[
    Task[PlacesSettings, GeoCells, GeoDataset, Tensor, Tensors, Tensors, PlaceEvaluation]
] = Places
objects: type[
    Task[ObjectsSettings, Head, DetectionDataset, Any, Boxes, Detected, DetectionEvaluation]
] = Objects

TYPED_TASKS: dict[str, type[AnyTask]] = {
    "dogs": dogs, "imagenet": imagenet, "attributes": attributes, "faces": faces, "places": places,
    "objects": objects,
}
EVALUATIONS: tuple[type[Evaluation], ...] = (
    Predictions, AttributeEvaluation, FaceEvaluation, PlaceEvaluation, DetectionEvaluation
)
