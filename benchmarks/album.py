"""What neighbours in time are worth to ``locate --album``: a third of an archive's photos lose their GPS.

A run learns from the other two thirds; then all lie in one folder, and the third is asked about.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from apps.places.cells.sphere import distance_km
from datasets.geo.geotags import moment_of, read_folder

GPS_IFD = 0x8825
RESAMPLES = 1000
WITHIN_KM = 200.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--photos", type=Path, required=True, help="folder of JPEGs with GPS and times")
    parser.add_argument("--weights", required=True, help="that the run starts from")
    parser.add_argument("--seeds", type=int, default=3, help="other thirds, from 0 up (default: 3)")


def run(options: argparse.Namespace) -> None:
    """Print a JSON object a way of asking: median km and its interval, shares, and confidence kept."""
    results: dict[str, list[dict[str, Any]]] = {"model": [], "neighbours": [], "nearest": []}
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            for name, rows in _round(options, Path(folder), seed).items():
                results[name] += rows
    for name, rows in results.items():
        sys.stdout.write(json.dumps({"by": name} | figures(rows)) + "\n")


def _round(options: argparse.Namespace, folder: Path, seed: int) -> dict[str, list[dict[str, Any]]]:
    """The answers for one hidden third, by each way."""
    positions = read_folder(options.photos)
    truth = dict(zip(positions.paths, zip(positions.lat, positions.lon, strict=True), strict=True))
    order = np.random.default_rng(seed).permutation(sorted(truth))
    hidden = {str(path) for path in order[: len(order) // 3]}
    learned, asked, model = folder / "learned", folder / "asked", folder / "run"
    learned.mkdir()
    asked.mkdir()
    named = {}
    for number, path in enumerate(sorted(truth)):
        name = f"{number:05}.jpg"
        named[str(asked / name)] = path
        if path in hidden:
            _without_gps(Path(path), asked / name)
        else:
            shutil.copy(path, asked / name)
            shutil.copy(path, learned / name)
    _cli("finetune", "places", "--photos", learned, "--weights", options.weights, "--freeze",
         "--t-max", 40, "--t-min", 2, "--split-km", 1, "--seed", seed, "--out", model)
    results: dict[str, list[dict[str, Any]]] = {}
    for name, more in (("model", ["--no-neighbours"]), ("neighbours", [])):
        lines = _cli("locate", asked, "--checkpoint", model, "--album", "--precise", *more)
        results[name] = [
            {"km": float(distance_km(line["lat"], line["lon"], *truth[named[line["path"]]])),
             "confidence": line["confidence"], "helped": "neighbours" in line}
            for line in lines if named.get(line.get("path", "")) in hidden
        ]
    results["nearest"] = list(_nearest(positions, hidden))
    return results


def _nearest(positions: Any, hidden: set[str]) -> Iterator[dict[str, Any]]:
    """The position of the photo nearest in time that tells one: a plain answer beside ours."""
    clocks = [moment_of(path) for path in positions.paths]
    moments = np.array([np.nan if clock is None else clock.seconds for clock in clocks])
    shown = np.array([path not in hidden for path in positions.paths]) & np.isfinite(moments)
    for row, path in enumerate(positions.paths):
        if path in hidden and np.isfinite(moments[row]):
            near = np.flatnonzero(shown)[np.abs(moments[shown] - moments[row]).argmin()]
            km = distance_km(positions.lat[row], positions.lon[row], positions.lat[near], positions.lon[near])
            yield {"km": float(km), "confidence": None, "helped": True}


def _without_gps(photo: Path, out: Path) -> None:
    with Image.open(photo) as image:
        exif = image.getexif()
        exif.get_ifd(GPS_IFD).clear()
        exif.pop(GPS_IFD, None)
        image.save(out, quality=95, exif=exif)


def _cli(*words: object) -> list[dict[str, Any]]:
    command = [sys.executable, "cli.py", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{' '.join(map(str, words[:2]))} failed: {done.stderr.strip().splitlines()[-1]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Median distance with a 95 % bootstrap interval over photos, shares within distances, confidence."""
    km = np.array([row["km"] for row in rows])
    rng = np.random.default_rng(0)
    medians = np.median(km[rng.integers(0, len(km), (RESAMPLES, len(km)))], axis=1)
    confidences = [row["confidence"] for row in rows if row["confidence"] is not None]
    return {
        "photos": len(km), "helped": sum(row["helped"] for row in rows),
        "median_km": round(float(np.median(km)), 2),
        "median_km_95": [round(float(edge), 2) for edge in np.quantile(medians, [0.025, 0.975])],
        "within_1km": round(float((km <= 1).mean()), 3), "within_25km": round(float((km <= 25).mean()), 3),
        "within_200km": round(float((km <= WITHIN_KM).mean()), 3),
        "confidence": round(float(np.mean(confidences)), 3) if confidences else None,
    }
