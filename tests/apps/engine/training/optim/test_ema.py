"""The moving average of the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from apps.engine.training.optim.ema import EMA
from backbone import MobileNetV1

pytestmark = pytest.mark.computes


def constant(value: float) -> nn.Linear:
    layer = nn.Linear(2, 1)
    nn.init.constant_(layer.weight, value)
    nn.init.constant_(layer.bias, value)
    return layer


def test_a_short_training_forgets_its_first_weights() -> None:
    """After 100 steps a plain decay of 0.9999 would still give 99 % of the random start."""
    model = constant(1.0)
    average = EMA(model, 0.9999)
    nn.init.constant_(model.weight, 3.0)
    for _ in range(100):
        average.update(model)
    with average.swapped(model):
        assert model.weight[0, 0].item() == pytest.approx(3.0, abs=1e-6)


def test_the_decay_rises_to_its_limit_by_the_closed_form() -> None:
    model = constant(0.0)
    average = EMA(model, 0.5)
    expected = 0.0
    for t in range(20):
        nn.init.constant_(model.weight, float(t))
        decay = min(0.5, (1 + t) / (10 + t))
        average.update(model)
        expected = decay * expected + (1 - decay) * t
        with average.swapped(model):
            assert model.weight[0, 0].item() == pytest.approx(expected, rel=1e-5)


def drifted() -> tuple[nn.Module, EMA]:
    torch.manual_seed(0)
    model = nn.Sequential(MobileNetV1(0.25).conv_stem, nn.BatchNorm2d(8))
    average = EMA(model, 0.9)
    for _ in range(3):
        model(torch.rand(2, 3, 32, 32))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(model)
    return model, average


def test_batch_norm_statistics_are_averaged_with_the_weights() -> None:
    """Averaged weights on the last weights' statistics would be a network that never was."""
    model, average = drifted()
    own = {name: value.clone() for name, value in model.state_dict().items()}
    with average.swapped(model):
        for name in ("1.running_mean", "1.running_var", "0.weight", "1.bias"):
            assert not torch.equal(model.state_dict()[name], own[name]), name
        assert torch.equal(model.state_dict()["1.num_batches_tracked"], own["1.num_batches_tracked"])


def test_the_models_own_weights_come_back_bit_for_bit_also_after_an_error() -> None:
    model, average = drifted()
    own = {name: value.clone() for name, value in model.state_dict().items()}
    identities = [id(parameter) for parameter in model.parameters()]
    with pytest.raises(RuntimeError, match="in the middle"), average.swapped(model):
        raise RuntimeError("in the middle")
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())
    assert [id(parameter) for parameter in model.parameters()] == identities


def test_an_average_goes_on_bit_for_bit_from_a_file(tmp_path: Path) -> None:
    model, average = drifted()
    torch.save(average.state_dict(), tmp_path / "average.pt")
    again = EMA(model, 0.9)
    again.load_state_dict(torch.load(tmp_path / "average.pt", weights_only=True))
    for one in (average, again):
        one.update(model)
    assert again.updates == average.updates == 4
    for name, value in average.state_dict()["average"].items():
        assert torch.equal(value, again.state_dict()["average"][name]), name


def test_frozen_weights_keep_their_bits_in_the_average() -> None:
    """Heads are tied to a frozen backbone by its fingerprint; a rounding error would change it."""
    network = MobileNetV1(0.25)
    average = EMA(network, 0.99)
    for _ in range(5):
        average.update(network)
    before = network.fingerprint()
    with average.swapped(network):
        assert network.fingerprint() == before


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="--ema must be 0 or more and below 1, got"):
        EMA(constant(0.0), decay)
