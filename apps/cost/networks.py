"""The networks of the paper's tables, and any of timm's, built to be counted: shapes without values."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from apps.cost.paper_tables import Network
from backbone import MobileNetV1, register_timm_models
from heads import Classifier, MultiHead

OURS = "mobilenetv1"
# torchvision's, as timm lacks them: name -> side in pixels and arguments that spare side heads.
COMPARATORS: dict[str, tuple[int, dict[str, bool]]] = {
    "alexnet": (224, {}),
    "googlenet": (224, {"aux_logits": False, "init_weights": False}),
    "inception_v3": (299, {"aux_logits": False, "init_weights": False}),
    "squeezenet1_0": (224, {}),
    "vgg16": (224, {}),
}


class WholeMap(nn.Module):
    """A trunk, and a linear layer on its whole last map: the embedding students of Table 14.

    Shape:
        images: (B, 3, resolution, resolution)
        returns: (B, embedding)
    """

    def __init__(self, trunk: MobileNetV1, resolution: int, embedding: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.linear = nn.Linear(trunk.channels[32] * (-(-resolution // 32)) ** 2, embedding)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings of a batch."""
        numbers: Tensor = self.linear(self.trunk(images)[32].flatten(1))
        return numbers


def build_network(network: Network) -> nn.Module:
    """The network of a row, on the meta device: nothing is drawn and nothing is stored.

    Raises:
        ValueError: the width is not above 0, or one class is asked for.
    """
    if network.arch == OURS and not network.detector:
        return hollow(lambda: _mobilenet(network))
    if network.detector:
        from apps.cost.detectors import detector, vgg_detector

        if network.arch == "vgg16":
            return hollow(lambda: vgg_detector(network.detector, network.classes))
        return hollow(lambda: detector(network.detector, network.width, network.resolution, network.classes))
    return hollow(lambda: _comparator(network))


def hollow(make: Callable[[], nn.Module]) -> nn.Module:
    """What ``make`` makes, without memory where it can be made so."""
    try:
        with torch.device("meta"):
            return make()
    except RuntimeError:  # some networks look at values while they are built
        return make()


def _mobilenet(network: Network) -> nn.Module:
    trunk = MobileNetV1(network.width, separable=network.separable, shallow=network.shallow)
    if network.embedding:
        return WholeMap(trunk, network.resolution, network.embedding)
    if network.classes == 0:
        return trunk
    return MultiHead(trunk, {"classes": Classifier(trunk.channels[32], network.classes)})


def _comparator(network: Network) -> nn.Module:
    import torchvision

    options = dict(COMPARATORS[network.arch][1])
    if network.auxiliary:
        options["aux_logits"] = True
    made: nn.Module = torchvision.models.get_model(
        network.arch, weights=None, num_classes=network.classes, **options
    )
    return made


def named_backbone(name: str, classes: int, resolution: int | None) -> tuple[nn.Module, int]:
    """A network by its name in timm, or one of the paper's comparators, and its image's side.

    Args:
        name: such as ``resnet50``, ``mobilenetv1_050`` or ``squeezenet1_0``.
        classes: of its own classifier; 0 for none, which only timm's networks know.
        resolution: side in pixels; None for what the network is made for.

    Raises:
        ValueError: there is no network of that name, timm cannot build it, or a comparator is to have
            no classifier.
    """
    import timm

    register_timm_models()
    if timm.is_model(name):
        try:
            model = hollow(lambda: _from_timm(name, classes, resolution))
        except RuntimeError as err:
            raise ValueError(f"timm cannot build {name!r}: {err}") from err
        return model, resolution or _own_size(model)
    if name not in COMPARATORS:
        raise ValueError(
            f"there is no network called {name!r}: give one of timm.list_models(), "
            f"or of {', '.join(COMPARATORS)}"
        )
    if classes < 1:
        raise ValueError(f"{name} comes with its classifier: give --classes 1 or more, got {classes}")
    side = resolution or COMPARATORS[name][0]
    return build_network(Network(name, resolution=side, classes=classes)), side


def _from_timm(name: str, classes: int, resolution: int | None) -> nn.Module:
    import timm

    plain: nn.Module
    if resolution is None:
        plain = timm.create_model(name, num_classes=classes)
        return plain
    try:
        plain = timm.create_model(name, num_classes=classes, img_size=resolution)
    except TypeError:  # convolutional networks take any size and no such argument
        plain = timm.create_model(name, num_classes=classes)
    return plain


def _own_size(model: nn.Module) -> int:
    """The side that timm states for a network."""
    cfg = model.pretrained_cfg
    return int(cfg["input_size"][-1])  # type: ignore[index]
