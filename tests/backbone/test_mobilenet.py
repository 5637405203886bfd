"""MobileNetV1 against the paper, against timm, and against its own contract."""

from __future__ import annotations

import pytest
import torch
from timm.models.efficientnet import _gen_mobilenet_v1
from torch.utils.flop_counter import FlopCounterMode

from backbone import Backbone, MobileNetV1, Preprocessing
from backbone.mobilenet import same_padding, scale_channels
from heads import Classifier, MultiHead

pytestmark = pytest.mark.computes

# facts: M mult-adds with 1000 classes at 224, 192, 160, 128 px, and M parameters
FAMILY = {
    1.0: ((568.74, 418.12, 290.68, 186.40), 4.232),
    0.75: ((325.40, 239.27, 166.40, 106.77), 2.586),
    0.5: ((149.50, 109.97, 76.52, 49.16), 1.332),
    0.25: ((41.03, 30.21, 21.06, 13.57), 0.470),
}
RESOLUTIONS = (224, 192, 160, 128)


def classifier_of(width: float) -> MultiHead:
    backbone = MobileNetV1(width)
    return MultiHead(backbone, {"imagenet": Classifier(backbone.channels[32], 1000)}).eval()


def mult_adds(model: torch.nn.Module, resolution: int) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, resolution, resolution))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("width", FAMILY)
def test_cost_equals_the_written_table_for_all_sixteen_pairs(width: float) -> None:
    costs, parameters = FAMILY[width]
    model = classifier_of(width)
    assert [round(mult_adds(model, r) / 1e6, 2) for r in RESOLUTIONS] == list(costs)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 3) == parameters


def test_full_network_has_the_exact_cost_of_the_hand_formula() -> None:
    model = classifier_of(1.0)
    assert mult_adds(model, 224) == 568_740_352
    assert sum(p.numel() for p in model.parameters()) == 4_231_976
    assert sum(p.numel() for p in model.backbone.parameters()) == 3_206_976


def timms(width: float, padding: str) -> torch.nn.Module:
    """timm's own network; it registers width 1.0 only, but builds any."""
    pad_type = "same" if padding == "same" else ""
    return _gen_mobilenet_v1("mobilenetv1_100", width, pretrained=False, pad_type=pad_type)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("width", [0.25, 0.5, 1.0])
def test_logits_equal_timms_with_the_same_state(width: float, padding: str) -> None:
    """A wrong padding side, epsilon or activation would show as 0.1 and more."""
    torch.manual_seed(0)
    theirs = timms(width, padding)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    ours = MobileNetV1(width, padding=padding)  # type: ignore[arg-type]
    head = Classifier(ours.channels[32], 1000)
    state = theirs.state_dict()
    head.linear.load_state_dict({k: state.pop(f"classifier.{k}") for k in ("weight", "bias")})
    ours.load_state_dict(state)  # strict: names and shapes are the same
    images = torch.rand(2, 3, 161, 224)
    model = MultiHead(ours, {"x": head}).eval()
    with torch.no_grad():
        difference = (model(images)["x"] - theirs.eval()((images - 0.5) / 0.5)).abs().max()
    assert difference <= 1e-4


def test_state_dict_goes_back_to_timm() -> None:
    ours = MobileNetV1(0.25)
    missing, unexpected = timms(0.25, "same").load_state_dict(ours.state_dict(), strict=False)
    assert sorted(missing) == ["classifier.bias", "classifier.weight"]
    assert not unexpected


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (128, 128), (300, 300), (225, 160)])
def test_every_map_is_the_ceiling_of_size_over_stride(padding: str, height: int, width: int) -> None:
    backbone = MobileNetV1(0.25, padding=padding).eval()  # type: ignore[arg-type]
    maps = backbone(torch.rand(1, 3, height, width))
    assert list(maps) == [2, 4, 8, 16, 32]
    for stride, features in maps.items():
        assert features.shape == (1, backbone.channels[stride], -(-height // stride), -(-width // stride))


def test_maps_of_300_px_are_those_that_detection_needs() -> None:
    maps = MobileNetV1(0.25).eval()(torch.rand(1, 3, 300, 300))
    assert [features.shape[-1] for features in maps.values()] == [150, 75, 38, 19, 10]


def test_frozen_means_frozen_even_when_fed_noise_in_training_mode() -> None:
    """requires_grad_(False) alone would let batch-norm statistics drift."""
    backbone = MobileNetV1(0.25)
    backbone.freeze()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    model = MultiHead(backbone, {"x": Classifier(256, 2)})
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(torch.rand(4, 3, 64, 64))["x"].square().sum().backward()
    optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())
    backbone.unfreeze()
    model.train()
    model(torch.rand(4, 3, 64, 64))
    assert not torch.equal(backbone.bn1.running_mean, before["bn1.running_mean"])


def test_freeze_bn_stats_learns_its_scale_but_keeps_its_statistics() -> None:
    backbone = MobileNetV1(0.25)
    backbone.freeze_bn_stats = True
    backbone.train()
    before = backbone.bn1.running_mean.clone()
    backbone(torch.rand(4, 3, 64, 64))[32].sum().backward()
    assert torch.equal(backbone.bn1.running_mean, before)
    assert backbone.bn1.weight.grad is not None


@pytest.mark.parametrize("output_stride", [8, 16])
def test_output_stride_keeps_shapes_dense_and_the_deepest_map_of_a_stride(output_stride: int) -> None:
    backbone = MobileNetV1(0.25, output_stride=output_stride).eval()
    maps = backbone(torch.rand(1, 3, 96, 96))
    assert max(maps) == output_stride
    assert maps[output_stride].shape == (1, 256, 96 // output_stride, 96 // output_stride)
    assert backbone.channels[output_stride] == 256


def test_bgr_weights_get_their_channels_in_their_order() -> None:
    colour = torch.tensor([0.1, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    backbone = MobileNetV1(0.25, preprocessing=Preprocessing((0, 0, 0), (0.5, 0.5, 0.5), order="bgr"))
    assert backbone.normalise(colour)[0, :, 0, 0].tolist() == pytest.approx([1.8, 1.0, 0.2])


def test_fingerprint_moves_with_a_single_weight_and_stays_otherwise() -> None:
    backbone = MobileNetV1(0.25)
    before = backbone.fingerprint()
    assert len(before) == 16
    assert backbone.fingerprint() == before
    with torch.no_grad():
        backbone.conv_stem.weight[0, 0, 0, 0] += 1e-3
    assert backbone.fingerprint() != before


def test_preprocessing_survives_the_round_trip_through_plain_types() -> None:
    there = Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bgr", 160, 0.9)
    assert Preprocessing.from_dict(there.to_dict()) == there


@pytest.mark.parametrize(("size", "stride", "pads"), [
    (224, 2, (0, 1)),  # even: one pixel at the end only, where PyTorch's padding=1 puts one at both
    (225, 2, (1, 1)),
    (14, 1, (1, 1)),
])
def test_same_padding_is_tensorflows(size: int, stride: int, pads: tuple[int, int]) -> None:
    assert same_padding(size, 3, stride) == pads


def test_channels_scale_in_eights_and_never_lose_a_tenth() -> None:
    assert [scale_channels(c, 0.25) for c in (32, 64, 1024)] == [8, 16, 256]
    assert all(scale_channels(512, w / 100) >= 0.9 * 512 * w / 100 for w in range(1, 150))


@pytest.mark.parametrize(("arguments", "word"), [
    ({"width": 0}, "width"), ({"width": -1}, "width"), ({"width": float("nan")}, "width"),
    ({"padding": "valid"}, "padding"), ({"output_stride": 4}, "output_stride"),
])
def test_impossible_networks_are_refused_by_name(arguments: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        MobileNetV1(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 3, 16, 64), (3, 64, 64), (1, 1, 64, 64)])
def test_images_of_the_wrong_shape_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    backbone: Backbone = MobileNetV1(0.25)
    with pytest.raises(ValueError, match=str(shape[-1])):
        backbone(torch.zeros(shape))
