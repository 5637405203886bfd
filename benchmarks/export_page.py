"""The figures of the exported models as a page in Markdown, beside what is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.cases import MET, MISSED
from benchmarks.tables import BATCH, PEAK, TIMM, table

INT8 = ("ONNX Runtime int8", "OpenVINO int8")
FP32 = ("ONNX Runtime fp32", "OpenVINO fp32")
MB = 1e6


def page(results: Mapping[str, Any]) -> str:
    """The page.

    Args:
        results: what :func:`benchmarks.export.measure` gives.
    """
    model, where = results["model"], results["machine"]
    lines = [
        f"# Exported models of `{model['name']}`",
        "",
        f"`{results['command']}`, {results['date']}; {where['processor']}, one thread of one core of "
        f"{where['cores']}, CPU time, interleaved; median (least to greatest).",
        "",
        *wanted(results), "", *forms(results), "", *folders(results["folder"]),
    ]
    if "browser" in results:
        lines += ["", *browser(results["browser"])]
    return "\n".join([*lines, ""])


def wanted(results: Mapping[str, Any]) -> list[str]:
    """Each aim beside what was measured; those that are of another network are left out."""
    rows = [*_time_aims(results), *_accuracy_aims(results), *_browser_aims(results)]
    return table(("what", "wanted", "measured", ""), rows)


def _time_aims(results: Mapping[str, Any]) -> list[list[str]]:
    rows, latency = [], results["latency"]
    for what, names, aim in (("fp32", FP32, 0.35), ("int8", INT8, 0.14)):
        there = [latency[name]["over_first"][0] for name in names if name in latency]
        if there:
            least = min(there)
            words = f"time at batch 1 over {TIMM}, {what}"
            rows.append([words, f"{aim:g}", f"{least:.2f}", _met(least <= aim)])
    peer = [row for name, row in results["folder"].items() if TIMM in name]
    ours = [row for name, row in results["folder"].items() if TIMM not in name]
    if ours:
        quickest = min(row["cpu_ms"][0] for row in ours)
        for row, batch in zip(peer, (1, BATCH), strict=True):
            times = row["cpu_ms"][0] / quickest
            what = f"folder to answers, times as fast as Pillow + {TIMM} in batches of {batch}"
            rows.append([what, "8", f"{times:.1f}", _met(times >= 8)])
    return rows


def _accuracy_aims(results: Mapping[str, Any]) -> list[list[str]]:
    if "top1" not in results:
        return []
    rows, top1, aim = [], results["top1"], 0.015 if results["model"]["width"] == 1 else 0.03
    for plain, small in zip(FP32, INT8, strict=True):
        if plain in top1 and small in top1:
            lost = top1[plain] - top1[small]
            rows.append([f"top-1 lost, {small}", f"{aim:g}", f"{lost:.4f}", _met(lost <= aim)])
    return rows


def _browser_aims(results: Mapping[str, Any]) -> list[list[str]]:
    if "browser" not in results:
        return []
    plain, small = results["browser"]["fp32"], results["model"]["width"] == 0.25
    aim, time = (10 if small else 80), plain["cpu_ms"]
    rows = [["in Chromium, CPU ms a photo, reading and network", f"{aim}", f"{time:.1f}", _met(time < aim)]]
    if small:
        size = plain["bytes"] / MB
        rows.append(["MB until the page is usable", "15", f"{size:.2f}", _met(size <= 15)])
    return rows


def forms(results: Mapping[str, Any]) -> list[str]:
    """A row a kind of file."""
    latency, throughput = results["latency"], results["throughput"]
    head = (
        "form", "ms, batch 1", f"over {TIMM}", "of the fp32 peak", f"photos/s, batch {BATCH}", "bytes",
        "top-1",
    )
    rows = []
    for name, row in latency.items():
        if name == PEAK:
            continue
        size, top1 = results["bytes"].get(name), results.get("top1", {}).get(name)
        rows.append([
            name, _spread(row["cpu_ms"]), f"{row['over_first'][0]:.2f}", f"{row['peak_share']:.0%}",
            f"{1e3 / throughput[name]['cpu_ms'][0]:.1f}", "" if size is None else f"{size:,}",
            "" if top1 is None else f"{top1:.4f}",
        ])
    lines = table(head, rows)
    peaks = f"{latency[PEAK]['gflop_s']} GFLOP/s of a product of two matrices in fp32"
    lines += [
        "",
        f"The peak: {peaks}; the network takes {2 * results['model']['mult_adds'] / 1e9:.3f} GFLOP.",
    ]
    if "top1" in results:
        photos = results["top1"]["photos"]
        lines += [f"Top-1 of 1000 classes on {photos:.0f} photos, each form by its own file."]
    return lines


def folders(rows: Mapping[str, Any]) -> list[str]:
    """From files to answers."""
    first = next(iter(rows.values()))["cpu_ms"][0]
    return table(("folder to answers", "ms a photo", "times as fast"), [
        [name, _spread(row["cpu_ms"]), f"{first / row['cpu_ms'][0]:.2f}"] for name, row in rows.items()
    ])


def browser(rows: Mapping[str, Any]) -> list[str]:
    """The page in Chromium."""
    version = next(iter(rows.values()))["chromium"]
    head = (
        f"in Chromium {version}", "its worker's CPU, ms a photo", "network, ms by the clock",
        "reading, ms by the clock", "bytes until usable",
    )
    return table(head, [
        [
            name, f"{row['cpu_ms']:.1f}", _spread(row["network_ms"]), _spread(row["read_ms"]),
            f"{row['bytes']:,}",
        ]
        for name, row in rows.items()
    ])


def _spread(values: list[float]) -> str:
    middle, least, most = values
    return f"{middle:.2f} ({least:.2f} to {most:.2f})"


def _met(yes: bool) -> str:
    return MET if yes else MISSED
