"""Our training, reading and inference beside timm's train script and torchvision's recipe, in one run."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

from apps.engine.core.machine import BF16_FLAGS, has_bf16_units
from benchmarks import cases, machine
from benchmarks.cases import CASES, PROCESSES, QUICK, READ, TRAIN, Case, Result
from benchmarks.pictures import photo_count, photos_for
from benchmarks.rounds import Record, Side, interleave

BATCH = 32
ROUNDS = 5


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m benchmarks speed``."""
    parser.add_argument("--data", type=Path, help="photos, train/CLASS and val/CLASS; without it, the sample")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder (build/bench)")
    parser.add_argument("--only", action="append", choices=list(CASES), help="a case; may be repeated")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"1 or more ({ROUNDS})")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (0)")
    parser.add_argument("--quick", action="store_true", help="one round of one step: does it run at all?")
    parser.add_argument("--again", action="store_true", help="measure also what --out holds already")
    parser.add_argument("--page", type=Path, help="where the page goes too, with the JSON beside it")


def run(options: argparse.Namespace) -> None:
    """Measure case by case, keep each in ``speed.json``, and write ``performance.md``; a line of JSON each.

    Raises:
        ValueError: an option is out of range, or there are too few photos.
        OSError: photos are missing, the output cannot be written, or timm's or torchvision's side failed.
    """
    from apps.engine.core.files import writable_folder, write_json, write_text
    from benchmarks.performance_page import page

    if options.rounds < 1:
        raise ValueError(f"--rounds must be 1 or more, got {options.rounds}")
    if options.quick and options.page is not None:
        raise ValueError("--quick measures nothing worth a --page; leave one of them out")
    out = writable_folder(options.out)
    file = out / ("quick.json" if options.quick else "performance.json")
    results = read_results(file)
    for name in options.only or (QUICK if options.quick else CASES):
        asked = ask(name, options)
        kept = results["cases"].get(name)
        if kept is not None and kept["asked"] == asked and not options.again:
            sys.stderr.write(f"{name}: in {file} already; --again measures anew\n")
            continue
        sys.stderr.write(f"{name}\n")
        results["cases"][name] = asdict(measure(name, asked, options.data, out / "photos"))
        results |= {"machine": machine.facts(), "date": date.today().isoformat(), "command": words(options)}
        write_json(file, results)
        sys.stdout.write(json.dumps({"case": name} | results["cases"][name]) + "\n")
    write_text(file.with_suffix(".md"), page(results))
    if options.page is not None:
        write_json(options.page.with_suffix(".json"), results)
        write_text(options.page, page(results))


def read_results(path: Path) -> dict[str, Any]:
    """What earlier runs found.

    Raises:
        ValueError: the file is no such results.
    """
    if not path.is_file():
        return {"cases": {}}
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {**results, "cases": dict(results["cases"])}
    except (ValueError, KeyError, TypeError) as err:
        raise ValueError(f"{path} holds no results of this benchmark; give another --out") from err


def words(options: argparse.Namespace) -> str:
    """The command, with the data's folder by its last name alone."""
    parts = ["python", "-m", "benchmarks", "speed"]
    if options.data is not None:
        parts += ["--data", options.data.name]
    parts += [word for name in options.only or () for word in ("--only", name)]
    parts += ["--rounds", str(options.rounds), "--seed", str(options.seed)]
    return shlex.join(parts + ["--quick"] * options.quick)


def ask(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """All that a case's figures depend on: plain types, as JSON gives them back."""
    case = CASES[name]
    rounds = min(options.rounds, case.most_rounds or options.rounds)
    if options.quick:
        case, rounds = replace(case, steps=1, warm_up=min(case.warm_up, 1), photos=96), 1
    data = "drawn sample" if options.data is None else options.data.name
    asked = asdict(case) | {
        "rounds": rounds, "batch": BATCH, "seed": options.seed, "data": data, "quick": options.quick,
        "machine": machine.facts(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(asked))
    return plain


def measure(name: str, asked: dict[str, Any], data: Path | None, kept: Path) -> Result:
    """One case from photos to records.

    Raises:
        ValueError: there are too few photos for its slices.
        ChildProcessError: the side of timm or torchvision failed.
    """
    start = time.perf_counter()
    case = case_of(asked)
    root = photos_for(data, kept, short_side=case.short_side, count=case.photos).absolute()
    result = Result(asked, date.today().isoformat())
    if case.kind in (TRAIN, READ):
        enough(name, case, asked["rounds"], root)
        result.mult_adds = mult_adds(case)
    if case.kind == PROCESSES:
        _compare_processes(result, root, case)
    else:
        sides = sides_of(case, root, asked["seed"])
        result.absent = drop_absent(sides)
        records = interleave(sides, rounds=asked["rounds"], steps=case.steps, warm_up=case.warm_up)
        result.sides = {item: record.to_dict() for item, record in records.items()}
    result.seconds = round(time.perf_counter() - start, 1)
    return result


def case_of(asked: dict[str, Any]) -> Case:
    """The case in what was asked."""
    fields = {key: asked[key] for key in Case.__dataclass_fields__}
    return Case(**fields | {"sides": tuple(fields["sides"])})


def enough(name: str, case: Case, rounds: int, root: Path) -> None:
    """All slices must lie in one epoch, or the second one's photos would be in the cache.

    Raises:
        ValueError: they do not.
    """
    steps = rounds * case.steps + case.warm_up + 1  # timm reads one batch ahead
    there = photo_count(root)
    if steps * BATCH > there:
        raise ValueError(
            f"{name} needs {steps * BATCH} photos, {there} are there; lower --rounds or give more photos"
        )


def mult_adds(case: Case) -> int:
    """Of one photo through the network without its classifier."""
    from backbone import MobileNetV1
    from backbone.complexity import cost

    return cost(MobileNetV1(case.width), case.resolution).mult_adds


def sides_of(case: Case, root: Path, seed: int) -> dict[str, Side]:
    """What each process does."""
    core = max(available()) if case.one_core else None
    work = {"work": "read"} if case.kind == READ else {}
    return {
        name: Side(runner, str(root), case.width, case.resolution, BATCH, core, seed, options | work)
        for name, (runner, options) in case.runners().items()
    }


def available() -> set[int]:
    """The cores that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}


def drop_absent(sides: dict[str, Side]) -> dict[str, str]:
    """Take out of ``sides`` what this machine cannot run; returns the reasons."""
    absent = {}
    for name, side in sides.items():
        if side.options.get("precision") == "bf16" and not has_bf16_units():
            absent[name] = f"the processor has no units for bf16 ({' or '.join(sorted(BF16_FLAGS))})"
    for name in absent:
        del sides[name]
    return absent


def _compare_processes(result: Result, root: Path, case: Case) -> None:
    from benchmarks.processes import compare

    try:
        records: dict[str, Record] = compare(
            root, case, rounds=result.asked["rounds"], seed=result.asked["seed"]
        )
    except ChildProcessError as err:
        result.absent = {cases.TWO_PROCESSES: str(err)}
        return
    result.sides = {name: record.to_dict() for name, record in records.items()}
