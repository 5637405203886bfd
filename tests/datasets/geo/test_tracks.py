"""GPX files: points with times in order, and one line for what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasets.geo.tracks import read_gpx

HEAD = '<?xml version="1.0"?><gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1">'


def write(path: Path, body: str, head: str = HEAD) -> Path:
    path.write_text(f"{head}{body}</gpx>", encoding="utf-8")
    return path


def test_points_of_every_kind_stand_in_the_order_of_their_times(tmp_path: Path) -> None:
    track = read_gpx(write(tmp_path / "a.gpx", (
        '<wpt lat="48.85" lon="2.35"><time>2026-05-01T14:00:00+02:00</time></wpt>'
        '<trk><trkseg><trkpt lat="52.5" lon="13.4"><ele>34</ele><time>2026-05-01T10:00:00Z</time></trkpt>'
        '<trkpt lat="52.6" lon="13.5"/></trkseg></trk>'
        '<rte><rtept lat="-33.9" lon="-70.7"><time>2026-05-01T11:00:00</time></rtept></rte>'
    )))
    assert (track.seconds - track.seconds[0]).tolist() == [0, 3600, 7200]
    assert track.lat.tolist() == [52.5, -33.9, 48.85]
    assert track.lon.tolist() == [13.4, -70.7, 2.35]
    assert track.left_out == 1


def test_a_file_of_the_first_edition_has_another_name_space(tmp_path: Path) -> None:
    head = '<gpx version="1.0" xmlns="http://www.topografix.com/GPX/1/0">'
    point = '<wpt lat="1" lon="2"><time>2026-05-01T10:00:00.250Z</time></wpt>'
    assert read_gpx(write(tmp_path / "a.gpx", point, head)).seconds.tolist() == [1777629600.25]


@pytest.mark.parametrize(("body", "words"), [
    ("<wpt", "is no GPX file, or is damaged"),
    ('<wpt lat="1" lon="2"/>', "has no point with a time (1 without)"),
    ('<wpt lat="91" lon="2"><time>2026-05-01T10:00:00Z</time></wpt>', "latitude is beyond 90 degrees: 91"),
    ('<wpt lat="1" lon="nan"><time>2026-05-01T10:00:00Z</time></wpt>', "its lat and lon are '1' and 'nan'"),
    ('<wpt lon="2"><time>2026-05-01T10:00:00Z</time></wpt>', "its lat and lon are None and '2', no numbers"),
    ('<wpt lat="1" lon="2"><time>yesterday</time></wpt>', "point 1: its time is 'yesterday'"),
])
def test_what_is_no_track_is_one_line(tmp_path: Path, body: str, words: str) -> None:
    path = write(tmp_path / "a.gpx", body)
    with pytest.raises(ValueError, match=r"a\.gpx") as err:
        read_gpx(path)
    assert words in str(err.value)
    assert "\n" not in str(err.value)


def test_entities_and_other_xml_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gpx"
    path.write_text('<!DOCTYPE gpx [<!ENTITY a "b">]><gpx>&a;</gpx>', encoding="utf-8")
    with pytest.raises(ValueError, match="declares entities"):
        read_gpx(path)
    path.write_text("<kml></kml>", encoding="utf-8")
    with pytest.raises(ValueError, match="begins with <kml>, not <gpx>"):
        read_gpx(path)
    with pytest.raises(FileNotFoundError):
        read_gpx(tmp_path / "none.gpx")
