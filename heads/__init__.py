"""Heads that turn a backbone's maps into answers: ``from heads import Classifier, MultiHead``."""

from heads.base import Head
from heads.classifier import Classifier, Ranking
from heads.embedding import Embedding
from heads.multi import MultiHead

__all__ = ["Classifier", "Embedding", "Head", "MultiHead", "Ranking"]
