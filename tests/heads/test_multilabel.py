"""The head of attributes: masked loss, groups, what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from heads import MultiLabelClassifier

pytestmark = pytest.mark.computes


def _naive(logits: torch.Tensor, target: torch.Tensor, weights: list[float]) -> float:
    total = 0.0
    for row in range(len(logits)):
        for column, weight in enumerate(weights):
            wanted = float(target[row, column])
            if not math.isnan(wanted):
                p = 1 / (1 + math.exp(-float(logits[row, column])))
                total -= weight * (wanted * math.log(p) + (1 - wanted) * math.log(1 - p))
    return total / (len(logits) * sum(weights))


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0, 1.0], [2.0, 0.5, 0.0, 1.0]])
def test_the_masked_loss_is_the_naive_loop_over_what_is_known(weights):
    generator = torch.Generator().manual_seed(0)
    head = MultiLabelClassifier(3, ["a", "b", "c", "d"], weights=weights)
    for blank in (0.0, 0.3, 0.9, 1.0):
        logits = torch.randn(9, 4, generator=generator, dtype=torch.float64)
        target = torch.rand(9, 4, generator=generator, dtype=torch.float64)
        target[torch.rand(9, 4, generator=generator) < blank] = math.nan
        loss = head.loss(logits, target)["attributes"]
        assert float(loss) == pytest.approx(_naive(logits, target, weights), abs=1e-7)


def test_an_unknown_label_gives_no_gradient_and_no_nan():
    head = MultiLabelClassifier(3, ["a", "b"])
    logits = torch.zeros(2, 2, requires_grad=True)
    head.loss(logits, torch.tensor([[1.0, math.nan], [math.nan, math.nan]]))["attributes"].backward()
    assert logits.grad.tolist() == [[-0.125, 0.0], [0.0, 0.0]]


def test_losses_of_batches_add_up_to_that_of_all_photos():
    """Dividing by the known labels of each batch would weigh a batch of few labels more."""
    head = MultiLabelClassifier(3, ["a", "b"])
    logits = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
    target = torch.tensor([[1.0, math.nan]] * 3 + [[0.0, 1.0]] * 3)
    whole = head.loss(logits, target)["attributes"]
    halves = [head.loss(logits[part], target[part])["attributes"] for part in (slice(0, 3), slice(3, 6))]
    assert float(whole) == pytest.approx(float(sum(halves)) / 2)


def test_a_group_is_a_softmax_and_its_value_the_expected_class():
    head = MultiLabelClassifier(3, ["a"], groups={"age": 3})
    logits = torch.tensor([[0.0, 0.0, 0.0, math.log(2.0)]])
    (answer,) = head.decode(logits)
    assert answer.probabilities == {"a": 0.5}
    assert answer.values["age"] == pytest.approx(1 * 0.25 + 2 * 0.5)
    terms = head.loss(logits, torch.tensor([[math.nan, 0.0, 0.0, 1.0]]))
    assert float(terms["attributes"]) == 0
    assert float(terms["age"]) == pytest.approx(math.log(2), abs=1e-6)
    unknown = head.loss(logits, torch.tensor([[1.0, math.nan, math.nan, math.nan]]))
    assert float(unknown["age"]) == 0


def test_the_output_has_a_column_a_name_and_a_class():
    head = MultiLabelClassifier(8, ["a", "b"], groups={"age": 5}, stride=16)
    assert head(torch.rand(3, 8, 4, 4)).shape == (3, 7)
    assert head.strides == (16,)
    assert head.blocks() == {"age": slice(2, 7)}


@pytest.mark.parametrize(("arguments", "message"), [
    ({"names": []}, "needs names, each once, got none"),
    ({"names": ["a", "a"]}, "needs names, each once, got a, a"),
    ({"names": ["a"], "groups": {"a": 4}}, "needs names, each once"),
    ({"names": ["a"], "groups": {"age": 1}}, "2 classes or more; age has 1"),
    ({"names": ["a"], "weights": [1.0, 2.0]}, "1 attributes need as many weights"),
    ({"names": ["a"], "weights": [-1.0]}, "weights of 0 or more"),
])
def test_a_head_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiLabelClassifier(4, **arguments)


def test_targets_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"are \(B, 2\), as the logits, got \(1, 3\)"):
        MultiLabelClassifier(4, ["a", "b"]).loss(torch.zeros(1, 2), torch.zeros(1, 3))
