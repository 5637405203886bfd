"""Which optimizer, at which rate, and that it comes back bit for bit."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.optim import get_optimizer_info, list_optimizers, param_groups_layer_decay
from timm.optim.rmsprop_tf import RMSpropTF
from torch import Tensor, nn

from apps.engine.training.optim.optimizers import make_optimizer, parameter_groups
from backbone import MobileNetV1
from backbone.timm_backbone import TimmBackbone
from heads import Classifier, MultiHead

pytestmark = pytest.mark.computes


def runs_here(name: str) -> bool:
    rule = get_optimizer_info(name)
    return not isinstance(rule.opt_class, str) and not rule.second_order


NAMES = [name for name in list_optimizers() if runs_here(name)]


def small_model() -> MultiHead:
    torch.manual_seed(0)
    return MultiHead(MobileNetV1(0.25), {"dogs": Classifier(256, 3)})


class Tiny(nn.Module):
    """A filter, a depthwise filter, a norm and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4)
        )
        self.linear = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.linear(self.backbone(images).mean((2, 3)))
        return out


def tiny_optimizer(name: str, model: nn.Module) -> torch.optim.Optimizer:
    groups = parameter_groups(model, lr=1e-2, backbone_lr=0.5, weight_decay=1e-2)
    return make_optimizer(groups, name=name)


def take_steps(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for number in range(first, last):
        torch.manual_seed(number)
        optimizer.zero_grad()
        model(torch.randn(4, 3, 8, 8)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", [*NAMES, "lookahead_adamw", "lookahead_rmsproptf", "lookahead_kron"])
def test_any_optimizer_of_timm_learns_and_goes_on_bit_for_bit_from_a_file(name: str, tmp_path: Path) -> None:
    """What `--resume` needs: state that ``weights_only`` reads, and nothing hidden outside of it."""
    whole = Tiny()
    start = {key: value.clone() for key, value in whole.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = tiny_optimizer(name, whole)
        take_steps(whole, optimizer, 0, 4)
        torch.save({"m": whole.state_dict(), "o": optimizer.state_dict()}, tmp_path / "state.pt")
        take_steps(whole, optimizer, 4, 8)
        resumed = Tiny()
        again = tiny_optimizer(name, resumed)
        saved = torch.load(tmp_path / "state.pt", weights_only=True)
        resumed.load_state_dict(saved["m"])
        again.load_state_dict(saved["o"])
        take_steps(resumed, again, 4, 8)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    assert not torch.equal(whole.linear.weight, start["linear.weight"])
    assert torch.isfinite(whole.linear.weight).all()


@pytest.mark.parametrize("name", [*NAMES, "lookahead_kron"])
def test_no_optimizer_compiles_code_of_its_own(name: str) -> None:
    """Which code would run depends on what was compiled before; without a compiler there is none."""
    model = Tiny()
    torch.compiler.reset()
    counted = torch._dynamo.utils.counters
    counted.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = tiny_optimizer(name, model)
        with torch.compiler.set_stance("fail_on_recompile"):
            take_steps(model, optimizer, 0, 1)
    assert not counted["frames"], "a frame was compiled"


@pytest.mark.parametrize("name", NAMES)
def test_each_group_learns_at_its_own_rate(name: str) -> None:
    """With a rate of nearly 0 a group must stay where it is, whatever the others do."""
    model = Tiny()
    before = model.backbone[0].weight.detach().clone()  # type: ignore[union-attr]
    groups = parameter_groups(model, lr=1e-2, backbone_lr=1e-12, weight_decay=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        take_steps(model, make_optimizer(groups, name=name), 0, 3)
    torch.testing.assert_close(model.backbone[0].weight, before, rtol=0, atol=1e-4)


def test_the_papers_rmsprop_is_tensorflows_rule_with_epsilon_one() -> None:
    """By hand: the mean of squares starts at 1, and epsilon is inside the root."""
    parameter = nn.Parameter(torch.tensor([1.0]))
    optimizer = make_optimizer([{"params": [parameter], "lr": 0.1}], name="rmsproptf")
    assert isinstance(optimizer, RMSpropTF)
    square, moved, expected = 1.0, 0.0, 1.0
    for _ in range(3):
        optimizer.zero_grad()
        (2 * parameter).sum().backward()
        optimizer.step()
        square = 0.9 * square + 0.1 * 4
        moved = 0.9 * moved + 0.1 * 2 / (square + 1.0) ** 0.5
        expected -= moved
    assert parameter.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "AdamW", "lookahead_sgd"])
def test_torchs_own_rules_run_as_one_fused_kernel(name: str) -> None:
    optimizer = tiny_optimizer(name, Tiny())
    assert all(group["fused"] for group in optimizer.param_groups)


def test_momentum_and_options_reach_the_rule() -> None:
    groups: list[dict[str, Any]] = [{"params": [nn.Parameter(torch.ones(1))], "lr": 0.1}]
    assert make_optimizer(groups, name="sgd", momentum=0.5).param_groups[0]["momentum"] == 0.5
    assert make_optimizer(groups, name="rmsproptf", eps=1e-3).param_groups[0]["eps"] == 1e-3


@pytest.mark.parametrize(("name", "message"), [
    ("adamv", "there is no optimizer 'adamv'; did you mean .*adam"),
    ("zzzz", "there is no optimizer 'zzzz'; timm.optim.list_optimizers"),
    ("lookahead_sgdd", "there is no optimizer 'lookahead_sgdd'; did you mean .*sgd"),
    ("fusedadam", "'fusedadam' needs a GPU and the package apex"),
    ("bnbadam", "'bnbadam' needs a GPU and the package bitsandbytes"),
    ("adahessian", "'adahessian' needs second derivatives"),
])
def test_an_optimizer_that_cannot_be_had_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_optimizer(name, Tiny())


def test_a_model_with_nothing_to_learn_is_refused() -> None:
    model = Tiny().requires_grad_(False)
    with pytest.raises(ValueError, match="nothing is left to learn"):
        tiny_optimizer("adamw", model)


def rates_by_name(model: nn.Module, groups: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}


def test_rates_by_depth_are_timms_and_depthwise_filters_still_do_not_decay() -> None:
    """timm's helper over timm's network; it decays depthwise filters, the paper does not."""
    ours = small_model()
    found = rates_by_name(ours, parameter_groups(
        ours, lr=1.0, backbone_lr=1.0, weight_decay=0.5, layer_decay=0.75
    ))
    theirs = timm.create_model("mobilenetv1_100", num_classes=3)
    names = {id(parameter): name for name, parameter in theirs.named_parameters()}
    expected = {
        names[id(p)]: (group["lr_scale"], group["weight_decay"])
        for group in param_groups_layer_decay(theirs, weight_decay=0.5, layer_decay=0.75)
        for p in group["params"]
    }
    assert len(found) == len(expected) == 83
    for name, (rate, decay) in expected.items():
        own = f"backbone.{name}".replace("backbone.classifier", "heads.dogs.linear")
        assert found[own][0] == pytest.approx(rate, rel=1e-9), name
        assert found[own][1] == (0.0 if "conv_dw" in name else decay), name
    assert found["backbone.conv_stem.weight"][0] == pytest.approx(0.75**14)
    assert found["backbone.blocks.4.1.conv_pw.weight"][0] == 0.75


def test_the_backbones_share_and_the_decay_by_depth_multiply() -> None:
    model = small_model()
    groups = parameter_groups(model, lr=2.0, backbone_lr=0.1, weight_decay=0.5, layer_decay=0.5)
    found = rates_by_name(model, groups)
    assert found["backbone.blocks.4.0.conv_pw.weight"][0] == pytest.approx(2.0 * 0.1 * 0.25)
    assert found["heads.dogs.linear.weight"] == (2.0, 0.5)
    assert {group["name"] for group in groups} >= {
        "heads", "heads, no decay", "backbone, 1 below the heads", "backbone, 14 below the heads, no decay"
    }


def test_stages_of_ones_own_decide_the_rates() -> None:
    model = small_model()
    stages = [["conv_stem", "bn1", "blocks.0", "blocks.1"], ["blocks.2", "blocks.3", "blocks.4"]]
    found = rates_by_name(model, parameter_groups(
        model, lr=1.0, backbone_lr=1.0, weight_decay=0.0, layer_decay=0.5, stages=stages
    ))
    assert {rate for rate, _ in found.values()} == {1.0, 0.5, 0.25}
    assert found["backbone.blocks.1.1.bn2.bias"][0] == 0.25
    with pytest.raises(ValueError, match=r"'bn1.weight' must be in one of `stages`, but is in 0 of them"):
        parameter_groups(
            model, lr=1.0, backbone_lr=1.0, weight_decay=0.0, layer_decay=0.5,
            stages=[["conv_stem", "blocks"]],
        )


@pytest.mark.parametrize("bad", [0.0, 1.5, float("nan")])
def test_a_decay_by_depth_out_of_range_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="--layer-decay must be above 0 and at most 1, got"):
        parameter_groups(small_model(), lr=1.0, backbone_lr=1.0, weight_decay=0.0, layer_decay=bad)


def test_rates_by_depth_work_on_a_network_of_timm_too() -> None:
    model = MultiHead(TimmBackbone("resnet18"), {"dogs": Classifier(512, 3)})
    found = rates_by_name(model, parameter_groups(
        model, lr=1.0, backbone_lr=1.0, weight_decay=0.0, layer_decay=0.5
    ))
    assert found["backbone.net.layer4.1.conv2.weight"][0] == 0.5
    assert found["backbone.net.conv1.weight"][0] == found["backbone.net.bn1.weight"][0] == 0.5**9
