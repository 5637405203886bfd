"""The copy for inference gives what the network gives, and cannot be mistaken for one that learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from backbone import Backbone, MobileNetV1, Preprocessing, inference_model, load_weights
from backbone._cpu import kernels
from backbone.inference import fuse_conv_bn
from backbone.timm_backbone import TimmBackbone
from heads import Classifier, MultiHead

pytestmark = pytest.mark.computes


def lively(backbone: Backbone) -> Backbone:
    """Statistics and scales that are not the identity, or a fold that forgets one would not show."""
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return backbone.eval()


def furthest(maps: dict[int, torch.Tensor], other: dict[int, torch.Tensor]) -> float:
    assert list(maps) == list(other)
    return max(float((maps[s].float() - other[s].float()).abs().max()) for s in maps)


@pytest.fixture(params=["compiled", "plain"])
def _kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the compiled kernels where there is a compiler, and without them."""
    if request.param == "plain":
        monkeypatch.setattr(kernels, "library", lambda: None)
    elif kernels.library() is None:
        pytest.skip(kernels.state())


@torch.no_grad()
@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("arguments", [
    {}, {"padding": "symmetric"}, {"separable": False}, {"output_stride": 8}, {"eps": 1e-3},
    {"preprocessing": Preprocessing((0.4, 0.45, 0.5), (0.2, 0.3, 0.4), order="bgr")},
])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 98)])
def test_every_map_of_the_copy_equals_the_networks(
    arguments: dict[str, object], height: int, width: int
) -> None:
    """Zeros that pad must be zeros of the normalised image: a mean folded into the stem would show."""
    torch.manual_seed(0)
    backbone = lively(MobileNetV1(0.25, **arguments))  # type: ignore[arg-type]
    images = torch.rand(2, 3, height, width)
    assert furthest(inference_model(backbone)(images), backbone(images)) <= 1e-5


@torch.no_grad()
@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("how", [{}, {"plain": True}, {"dtype": torch.bfloat16}])
def test_plain_relu_is_not_cut_off_at_six(how: dict[str, Any]) -> None:
    torch.manual_seed(0)
    backbone = lively(MobileNetV1(0.25, activation="relu"))
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.mul_(2)
    images = torch.rand(2, 3, 64, 64)
    maps, expected = inference_model(backbone, **how)(images), backbone(images)
    assert max(float(wanted.max()) for wanted in expected.values()) > 12
    for stride, wanted in expected.items():
        assert (maps[stride].float() - wanted).norm() <= (0.05 if "dtype" in how else 1e-4) * wanted.norm()


@torch.no_grad()
def test_real_weights_survive_the_fold(weights_025: Path) -> None:
    weights = load_weights(str(weights_025))
    backbone = MobileNetV1(**weights.info.arguments, preprocessing=weights.info.preprocessing)
    backbone.load_state_dict(weights.state)
    images = torch.rand(2, 3, 128, 128)
    assert furthest(inference_model(backbone)(images), backbone.eval()(images)) <= 1e-4


@torch.no_grad()
@pytest.mark.usefixtures("_kernels")
def test_bfloat16_gives_the_maps_within_its_precision() -> None:
    torch.manual_seed(0)
    backbone = lively(MobileNetV1(0.25))
    images = torch.rand(2, 3, 64, 64)
    maps, expected = inference_model(backbone, torch.bfloat16)(images), backbone(images)
    for stride, wanted in expected.items():
        assert maps[stride].dtype == torch.bfloat16
        assert (maps[stride].float() - wanted).norm() <= 0.02 * wanted.norm()


@torch.no_grad()
@pytest.mark.parametrize("name", ["densenet121", "mobilenetv3_small_100", "vit_tiny_patch16_224"])
def test_networks_of_timm_give_the_same_maps_folded_or_not(name: str) -> None:
    """densenet's norms before a convolution stay; a vision transformer has none to fold."""
    torch.manual_seed(0)
    backbone = lively(TimmBackbone(name))
    images = torch.rand(1, 3, 224, 224)
    maps, expected = inference_model(backbone)(images), backbone(images)
    scale = max(float(wanted.abs().max()) for wanted in expected.values())
    assert furthest(maps, expected) <= 1e-4 * scale


@torch.no_grad()
def test_a_fold_that_changes_the_maps_is_not_used() -> None:
    """A convolution whose output goes to a norm and elsewhere must not take the norm in."""

    class Forked(Backbone):
        def __init__(self) -> None:
            super().__init__()
            self.channels = {1: 3}
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def features(self, normalised: torch.Tensor) -> dict[int, torch.Tensor]:
            x = self.conv(normalised)
            return {1: x + self.norm(x)}

    torch.manual_seed(0)
    backbone, images = lively(Forked()), torch.rand(1, 3, 32, 32)
    assert furthest(inference_model(backbone)(images), backbone(images)) <= 1e-6
    before = backbone(images)
    assert fuse_conv_bn(backbone, images) == 1
    assert furthest(backbone(images), before) > 0.01


def test_the_copy_has_no_batch_norm_no_gradients_and_stays_in_evaluation() -> None:
    copy = inference_model(lively(MobileNetV1(0.25)))
    model = MultiHead(copy, {"x": Classifier(256, 2)})
    model.train()
    assert not copy.training
    assert not list(copy.parameters())
    assert not [module for module in copy.modules() if isinstance(module, nn.BatchNorm2d)]
    assert not copy(torch.rand(1, 3, 32, 32, requires_grad=True))[32].requires_grad
    model(torch.rand(1, 3, 32, 32))["x"].sum().backward()  # the head still learns
    assert model.heads["x"].linear.weight.grad is not None


def test_heads_find_the_fingerprint_they_were_trained_on() -> None:
    backbone = MobileNetV1(0.25)
    copy = inference_model(backbone)
    assert copy.fingerprint() == backbone.fingerprint()
    assert (copy.channels, copy.preprocessing) == (backbone.channels, backbone.preprocessing)


def test_the_network_stays_as_it_was_and_later_changes_do_not_reach_the_copy() -> None:
    torch.manual_seed(0)
    backbone = lively(MobileNetV1(0.25))
    before, images = backbone.fingerprint(), torch.rand(1, 3, 32, 32)
    copy = inference_model(backbone)
    assert backbone.fingerprint() == before
    expected = copy(images)
    with torch.no_grad():
        backbone.conv_stem.weight.add_(1)
    assert furthest(copy(images), expected) == 0


def test_what_cannot_be_folded_is_refused_in_one_line() -> None:
    copy = inference_model(MobileNetV1(0.25))
    with pytest.raises(ValueError, match="inference model already; give the network it was made from"):
        inference_model(copy)
    with pytest.raises(ValueError, match=r"must be torch.float32 or torch.bfloat16, got torch.float16"):
        inference_model(MobileNetV1(0.25), torch.float16)
    with pytest.raises(RuntimeError, match="cannot be trained; unfreeze the network it was made from"):
        copy.unfreeze()
