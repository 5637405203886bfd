"""``output_stride``: dilation in place of strides gives the same features, more densely."""

from __future__ import annotations

import pytest
import torch
from timm.models.efficientnet import _gen_mobilenet_v1

from backbone import MobileNetV1
from backbone.mobilenet import same_padding

pytestmark = pytest.mark.computes


def pair(output_stride: int, padding: str = "symmetric") -> tuple[MobileNetV1, MobileNetV1]:
    """The network as it is and the dense one, with the same weights and lively statistics, in doubles."""
    torch.manual_seed(0)
    sparse = MobileNetV1(0.25, padding=padding)  # type: ignore[arg-type]
    for module in sparse.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    dense = MobileNetV1(0.25, padding=padding, output_stride=output_stride)  # type: ignore[arg-type]
    dense.load_state_dict(sparse.state_dict())
    return sparse.double().eval(), dense.double().eval()


def phase(padding: str, size: int, output_stride: int) -> int:
    """Which of the dense positions the strided network samples.

    Padding ``same`` pads an even side at its end only, so each stride takes the second of two
    positions; all else takes the first.
    """
    at, spread = 0, 1
    side = -(-size // output_stride)
    while output_stride < 32:
        first = padding == "symmetric" or same_padding(side, 3, 2)[0] == 1
        at += 0 if first else spread
        output_stride, spread, side = output_stride * 2, spread * 2, -(-side // 2)
    return at


@torch.no_grad()
@pytest.mark.parametrize("size", [128, 225, 300])
@pytest.mark.parametrize("output_stride", [16, 8])
@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_the_dense_map_holds_the_sparse_one_to_its_edge(padding: str, output_stride: int, size: int) -> None:
    """A dilation one layer early or late, or a padding that is not spread with it, would show."""
    sparse, dense = pair(output_stride, padding)
    images = torch.rand(1, 3, size, size, dtype=torch.float64)
    expected, dense_maps = sparse(images)[32], dense(images)[output_stride]
    step, start = 32 // output_stride, phase(padding, size, output_stride)
    assert dense_maps.shape[-1] == -(-size // output_stride)
    assert expected.std() > 0.01
    torch.testing.assert_close(dense_maps[..., start::step, start::step], expected, rtol=0, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("output_stride", [16, 8])
def test_every_dense_position_is_that_of_the_sparse_network_on_a_moved_image(output_stride: int) -> None:
    """The slow reference: one pass of the sparse network for each position between its own.

    The image continues as zeros of the normalised input, and only what no border reaches is compared
    (the network sees 315 px, so 5 positions of 32 px from each side).
    """
    sparse, dense = pair(output_stride)
    images = torch.rand(1, 3, 512, 512, dtype=torch.float64)
    dense_maps = dense(images)[output_stride]
    step = 32 // output_stride
    for down in range(step):
        for right in range(step):
            moved = images[..., down * output_stride :, right * output_stride :]
            expected = sparse(moved)[32][..., 5:10, 5:10]
            position = dense_maps[..., down + 5 * step : down + 10 * step : step, :]
            position = position[..., right + 5 * step : right + 10 * step : step]
            torch.testing.assert_close(position, expected, rtol=0, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("output_stride", [16, 8])
def test_the_dense_map_equals_timms(output_stride: int) -> None:
    _, dense = pair(output_stride)
    theirs = _gen_mobilenet_v1("mobilenetv1_100", 0.25, output_stride=output_stride)
    theirs.load_state_dict(dense.state_dict(), strict=False)
    images = torch.rand(1, 3, 160, 128, dtype=torch.float64)
    expected = theirs.double().eval().forward_features((images - 0.5) / 0.5)
    torch.testing.assert_close(dense(images)[output_stride], expected, rtol=0, atol=1e-6)
