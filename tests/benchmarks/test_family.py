"""The family's benchmark: its page stays true, and its rounds are fair."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from support import ROOT

from apps.cost.count import network_cost
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.family import Times, accuracies, build, measure, rows, spread
from benchmarks.family_members import BASE, FAMILY, members
from benchmarks.family_page import HEAD, draw, millions, page

PAGE = ROOT / "docs" / "family.md"


def table_of(text: str) -> dict[str, dict[str, str]]:
    """The first table of a page: name of the network -> column -> cell."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    head = lines[0]
    stop = next((n for n, line in enumerate(lines) if line[0] == "weights"), len(lines))
    return {line[0]: dict(zip(head, line, strict=True)) for line in lines[2:stop]}


def test_the_page_names_every_network_with_the_counts_of_the_network_really_built() -> None:
    """Goes red when the page is older than the code."""
    table = table_of(PAGE.read_text(encoding="utf-8"))
    assert list(table) == [one.name for one in members()]
    for one in members():
        total, line = network_cost(one.network), table[one.name]
        assert line["mult-adds"] == millions(total.mult_adds, 2), one.name
        assert line["parameters"] == millions(total.parameters, 3), one.name
        assert line[HEAD[1]] == ("" if one.paper_top1 is None else f"{100 * one.paper_top1:.1f} %"), one.name


def test_the_page_says_whose_figures_it_has_and_where_the_times_come_from() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for words in ("arXiv:1704.04861", "Not measured here", "one thread", "Machine: ", "rounds", "quartiles"):
        assert words in text
    assert re.search(r"measured here on \d{4}-\d\d-\d\d", text)
    assert (PAGE.parent / "family.png").read_bytes()[:4] == b"\x89PNG"
    assert table_of(text)[BASE][HEAD[5]] == "1.00 (1.00 to 1.00)"


def test_the_members_are_the_16_the_variants_and_the_comparators_with_the_papers_figures() -> None:
    found = {one.name: one for one in members()}
    assert len(found) == 23
    assert sum(one.kind == FAMILY for one in found.values()) == 16
    printed = {name: one.paper_top1 for name, one in found.items() if one.paper_top1 is not None}
    assert printed == {
        "1.0 MobileNet-224": 0.706, "1.0 MobileNet-192": 0.691, "1.0 MobileNet-160": 0.672,
        "1.0 MobileNet-128": 0.644, "0.75 MobileNet-224": 0.684, "0.5 MobileNet-224": 0.637,
        "0.25 MobileNet-224": 0.506, "0.5 MobileNet-160": 0.602, "Full convolutions": 0.717,
        "Shallow": 0.653, "GoogLeNet": 0.698, "VGG16": 0.715, "SqueezeNet 1.0": 0.575, "AlexNet": 0.572,
    }
    assert network_cost(found[BASE].network).mult_adds == 568_740_352


def test_what_is_timed_is_a_real_network_with_finite_answers() -> None:
    smallest = members()[15]
    assert smallest.name == "0.25 MobileNet-128"
    with torch.inference_mode():
        answer = build(smallest.network)(torch.rand(1, 3, 128, 128))["classes"]
    assert answer.shape == (1, 1000)
    assert torch.isfinite(answer).all()
    assert answer.std() > 0


def test_rounds_go_through_all_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A A A B B B would give the one what slowed the machine in the first half."""
    monkeypatch.setattr("benchmarks.family.LEAST_SECONDS", 0.0)
    calls: list[str] = []
    times = measure({name: lambda name=name: calls.append(name) for name in "abc"}, rounds=5)
    assert "".join(calls) == "aabbcc" + "abc" * 5
    assert [(len(one.wall), len(one.cpu)) for one in times.values()] == [(5, 5)] * 3


def test_the_ratio_is_taken_round_by_round_before_the_median() -> None:
    """In a round in which everything is ten times slower, the ratio is what it was."""
    slow = (1.0, 1.0, 10.0, 10.0, 10.0)
    times = {one.name: Times(slow, slow) for one in members()}
    times["VGG16"] = Times(slow, (3.0, 3.0, 30.0, 20.0, 30.0))
    found = {row["name"]: row for row in rows(times)}
    assert found["VGG16"]["ratio"] == pytest.approx((3.0, 3.0, 3.0))
    assert found[BASE]["ratio"] == (1.0, 1.0, 1.0)
    assert spread((4.0, 1.0, 3.0, 2.0, 5.0)) == (3.0, 2.0, 4.0)
    assert spread((2.0,)) == (2.0, 2.0, 2.0)


def test_weights_are_judged_on_the_photos_and_the_page_says_how_many(
    tmp_path: Path, imagewoof: Path, weights_025: Path
) -> None:
    for wnid in ("n02111889", "n02088364"):
        for photo in sorted((imagewoof / "val" / wnid).iterdir())[:2]:
            (tmp_path / "val" / wnid).mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, tmp_path / "val" / wnid)
    shutil.copy(weights_025, tmp_path)
    judged = accuracies(tmp_path, tmp_path)
    assert [(one.weights, one.member, one.n) for one in judged] == [
        ("mobilenetv1_0.25_128", "0.25 MobileNet-128", 4)
    ]
    times = {one.name: Times((0.001,) * 5, (0.001,) * 5) for one in members()}
    text = page(rows(times), judged, 5)
    assert "4 photos of 2 classes (beagle, Samoyed), not ImageNet's 50,000" in text
    draw(rows(times), tmp_path / "family.png")
    assert (tmp_path / "family.png").stat().st_size > 10_000


@pytest.mark.parametrize(("words", "message"), [
    (["--rounds", "4"], "--rounds must be 5 or more, got 4"),
    (["--data", "."], "--data and --weights-folder go together"),
    (["--data", ".", "--weights-folder", "{tmp}"], "holds no *.safetensors; give another --weights-folder"),
])
def test_what_does_not_fit_is_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(tmp=tmp_path) for word in words]
    assert main(["family", *given, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_benchmark_that_is_not_there_is_a_usage_error_that_names_those_that_are(
    capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["nothing"])
    said = capsys.readouterr().err
    assert all(name in said for name in BENCHMARKS)
