"""Cells as classes: the product over partitions, shared targets, and layers that spare work."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from backbone import MobileNetV1
from backbone.complexity import cost
from heads import GeoCells, MultiHead

pytestmark = pytest.mark.computes

NESTED: dict[str, Any] = {"cells": [3, 5], "parents": [[0, 0, 1, 2, 2]]}


def maps(count: int = 4, channels: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, channels, 2, 3, generator=torch.Generator().manual_seed(seed))


def spread(head: GeoCells, seed: int = 0) -> GeoCells:
    """The head with weights that tell classes apart."""
    torch.manual_seed(seed)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    return head


def shared_tables(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every cell shares a third of its target with the next."""
    index = torch.stack([torch.arange(count), (torch.arange(count) + 1) % count], dim=1)
    return index, torch.tensor([[2 / 3, 1 / 3]]).repeat(count, 1)


@pytest.mark.parametrize(("cells", "millions"), [(9_760, 13.2), (26_263, 30.1)])
def test_the_size_is_that_of_the_paper(cells: int, millions: float) -> None:
    with torch.device("meta"):
        backbone = MobileNetV1(width=1.0)
        model = MultiHead(backbone, {"places": GeoCells(backbone.channels[32], [cells])})
    value = cost(model, 224)
    assert round(value.parameters / 1e6, 1) == millions
    assert value.parameters == 3_206_976 + 1025 * cells
    assert value.mult_adds == 567_716_352 + 1024 * cells
    if cells == 9_760:
        assert round(value.mult_adds / 1e9, 2) == 0.58


@pytest.mark.parametrize("softmax", ["full", "sampled"])
def test_an_untrained_head_is_undecided(softmax: str) -> None:
    torch.manual_seed(0)
    head = GeoCells(8, [40], softmax=softmax, samples=30)
    terms = head.loss(head(maps()), torch.tensor([0, 1, 2, 39]))
    assert terms["cross_entropy"].item() == pytest.approx(math.log(40), abs=0.02)
    head.eval()
    assert (head.log_probabilities(head(maps())).exp() - 1 / 40).abs().max() < 1e-3


def test_the_answer_is_the_product_over_partitions_made_to_add_up_to_one() -> None:
    head = spread(GeoCells(8, **NESTED)).eval()
    output = head(maps())
    coarse, fine = output[:, :3].softmax(1), output[:, 3:].softmax(1)
    product = torch.stack([fine[:, c] * coarse[:, p] for c, p in enumerate([0, 0, 1, 2, 2])], dim=1).double()
    expected = product / product.sum(dim=1, keepdim=True)
    value = head.log_probabilities(output).exp()
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
    first = head.decode(output, top=2)[0]
    values, indices = expected[0].sort(descending=True)
    assert first.indices == tuple(indices[:2].tolist())
    assert first.probabilities == pytest.approx(values[:2].tolist(), abs=1e-6)
    assert len(head.decode(output, top=99)[0].indices) == 5


def test_three_partitions_are_multiplied_along_the_whole_line_of_ancestors() -> None:
    head = spread(GeoCells(8, [2, 3, 4], [[0, 1, 1], [2, 0, 1, 2]])).eval()
    output = head(maps())
    logs = [part.log_softmax(1) for part in head.split(output)[0]]
    lines = [(1, 2, 0), (0, 0, 1), (1, 1, 2), (1, 2, 3)]
    sums = [logs[0][:, a] + logs[1][:, b] + logs[2][:, c] for a, b, c in lines]
    expected = torch.stack(sums, dim=1).double().log_softmax(1)
    torch.testing.assert_close(head.log_probabilities(output), expected, atol=1e-5, rtol=1e-5)


def test_a_temperature_flattens_the_answer() -> None:
    head = spread(GeoCells(8, [5])).eval()
    output = head(maps())
    torch.testing.assert_close(
        head.log_probabilities(output, temperature=3.0), (output.double() / 3).log_softmax(1)
    )


def test_each_partition_has_its_term_and_photos_outside_are_left_out() -> None:
    head = spread(GeoCells(8, **NESTED))
    output = head(maps())
    target = torch.tensor([[0, 1], [1, -1], [-1, -1], [2, 4]])
    terms = head.loss(output, target)
    assert set(terms) == {"cross_entropy_0", "cross_entropy_1"}
    torch.testing.assert_close(
        terms["cross_entropy_0"], F.cross_entropy(output[[0, 1, 3], :3], torch.tensor([0, 1, 2]))
    )
    torch.testing.assert_close(
        terms["cross_entropy_1"], F.cross_entropy(output[[0, 3], 3:], torch.tensor([1, 4]))
    )
    nowhere = head.loss(output, torch.full((4, 2), -1))
    assert [term.item() for term in nowhere.values()] == [0, 0]
    sum(nowhere.values()).backward()  # type: ignore[union-attr]


@pytest.mark.parametrize("softmax", ["full", "adaptive"])
def test_shared_targets_are_a_cross_entropy_against_their_weights(softmax: str) -> None:
    order = list(range(12))[::-1]
    head = spread(GeoCells(16, [12], neighbours=[shared_tables(12)], softmax=softmax, orders=[order]))
    pixels = maps(channels=16)
    target = torch.tensor([0, 1, 5, 11])
    soft = torch.zeros(4, 12)
    for row, cell in enumerate(target.tolist()):
        soft[row, cell], soft[row, (cell + 1) % 12] = 2 / 3, 1 / 3
    value = head.loss(head(pixels), target)["cross_entropy"]
    head.eval()
    torch.testing.assert_close(value, F.cross_entropy(head.split(head(pixels))[0][0], soft))
    torch.testing.assert_close(head.loss(head(pixels), target)["cross_entropy"], value)


@pytest.mark.parametrize("shared", [False, True])
def test_a_sampled_loss_is_right_on_average_and_its_gradient_too(shared: bool) -> None:
    neighbours = [shared_tables(300)] if shared else []
    head = spread(GeoCells(8, [300], softmax="sampled", samples=200, neighbours=neighbours))
    with torch.no_grad():
        head.layers[0].weight *= 0.5
    target = torch.tensor([0, 7, 7, 299])
    losses, gradient = [], torch.zeros_like(head.layers[0].weight)
    for _ in range(200):
        head.zero_grad()
        loss = head.loss(head(maps()), target)["cross_entropy"]
        loss.backward()
        losses.append(loss.item())
        gradient += head.layers[0].weight.grad / 200
    head.eval().zero_grad()
    exact = head.loss(head(maps()), target)["cross_entropy"]
    exact.backward()
    assert sum(losses) / 200 == pytest.approx(exact.item(), rel=0.01)
    full = head.layers[0].weight.grad
    assert F.cosine_similarity(gradient.flatten(), full.flatten(), dim=0) > 0.99


def test_an_adaptive_layer_has_fewer_weights_and_its_loss_is_that_of_its_answers() -> None:
    order = torch.randperm(600, generator=torch.Generator().manual_seed(0)).tolist()
    head = spread(GeoCells(64, [600], softmax="adaptive", orders=[order]))
    full = GeoCells(64, [600])
    assert sum(p.numel() for p in head.parameters()) < sum(p.numel() for p in full.parameters()) / 2
    pixels, target = maps(channels=64), torch.tensor([0, 7, 300, 599])
    loss = head.loss(head(pixels), target)["cross_entropy"]
    head.eval()
    answers = head.log_probabilities(head(pixels))
    assert answers.exp().sum(dim=1).tolist() == pytest.approx([1] * 4)
    assert -answers[range(4), target].mean().item() == pytest.approx(loss.item(), rel=1e-5)


def test_an_offset_is_learnt_where_a_cell_holds_the_photo_and_told_with_the_answer() -> None:
    head = spread(GeoCells(8, [3], offset=True))
    output = head(maps())
    assert output.shape == (4, 5)
    target = {"cells": torch.tensor([0, 1, 2, -1]), "offset": torch.tensor([[0.5, -0.5]] * 3 + [[9.0, 9.0]])}
    terms = head.loss(output, target)
    offset = head.split(output)[1]
    torch.testing.assert_close(terms["offset"], F.smooth_l1_loss(offset[:3], target["offset"][:3]))
    assert set(head.loss(output, target["cells"])) == {"cross_entropy"}
    shift = head.eval().decode(output)[0].offset
    assert shift == pytest.approx(offset[0].tolist())
    assert max(map(abs, shift)) <= 2
    sampled = GeoCells(8, [3], offset=True, softmax="sampled", samples=2)
    assert set(sampled.loss(sampled(maps()), target)) == {"cross_entropy", "offset"}


@pytest.mark.parametrize("softmax", ["full", "sampled", "adaptive"])
def test_eight_images_are_learnt_by_heart(softmax: str) -> None:
    torch.manual_seed(0)
    orders = [list(range(12)), list(range(24))]
    parents = [[n // 2 for n in range(24)]]
    head = GeoCells(64, [12, 24], parents, softmax=softmax, samples=12, orders=orders)
    pixels, fine = maps(8, 64), torch.arange(8) * 3
    target = torch.stack([fine // 2, fine], dim=1)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        torch.stack(list(head.loss(head(pixels), target).values())).sum().backward()
        optimizer.step()
    answers = head.eval().decode(head(pixels), top=1)
    assert [answer.indices[0] for answer in answers] == fine.tolist()
    assert min(answer.probabilities[0] for answer in answers) > 0.9


@pytest.mark.parametrize(("arguments", "words"), [
    ({"cells": []}, r"each partition needs 2 cells or more, got \[\]"),
    ({"cells": [5, 1], "parents": [[0]]}, r"each partition needs 2 cells or more, got \[5, 1\]"),
    ({"cells": [3, 5]}, r"expected a parent for each of \[5\] finer cells, got \[\]"),
    ({"cells": [3, 5], "parents": [[0, 1, 2, 3, 0]]}, "expected parents 0 to 2, got 0 to 3"),
    ({"cells": [3, 5], "parents": [[0, 1, 2, -1, 0]]}, "expected parents 0 to 2, got -1 to 2"),
    ({"cells": [5], "softmax": "fast"}, "softmax must be one of full, sampled, adaptive, got 'fast'"),
    ({"cells": [5], "softmax": "sampled", "samples": 0}, "needs 1 sample or more, got 0"),
    ({"cells": [50], "softmax": "adaptive"}, r"needs the order of all \[50\] cells by frequency"),
    ({"cells": [12], "softmax": "adaptive", "orders": [[0] * 12]}, "12 classes or more, each once in order"),
    ({"cells": [12], "softmax": "adaptive", "orders": [range(12)]}, "needs 16 channels or more, got 8"),
    ({"cells": [5], "neighbours": [shared_tables(4)]}, r"neighbours for \[5\] cells, or None, got \[4\]"),
    ({"cells": [4], "neighbours": [(shared_tables(4)[0], torch.ones(4, 2))]}, "add up to 1, got 2 to 2"),
    ({"cells": [4], "neighbours": [(shared_tables(4)[0] + 1, torch.ones(4, 2) / 2)]}, "0 to 3, got 1 to 4"),
])
def test_sizes_that_do_not_fit_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GeoCells(8, **arguments)


def test_targets_and_outputs_of_another_head_are_refused() -> None:
    head = GeoCells(8, **NESTED)
    with pytest.raises(ValueError, match=r"expected 2 targets an image, got \(4, 1\)"):
        head.loss(head(maps()), torch.tensor([0, 1, 2, 0]))
    with pytest.raises(ValueError, match=r"expected an output \(B, 8\) of this head, got \(4, 7\)"):
        head.decode(torch.zeros(4, 7))
