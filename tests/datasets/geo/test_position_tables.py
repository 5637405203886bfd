"""Tables of positions: what is read, what is left out with its reason, what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from datasets.geo.position_tables import read_positions
from datasets.geo.positions import Positions


@pytest.fixture
def table(tmp_path: Path):
    """A CSV of some lines, read."""

    def read(*lines: str, encoding: str = "utf-8") -> Positions:
        path = tmp_path / "points.csv"
        path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
        return read_positions(path)

    return read


def test_rows_are_read_with_what_they_tell_of_photo_author_weight_and_time(table) -> None:
    found = table("photo,Latitude,LNG,author,weight,taken,colour", "a.jpg,48.5,2.25,Ann,2,2020:01:02,red",
                  "b/ü.jpg,-33.9,151.2,,0.5,,blue")
    assert found.lat.tolist() == [48.5, -33.9]
    assert found.lon.tolist() == [2.25, 151.2]
    assert found.paths == ("a.jpg", "b/ü.jpg")
    assert found.authors == ("Ann", "")
    assert found.times == ("2020:01:02", "")
    assert found.weights is not None
    assert found.weights.tolist() == [2, 0.5]
    assert (found.left_out, found.notes, found.skipped) == ((), [], 0)


@pytest.mark.parametrize("lines", [
    ("lat;lon", "1.5;2.5"), ("lat\tlon", "1.5\t2.5"), ("lon , LAT", " 2.5 , 1.5 "),
    ("\ufefflat,lon", "1.5,2.5"), ('"lat","lon"', '"1.5","2.5"'), ("lat,lon", "+1.5,25e-1", ""),
])
def test_separators_marks_blanks_and_quotes_change_nothing(table, lines: tuple[str, ...]) -> None:
    found = table(*lines)
    assert (found.lat.tolist(), found.lon.tolist()) == ([1.5], [2.5])


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    values = {"path": ["a", "b"], "lat": [1.5, float("nan")], "lon": [2.5, 0.0]}
    parquet.write_table(pa.table(values), tmp_path / "points.bin")
    found = read_positions(tmp_path / "points.bin")
    assert (found.lat.tolist(), found.lon.tolist(), found.paths) == ([1.5], [2.5], ("a",))
    assert str(found.left_out[0]) == "row 2 of points.bin: latitude or longitude is not a number; left out"


@pytest.mark.parametrize(("row", "reason"), [
    ("0,0", "latitude and longitude are 0, as of a camera without a fix"),
    ("nan,5", "latitude or longitude is not a number"),
    ("5,", "latitude or longitude is not a number"),
    ("north,5", "latitude or longitude is not a number"),
    ("inf,5", "latitude or longitude is not a number"),
    ("200,5", "latitude is beyond 90 degrees"),
    ("5,200", "longitude is beyond 180 degrees"),
    ("1,2,3,4", "it has more or fewer fields than the heading"),
])
def test_a_bad_row_is_left_out_by_number_and_reason(table, row: str, reason: str) -> None:
    found = table("lat,lon", "1,2", row, "3,4", row)
    assert found.lat.tolist() == [1, 3]
    assert found.remarks() == [f"row 2 of points.csv and 1 more: {reason}; left out"]
    assert found.skipped == 2


def test_weights_that_are_none_and_photos_named_twice_are_left_out(table) -> None:
    found = table("path,lat,lon,weight", "a,1,2,1", "b,1,2,0", "c,1,3,x", "a,9,9,1")
    assert found.paths == ("a",)
    assert found.remarks() == [
        "row 2 of points.csv and 1 more: weight is not a number above 0; left out",
        "row 4 of points.csv: a row before names the same photo; left out",
    ]


def test_a_photo_whose_first_row_is_bad_is_read_from_the_second(table) -> None:
    assert table("path,lat,lon", "a,0,0", "a,9,8").lat.tolist() == [9]


def test_equal_positions_are_counted_and_kept(table) -> None:
    found = table("lat,lon", "1,2", "1,2", "1,3", "1,2")
    assert len(found) == 4
    assert found.notes == ["2 of 4 positions in points.csv equal another one exactly: all are counted"]


def test_swapped_columns_are_noticed(table) -> None:
    rows = [f"{lon},{lat}" for lat, lon in [(48, 2), (-33, 151), (40, -100)]]
    with pytest.raises(ValueError, match=r"look swapped: 2 of 3 rows .* as 151 with longitude -33; swap"):
        table("lat,lon", *rows)


def test_one_odd_latitude_among_many_is_a_bad_row_and_not_a_swap(table) -> None:
    found = table("lat,lon", *["48,2"] * 300, "151,-33")
    assert (len(found), found.left_out[0].reason) == (300, "latitude is beyond 90 degrees")


@pytest.mark.parametrize(("lines", "words"), [
    (("a,b", "1,2"), r"has no column lat \(or latitude\) and no column lon .* first line is: a, b"),
    (("lat,city", "1,2"), r"has no column lon"),
    (("48.85,2.35", "1,2"), r"its first line is: 48.85, 2.35; expected names of columns"),
    (("lat;lon", "48,85;2,35"), r"decimal commas \(lat 48,85\); write them with points"),
    (("lat,lon", "48,85,2,35"), r"decimal commas \(48,85,2,35\); write them with points"),
    (("lat,lon", '"48,85","2,35"'), r"decimal commas \(lat 48,85\)"),
    (("lat,lon",), "has no rows; give one photo a row"),
    (("",), "is empty; give a heading, the names of the columns"),
    (("lat,lon", "0,0", "nan,1"), "has no good row: row 2 .*not a number.*row 1 .* are 0"),
])
def test_a_table_that_cannot_be_used_is_refused(table, lines: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        table(*lines)
    assert "\n" not in str(caught.value)


def test_other_files_than_tables_are_refused(table, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no file; give a CSV or Parquet table with columns"):
        read_positions(tmp_path / "missing.csv")
    with pytest.raises(ValueError, match="no CSV in UTF-8"):
        table("lat,lon,Köln", "1,2,3,4", encoding="latin-1")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        read_positions(tmp_path / "bad.parquet")


def test_a_real_table_is_read_whole(shared: Path) -> None:
    found = read_positions(shared / "data" / "geo" / "coordinates_100k.csv")
    assert len(found) == 100_000
    assert found.lat[:2].tolist() == [-50.943392, 34.201047]
    assert np.abs(found.lon).max() <= 180


@pytest.mark.parametrize("parquet_file", [False, True])
def test_captions_of_several_lines_lose_no_position(tmp_path: Path, parquet_file: bool) -> None:
    """A public case lost 6,330 of 9,000 rows of a table of 1.5 MB, without a word."""
    captions = [f"Line one of {n} {'x' * 70}\nline \"two\", {'y' * 80}" for n in range(9000)]
    table = pa.table({
        "path": [f"{n}.jpg" for n in range(9000)], "caption": captions, "lat": [n / 100 for n in range(9000)],
        "lon": [1 + n / 100 for n in range(9000)],
    })
    path = tmp_path / "points"
    parquet.write_table(table, path) if parquet_file else csv.write_csv(table, path)
    found = read_positions(path)
    assert len(found) == 9000 and found.skipped == 0
    assert found.lat.tolist() == [n / 100 for n in range(9000)] and found.paths[-1] == "8999.jpg"
