"""Layers of their own against PyTorch's in double precision: values, gradients, statistics, repeatability."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone import MobileNetV1, optimize_for_training
from backbone._cpu import kernels
from backbone._cpu.depthwise import depthwise
from backbone._cpu.layers import BatchNormReLU6, DepthwiseConv2d, PointwiseConv2d
from backbone._cpu.norm_relu6 import moments
from backbone._cpu.pointwise import pointwise
from backbone.mobilenet import SeparableBlock
from heads import Classifier, MultiHead

pytestmark = pytest.mark.computes

CL = torch.channels_last
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 1e-2}
KINKS = 0.03  # a value that rounding moves over an edge of ReLU6 turns its gradient off or on
LAYERS = [(1, 1), (1, 2), (1, 4), (2, 1)]  # stride, dilation


@pytest.fixture(params=["compiled", "plain"])
def _kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the compiled kernels where there is a compiler, and without them."""
    if request.param == "plain":
        monkeypatch.setattr(kernels, "library", lambda: None)
    elif kernels.library() is None:
        pytest.skip(kernels.state())


def block(stride: int = 1, dilation: int = 1, padding: str = "same") -> SeparableBlock:
    """16 channels to 24, swapped for training."""
    torch.manual_seed(0)
    return optimize_for_training(SeparableBlock(
        16, 24, stride=stride, dilation=dilation, padding=padding, eps=1e-5,  # type: ignore[arg-type]
    ))


def apart(computed: Tensor | None, expected: Tensor | None) -> float:
    """Norm of the difference as a share of the expected norm."""
    assert computed is not None
    assert expected is not None
    return float((computed.double() - expected.double()).norm() / expected.double().norm())


def gradients(module: nn.Module, x: Tensor, weights: Tensor) -> list[Tensor]:
    """The output, and the gradients of the input and the parameters."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = module(x)
    computed = torch.autograd.grad(y, [x, *module.parameters()], weights.to(y.dtype))
    return [y.detach(), *computed]


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize(("stride", "dilation"), LAYERS)
@pytest.mark.parametrize(("height", "width"), [(14, 14), (15, 12), (12, 17), (3, 2), (1, 1)])
def test_depthwise_equals_pytorchs_convolution_in_doubles(
    height: int, width: int, stride: int, dilation: int, padding: str, dtype: torch.dtype
) -> None:
    """Odd and even sides, maps smaller than the filter's reach, either padding, either type."""
    module = block(stride, dilation, padding).conv_dw.to(dtype)
    assert isinstance(module, DepthwiseConv2d)
    x = torch.randn(3, 16, height, width).to(dtype).contiguous(memory_format=CL)
    weights = torch.randn(3, 16, -(-height // stride), -(-width // stride)).to(dtype)
    computed = gradients(module, x, weights)
    expected = gradients(module.double(), x.double(), weights.double())
    assert [value.dtype for value in computed] == [dtype] * 3
    for value, other in zip(computed, expected, strict=True):
        if other.norm() > 0:
            assert apart(value, other) <= TOLERANCE[dtype]
        else:
            assert value.abs().max() == 0


@pytest.mark.parametrize("pads", [((0, 1), (0, 1)), ((1, 1), (0, 1)), ((1, 1), (1, 1))])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1)])
def test_depthwise_passes_gradcheck(
    stride: int, dilation: int, pads: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda a, b: depthwise(a, b, stride=stride, dilation=dilation, pads=pads), (x, weight)
    )


def test_a_stride_that_the_layer_does_not_know_is_refused() -> None:
    for stride, dilation in ((3, 1), (2, 2)):
        with pytest.raises(ValueError, match=f"without dilation, got {stride} and {dilation}"):
            depthwise(
                torch.ones(1, 8, 9, 9), torch.ones(8, 1, 3, 3), stride=stride, dilation=dilation,
                pads=((1, 1), (1, 1)),
            )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pointwise_equals_pytorchs_convolution_in_doubles(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module = block().conv_pw.to(dtype)
    assert isinstance(module, PointwiseConv2d)
    x = torch.randn(3, 16, 7, 5).to(dtype).contiguous(memory_format=CL)
    weights = torch.randn(3, 24, 7, 5).to(dtype)
    computed = gradients(module, x, weights)
    expected = gradients(module.double(), x.double(), weights.double())
    assert max(map(apart, computed, expected)) <= TOLERANCE[dtype]


def test_pointwise_passes_gradcheck() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pointwise, (x, weight))


class Normed(nn.Module):
    """Batch-norm and ReLU6, by our layer or by PyTorch's."""

    def __init__(self, *, ours: bool, training: bool, centre: float) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.ours = ours
        self.norm = BatchNormReLU6(16) if ours else nn.BatchNorm2d(16)
        nn.init.uniform_(self.norm.weight, 0.5, 3)
        nn.init.normal_(self.norm.bias, 3, 2)
        assert self.norm.running_mean is not None
        self.norm.running_mean.normal_(centre)
        self.norm.train(training)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x)
        return y if self.ours else F.relu6(y)


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("centre", [0.0, 100.0])
def test_batch_norm_with_relu6_equals_pytorchs_in_doubles(
    dtype: torch.dtype, training: bool, centre: float
) -> None:
    """A mean far from 0 would show sums of squares that cancel."""
    torch.manual_seed(0)
    x = (torch.randn(4, 16, 9, 7) * 2 + centre).to(dtype).contiguous(memory_format=CL)
    weights = torch.randn(4, 16, 9, 7).to(dtype)
    ours = Normed(ours=True, training=training, centre=centre)
    theirs = Normed(ours=False, training=training, centre=centre).double()
    computed, expected = gradients(ours, x, weights), gradients(theirs, x.double(), weights.double())
    assert computed[0].min() >= 0
    assert computed[0].max() <= 6
    assert 0.02 < float((expected[0] == 6).double().mean()) < 0.98
    tolerance = 2e-5
    if dtype == torch.bfloat16:  # PyTorch rounds before it looks where ReLU6 cut, so some values change sides
        tolerance = 0.01 if kernels.usable(x) else 0.1
    assert max(map(apart, computed, expected)) <= tolerance
    for (name, value), (_, other) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        torch.testing.assert_close(value.double(), other.double(), rtol=1e-5, atol=1e-5, msg=name)


def test_a_value_that_is_no_number_is_not_hidden_by_relu6() -> None:
    """The loop stops at a loss that is not finite; a clamp that swallows it would train on nonsense."""
    norm = BatchNormReLU6(8).eval()
    x = torch.ones(1, 8, 2, 2).contiguous(memory_format=CL)
    x[0, 3, 0, 0] = float("nan")
    for dtype in (torch.float32, torch.bfloat16):
        y = norm(x.to(dtype))
        assert y.isnan().sum() == 1
        assert y[0, 3, 0, 0].isnan()


@pytest.mark.skipif(kernels.library() is None, reason=kernels.state())
def test_moments_are_exact_where_the_mean_is_a_thousand_deviations_away() -> None:
    torch.manual_seed(0)
    x = (torch.randn(8, 8, 40, 40) + 1000).contiguous(memory_format=CL)
    mean, variance, count = moments(x)
    exact = x.double().transpose(0, 1).flatten(1)
    assert count == exact.shape[1]
    torch.testing.assert_close(mean, exact.mean(1), rtol=1e-9, atol=0)
    torch.testing.assert_close(variance, exact.var(1, correction=0), rtol=1e-5, atol=0)


def network(padding: str = "same") -> MultiHead:
    torch.manual_seed(0)
    backbone = MobileNetV1(0.25, padding=padding)  # type: ignore[arg-type]
    return optimize_for_training(MultiHead(backbone, {"x": Classifier(256, 5)})).train()


def step(model: nn.Module, images: Tensor, *, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        output = model(images)["x"]
    output = output.to(torch.promote_types(output.dtype, torch.float32))
    F.cross_entropy(output, torch.arange(len(images)) % 5).backward()
    return [value.grad.clone() for value in model.parameters() if value.grad is not None]


def joined(parts: list[Tensor]) -> Tensor:
    assert len(parts) == 83  # every parameter
    return torch.cat([value.flatten() for value in parts])


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_step_of_the_whole_network_has_the_gradients_of_doubles(padding: str, frozen: bool) -> None:
    images = torch.rand(4, 3, 72, 65)
    model = network(padding)
    model.backbone.freeze_bn_stats = frozen
    model.train()
    computed = joined(step(model, images))
    statistics = [value.clone() for value in model.buffers()]
    model = network(padding).double()  # doubles take PyTorch's own operators
    model.backbone.freeze_bn_stats = frozen
    model.train()
    assert apart(computed, joined(step(model, images.double()))) <= KINKS
    for value, other in zip(statistics, model.buffers(), strict=True):
        torch.testing.assert_close(value.double(), other.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("threads", [1, 2])
def test_two_equal_steps_give_the_same_bits(dtype: torch.dtype, threads: int) -> None:
    """A run that is resumed equals one that was not, so sums must have a fixed order."""
    images = torch.rand(5, 3, 64, 64)
    torch.set_num_threads(threads)
    try:
        first, second = (step(network(), images, dtype=dtype) for _ in range(2))
    finally:
        torch.set_num_threads(1)
    assert all(map(torch.equal, first, second))


@pytest.mark.usefixtures("_kernels")
def test_more_threads_share_the_batch_and_change_only_the_rounding() -> None:
    images = torch.rand(5, 3, 64, 64)
    value = joined(step(network(), images))
    torch.set_num_threads(2)
    try:
        assert [part.stop - part.start for part in kernels.shares_of(5)] == [2, 3]
        two = joined(step(network(), images))
    finally:
        torch.set_num_threads(1)
    assert 0 < apart(two, value) <= KINKS


def test_bytes_and_floats_are_the_same_picture() -> None:
    backbone = MobileNetV1(0.25).eval()
    images = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
    floats = backbone.normalise(images.float() / 255)
    computed = backbone.normalise(images)
    torch.testing.assert_close(computed, floats, rtol=0, atol=1e-6)
    assert computed.is_contiguous(memory_format=CL)
    assert images.is_contiguous()
