"""The command that holds ours against timm's and torchvision's loops: arithmetic, page, errors."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from support import ROOT, save_colour

from benchmarks import cases, speed
from benchmarks.__main__ import main
from benchmarks.cases import CASES, FIRST, FIRST_BF16, MATRIX, TARGETS, TIMM, TORCHVISION, Target
from benchmarks.inference import difference
from benchmarks.machine import facts, peak_memory
from benchmarks.ours import answerer, settings_of
from benchmarks.peers import CLASSES, seeded_network
from benchmarks.performance_page import page, peak_share, records_of, verdict_of
from benchmarks.pictures import photo_count, photos_for
from benchmarks.processes import command, last_error, last_seconds
from benchmarks.rounds import Record, Side, Slice
from benchmarks.speed import ask, case_of, drop_absent, enough, mult_adds, sides_of

TWICE = Target("train-1.0-224", FIRST, TIMM, 2.2, "twice")


def options(**changes: Any) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    speed.add_options(parser)
    return argparse.Namespace(**vars(parser.parse_args([])) | changes)


def record(*slices: tuple[float, float, float], **known: Any) -> dict[str, Any]:
    told = {"threads": 1, "workers": 0} | known
    return Record([Slice(*one) for one in slices], 2**30, told).to_dict()


def hand_made() -> dict[str, Any]:
    """Results of one case: timm 8, 8 and 4 photos a CPU-second, ours 16, 20 and 12."""
    asked = ask("train-1.0-224", options(rounds=3))
    case = {
        "asked": asked, "date": "2026-01-02", "seconds": 1.0, "mult_adds": 567_716_352,
        "absent": {FIRST_BF16: "no units"},
        "sides": {
            TIMM: record((64, 9.0, 8.0), (64, 9.0, 8.0), (64, 16.0, 16.0)),
            FIRST: record((64, 9.0, 4.0), (60, 3.0, 3.0), (60, 5.0, 5.0)),
            MATRIX: record((80, 1.0, 1.0), (100, 1.0, 1.0), (100, 1.0, 1.0)),
        },
    }
    return {"machine": facts(), "date": "2026-01-02", "command": "python -m benchmarks speed",
            "cases": {"train-1.0-224": case}}


def test_a_target_is_judged_by_the_median_of_the_ratios_on_the_cpu_clock() -> None:
    assert verdict_of(hand_made(), TWICE) == (pytest.approx((2.5, 2.0, 3.0)), cases.MET)
    harder = Target("train-1.0-224", FIRST, TIMM, 2.6, "harder")
    assert verdict_of(hand_made(), harder)[1] == cases.MISSED


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    bf16 = Target("train-1.0-224", FIRST_BF16, TIMM, 3.5, "bf16")
    assert verdict_of(hand_made(), bf16) == (None, "cannot be measured here: no units")
    other = Target("inference", cases.OURS, TIMM, 1.6, "inference")
    assert verdict_of(hand_made(), other) == (None, "not measured: `--only inference`")


def test_the_share_of_the_peak_counts_two_flops_a_mult_add_and_three_passes_a_step() -> None:
    """1 photo a second of 1 G mult-adds is 6 GFLOP/s: of a peak of 60, a tenth."""
    photos, peak = Record([Slice(5, 5.0, 5.0)]), Record([Slice(60, 1.0, 1.0)])
    assert peak_share(photos, peak, 1_000_000_000, "cpu") == pytest.approx((0.1, 0.1, 0.1))
    sides = records_of(hand_made()["cases"]["train-1.0-224"])
    # 16, 20 and 12 photos over 80, 100 and 100 GFLOP/s: 3.406298 GFLOP a photo
    assert peak_share(sides[FIRST], sides[MATRIX], 567_716_352, "cpu")[0] == pytest.approx(0.6812596)


def test_the_page_has_wanted_beside_measured_and_a_plain_word() -> None:
    made = hand_made()
    text = page(made)
    (words, *_) = (row.split(" | ")[1] for row in text.splitlines() if "fp32: ours, first epoch over" in row)
    assert (
        "| training end to end per core, 1.0 at 224 px, fp32: ours, first epoch over timm | "
        f"{words} | 2.2 | 2.50 (2.00 to 3.00) | met |"
    ) in text
    assert f"ours, bf16, first epoch over timm | {words} | 3.5 |  | cannot be measured here: no units" in text
    row = next(line for line in text.splitlines() if line.startswith("| ours, first epoch | "))
    assert row == (
        "| ours, first epoch | 16.0 (12.0 to 20.0) | 2.50 (2.00 to 3.00) | 68 % | 1,024 MiB "
        "| 1 thread, 0 readers |"
    )
    assert "over torchvision" not in text  # which is not among these sides
    assert "Matrix product, fp32: 100.0 (80.0 to 100.0) GFLOP/s" in text
    assert facts()["processor"] in text


def test_every_target_of_the_issue_belongs_to_a_case_with_both_its_sides() -> None:
    wanted = {(one.case, one.at_least) for one in TARGETS}
    assert wanted >= {
        ("train-1.0-224", 2.2), ("train-1.0-224", 3.5), ("train-1.0-128", 1.5), ("train-1.0-128", 2.0),
        ("train-0.25-128", 2.0), ("train-0.25-128", 3.0), ("frozen", 8.0), ("inference", 1.6),
        ("inference", 2.6), ("processes", 1.6),
    }
    for one in TARGETS:
        if one.case != "processes":
            assert {one.top, one.bottom} <= set(CASES[one.case].runners()), one.words


def test_one_core_is_one_thread_and_no_readers_and_all_cores_are_the_sides_own_choice(tmp_path: Path) -> None:
    (pinned, free) = (sides_of(CASES[name], tmp_path, 0) for name in ("train-1.0-224", "cores-1.0-224"))
    assert {one.core is None for one in pinned.values()} == {False}
    assert {one.core for one in free.values()} == {None}
    assert settings_of(pinned[FIRST], tmp_path).workers == 0
    assert settings_of(free[FIRST], tmp_path).workers is None


def test_ours_is_asked_for_the_same_work_as_the_peers(tmp_path: Path) -> None:
    settings = settings_of(sides_of(CASES["train-1.0-128"], tmp_path, 3)[FIRST], tmp_path)
    assert (settings.width, settings.resolution, settings.batch_size, settings.min_crop, settings.seed) == (
        1.0, 128, 32, 0.08, 3
    )
    assert settings.weights is None


def test_bf16_sides_are_left_out_with_a_reason_where_the_processor_has_no_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.speed.has_bf16_units", lambda: False)
    sides = sides_of(CASES["train-1.0-224"], tmp_path, 0)
    absent = drop_absent(sides)
    assert "no units for bf16 (amx_bf16 or avx512_bf16)" in absent[FIRST_BF16]
    assert FIRST_BF16 not in sides
    assert {TIMM, TORCHVISION, FIRST, MATRIX} <= set(sides)


def test_a_result_is_asked_for_again_when_what_it_hangs_on_is_another() -> None:
    first = ask("train-1.0-224", options())
    assert first == ask("train-1.0-224", options())
    assert case_of(first) == CASES["train-1.0-224"]
    for change in ({"seed": 1}, {"rounds": 3}, {"data": Path("photos")}, {"quick": True}):
        assert ask("train-1.0-224", options(**change)) != first


def test_slices_that_would_reach_the_second_epoch_are_refused(colours: Path) -> None:
    """Its photos would come from the cache."""
    needed = (5 * 2 + 1 + 1) * 32  # five rounds of two steps, one to warm up, one that timm reads ahead
    with pytest.raises(ValueError, match=f"needs {needed} photos, 24 are there; lower --rounds or give more"):
        enough("train-1.0-224", CASES["train-1.0-224"], 5, colours)


def test_mult_adds_are_those_of_the_paper_without_the_classifier() -> None:
    assert mult_adds(CASES["train-1.0-224"]) == 567_716_352


def test_photos_are_made_at_the_size_and_in_the_number_asked_for_and_kept(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for split, count in (("train", 5), ("val", 3)):
            for number in range(count):
                save_colour(tmp_path / "data" / split / name / f"{number}.png", (9, 99, 199), 40)
    data = tmp_path / "data"
    assert photos_for(data, tmp_path / "kept") == data
    made = photos_for(data, tmp_path / "kept", short_side=50, count=7)
    assert photo_count(made) == 7
    assert len(list((made / "val").rglob("*.jpg"))) == 4
    with Image.open(made / "train" / "a" / "0.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (50, 50))
    before = made.stat().st_ctime_ns
    assert photos_for(data, tmp_path / "kept", short_side=50, count=7) == made
    assert made.stat().st_ctime_ns == before
    with pytest.raises(ValueError, match="has 5 photos, 6 are needed; give --data with more"):
        photos_for(data, tmp_path / "kept", count=12)
    assert [one.name for one in (tmp_path / "kept").iterdir()] == [made.name]


def test_our_network_answers_as_timms_does_with_its_weights() -> None:
    side = Side("ours-inference", width=0.25, resolution=64)
    reference = seeded_network(side)
    images = torch.rand(8, 3, 64, 64)
    with torch.inference_mode():
        wanted = reference((images - 0.5) / 0.5)
        answers = answerer(reference, side, CLASSES)(images)
    assert wanted.std(dim=0).mean() > 0.01  # it answers differently to different photos
    found = difference(answers, wanted)
    assert found["relative"] < 1e-4
    assert found["same_first"] == 1.0
    assert difference(torch.tensor([[0.0, 3.0]]), torch.tensor([[4.0, 3.0]])) == {
        "relative": 1.0, "same_first": 0.0
    }


def test_two_processes_that_train_each_for_itself_are_no_measurement(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "seconds": 9.0}, {"epoch": 2, "seconds": 4.0}]
    assert last_seconds(rows) == 4.0
    with pytest.raises(ChildProcessError, match=r"it tells of \[1, 1, 2, 2\]: this version does not train"):
        last_seconds([rows[0], rows[0], rows[1], rows[1]])
    words = command(tmp_path, CASES["processes"], 2, 0, tmp_path / "run")
    assert words[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    assert words[5:8] == ["cli.py", "finetune", "dogs"]
    assert last_error("noise\nerror: the disk is full\ntorchrun's own words\n") == "error: the disk is full"
    assert last_error("noise\nlast\n\n") == "last"


def test_the_most_memory_is_in_bytes_and_no_less_than_what_is_held_now() -> None:
    held = torch.ones(64 * 2**20)
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    assert held.nbytes < pages * os.sysconf("SC_PAGE_SIZE") <= peak_memory() < 2**40


@pytest.mark.parametrize(("words", "message"), [
    (["--rounds", "0"], "--rounds must be 1 or more, got 0"),
    (["--data", "{tmp}/none"], "none does not exist"),
    (["--quick", "--page", "{tmp}/page.md"], "--quick measures nothing worth a --page"),
])
def test_what_does_not_fit_is_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(tmp=tmp_path) for word in words]
    assert main(["speed", *given, "--only", "inference", "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error


def test_damaged_results_are_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "performance.json").write_text("[1", encoding="utf-8")
    assert main(["speed", "--out", str(tmp_path), "--only", "inference"]) == 1
    assert "holds no results of this benchmark; give another --out" in capsys.readouterr().err
    assert (tmp_path / "performance.json").read_text(encoding="utf-8") == "[1"


def test_what_is_measured_already_is_not_measured_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = hand_made()
    (tmp_path / "performance.json").write_text(json.dumps(found), encoding="utf-8")
    assert main(["speed", "--out", str(tmp_path), "--only", "train-1.0-224", "--rounds", "3"]) == 0
    assert "--again measures anew" in capsys.readouterr().err
    assert json.loads((tmp_path / "performance.json").read_text(encoding="utf-8")) == found
    assert (tmp_path / "performance.md").read_text(encoding="utf-8") == page(found)


def test_the_page_in_the_documents_is_that_of_the_figures_beside_it() -> None:
    """Goes red when either is changed by hand, or when the page's code has moved on."""
    found = json.loads((ROOT / "docs" / "performance.json").read_text(encoding="utf-8"))
    assert (ROOT / "docs" / "performance.md").read_text(encoding="utf-8") == page(found)
    assert not any(one["asked"]["quick"] for one in found["cases"].values())


@pytest.mark.slow
@pytest.mark.long
def test_the_quick_run_measures_every_side_that_can_run_on_photos_that_are_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, colour in {"red": (200, 40, 40), "blue": (40, 40, 200)}.items():
        for number in range(50):
            save_colour(tmp_path / "data" / "train" / name / f"{number}.jpg", colour, 64, seed=number)
        save_colour(tmp_path / "data" / "val" / name / "0.jpg", colour, 64)
    out = tmp_path / "out"
    assert main(["speed", "--quick", "--data", str(tmp_path / "data"), "--out", str(out)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["case"] for one in lines] == list(cases.QUICK)
    for one in lines:
        runners = set(CASES[one["case"]].runners())
        assert set(one["sides"]) | set(one["absent"]) == runners
        for name, side in one["sides"].items():
            assert len(side["slices"]) == 1, name
            assert side["memory"] > 1e7
            assert side["slices"][0]["amount"] == (32 if name != MATRIX else pytest.approx(8.589934592))
    assert lines[1]["sides"][cases.OURS]["facts"]["difference"]["relative"] < 1e-4
    assert "A smoke run of one short round" in (out / "quick.md").read_text(encoding="utf-8")
