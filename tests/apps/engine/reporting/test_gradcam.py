import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from apps.engine.reporting.gradcam import grad_cam, overlay
from backbone.mobilenet import MobileNetV1

pytestmark = pytest.mark.computes


class PoolHead(nn.Module):
    strides = (32,)

    def __init__(self, channels, classes=3):
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(channels, classes)

    def forward(self, last):
        return self.linear(self.dropout(last.mean(dim=(2, 3))))


class TwoMapHead(nn.Module):
    strides = (16, 32)

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 2)

    def forward(self, middle, last):
        return self.linear(torch.cat([middle.relu_().mean((2, 3)), last.relu_().mean((2, 3))], 1))


class Maps(nn.Module):
    """Two maps of four channels that are known functions of the image, with a batch-norm that could move."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images):
        x = self.norm(self.conv(images))
        return {16: F.avg_pool2d(x, 16), 32: F.avg_pool2d(x, 32)}


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def test_for_mean_pooling_and_a_linear_layer_it_is_the_weighted_sum_of_the_maps(images):
    """d logit / d map = weight / pixels, so the map is relu(sum of w_c A_c) up to its scale."""
    torch.manual_seed(1)
    backbone, head = Maps(), PoolHead(4)
    cams = grad_cam(backbone, head, images, [2, 0])
    backbone.eval()
    with torch.no_grad():
        maps = backbone(images)[32]
        expected = torch.einsum("bc,bchw->bhw", head.linear.weight[[2, 0]], maps).relu()[:, None]
        expected = F.interpolate(expected, size=(64, 96), mode="bilinear")[:, 0]
    peaks = expected.amax((1, 2), keepdim=True)
    assert (peaks > 0).any()
    assert np.allclose(cams, torch.where(peaks > 0, expected / peaks, expected).numpy(), atol=1e-5)
    assert cams.dtype == np.float32
    assert cams.shape == (2, 64, 96)


def test_it_looks_where_the_evidence_is():
    """Only the lower right corner is bright, and only brightness speaks for class 1."""
    backbone, head = Maps(), PoolHead(4, classes=2)
    with torch.no_grad():
        backbone.conv.weight.fill_(1.0)
        backbone.conv.bias.zero_()
        head.linear.weight.copy_(torch.tensor([[-1.0] * 4, [1.0] * 4]))
    image = torch.zeros(1, 3, 96, 96)
    image[..., 64:, 64:] = 1.0
    cam = grad_cam(backbone, head, image, [1])[0]
    assert np.unravel_index(cam.argmax(), cam.shape) >= (72, 72)
    assert cam.max() == 1.0
    assert cam[:30, :30].max() == 0.0
    assert grad_cam(backbone, head, image, [0]).max() == 0.0  # nothing speaks for class 0: no division by 0


def test_a_frozen_network_works_and_nothing_is_left_behind(images):
    backbone, head = MobileNetV1(0.25), PoolHead(256)
    backbone.freeze()
    head.train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    cams = grad_cam(backbone, head, images, [0, 1])
    assert 0.0 <= cams.min() <= cams.max() == 1.0
    assert head.training
    assert head.dropout.training
    assert not backbone.training
    assert all(p.grad is None for module in (backbone, head) for p in module.parameters())
    assert not any(p.requires_grad for p in backbone.parameters())
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_a_training_network_gets_its_modes_back_and_its_statistics_do_not_move(images):
    backbone, head = Maps().train(), PoolHead(4).train()
    head.dropout.eval()
    mean = backbone.norm.running_mean.clone()
    first = grad_cam(backbone, head, images, [0, 1])
    assert (backbone.training, backbone.norm.training, head.training) == (True, True, True)
    assert not head.dropout.training
    assert torch.equal(backbone.norm.running_mean, mean)
    assert np.array_equal(first, grad_cam(backbone, head, images, [0, 1]))


def test_modes_come_back_after_a_failure_too(images):
    backbone, head = Maps().train(), PoolHead(4).train()
    with pytest.raises(ValueError, match=r"classes from 0 to 2, got \[0, 3\]"):
        grad_cam(backbone, head, images, [0, 3])
    assert backbone.training
    assert head.training


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_the_caller_has_switched_gradients_off(images, mode):
    backbone, head = Maps(), PoolHead(4)
    expected = grad_cam(backbone, head, images, [0, 1])
    with mode():
        assert np.array_equal(grad_cam(backbone, head, images * 1, [0, 1]), expected)


def test_a_head_of_two_maps_that_writes_into_them_can_be_asked_about_either(images):
    torch.manual_seed(1)  # by which some class has a gradient above 0
    backbone, head = Maps(), TwoMapHead()
    coarse = grad_cam(backbone, head, images, [0, 0])
    fine = grad_cam(backbone, head, images, [0, 0], stride=16)
    assert np.array_equal(coarse, grad_cam(backbone, head, images, [0, 0], stride=32))
    assert not np.array_equal(coarse, fine)
    with pytest.raises(ValueError, match=r"strides \(16, 32\), not of 8"):
        grad_cam(backbone, head, images, [0, 0], stride=8)
    with pytest.raises(ValueError, match="one class for each of 2 images, got 1"):
        grad_cam(backbone, head, images, [0])


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_the_overlay_glows_where_the_map_is_high_and_is_dim_grey_elsewhere(mode):
    photo = Image.new("RGB", (40, 20), (200, 100, 50)).convert(mode)
    cam = np.zeros((2, 4), np.float32)
    cam[:, 3] = 1.0
    shown = np.asarray(overlay(photo, cam)).astype(int)
    assert shown.shape == (20, 40, 3)
    assert np.ptp(shown[10, 0]) <= 2
    assert shown[10, 39].sum() > 2 * shown[10, 0].sum()
