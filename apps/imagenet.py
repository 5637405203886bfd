"""The 1000 classes of ImageNet: a pretrained network as it is, or trained further on the same classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from apps.classification.task import ClassificationSettings, ClassificationTask
from apps.engine.core.settings import Settings

if TYPE_CHECKING:
    from datasets.base import ImageDataset

NEEDS = "--data DIR with train/WNID/*.JPEG and val/WNID/*.JPEG"


@dataclass(frozen=True)
class ImageNetSettings(ClassificationSettings):
    """Options of ``finetune imagenet`` and ``evaluate imagenet``."""


class ImageNet(ClassificationTask[ImageNetSettings]):
    """The application: always all 1000 classes, in the order of their WordNet numbers."""

    name: ClassVar[str] = "imagenet"
    Settings: ClassVar[type[Settings]] = ImageNetSettings

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> ImageDataset:
        """Photos whose labels are numbers of the 1000 classes.

        Args:
            split: ``train`` for ``train/WNID``, ``val`` for any layout of the validation images.
            classes: those of the model, which must be the 1000.

        Raises:
            OSError: the images, or the list of their labels, are missing.
            ValueError: images or list do not fit, or the model has other classes.
        """
        from datasets.classification.imagenet import ImageNetTrain, ImageNetVal

        if classes is not None and tuple(classes) != imagenet_classes():
            raise ValueError(
                f"the model has {len(classes)} classes of its own ({', '.join(classes[:3])}, ...), not "
                "ImageNet's 1000 in their order; give another --checkpoint"
            )
        data = self.data
        if _is_sample(data):
            raise ValueError(f"imagenet has no drawn sample: give {NEEDS}; some of the 1000 classes will do")
        return ImageNetTrain(data) if split == "train" else ImageNetVal(data)


def imagenet_classes() -> tuple[str, ...]:
    """The 1000 names in the order of the weights (by WordNet number), each different."""
    from datasets.classification.imagenet import imagenet_classes as names

    return names()


def _is_sample(data: Path) -> bool:
    """Whether images are the drawn sample, which training takes where no ``--data`` is given."""
    from datasets.synthetic.drawn_dogs import drawn_dogs_root

    return (data / "README.txt").is_file() and data == drawn_dogs_root()
