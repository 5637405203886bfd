"""``optimize_for_training`` swaps layers: parameters, keys, hooks, modes and answers stay."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import backbone.mobilenet
from backbone import MobileNetV1, cost, inference_model, optimize_for_training
from backbone._cpu.layers import BatchNormReLU6, DepthwiseConv2d, PointwiseConv2d
from heads import Classifier, MultiHead

NETWORKS = [{}, {"padding": "symmetric"}, {"separable": False}, {"output_stride": 8}]


def network(**arguments: object) -> MobileNetV1:
    torch.manual_seed(0)
    return MobileNetV1(0.25, **arguments)  # type: ignore[arg-type]


def gradients(model: MobileNetV1, images: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    last = model(images)[max(model.channels)]
    (last.square().mean() + last.mean()).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_the_network_is_written_in_plain_layers() -> None:
    text = Path(str(backbone.mobilenet.__file__)).read_text(encoding="utf-8")
    assert not re.findall(r"torch\._C|_cpu|autograd|is_grad_enabled", text)
    plain = {nn.Conv2d, backbone.mobilenet.Conv2dSame, nn.BatchNorm2d, nn.ReLU6}
    assert {type(module) for module in network().modules() if not list(module.children())} == plain


@pytest.mark.parametrize("arguments", NETWORKS)
def test_parameters_keys_and_modes_stay_and_a_second_call_changes_nothing(
    arguments: dict[str, object]
) -> None:
    model = MultiHead(network(**arguments), {"x": Classifier(256, 5)})
    trunk = model.backbone
    trunk.blocks[1].eval()  # type: ignore[index, union-attr]
    parameters, keys = list(map(id, model.parameters())), list(model.state_dict())
    modes = {name: module.training for name, module in model.named_modules()}
    values = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.get_rng_state()
    assert optimize_for_training(model) is model
    assert torch.equal(torch.get_rng_state(), random)
    assert list(map(id, model.parameters())) == parameters
    assert list(model.state_dict()) == keys
    assert all(torch.equal(value, values[key]) for key, value in model.state_dict().items())
    assert {name: module.training for name, module in model.named_modules()} == modes
    swapped = list(model.modules())
    kinds = {type(module) for module in swapped}
    assert BatchNormReLU6 in kinds and nn.BatchNorm2d not in kinds and nn.ReLU6 not in kinds
    assert ({DepthwiseConv2d, PointwiseConv2d} <= kinds) == (arguments.get("separable", True) is True)
    optimize_for_training(model)
    assert list(map(id, model.modules())) == list(map(id, swapped))


@pytest.mark.parametrize("arguments", [*NETWORKS, {"activation": "relu"}])
def test_a_step_has_the_gradients_and_statistics_of_the_plain_network(arguments: dict[str, object]) -> None:
    plain, fast = network(**arguments), optimize_for_training(network(**arguments))
    images = torch.rand(4, 3, 65, 72)
    wanted, computed = gradients(plain.double(), images.double()), gradients(fast, images)
    assert computed.keys() == wanted.keys()
    for name, value in wanted.items():  # rounding moves a few values over the edges of ReLU6
        assert (computed[name] - value).norm() <= 0.05 * value.norm() + 1e-6, name
    for (name, buffer), expected in zip(fast.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(buffer.double(), expected.double(), rtol=1e-4, atol=1e-5, msg=name)


def test_without_gradients_and_in_double_precision_it_is_the_plain_network_bit_for_bit() -> None:
    plain, fast = network().to(memory_format=torch.channels_last), optimize_for_training(network())
    images = torch.rand(2, 3, 64, 48)
    with torch.no_grad():
        for stride, wanted in plain.eval()(images).items():
            assert torch.equal(fast.eval()(images)[stride], wanted)
    wanted = gradients(plain.double().train(), images.double())
    computed = gradients(fast.double().train(), images.double())
    assert all(torch.equal(computed[name], value) for name, value in wanted.items())


def test_optimizers_hooks_and_copies_from_before_the_swap_go_on() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    minima: list[float] = []
    model.bn1.register_forward_hook(lambda _m, _i, output: minima.append(float(output.detach().min())))
    optimize_for_training(model)
    before = model.conv_stem.weight.detach().clone()
    gradients(model, torch.rand(2, 3, 64, 64))
    optimizer.step()
    assert not torch.equal(model.conv_stem.weight, before)
    assert minima == [0.0]  # behind ReLU6
    twin = copy.deepcopy(model)
    network().load_state_dict(twin.state_dict())  # strict: a plain network takes it
    images = torch.rand(2, 3, 64, 64)
    first, second = gradients(model, images), gradients(twin, images)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_frozen_statistics_stay_and_every_image_is_normalised_alike() -> None:
    model = optimize_for_training(network())
    model.freeze_bn_stats = True
    model.train()
    mean = model.bn1.running_mean.clone()  # type: ignore[union-attr]
    images = torch.rand(4, 3, 64, 64)
    whole = model(images)[32]
    assert torch.equal(model.bn1.running_mean, mean)  # type: ignore[arg-type]
    torch.testing.assert_close(model(images[:1])[32], whole[:1], rtol=1e-4, atol=1e-5)


def test_costs_exports_and_inference_models_are_those_of_the_plain_network() -> None:
    plain, fast, images = network().eval(), optimize_for_training(network()).eval(), torch.rand(2, 3, 32, 32)
    assert cost(fast, 64).mult_adds == cost(plain, 64).mult_adds
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        fast(images)
    with FlopCounterMode(display=False) as wanted:
        plain(images)
    assert counted.get_total_flops() == wanted.get_total_flops() > 0
    exported = torch.export.export(fast, (images,)).module()(images)
    for stride, maps in plain(images).items():
        torch.testing.assert_close(exported[stride], maps)
        torch.testing.assert_close(inference_model(fast)(images)[stride], maps, rtol=1e-4, atol=1e-5)


def test_networks_without_a_mobilenet_are_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU6())
    kept = list(model)
    assert list(optimize_for_training(model)) == kept
