"""Heads that turn a backbone's maps into answers: ``from heads import Classifier, MultiHead``."""

from heads.arcface import AngularMargin
from heads.base import Head
from heads.classifier import Classifier, TopK
from heads.detections import Detections
from heads.embedding import Embedding
from heads.faster_rcnn import FasterRCNN, FasterRCNNPyramid
from heads.geo import CellTopK, GeoCells
from heads.multi_head import MultiHead
from heads.multilabel import AttributeAnswer, MultiLabelClassifier
from heads.ssd import SSD

__all__ = [
    "SSD", "AngularMargin", "AttributeAnswer", "CellTopK", "Classifier", "Detections",
    "Embedding", "FasterRCNN", "FasterRCNNPyramid", "GeoCells", "Head", "MultiHead",
    "MultiLabelClassifier", "TopK",
]
