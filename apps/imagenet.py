"""The 1000 classes of ImageNet, with a pretrained network as it is: nothing to train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from apps.one_label import OneLabel, OneLabelSettings
from apps.settings import Settings

if TYPE_CHECKING:
    from datasets.photos import LabelledPhotos


@dataclass(frozen=True)
class ImageNetSettings(OneLabelSettings):
    """Options of ``evaluate imagenet``."""


class ImageNet(OneLabel):
    """The application: a validation folder with one folder a class, named by WordNet number."""

    name: ClassVar[str] = "imagenet"
    Settings: ClassVar[type[Settings]] = ImageNetSettings

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> LabelledPhotos:
        """Photos whose labels are numbers of the 1000 classes."""
        from datasets.folders import ImageFolders

        return ImageFolders(Path(self.settings.data), split, classes=classes or imagenet_classes())


def imagenet_classes() -> tuple[str, ...]:
    """The 1000 names in the order of the weights (by WordNet number), each different."""
    from timm.data import ImageNetInfo

    from datasets.wordnet import class_names

    return class_names(ImageNetInfo().label_names())
