"""The 1000 classes of ImageNet: a pretrained network as it is, or trained further on the same classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from apps.classification.breeds import BREEDS, least_share
from apps.classification.task import ClassificationSettings, ClassificationTask
from apps.engine.core.settings import Settings
from apps.engine.core.task import PretrainedHead

if TYPE_CHECKING:
    from apps.engine.core.run_dir import RunConfig
    from apps.engine.core.spec import HeadSpec
    from backbone import Weights
    from datasets.base import ImageDataset
    from heads import Classifier

NEEDS = "--data DIR with train/WNID/*.JPEG and val/WNID/*.JPEG"


@dataclass(frozen=True)
class ImageNetSettings(ClassificationSettings):
    """Options of ``finetune imagenet`` and ``evaluate imagenet``."""

    example: ClassVar[str] = "--data ILSVRC2012 --epochs 90 --out runs/imagenet"


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

    def pretrained_head(self, weights: Weights, channels: dict[int, int]) -> PretrainedHead[Classifier]:
        """The classifier of the 1000 classes, as it is.

        Raises:
            ValueError: the weights bring none.
        """
        from backbone.pretrained import IMAGENET

        if IMAGENET not in weights.info.classes or not weights.classifier:
            raise ValueError(
                f"weights {weights.info.name} bring no classifier of the 1000 ImageNet classes; say with "
                "--app what else they answer, such as attributes for the face network"
            )
        classes = imagenet_classes()
        head = self.head(channels, classes)
        head.linear.load_state_dict(weights.classifier)
        return PretrainedHead(head, classes, {})

    def head_spec(self, head: Classifier, config: RunConfig) -> HeadSpec:
        """Logits of the classes, and which of them are breeds."""
        from apps.engine.core.spec import HeadSpec

        breeds = {"rows": list(BREEDS), "least": least_share(config.backbone.name)}
        return HeadSpec.of("classes", config, ("logits",), breeds=breeds)


def imagenet_classes() -> tuple[str, ...]:
    """The 1000 names in the order of the weights (by WordNet number), each different."""
    from datasets.classification.imagenet import imagenet_classes as names

    return names()


def _is_sample(data: Path) -> bool:
    """Whether images are the drawn sample, which training takes where no ``--data`` is given."""
    from datasets.synthetic.drawn_dogs import drawn_dogs_root

    return (data / "README.txt").is_file() and data == drawn_dogs_root()
