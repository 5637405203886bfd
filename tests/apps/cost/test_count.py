"""The paper's cost tables beside ours, and the ``cost`` command."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import torchvision
from support import ROOT, Cli
from torch import nn

from apps.cost.count import compare, network_cost, one_network, rounds_to, table_rows
from apps.cost.networks import hollow
from apps.cost.paper_tables import TABLES, Network
from apps.cost.text import markdown, table_sheet
from backbone import MobileNetV1
from backbone.complexity import cost

NAMES = ("mult_adds", "parameters")


def row_of(table: int, name: str) -> dict[str, Any]:
    return next(row for row in table_rows(table) if row["name"] == name)


@pytest.mark.parametrize("number", TABLES)
def test_every_row_is_within_two_percent_of_the_paper_or_explained(number: int) -> None:
    rows = table_rows(number)
    assert len(rows) >= 2
    for row in rows:
        assert {"name", "paper", "ours", "difference_percent", "note"} <= row.keys()
        differences = (row["difference_percent"], row["difference_percent_parameters"])
        if row["ours"] is None:
            assert differences == (None, None)
            assert row["note"]
        elif any(abs(one) > 2 for one in differences):
            assert row["note"], row


@pytest.mark.parametrize(("table", "name", "paper", "ours"), [
    (4, "Conv MobileNet", (4_866_000_000, 29_300_000), (4_867_293_184, 29_294_088)),
    (5, "Shallow MobileNet", (307_000_000, 2_900_000), (307_323_392, 2_887_976)),
    (6, "0.25 MobileNet-224", (41_000_000, 500_000), (41_030_272, 470_072)),
    (7, "1.0 MobileNet-160", (290_000_000, 4_200_000), (290_675_200, 4_231_976)),
    (8, "VGG 16", (15_300_000_000, 138_000_000), (15_470_264_320, 138_357_544)),
    (9, "AlexNet", (720_000_000, 60_000_000), (714_188_480, 61_100_840)),
    (9, "Squeezenet", (1_700_000_000, 1_250_000), (818_924_576, 1_248_424)),
    (10, "0.75 MobileNet-192", (239_000_000, 1_900_000), (238_597_632, 1_908_840)),
    (11, "PlaNet MobileNet", (580_000_000, 13_000_000), (577_710_592, 13_210_976)),
    (11, "PlaNet", (5_740_000_000, 52_000_000), (5_731_156_576, 51_846_944)),
    (12, "0.25 MobileNet-128", (15_000_000, 200_000), (13_324_288, 223_352)),
    (13, "SSD 300, deeplab-VGG", (34_900_000_000, 33_100_000), (34_858_153_472, 35_641_826)),
    (13, "Faster-RCNN 300, VGG", (64_300_000_000, 138_500_000), (64_307_014_656, 138_515_267)),
    (13, "Faster-RCNN 600, VGG", (149_600_000_000, 138_500_000), (149_536_843_776, 138_515_267)),
    (14, "0.75 MobileNet-160", (166_000_000, 3_400_000), (168_086_400, 4_274_288)),
])
def test_rows_hold_the_papers_figures_and_those_of_the_network_that_is_built(
    table: int, name: str, paper: tuple[int, int], ours: tuple[int, int]
) -> None:
    row = row_of(table, name)
    assert tuple(row["paper"][one] for one in NAMES) == paper
    assert tuple(row["ours"][one] for one in NAMES) == ours
    assert row["difference_percent"] == round(100 * (ours[0] / paper[0] - 1), 2)


def test_accuracies_stand_with_the_papers_figures_as_fractions() -> None:
    assert row_of(10, "1.0 MobileNet-224")["paper"]["top1"] == 0.833
    assert row_of(11, "PlaNet MobileNet")["paper"]["within_25km"] == 0.317
    assert row_of(13, "SSD 300, MobileNet")["paper"]["ap"] == 0.193
    for table in TABLES.values():
        for row in table.rows:
            assert all(0 < value < 1 for value in row.accuracy.values())


def test_a_rounded_figure_of_the_paper_is_told_from_a_wrong_one() -> None:
    assert rounds_to(470_072, "0.5 M")
    assert not rounds_to(470_072, "0.50 M")
    assert rounds_to(0.94857, "94.86 %")
    small = next(row for row in TABLES[6].rows if row.network == Network(width=0.25))
    assert compare(small)["note"] == "few digits in the paper: our parameters round to 0.5 M too"


def test_the_note_on_googlenet_is_true_torchvisions_lacks_its_5x5_kernels() -> None:
    def published() -> nn.Module:
        net = torchvision.models.googlenet(weights=None, aux_logits=False, init_weights=False)
        for module in net.modules():
            if type(module).__name__ == "Inception":
                conv = module.branch3[1].conv
                assert conv.kernel_size == (3, 3)
                module.branch3[1].conv = nn.Conv2d(
                    conv.in_channels, conv.out_channels, 5, padding=2, bias=False
                )
        return net

    counted = cost(hollow(published), 224)
    assert (round(counted.mult_adds / 1e6), round(counted.parameters / 1e6, 1)) == (1583, 7.0)


def test_the_note_on_squeezenet_is_true_the_paper_counts_it_twice() -> None:
    doubled = [2 * network_cost(Network("squeezenet1_0", resolution=side)).mult_adds for side in (224, 227)]
    assert [round(one / 1e6) for one in doubled] == [1638, 1665]
    mobile = network_cost(Network(width=0.5, resolution=160)).mult_adds
    assert (round(doubled[0] / 2 / mobile), round(1700 / 76)) == (11, 22)


def test_the_note_on_ssd_vgg_is_true_81_outputs_do_not_give_the_papers_parameters_either() -> None:
    counted = network_cost(Network("vgg16", resolution=300, classes=80, detector="ssd"))
    assert (counted.mult_adds, counted.parameters) == (34_360_351_232, 34_305_206)


def test_the_note_on_inception_v2_is_true_no_library_here_holds_it() -> None:
    """A row without a network says so; when one of the libraries gains it, this fails and the row can go."""
    import timm

    rows = [row for row in TABLES[13].rows if row.name.endswith("Inception V2")]
    assert len(rows) == 3
    assert all(row.network is None and "nor timm holds Inception V2" in row.note for row in rows)
    names = [*timm.list_models("*inception*"), *torchvision.models.list_models(include="*inception*")]
    assert "inception_v3" in names
    assert not [one for one in names if one.startswith(("inception_v2", "bn_inception", "inceptionv2"))]


def test_the_notes_on_inception_v3_are_true() -> None:
    sizes = [
        network_cost(Network("inception_v3", resolution=299, classes=classes)).parameters / 1e6
        for classes in (120, 1000, 9760)
    ]
    assert [round(one, 1) for one in sizes] == [22.0, 23.8, 41.8]


def test_the_note_on_table_12_is_true_a_first_layer_of_16_channels_gives_46_and_15() -> None:
    def wider() -> nn.Module:
        net = MobileNetV1(0.25)
        first = net.blocks[0][0]  # type: ignore[index]
        net.conv_stem, net.bn1 = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16)
        first.conv_dw, first.bn1 = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16)
        first.conv_pw = nn.Conv2d(16, 16, 1, bias=False)
        return net

    assert [round(cost(hollow(wider), side).mult_adds / 1e6, 1) for side in (224, 128)] == [46.0, 15.0]


def students(embedding: int, *, whole_map: bool) -> list[float]:
    """How far the parameters of the four rows of Table 14 are off the paper's, as fractions."""
    trunk = {1.0: 3_206_976, 0.75: 1_816_560}
    rows = ((1.0, 160, 4.9e6), (1.0, 128, 5.5e6), (0.75, 160, 3.4e6), (0.75, 128, 3.8e6))
    inputs = {(w, r): int(1024 * w) * ((r // 32) ** 2 if whole_map else 1) for w, r, _ in rows}
    return [(trunk[w] + (inputs[w, r] + 1) * embedding) / paper - 1 for w, r, paper in rows]


def test_the_remark_on_table_14_is_true_no_head_fits_and_these_are_the_best() -> None:
    def best(whole_map: bool) -> tuple[float, int]:
        tried = range(8, 4097, 8)
        return min((max(map(abs, students(one, whole_map=whole_map))), one) for one in tried)

    mean, whole = students(128, whole_map=False), students(128, whole_map=True)
    assert (round(100 * max(mean)), round(100 * min(mean))) == (-32, -50)
    assert (round(100 * max(whole)), round(100 * min(whole))) == (32, -11)
    assert [(round(100 * off), size) for off, size in (best(False), best(True))] == [(10, 2104), (20, 104)]
    rows = {row["name"]: row for row in table_rows(14)}
    names = [f"{width} MobileNet-{side}" for width in (1.0, 0.75) for side in (160, 128)]
    counted = [rows[one]["difference_percent_parameters"] for one in names]
    assert counted == [round(100 * one, 2) for one in whole]


def test_the_papers_shares_of_table_2_sum_to_100_only_with_the_digits_swapped_back() -> None:
    shares = [100 * row["paper"]["mult_adds_share"] for row in table_rows(2)]
    assert round(sum(shares), 2) == 99.29
    assert round(sum(shares) - 1.19 + 1.91, 2) == 100.01


def test_the_page_in_docs_is_what_the_command_writes_now(cli: Cli) -> None:
    """Write it anew with: python cli.py cost --table all --markdown > docs/tables.md"""
    answer = cli("cost", "--table", "all", "--markdown")
    assert answer.code == 0, answer.err
    page = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    assert page == answer.out, "docs/tables.md is stale: run python cli.py cost --table all --markdown"


def test_markdown_keeps_its_columns_and_marks_what_is_the_papers() -> None:
    for number in (2, 11):
        lines = [one for one in markdown([table_sheet(number, table_rows(number))], "C").splitlines() if one]
        table = [one for one in lines if one.startswith("|")]
        assert all(one.count("|") == other.count("|") for one, other in pairwise(table))
        assert "paper" in table[0]
        assert len(table) == 2 + len(TABLES[number].rows)


def test_json_of_a_table_is_a_line_a_row(cli: Cli) -> None:
    answer = cli("cost", "--table", 8, "--json")
    assert answer.code == 0, answer.err
    assert [one["name"] for one in answer.lines] == ["1.0 MobileNet-224", "GoogleNet", "VGG 16"]
    assert answer.lines[0]["ours"] == {"mult_adds": 568_740_352, "parameters": 4_231_976}


def test_one_network_is_counted_by_kind_and_by_layer_and_its_parts_sum_to_it(cli: Cli) -> None:
    answer = cli("cost", "--width", 0.5, "--resolution", 160, "--classes", 120, "--layers", "--json")
    assert answer.code == 0, answer.err
    (row,) = answer.lines
    for parts in (row["kinds"].values(), row["layers"]):
        for what in NAMES:
            assert sum(one[what] for one in parts) == row["ours"][what]
    assert row["ours"]["parameters"] == 818_592 + 513 * 120
    assert row["paper"] == {}
    assert row["layers"][-1]["output"] == [1, 120]
    assert "mult-add" in row["convention"]


def test_a_network_that_the_paper_has_is_shown_beside_it(cli: Cli) -> None:
    assert one_network(shallow=True)["paper"]["mult_adds"] == 307_000_000
    answer = cli("cost", "--full-convolution")
    assert "4,867,293,184" in answer.out
    assert "The paper: 4,866 M mult-adds" in answer.out


def test_without_a_classifier_the_trunk_alone_is_counted() -> None:
    assert one_network(classes=0)["ours"] == {"mult_adds": 567_716_352, "parameters": 3_206_976}


@pytest.mark.parametrize(("name", "mult_adds", "parameters"), [
    ("resnet18", 1_814_073_344, 11_689_512), ("squeezenet1_0", 818_924_576, 1_248_424),
    ("mobilenetv1_050", 149_497_088, 1_331_592),
])
def test_other_backbones_are_counted_by_name(name: str, mult_adds: int, parameters: int) -> None:
    assert one_network(backbone=name)["ours"] == {"mult_adds": mult_adds, "parameters": parameters}


def test_layers_that_were_used_without_being_run_are_owned_up_to() -> None:
    assert "12 layers" in one_network(backbone="beit_base_patch16_224", resolution=224)["note"]


@pytest.mark.parametrize(("arguments", "words"), [
    (["--width", "0"], "--width must be above 0"), (["--width=-1"], "--width must be above 0"),
    (["--width", "nan"], "--width must be above 0"),
    (["--resolution", "8"], "--resolution must be 32 to"), (["--classes", "-1"], "--classes must be 0"),
    (["--classes", "1"], "2 classes or more"),
    (["--backbone", "nonsense"], "there is no network called 'nonsense'"),
    (["--backbone", "resnet18.nonsense"], "timm cannot build"),
    (["--backbone", "resnet18", "--width", "0.5"], "leave them out with --backbone resnet18"),
    (["--backbone", "alexnet", "--resolution", "40"], "does not run on 40 x 40 pixels"),
    (["--backbone", "alexnet", "--classes", "0"], "--classes 1 or more"),
    (["--table", "3"], "no cost table '3'"), (["--table", "99"], "no cost table '99'"),
    (["--table", "six"], "no cost table 'six'"),
])
def test_bad_values_are_refused_in_one_line(cli: Cli, arguments: list[str], words: str) -> None:
    answer = cli("cost", *arguments)
    assert (answer.code, answer.out) == (1, "")
    assert words in answer.last_error
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(("arguments", "words"), [
    (["--table", "6", "--width", "0.5"], "leave out --width"),
    (["--table", "6", "--backbone", "resnet18", "--layers"], "leave out --backbone, --layers"),
    (["--json", "--markdown"], "either --json or --markdown"),
    (["--width", "wide"], "--width"), (["--width", "1e300"], "not in the range x<=100"),
])
def test_options_that_do_not_go_together_are_usage_errors(cli: Cli, arguments: list[str], words: str) -> None:
    answer = cli("cost", *arguments)
    assert answer.code == 2
    assert words in answer.last_error


def test_the_networks_of_the_tables_take_no_memory() -> None:
    from apps.cost.networks import build_network

    for network in (Network("vgg16"), Network()):
        assert {one.device for one in build_network(network).parameters()} == {torch.device("meta")}
