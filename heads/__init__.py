"""Heads that turn a backbone's maps into answers: ``from heads import Classifier, MultiHead``."""

from heads.attributes import AttributeAnswer, Attributes
from heads.base import Head
from heads.classifier import Classifier, Ranking
from heads.embedding import Embedding
from heads.geo_cells import CellRanking, GeoCells
from heads.multi import MultiHead

__all__ = [
    "AttributeAnswer", "Attributes", "CellRanking", "Classifier", "Embedding", "GeoCells", "Head",
    "MultiHead", "Ranking",
]
