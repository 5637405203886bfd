"""Figures of places against naive loops, and the files that carry predictions."""

from __future__ import annotations

import math
import random
import statistics
from pathlib import Path

import numpy as np
import pytest

from apps.places.geo_metrics import (
    GeoPredictions,
    area_until_truth_km2,
    bootstrap,
    country_accuracy,
    geo_intervals,
    geo_metrics,
    geoscore,
)
from apps.places.prediction_files import read_predictions, write_predictions
from datasets.geo.positions import Positions

pytestmark = pytest.mark.computes

LIMITS = (1, 25, 200, 750, 2500)


def predictions(count: int = 300, *, abstained: int = 0, seed: int = 0) -> GeoPredictions:
    """Truths all over the globe, antimeridian and poles too, and answers off by all scales."""
    rng = np.random.default_rng(seed)
    true_lat, true_lon = rng.uniform(-90, 90, count), rng.uniform(-180, 180, count)
    true_lat[:2], true_lon[2:6] = (90, -90), (180, -180, 179.999, -179.999)
    off = 10 ** rng.uniform(-3, 2, count)
    lat = np.clip(true_lat + off * rng.normal(size=count), -90, 90)
    lon = (true_lon + off * rng.normal(size=count) + 180) % 360 - 180
    lat[count - abstained :] = lon[count - abstained :] = np.nan
    paths = tuple(f"{n}.jpg" for n in range(count))
    return GeoPredictions(lat, lon, true_lat, true_lon, paths, rng.random(count))


def naive_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """By the spherical law of cosines, from first principles."""
    p1, p2, turn = math.radians(lat1), math.radians(lat2), math.radians(lon2 - lon1)
    cosine = math.sin(p1) * math.sin(p2) + math.cos(p1) * math.cos(p2) * math.cos(turn)
    return 6371.0088 * math.acos(max(-1.0, min(1.0, cosine)))


@pytest.mark.parametrize("abstained", [0, 40])
def test_figures_equal_a_naive_loop(abstained: int) -> None:
    p = predictions(abstained=abstained)
    known = len(p.paths) - abstained
    km = [naive_km(p.lat[n], p.lon[n], p.true_lat[n], p.true_lon[n]) for n in range(known)]
    found = geo_metrics(p)
    for limit in LIMITS:
        assert found[f"within_{limit}km"] == sum(one <= limit for one in km) / len(p.paths)
    assert found["median_km"] == pytest.approx(statistics.median(km), rel=1e-6)
    assert found["mean_km"] == pytest.approx(sum(km) / known, rel=1e-6)
    score = sum(5000 * math.exp(-one / 1492.7) for one in km) / len(p.paths)
    assert found["geoscore"] == pytest.approx(score, rel=1e-6)
    assert found["answered"] == known / len(p.paths)


def test_a_perfect_predictor_is_right_at_every_distance() -> None:
    p = predictions()
    perfect = GeoPredictions(p.true_lat, p.true_lon, p.true_lat, p.true_lon, p.paths)
    found = geo_metrics(perfect)
    assert [found[f"within_{limit}km"] for limit in LIMITS] == [1] * 5
    assert (found["median_km"], found["mean_km"], found["geoscore"]) == (0, 0, 5000)
    assert all(interval == [found[name]] * 2 for name, interval in geo_intervals(perfect).items())


def test_one_that_always_abstains_is_wrong_everywhere_and_has_no_median() -> None:
    found = geo_metrics(predictions(7, abstained=7))
    assert [found[f"within_{limit}km"] for limit in LIMITS] == [0] * 5
    assert (found["geoscore"], found["answered"]) == (0, 0)
    assert math.isnan(found["median_km"])


@pytest.mark.parametrize(("km", "points"), [(0, 5000), (1492.7, 1839.397), (math.inf, 0)])
def test_geoscores_a_reader_can_check(km: float, points: float) -> None:
    assert geoscore(km) == pytest.approx(points, abs=1e-3)


def test_the_interval_is_that_of_a_naive_bootstrap_and_covers_as_promised() -> None:
    found = geo_intervals(predictions())
    assert found == geo_intervals(predictions())
    rng = random.Random(0)
    km = predictions().distances_km.tolist()
    drawn = sorted(sum(one <= 200 for one in rng.choices(km, k=300)) / 300 for _ in range(1000))
    assert found["within_200km"] == pytest.approx([drawn[25], drawn[975]], abs=0.015)
    hits = 0
    for seed in range(100):  # 60 coins with a true share of 0.3
        values = (np.random.default_rng(seed).random(60) < 0.3).astype(float)
        low, high = bootstrap(values, {"mean": lambda x: float(x.mean())}, seed=seed, resamples=200)["mean"]
        hits += low <= 0.3 <= high
    assert 85 <= hits <= 100


def test_country_accuracy_counts_photos_whose_country_is_known() -> None:
    assert country_accuracy(["NA", "FR", "", "DE"], ["NA", "DE", "US", ""]) == (1 / 3, 3)
    share, counted = country_accuracy(["FR"], [""])
    assert (math.isnan(share), counted) == (True, 0)


def test_the_area_to_search_counts_denser_cells_before_the_true_one() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    areas = np.array([100.0, 10, 5])  # densities of the first photo: 0.005, 0.03, 0.04
    truth = np.array([1, -1])
    needed = area_until_truth_km2(probabilities, areas, truth)
    assert needed.tolist() == [15, math.inf]
    assert area_until_truth_km2(probabilities, areas, np.array([0, 2])).tolist() == [115, 5]


def test_predictions_come_back_from_a_file_as_they_went(tmp_path: Path) -> None:
    p = predictions(20, abstained=3)
    write_predictions(tmp_path / "p.csv", p)
    read = read_predictions(tmp_path / "p.csv")
    again = read.geo
    for name in ("lat", "lon", "true_lat", "true_lon", "confidence"):
        np.testing.assert_array_equal(getattr(p, name), getattr(again, name))
    assert again.paths == p.paths
    assert (read.skipped, len(read.notes)) == (0, 1)  # the abstentions


def test_predictions_of_others_are_joined_to_the_truth_by_path_or_file_name(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("IMG_ID,pred_lat,pred_lng\nb.jpg,1,2\na.jpg,3,4\nz.jpg,5,6\n")
    truth = Positions(np.array([3.0, 1, 7]), np.array([4.0, 2, 7]), paths=("x/a.jpg", "x/b.jpg", "x/c.jpg"))
    p = read_predictions(tmp_path / "p.csv", truth).geo
    assert p.lat[:2].tolist() == [3, 1]
    assert p.answered.tolist() == [True, True, False]
    assert geo_metrics(p)["within_1km"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("text", "words"), [
    ("path,lat\na,1\n", "has no column lon, true_lat, true_lon; it has path, lat; expected lat, lon"),
    ("lat,lon,true_lat,true_lon\n", "has no predictions; expected one photo a row"),
    ("lat,lon,true_lat,true_lon\n1,x,2,3\n",
     r"no predicted position, row 1 has lat '1' and lon 'x'; expected degrees"),
    ("path,lat,lon,true_lat,true_lon\na.jpg,1,,2,3\n", "no predicted position, row 1 has lat '1' and lon ''"),
    ("lat,lon,true_lat,true_lon\n1,2,,3\n",
     "no row with a true position: row 1 of p.csv: its true latitude or"),
    ("lat,lon,true_lat,true_lon\n1,200,2,3\n", "no predicted position, row 1 has lat '1' and lon '200'"),
])
def test_a_file_that_cannot_be_judged_says_why(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_predictions(tmp_path / "p.csv")


def test_predictions_for_other_photos_or_twice_for_one_are_refused(tmp_path: Path) -> None:
    truth = Positions(np.array([3.0]), np.array([4.0]), paths=("x/a.jpg",))
    (tmp_path / "p.csv").write_text("path,lat,lon\nq.jpg,1,2\n")
    with pytest.raises(ValueError, match=r"none of the 1 photos in .* \(such as q.jpg\) .*as x/a.jpg\)"):
        read_predictions(tmp_path / "p.csv", truth)
    (tmp_path / "p.csv").write_text("path,lat,lon\na.jpg,1,2\na.jpg,1,3\n")
    with pytest.raises(ValueError, match=r"2 predictions for a\.jpg"):
        read_predictions(tmp_path / "p.csv", truth)
    with pytest.raises(FileNotFoundError, match="is no file; give a CSV with path, lat and lon"):
        read_predictions(tmp_path / "missing.csv")
    with pytest.raises(ValueError, match="expected four coordinates for each of 0 photos"):
        GeoPredictions(*[np.zeros(0)] * 4, paths=())
