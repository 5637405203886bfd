"""The count of mult-adds and parameters against the hand formula, torch's own counter and the paper."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from backbone import MobileNetV1
from backbone.complexity import CONVENTION, Cost, cost
from heads import Classifier, MultiHead

# facts: M mult-adds with 1000 classes, and M parameters
PAIRS = {
    1.0: ({224: 568.74, 192: 418.12, 160: 290.68, 128: 186.40}, 4.232),
    0.75: ({224: 325.40, 192: 239.27, 160: 166.40, 128: 106.77}, 2.586),
    0.5: ({224: 149.50, 192: 109.97, 160: 76.52, 128: 49.16}, 1.332),
    0.25: ({224: 41.03, 192: 30.21, 160: 21.06, 128: 13.57}, 0.470),
}
CHANNELS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
HALVED = {1, 3, 5, 11}


def hollow(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return make()


def classifier_of(width: float = 1.0, classes: int = 1000, **options: bool) -> nn.Module:
    def make() -> nn.Module:
        trunk = MobileNetV1(width, **options)  # type: ignore[arg-type]
        return MultiHead(trunk, {"x": Classifier(trunk.channels[32], classes)})

    return hollow(make)


def by_hand(width: float, resolution: int) -> int:
    """The paper's section 3.1: 9 M D^2 + M N D^2 a pair, 27 * 32 D^2 before and 1000 M after them."""
    side, before = -(-resolution // 2), int(32 * width)
    total = 27 * before * side**2
    for index, after in enumerate(int(c * width) for c in CHANNELS):
        side = -(-side // 2) if index in HALVED else side
        total += (9 * before + before * after) * side**2
        before = after
    return total + 1000 * before


def by_torch(model: nn.Module, size: int, channels: int = 3) -> int:
    """torch's own counter, which sees the kernels instead of the modules; a mult-add is two of its flops."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, channels, size, size))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("width", PAIRS)
def test_all_sixteen_pairs_of_the_paper_cost_what_the_hand_formula_says(width: float) -> None:
    millions, parameters = PAIRS[width]
    model = classifier_of(width)
    for resolution, expected in millions.items():
        counted = cost(model, resolution)
        assert counted.mult_adds == by_hand(width, resolution)
        assert round(counted.mult_adds / 1e6, 2) == expected
        assert round(counted.parameters / 1e6, 3) == parameters


def test_the_full_network_costs_exactly_what_is_written_of_it() -> None:
    counted = cost(classifier_of(), 224)
    assert (counted.mult_adds, counted.parameters, counted.weights) == (568_740_352, 4_231_976, 4_209_088)
    assert counted.kinds()["batch-norm"].parameters == 21_888
    trunk = cost(hollow(MobileNetV1), 224)
    assert (trunk.mult_adds, trunk.parameters) == (567_716_352, 3_206_976)


@pytest.mark.parametrize(("options", "mult_adds", "weights"), [
    ({"separable": False}, 4867.3, 29.28), ({"shallow": True}, 307.3, 2.875),
])
def test_the_networks_of_tables_4_and_5_cost_what_they_should(
    options: dict[str, bool], mult_adds: float, weights: float
) -> None:
    """The written M parameters of these two leave batch-norm and biases out."""
    counted = cost(classifier_of(**options), 224)
    assert round(counted.mult_adds / 1e6, 1) == mult_adds
    assert counted.weights / 1e6 == pytest.approx(weights, abs=0.002)


def test_kinds_have_the_shares_of_table_2() -> None:
    """Its "Conv 3x3 1.19 %" is 1.91 % with two digits swapped: only so do the shares sum to 100."""
    counted = cost(classifier_of(), 224)
    mult_adds, weights = counted.mult_adds / 100, counted.weights / 100
    shares = {
        kind: (round(item.mult_adds / mult_adds, 2), round(item.weights / weights, 2))
        for kind, item in counted.kinds().items()
    }
    assert shares == {
        "conv 1x1": (94.86, 74.59), "conv dw 3x3": (3.06, 1.06), "conv 3x3": (1.91, 0.02),
        "fully connected": (0.18, 24.33), "batch-norm": (0.0, 0.0),
    }
    assert next(iter(shares)) == "conv 1x1"


@pytest.mark.parametrize("options", [
    {}, {"separable": False}, {"shallow": True}, {"output_stride": 16}, {"output_stride": 8},
])
def test_the_count_equals_torchs_own_for_every_variant(options: dict[str, bool]) -> None:
    model = MobileNetV1(0.25, **options)  # type: ignore[arg-type]
    assert cost(model, 75).mult_adds == by_torch(model, 75)


class Odd(nn.Module):
    """Everything that a count by hand gets wrong: groups, dilation, transposes, tokens, a layer run twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, (1, 7), stride=2)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.up = nn.ConvTranspose2d(8, 6, 3, stride=2, groups=2)
        self.line = nn.Conv1d(6, 6, 3, padding=1)
        self.tokens = nn.Linear(6, 6)
        self.unused = nn.Linear(6, 100)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(self.grouped(self.stem(x)))
        x = self.line(self.up(x).flatten(2))
        answer: Tensor = self.tokens(self.tokens(x.transpose(1, 2)))
        return answer


def test_groups_dilation_transposes_tokens_and_repeated_runs_count_as_torch_counts_them() -> None:
    model = Odd()
    counted = cost(model, 20)
    assert counted.mult_adds == by_torch(model, 20)
    layers = {item.name: item for item in counted.layers}
    assert layers["grouped"].runs == 2
    assert layers["grouped"].parameters == 8 * 2 * 9 + 8
    assert layers["grouped"].mult_adds == 2 * (8 * 2 * 9) * 10 * 7
    assert [item.kind for item in counted.layers] == [
        "conv 1x7", "conv grouped 3x3", "conv transposed 3x3", "conv 3", "fully connected", "fully connected",
    ]


def test_what_does_not_run_has_parameters_but_no_mult_adds_and_is_named() -> None:
    counted = cost(Odd(), 20)
    assert counted.unused == ("unused",)
    assert counted.parameters == sum(item.numel() for item in Odd().parameters())


def test_layers_that_share_a_weight_count_it_once_and_multiply_with_it_twice() -> None:
    first, second = nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 1, bias=False)
    second.weight = first.weight
    counted = cost(nn.Sequential(first, second), (4, 5))
    assert (counted.mult_adds, counted.parameters) == (2 * 9 * 20, 9)


def test_height_and_width_are_told_apart() -> None:
    counted = cost(hollow(lambda: MobileNetV1(0.25)), (64, 96))
    assert counted.layers[0].output == (1, 8, 32, 48)


def test_counting_leaves_the_model_as_it_was() -> None:
    """A real pass in training mode would move batch-norm's statistics, and a deep copy would cost memory."""
    model = MobileNetV1(0.25)
    model.blocks[0].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [item.training for item in model.modules()]
    cost(model, 64)
    assert [item.training for item in model.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(item._forward_hooks for item in model.modules())


class Looks(nn.Module):
    """Looks at its values, which no network without values can do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return x if x.sum().item() > -1e9 else x[:0]


def test_a_network_that_looks_at_its_values_is_counted_by_a_real_run() -> None:
    """And counted once, though the attempt without values had begun to count."""
    model = Looks()
    counted = cost(model, 5)
    assert counted.mult_adds == 6 * 25
    assert model.norm.num_batches_tracked == 0


def test_networks_of_other_types_and_without_parameters_count_too() -> None:
    assert cost(nn.Conv2d(3, 2, 1).half(), 3).mult_adds == 54
    assert cost(nn.ReLU(), 3) == Cost(())


@pytest.mark.parametrize("size", [0, -3, (8, 0)])
def test_an_image_without_pixels_is_refused(size: int | tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="1 pixel or more"):
        cost(nn.ReLU(), size)


def test_an_image_that_the_network_refuses_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="32 px or more"):
        cost(hollow(MobileNetV1), 8)
    with pytest.raises(ValueError, match="does not run on 3 x 3 pixels"):
        cost(nn.Conv2d(3, 2, 7), 3)


def test_the_convention_is_one_line() -> None:
    assert "\n" not in CONVENTION
    assert "batch-norm is folded" in CONVENTION
