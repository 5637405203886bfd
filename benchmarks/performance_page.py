"""docs/performance.md: every figure that issue 4 asks for beside the one measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cases import (
    CASES,
    INFERENCE,
    MATRIX,
    MET,
    MISSED,
    PROCESSES,
    READ,
    TARGETS,
    TIMM,
    TORCHVISION,
    TRAIN,
    UNKNOWN,
    Target,
)
from benchmarks.machine import FLAGS
from benchmarks.rounds import Record, rates, ratios
from benchmarks.tables import table, without_empty

Spread = tuple[float, float, float]
FLOPS_PER_MULT_ADD, PASSES = 2, 3  # a training step costs about three forward passes
INSTRUCTIONS = {
    "avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 and bf16", "amx_bf16": "AMX and bf16",
}
ELSEWHERE = (
    "On other machines, which the JSON beside this page does not hold; training end to end per core, 1.0, "
    "first epoch over timm:",
    "",
    "| processor | precision | 224 px | 128 px | measured |",
    "| --- | --- | ---: | ---: | --- |",
    "| AMD EPYC with AVX-512 and bf16 (avx512_bf16, avx512_vnni), 2 cores | bf16 | 4.73 | 2.02 | "
    "earlier, date not kept; medians only, not measured again |",
    "| the same | fp32 | 3.17 | 1.45 | the same |",
    "| AMD EPYC with AVX2, 2 cores that other programs kept busy (a load of 8 to 14) | fp32 | "
    "2.33 (2.08 to 2.37) | 1.75 (1.72 to 2.01) | 2026-11-29, `python -m benchmarks speed --data imagewoof "
    "--only train-1.0-224 --only train-1.0-128 --rounds 3` |",
    "| Intel Xeon with AVX-512, VNNI and bf16 (avx512_bf16, no AMX), 2 cores, little else on them | fp32 | "
    "3.26 (3.26 to 3.38) | 1.54 (1.49 to 1.62) | the same command, 2026-11-29 |",
    "| the same | bf16 | 2.72 (2.41 to 2.94) | 1.33 (1.32 to 1.43) | the same run; bf16 is slower than fp32 "
    "on this processor (13.6 against 17.7 photos a second): give `--precision fp32` |",
    "",
    "0.25 at 128 px and reading alone, photos of 500 px, over timm; AMD EPYC with AVX-512 and bf16, 2 cores "
    "with a load of 8 to 10, 2026-11-30, `python -m benchmarks speed --data imagewoof --only read-224 --only "
    "train-0.25-128 --rounds 3`, after colours became one compiled pass (0.08 instead of 0.41 ms a crop of "
    "224 px): training, first epoch 1.88 (1.88 to 1.96), wanted 2.2; later epochs 2.59 (2.53 to 2.87), "
    "wanted 3.3; in bf16 1.95 and 3.13. Reading, cache being filled, 1.37 in one run and 0.93 in another, "
    "wanted 2.2: of 1.8 ms a photo that is read for the first time decoding takes 1.3 and writing its pixels "
    "0.3, more while the disk is busy; later epochs 6.8 and 6.2.",
)
TIME = {"cpu": "CPU time of the core", "wall": "wall time"}
DIFFERS = (
    "- Network: timm's `mobilenetv1_100` (`mobilenetv1_025` of `backbone` for 0.25, with timm's own "
    "padding) in timm's and in torchvision's loop; ours in ours, padded as TensorFlow does. All start "
    "from random weights, with as many classes as the photos have.",
    "- timm: `train.py` at its defaults: PIL, crops of 8 to 100 % of the area, bilinear or bicubic by "
    "chance, mirror, colour jitter 0.4, uint8 to the batch, SGD with momentum 0.9 and weight decay "
    "2e-5, label smoothing 0.1; fp32, contiguous memory. torchvision: its reference recipe at its "
    "defaults: PIL, crops of 8 to 100 %, bilinear, mirror, no jitter, floats from each photo on, SGD "
    "with momentum 0.9 and weight decay 1e-4.",
    "- Ours: `finetune dogs` as it is: crops of 8 to 100 % (`--min-crop 0.08`, its own default is 35 %; "
    "photos are decoded at a size at which crops of a third and more keep their sharpness, the smallest "
    "come out up to twice blurred), bilinear, mirror, colour jitter 0.2, uint8 to the batch, AdamW, "
    "gradients clipped; each step also checks that the loss is finite. Every photo's distortion hangs "
    "on seed, epoch and photo alone.",
    "- Each side is a process of its own, with the allocator as its users have it; while it waits it is"
    " stopped, with its readers. *One core*: all pinned to one core, one thread, no reading processes. "
    "*All cores*: each side's own defaults (timm 4 readers, torchvision 16, ours one fewer than the "
    "cores).",
    "- A slice holds reading, distortion, step and bookkeeping of its batches of 32. No validation in "
    "it. *First epoch*: an empty photo cache; *later epochs*: a full one.",
    "- *Share of the peak*: 3 x 2 x mult-adds x photos a second over the FLOP/s of a product of two "
    "1024 x 1024 fp32 matrices in the same round.",
    "- Inference: timm eager gets normalised photos in contiguous memory; ours gets photos in [0, 1] "
    "and normalises them. *Off by*: greatest distance of ours from timm's fp32 logits over the greatest"
    " logit, same weights.",
    "- Memory: the most that the process itself held (without its readers).",
    "- Frozen: ten epochs of the head by AdamW, with `--freeze --epochs 10`; with cached features it sees "
    "the photos as they are, computed once and counted; without, distorted anew each epoch.",
    "- Two processes: `torchrun --nproc_per_node=2 cli.py finetune dogs` against 1, one thread each, a batch "
    "of 64 in all; photos a second of the second epoch, from `metrics.jsonl`.",
    "- CPU time leaves out waiting for the disk and for other programs; the JSON has the wall time, too.",
)


def page(results: Mapping[str, Any]) -> str:
    """The page in Markdown, from what ``speed.json`` holds."""
    parts = [
        "# Speed: ours beside timm's train script and torchvision's recipe",
        "",
        f"Made by `{results.get('command', 'python -m benchmarks speed')}`; do not edit: a test holds the "
        "page against the JSON beside it.",
        "",
        *_smoke(results),
        "## Wanted and measured",
        "",
        "How many times as fast, by the rate of work: the ratio is taken in each round, then the median "
        "(least to greatest).",
        "",
        *table(
            ("what", "processor", "wanted", "measured", ""),
            [_target_row(results, target) for target in TARGETS],
        ),
        "",
        *ELSEWHERE,
        "",
        "## Case by case",
        "",
    ]
    for name in CASES:
        if name in results["cases"]:
            parts += _case(name, results["cases"][name])
    return "\n".join([*parts, "## What is compared", "", *DIFFERS, "", *_machine(results)])


def records_of(case: Mapping[str, Any]) -> dict[str, Record]:
    """The sides of a case as it stands in the JSON."""
    return {name: Record.from_dict(values) for name, values in case["sides"].items()}


def verdict_of(results: Mapping[str, Any], target: Target) -> tuple[Spread | None, str]:
    """(ratio, verdict) of a target; no ratio where it was not measured, and then the verdict says why."""
    case = results["cases"].get(target.case)
    if case is None:
        return None, f"not measured: `--only {target.case}`"
    for side in (target.top, target.bottom):
        if side in case["absent"]:
            return None, f"{UNKNOWN}: {case['absent'][side]}"
    records = records_of(case)
    ratio = ratios(records[target.top], records[target.bottom], CASES[target.case].by)
    return ratio, MET if ratio[0] >= target.at_least else MISSED


def peak_share(record: Record, matrix: Record, mult_adds: int, by: str) -> Spread:
    """Share of the matrix product's rate that training reaches, as a fraction of one."""
    scale = PASSES * FLOPS_PER_MULT_ADD * mult_adds / 1e9
    middle, low, high = ratios(record, matrix, by)
    return scale * middle, scale * low, scale * high


def instructions(facts: Mapping[str, Any]) -> str:
    """The widest instructions of a processor, of those that make a difference here."""
    there = [words for flag, words in INSTRUCTIONS.items() if facts["flags"].get(flag)]
    return there[-1] if there else "none of these"


def spread_text(values: Spread, digits: int = 2) -> str:
    """``2.31 (2.20 to 2.40)``."""
    middle, low, high = values
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _smoke(results: Mapping[str, Any]) -> list[str]:
    if not any(case["asked"]["quick"] for case in results["cases"].values()):
        return []
    return ["**A smoke run of one short round: its figures say nothing about speed.**", ""]


def _target_row(results: Mapping[str, Any], target: Target) -> Sequence[str]:
    ratio, verdict = verdict_of(results, target)
    who = f"{target.words}: {target.top} over {target.bottom}"
    case = results["cases"].get(target.case)
    where = "" if case is None else instructions(case["asked"]["machine"])
    return who, where, f"{target.at_least:.1f}", "" if ratio is None else spread_text(ratio), verdict


def _case(name: str, case: Mapping[str, Any]) -> list[str]:
    asked, by = case["asked"], CASES[name].by
    records = records_of(case)
    where = "one core" if asked["one_core"] else "all cores"
    size = "" if asked["short_side"] is None else f", short side brought to {asked['short_side']} px"
    peers = (f"over {TIMM}", f"over {TORCHVISION}")
    head = ("side", "photos a second", *peers, "share of the peak", "memory", "notes")
    rows = [
        _side_row(record, records, asked["kind"], case["mult_adds"], by)
        for record in records
        if record != MATRIX
    ]
    lines = [
        f"### {name}", "",
        f"{asked['kind']}, width {asked['width']} at {asked['resolution']} px, {where}, by {TIME[by]}; "
        f"photos of {asked['data']}{size}; rounds: {asked['rounds']}, of {asked['steps']} steps after "
        f"{asked['warm_up']}; {asked['machine']['processor']} with {instructions(asked['machine'])}; "
        f"{case['date']}.", "", *table(*without_empty(head, rows)),
    ]
    if MATRIX in records:
        product = spread_text(rates(records[MATRIX], by), 1)
        lines += ["", f"Matrix product, fp32: {product} GFLOP/s."]
    absent = [f"- {side}: {UNKNOWN}: {why}." for side, why in case["absent"].items()]
    return [*lines, "", *absent, *[""] * bool(absent)]


def _side_row(
    name: str, records: Mapping[str, Record], kind: str, mult_adds: int, by: str
) -> Sequence[str]:
    mine = records[name]
    over = [
        spread_text(ratios(mine, records[peer], by)) if peer in records else ""
        for peer in (TIMM, TORCHVISION)
    ]
    share = ""
    if kind == TRAIN and MATRIX in records:
        share = f"{100 * peak_share(mine, records[MATRIX], mult_adds, by)[0]:.0f} %"
    memory = f"{mine.memory / 2**20:,.0f} MiB" if mine.memory else ""
    return name, spread_text(rates(mine, by), 1), *over, share, memory, _notes(mine, kind)


def _notes(record: Record, kind: str) -> str:
    facts = record.facts
    if kind == INFERENCE and "difference" in facts:
        return f"off by {facts['difference']['relative']:.1e}"
    if kind in (TRAIN, READ):
        return f"{facts['threads']} thread{'s' * (facts['threads'] != 1)}, {facts['workers']} readers"
    return f"{facts['processes']} x {facts['threads']} thread" if kind == PROCESSES else ""


def _machine(results: Mapping[str, Any]) -> list[str]:
    facts = results.get("machine")
    if facts is None:
        return []
    flags = ", ".join(f"{flag} {'yes' if facts['flags'][flag] else 'no'}" for flag in FLAGS)
    versions = ", ".join(f"{name} {value}" for name, value in facts["versions"].items())
    return [
        "## Machine", "",
        f"{facts['processor']}, {facts['cores']} cores seen; {flags}; {facts['system']}; {versions}. Last "
        f"measured on {results['date']}.", "",
    ]


