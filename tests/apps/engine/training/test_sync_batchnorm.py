"""Batch-norm over processes: two of them against one with the whole batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from sync_norm_processes import (
    EVERY,
    far_from_zero,
    make_model,
    make_network,
    network_images,
    network_step,
    run,
    two_steps,
    whole_batch,
)
from torch import Tensor, nn

from apps.engine.training.sync_batchnorm import synchronise_batch_norm
from backbone import MobileNetV1


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes saw that share a batch over gloo."""
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(run, args=(str(folder),), nprocs=2)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """One process, the whole batch, PyTorch's own batch-norm, in float64."""
    images, wanted = whole_batch()
    return two_steps(make_model(), images.double(), wanted.double())


def assert_same(seen: Tensor, wanted: Tensor, name: str = "", *, size: float = 1.0) -> None:
    """To 1e-9 of the largest value, or of ``size`` where that is larger, in float64; 1e-5 in float32."""
    share = 1e-9 if seen.dtype == torch.float64 else 1e-5
    apart = (seen.double() - wanted.double()).abs().max() / max(wanted.abs().max().item(), size)
    assert apart < share, f"{name} differs by {apart:.1e}"


@pytest.mark.parametrize("title", [*EVERY, "wrapped"])
def test_outputs_and_statistics_are_those_of_the_whole_batch(
    found: list[dict[str, Any]], alone: dict[str, Any], title: str
) -> None:
    outputs = torch.cat([one[title]["outputs"] for one in found])
    assert_same(outputs, alone["outputs"])
    for one in found:
        state = {name.removeprefix("module."): value for name, value in one[title]["state"].items()}
        assert state.keys() == alone["state"].keys()
        for name, value in alone["state"].items():
            assert_same(state[name], value, name)


@pytest.mark.parametrize("title", EVERY)
def test_gradients_are_those_of_the_whole_batch(
    found: list[dict[str, Any]], alone: dict[str, Any], title: str
) -> None:
    """Each process's gradients are of its own photos' part: their sum is the whole."""
    images = torch.cat([one[title]["images"] for one in found])
    assert_same(images, alone["images"])
    for name, value in alone["parameters"].items():
        first, second = (one[title]["parameters"][name] for one in found)
        assert_same(first + second, value, name)


def test_gradients_average_under_distributed_data_parallel(
    found: list[dict[str, Any]], alone: dict[str, Any]
) -> None:
    """It divides the sum by the number of processes, and its messages do not mix with ours.

    A bias before batch-norm has a gradient of zero, made of large parts: the error is held against all.
    """
    size = max(value.abs().max().item() for value in alone["parameters"].values())
    for name, value in alone["parameters"].items():
        for one in found:
            mean = one["wrapped"]["parameters"][f"module.{name}"]
            assert_same(2 * mean, value, name, size=size)


def test_a_network_that_is_swapped_for_training_takes_the_statistics_of_all_processes(
    found: list[dict[str, Any]]
) -> None:
    """Kernels and exchange together: statistics of half the batch would be off by tenths."""
    whole = network_step(make_network(), network_images())
    outputs = torch.cat([part["network"]["outputs"] for part in found])
    assert_close_in_norm(outputs, whole["outputs"], 0.01)
    for name, value in whole["state"].items():
        for part in found:
            torch.testing.assert_close(part["network"]["state"][name], value, rtol=1e-3, atol=1e-4, msg=name)
    for name, value in whole["parameters"].items():
        first, second = (part["network"]["parameters"][name] for part in found)
        assert_close_in_norm(first + second, value, 0.05, name)


def assert_close_in_norm(seen: Tensor, wanted: Tensor, share: float, name: str = "") -> None:
    """Rounding moves a few values over the edges of ReLU6, so single ones may differ."""
    assert (seen - wanted).norm() <= share * wanted.norm(), name


def test_values_far_from_zero_keep_their_variance(found: list[dict[str, Any]]) -> None:
    whole = far_from_zero().double()
    variance = whole.var(0)
    expected = (whole - whole.mean(0)) / (whole.var(0, correction=0) + 1e-5).sqrt()
    for rank, one in enumerate(found):
        outputs, running = one["far"]
        torch.testing.assert_close(running.double(), variance, rtol=1e-5, atol=0)
        torch.testing.assert_close(outputs.double(), expected[rank::2], rtol=0, atol=2e-3)


def test_evaluation_is_plain_batch_norm_in_many_processes(found: list[dict[str, Any]]) -> None:
    expected = make_model().eval()(whole_batch()[0].double()).detach()
    assert_same(torch.cat([one["judged"] for one in found]), expected)


def test_one_value_a_channel_in_all_processes_is_refused_in_each(found: list[dict[str, Any]]) -> None:
    for one in found:
        assert one["alone"] == "batch-norm needs 2 values a channel or more over all processes, got 1"


def test_without_other_processes_it_is_plain_batch_norm_bit_for_bit() -> None:
    plain = two_steps(make_model(torch.float32), *whole_batch())
    same = two_steps(synchronise_batch_norm(make_model(torch.float32)), *whole_batch())
    assert torch.equal(plain["outputs"], same["outputs"])
    assert all(torch.equal(value, same["state"][name]) for name, value in plain["state"].items())
    assert all(torch.equal(value, same["parameters"][name]) for name, value in plain["parameters"].items())


def test_parameters_names_and_modes_stay_and_a_second_call_changes_nothing() -> None:
    network = MobileNetV1(0.25)
    parameters, names = list(map(id, network.parameters())), list(network.state_dict())
    network.blocks[0].eval()
    modes = [module.training for module in network.modules()]
    assert synchronise_batch_norm(synchronise_batch_norm(network)) is network
    assert list(map(id, network.parameters())) == parameters
    assert list(network.state_dict()) == names
    assert [module.training for module in network.modules()] == modes
    assert isinstance(network.bn1, nn.BatchNorm2d)  # what looks for batch-norm, such as freezing, finds it


def test_a_batch_norm_of_an_unknown_kind_is_refused() -> None:
    """It would go on with the statistics of its own process, and nobody would know."""

    class Own(nn.BatchNorm2d):
        pass

    with pytest.raises(ValueError, match=r"batch-norm '1' is a Own, .* only BatchNorm1d, BatchNorm2d, "):
        synchronise_batch_norm(nn.Sequential(nn.Identity(), Own(3)))
