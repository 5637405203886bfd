"""Fine-grained dog breeds: Stanford Dogs, one's own folders, or the drawn sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from apps.classification.task import ClassificationSettings, ClassificationTask
from apps.engine.core.settings import Settings, option

if TYPE_CHECKING:
    from datasets.base import ImageDataset

VAL_SHARE = 0.2  # of each class, where a folder has no val/


@dataclass(frozen=True)
class DogsSettings(ClassificationSettings):
    """Options of ``finetune dogs``."""

    crop: bool = option(False, "cut Stanford Dogs' images to their annotated box")


class Dogs(ClassificationTask[DogsSettings]):
    """The application: which images, which head, which figures."""

    name: ClassVar[str] = "dogs"
    has_sample: ClassVar[bool] = True
    Settings: ClassVar[type[Settings]] = DogsSettings

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> ImageDataset:
        """Stanford Dogs where its lists or Images/ are seen, class folders otherwise."""
        from datasets.classification.folders import ImageFolders, has_split
        from datasets.classification.stanford_dogs import StanfordDogs, is_stanford_dogs

        root = self.data
        if is_stanford_dogs(root):
            return StanfordDogs(root, split, crop=self.settings.crop, classes=classes)
        if has_split(root, "train") and not has_split(root, "val"):
            parts = ImageFolders(root, "train", classes=classes).split_off(VAL_SHARE, self.settings.seed)
            return parts[0 if split == "train" else 1]
        return ImageFolders(root, split, classes=classes)
