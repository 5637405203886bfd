"""Files of predicted positions, as public systems write them: read, counted, warned of, refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from support import Cli

from apps.places.prediction_columns import plain_name
from datasets.geo.angles import degrees
from datasets.names import match_names

KM = 6371.0088 * math.pi / 180  # a degree along a meridian
GEO_ESTIMATION = """img_id,gt_lat,predicted_lat,gt_long,predicted_long,great_circle_distance
1095_a@N08.jpg,31.5,31.5,-85.1,-85.1,0.00
1185_b@N00.jpg,42.0,43.0,-71.0,-71.0,111.19
1199_c@N00.jpg,37.0,27.0,25.0,25.0,1111.95
2125_d@N00.jpg,10.0,-40.0,77.0,77.0,5559.75

street acc (1km),city acc (25km),region acc (200km),country acc (750km),continent acc,mean deviation (km)
0.25,0.25,0.5,0.5,0.75,1695.72
"""
FOUR = [0, KM, 10 * KM, 50 * KM]
TRUTH = "IMG_ID,LAT,LON\na.jpg,10,20\nb.jpg,30,40\nc.jpg,50,60\nd.jpg,-20,100\n"


def figures(km: list[float]) -> dict[str, float]:
    """What these distances are worth, by the definitions; infinite ones are abstentions."""
    n, known = len(km), sorted(one for one in km if math.isfinite(one))
    middle = len(known) // 2
    median = known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
    return {
        **{f"within_{d}km": sum(one <= d for one in km) / n for d in (1, 25, 200, 750, 2500)},
        "median_km": median, "mean_km": sum(known) / len(known), "answered": len(known) / n,
        "geoscore": sum(5000 * math.exp(-one / 1492.7) for one in km) / n,
    }


@pytest.fixture
def evaluated(cli: Cli, tmp_path: Path):
    """A file of predictions, and a table of the truth where given, through the real command line."""

    def run(text: str, truth: str | None = None) -> tuple[dict[str, Any], str]:
        (tmp_path / "p.csv").write_text(text, encoding="utf-8")
        data: tuple[object, ...] = ()
        if truth is not None:
            (tmp_path / "truth.csv").write_text(truth)
            data = ("--data", tmp_path / "truth.csv")
        answer = cli("evaluate", "places", "--predictions", tmp_path / "p.csv", *data)
        assert "Traceback" not in answer.err
        return (json.loads(answer.out) if answer.code == 0 else {}), answer.err

    return run


def assert_figures(answer: dict[str, Any], km: list[float]) -> None:
    metrics = answer["metrics"]
    expected = figures(km)
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_result_file_of_geoestimation_is_evaluated_and_its_summary_is_not(evaluated) -> None:
    answer, err = evaluated(GEO_ESTIMATION)
    assert answer["n"] == 4
    assert (answer["skipped"], answer["without_prediction"]) == (2, 0)
    assert_figures(answer, FOUR)
    assert "lat is predicted_lat, lon is predicted_long, true_lat is gt_lat, true_lon is gt_long" in err
    assert "row 5 of p.csv and 1 more: it begins or belongs to another table below the answers" in err


def test_the_truth_may_come_from_elsewhere_and_the_summary_is_left_out_there_too(evaluated) -> None:
    answer, err = evaluated(GEO_ESTIMATION, "IMG_ID,LAT,LON\n1095_a@N08.jpg,31.5,-85.1\nz.jpg,1,2\n")
    assert (answer["n"], answer["skipped"], answer["without_prediction"]) == (2, 2, 1)
    assert_figures(answer, [0, math.inf])
    assert "1 of 2 photos, first z.jpg, have no prediction in p.csv; no answer: wrong at" in err
    assert "3 of 4 predictions in p.csv, first that of 1185_b@N00.jpg, are for photos whose" in err


@pytest.mark.parametrize("heading", [
    "path,lat,lon,true_lat,true_lon", "IMG_FILE,Predicted_LAT,Predicted_LON,True_LAT,True_LON",
    "id,predLat,predLng,gtLat,gtLng", "image_id,pred_latitude,pred_longitude,latitude,longitude",
    "file name,guess lat,guess lng,actual lat,actual lng", "img,lat_pred,lon_pred,lat_gt,lon_gt",
    "image,pred_lat (deg),pred_lon (deg),lat,lon", "sample_id,predicted_latitude,predicted_longitude,LAT,LON",
])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_go_by_the_names_and_separators_of_many_systems(
    evaluated, heading: str, delimiter: str
) -> None:
    rows = [heading, "a,10,20,11,20", "b,30,40,20,40"]
    answer, err = evaluated("\n".join(rows).replace(",", delimiter))
    assert answer["n"] == 2, err
    assert_figures(answer, [KM, 10 * KM])


def test_bare_names_are_the_truth_beside_names_of_predictions_and_that_is_told(evaluated) -> None:
    _, err = evaluated("img_id,LAT,LON,pred_lat,pred_lon\na,10,20,11,20\nb,30,40,20,40\n")
    assert "p.csv: lat is pred_lat, lon is pred_lon, true_lat is LAT, true_lon is LON, path is img_id" in err


@pytest.mark.parametrize(("heading", "words"), [
    ("path,lat,latitude,lon", "2 columns for the lat: lat, latitude; keep one of them, or rename the others"),
    ("path,pred_lat,guess_lat,pred_lon", "2 columns for the predicted lat: pred_lat, guess_lat; keep one"),
    ("path,lat,lon,gt_lat,true_lat,gt_lon", "2 columns for the true lat: gt_lat, true_lat; keep one"),
    ("path,lat,lon", "no column true_lat, true_lon; it has path, lat, lon; expected lat, lon, true_lat, "
     "true_lon, or the positions of the photos by --data"),
])
def test_ambiguous_and_missing_columns_are_named_in_one_line(evaluated, heading: str, words: str) -> None:
    answer, err = evaluated(heading + "\n" + ",".join("1" * len(heading.split(","))))
    assert answer == {}
    assert words in err.strip().splitlines()[-1]


def test_several_partitions_of_one_photo_are_refused_with_their_names(evaluated) -> None:
    rows = ["img_id,p_key,pred_lat,pred_lng", "a,coarse,10,20", "a,fine,11,20", "a,hierarchy,9,9"]
    answer, err = evaluated("\n".join(rows), TRUTH)
    assert answer == {}
    assert "3 predictions for a; expected one for each photo: keep the rows of one p_key, coarse, fi" in err


def test_lines_without_a_heading_are_taken_as_path_lat_and_lon(evaluated) -> None:
    answer, err = evaluated("a.jpg,11,20\nb.jpg,30,40\nc.jpg,40,60\nd.jpg,-20,100\n", TRUTH)
    assert_figures(answer, [KM, 0, 10 * KM, 0])
    assert "p.csv has no heading: its columns are taken as path, lat, lon" in err


def test_what_is_no_answer_is_counted_aloud_and_as_wrong(evaluated) -> None:
    rows = ["path,lat,lon,gt_lat,gt_lon", "a,11,20,10,20", "b,N/A,N/A,30,40", "c,,,50,60",
            "d,195,20,10,20", "e,10,20,?,?", "f,10,20", "g,30,40,30,40"]
    answer, err = evaluated("\n".join(rows))
    assert (answer["n"], answer["skipped"], answer["without_prediction"]) == (5, 2, 3)
    assert_figures(answer, [KM, math.inf, math.inf, math.inf, 0])
    assert "2 predictions in p.csv, first that of b, are no position; no answer: wrong at every" in err
    assert "1 predictions in p.csv are empty; no answer" in err
    assert "row 5 of p.csv: its true latitude or longitude is not a number; left out" in err
    assert "row 6 of p.csv: it has more or fewer fields than the heading; left out" in err


def test_a_heading_repeated_between_the_answers_ends_nothing(evaluated) -> None:
    heading = "path,lat,lon,gt_lat,gt_lon"
    answer, _ = evaluated("\n".join([heading, "a,11,20,10,20", heading, "b,30,40,30,40"]))
    assert (answer["n"], answer["skipped"]) == (2, 1)
    assert_figures(answer, [KM, 0])


def test_degree_signs_letters_and_minutes_are_understood(evaluated) -> None:
    rows = ["path\tlat\tlon\tgt_lat\tgt_lon", "a\t11°\t20° E\t10 N\t20.0º",
            "b\t30°30'\tW 40°30'00\"\t30.5\t-40.5", "c\t33 S\t5\t-33\t5"]
    answer, _ = evaluated("\n".join(rows))
    assert_figures(answer, [KM, 0, 0])


@pytest.mark.parametrize(("text", "letters", "value"), [
    ("48.85°", "NS", 48.85), ("33.5 s", "NS", -33.5), ("N 48°30'36\"", "NS", 48.51), ("-0°30'", "NS", -0.5),
    ("\u22125.5", "EW", -5.5), ("5W", "EW", -5), ("5", "", 5),
    *[(text, "NS", math.nan) for text in ("-33 S", "5 E", "N5N", "48.5°30'", "5°61'", "north", "", "°")],
])
def test_angles_are_read_as_people_write_them(text: str, letters: str, value: float) -> None:
    assert degrees(text, letters) == pytest.approx(value, nan_ok=True)


def test_columns_swapped_beyond_the_poles_are_refused(evaluated) -> None:
    rows = ["path,lat,lon,gt_lat,gt_lon", "a,120,30,30,120", "b,-110,40,40,-110", "c,2,48,48,2"]
    answer, err = evaluated("\n".join(rows))
    assert answer == {}
    assert "predictions: latitude and longitude look swapped: 2 of 3 rows" in err.strip().splitlines()[-1]
    turned = ["path,lat,lon,gt_lat,gt_lon", "a,30,120,120,30", "b,40,-110,-110,40"]
    assert "true positions: latitude and longitude look swapped" in evaluated("\n".join(turned))[1]


def test_columns_swapped_within_the_poles_are_warned_of_and_evaluated_as_they_are(evaluated) -> None:
    places = [(10 + 5 * n, 60 - 3 * n) for n in range(8)]
    rows = [f"p{n},{lon},{lat},{lat + 1},{lon}" for n, (lat, lon) in enumerate(places)]
    answer, err = evaluated("\n".join(["path,lat,lon,gt_lat,gt_lon", *rows]))
    assert answer["n"] == 8
    assert "swapped the median distance would be 111 km instead of" in err
    right = [f"p{n},{lat},{lon},{lat + 1},{lon}" for n, (lat, lon) in enumerate(places)]
    assert "swapped" not in evaluated("\n".join(["path,lat,lon,gt_lat,gt_lon", *right]))[1]


def test_radians_are_warned_of(evaluated) -> None:
    heading = "path,lat,lon,gt_lat,gt_lon"
    places = [(10.0, 20.0), (50.0, 140.0), (-30.0, -60.0)]
    rows = [f"{n},{math.radians(lat)},{math.radians(lon)},{lat},{lon}" for n, (lat, lon) in enumerate(places)]
    answer, err = evaluated("\n".join([heading, *rows]))
    assert answer["n"] == 3
    assert "all predictions lie within 1.57 north and 3.14 east of 0, 0, as radians do" in err
    assert "all true positions" not in err
    assert "radians" not in evaluated("\n".join([heading, "a,1,2,1,2", "b,10,20,10,20"]))[1]


def test_photos_are_known_by_the_longest_end_of_their_paths_that_is_clear() -> None:
    names = ["red/1.jpg", "C:\\blue\\1.jpg", "2", "3.jpg", "3.JPG", "x/4.jpg", "y/4.jpg"]
    photos = ["/data/blue/1.jpg", "/data/red/1.jpg", "/data/red/2.png", "/data/3.png", "/data/4.jpg"]
    assert match_names(names, photos).tolist() == [1, 0, 2, -1, -1]
    assert match_names(["a.b", "a.c"], ["a.b.jpg", "a.c.jpg"]).tolist() == [0, 1]


def test_names_of_columns_lose_capitals_blanks_and_units() -> None:
    names = ["Pred LAT", "predLat", "pred-lat", " PRED_LAT ", "pred_lat_deg", "pred_lat (degrees)"]
    assert {plain_name(name) for name in names} == {"pred_lat"}
