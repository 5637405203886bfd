"""Fine-grained dog breeds: Stanford Dogs, one's own folders, or the drawn sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from apps.classification.breeds import BREEDS, least_share
from apps.classification.task import ClassificationSettings, ClassificationTask
from apps.engine.core.settings import Settings, option
from apps.engine.core.task import PretrainedHead

if TYPE_CHECKING:
    from backbone import Weights
    from datasets.base import ImageDataset
    from heads import Classifier

VAL_SHARE = 0.2  # of each class, where a folder has no val/


@dataclass(frozen=True)
class DogsSettings(ClassificationSettings):
    """Options of ``finetune dogs``."""

    example: ClassVar[str] = "--data photos --weights mobilenetv1_1.0_224 --freeze --out runs/mine"
    takes_folds: ClassVar[bool] = True

    crop: bool = option(False, "cut Stanford Dogs' images to their annotated box")


class Dogs(ClassificationTask[DogsSettings]):
    """The application: which images, which head, which figures."""

    name: ClassVar[str] = "dogs"
    has_sample: ClassVar[bool] = True
    Settings: ClassVar[type[Settings]] = DogsSettings

    def dataset(self, split: str, *, classes: Sequence[str] | None = None) -> ImageDataset:
        """Stanford Dogs where its lists or Images/ are seen, class folders otherwise."""
        from apps.engine.data.folds import folded
        from datasets.classification.folders import ImageFolders, has_split
        from datasets.classification.stanford_dogs import StanfordDogs, is_stanford_dogs

        root, fold = self.data, self.settings.fold
        if fold is not None:
            whole = Dogs(replace(self.settings, fold=None))
            parts = whole.dataset("train", classes=classes), whole.dataset("val", classes=classes)
            return folded(*parts, split, fold, self.settings.seed)
        if is_stanford_dogs(root):
            return StanfordDogs(root, split, crop=self.settings.crop, classes=classes)
        if has_split(root, "train") and not has_split(root, "val"):
            parts = ImageFolders(root, "train", classes=classes).split_off(VAL_SHARE, self.settings.seed)
            return parts[0 if split == "train" else 1]
        return ImageFolders(root, split, classes=classes)

    def pretrained_head(self, weights: Weights, channels: dict[int, int]) -> PretrainedHead[Classifier]:
        """The breeds of an ImageNet classifier, its other classes as one; or a classifier of other classes.

        An image shows no dog where all breeds together have less than :func:`least_share` of the probability.

        Raises:
            ValueError: the weights bring no classifier.
        """
        from backbone.pretrained import IMAGENET
        from datasets.classification.imagenet import imagenet_classes
        from heads import Classifier

        custom, stride = tuple(weights.info.classes), max(channels)
        if not weights.classifier or not custom:
            why = "no names of classes (import with --labels F)" if weights.classifier else "no classifier"
            raise ValueError(f"weights {weights.info.name} bring {why}: give others, or --checkpoint RUN")
        if IMAGENET not in custom:
            head = self.head(channels, custom)
            head.linear.load_state_dict(weights.classifier)
            return PretrainedHead(head, custom, {})
        names = imagenet_classes()
        order = [*BREEDS, *sorted(set(range(len(names))) - set(BREEDS))]
        head = Classifier(
            channels[stride], len(BREEDS), stride=stride, num_others=len(names) - len(BREEDS)
        )
        head.linear.load_state_dict({key: value[order] for key, value in weights.classifier.items()})
        rule = {"score": "known_share", "threshold": least_share(weights.info.name)}
        return PretrainedHead(head, tuple(names[row] for row in BREEDS), {"unknown": rule})
