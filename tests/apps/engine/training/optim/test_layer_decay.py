"""Layers by depth, and stages that thaw from the top."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from apps.engine.training.optim.layer_decay import apply_unfreezing, backbone_layers, unfrozen_at
from apps.engine.training.optim.optimizers import make_optimizer, parameter_groups
from backbone import MobileNetV1
from backbone.timm_backbone import TimmBackbone
from heads import Classifier, MultiHead


def test_mobilenet_has_a_stem_and_thirteen_blocks_in_six_stages() -> None:
    network = MobileNetV1(0.25)
    layers = backbone_layers(network)
    assert len(layers) == 14
    assert set(layers[0]) == {"conv_stem.weight", "bn1.weight", "bn1.bias"}
    assert all(name.startswith("blocks.3.5.") for name in layers[11])
    stages = backbone_layers(network, coarse=True)
    assert [len(stage) for stage in stages] == [3, 6, 12, 12, 36, 12]
    assert all(name.startswith("blocks.4.") for name in stages[-1])


@pytest.mark.parametrize(("name", "layers", "stages"), [
    ("resnet18", 9, 5), ("mobilenetv1_100", 14, 6), ("convnext_atto", 16, 5),
    ("vit_tiny_patch16_224", 13, 13),
])
def test_networks_of_timm_fall_into_layers_from_the_image_up(name: str, layers: int, stages: int) -> None:
    with torch.device("meta"):
        network = TimmBackbone(name)
    named = [key for key, _ in network.named_parameters()]
    for coarse, count in ((False, layers), (True, stages)):
        found = backbone_layers(network, coarse=coarse)
        assert sorted(one for layer in found for one in layer) == sorted(named)
        assert named[0] in found[0]
        assert named[-1] in found[-1]
        assert len(found) == count


def test_a_network_without_parameters_has_no_layers() -> None:
    with pytest.raises(ValueError, match="Identity has no parameters"):
        backbone_layers(nn.Identity())


def test_the_head_learns_alone_and_then_a_stage_more_from_the_top() -> None:
    stages = (("a",), ("b",), ("c",))
    seen = [unfrozen_at(epoch, every=2, stages=stages) for epoch in range(9)]
    assert seen == [(), (), (("c",),), (("c",),), (("b",), ("c",)), (("b",), ("c",)), stages, stages, stages]


@pytest.mark.parametrize(("epoch", "every"), [(0, 0), (-1, 1)])
def test_a_thaw_that_makes_no_sense_is_refused(epoch: int, every: int) -> None:
    with pytest.raises(ValueError, match=f"got {epoch} and {every}"):
        unfrozen_at(epoch, every=every, stages=(("a",),))


STAGES = backbone_layers(MobileNetV1(0.25), coarse=True)


def thaw(model: MultiHead, epoch: int) -> None:
    model.train()
    apply_unfreezing(model.backbone, unfrozen_at(epoch, every=1, stages=STAGES))


def model_at(epoch: int) -> MultiHead:
    torch.manual_seed(0)
    model = MultiHead(MobileNetV1(0.25), {"dogs": Classifier(256, 3)})
    thaw(model, epoch)
    return model


@pytest.mark.parametrize(("epoch", "moving"), [
    (0, ("heads.",)), (1, ("heads.", "backbone.blocks.4.")),
    (2, ("heads.", "backbone.blocks.4.", "backbone.blocks.3.")), (6, ("heads.", "backbone.")),
])
def test_frozen_stages_keep_weights_and_batch_norm_and_the_others_move(
    epoch: int, moving: tuple[str, ...]
) -> None:
    """`requires_grad_(False)` alone would let the statistics of the frozen stages drift."""
    model = model_at(6)
    groups = parameter_groups(model, lr=0.1, backbone_lr=1.0, weight_decay=0.1)
    optimizer = make_optimizer(groups, name="adamw")
    model(torch.rand(4, 3, 64, 64))["dogs"].sum().backward()  # a gradient that is left from before
    thaw(model, epoch)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(2):
        model(torch.rand(4, 3, 64, 64))["dogs"].square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) is not name.startswith(moving), name


def test_thawing_hangs_on_the_epoch_alone_whatever_was_before() -> None:
    """A resumed run comes from nothing, an uninterrupted one from the stage before."""
    for before in (0, 1, 6):
        model = model_at(before)
        thaw(model, 2)
        fresh = model_at(2)
        assert [m.training for m in model.modules()] == [m.training for m in fresh.modules()]
        assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in fresh.parameters()]


def test_freeze_bn_stats_stays_still_in_the_thawed_stages() -> None:
    network = MobileNetV1(0.25)
    network.freeze_bn_stats = True
    apply_unfreezing(network, backbone_layers(network))
    assert network.training
    assert not any(m.training for m in network.modules() if isinstance(m, nn.BatchNorm2d))


def test_a_name_that_the_backbone_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="MobileNetV1 has no parameter 'layer4'"):
        apply_unfreezing(MobileNetV1(0.25), (("layer4",),))
