"""embed-faces on videos: a row a frame with its time, names that last, and frames that are found again."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from faces_support import embed
from support import Cli
from video_support import write_video

from apps.faces.extraction.opening import open_by_name


def test_frames_are_rows_with_times_that_are_known_again(
    cli: Cli, weights: Path, crops: Path, out: Path, tmp_path: Path
) -> None:
    film = write_video(tmp_path / "film.mp4", [20 + 4 * n for n in range(30)])
    answer = embed(cli, weights, out, film, crops)
    assert (answer["photos"], answer["faces"]) == (15, 15)
    rows = pq.read_table(out).select(["path", "time", "sha256"]).to_pylist()
    of_film = [row for row in rows if row["time"] is not None]
    assert [(row["path"], row["time"]) for row in of_film] == [
        (f"{film}#t={n:06d}.000", float(n)) for n in range(3)
    ]
    assert len({row["sha256"] for row in rows}) == 15
    assert embed(cli, weights, out, film, crops)["skipped"] == 15
    opened = open_by_name(of_film[2]["path"])
    assert abs(opened.image.getpixel((40, 40))[0] - 100) <= 4
    assert opened.sha256 == of_film[2]["sha256"]
    sheet = cli("cluster-faces", out, "--out", tmp_path / "people", "--threshold", 0.5)
    assert sheet.code == 0, sheet.err
    listed = cli("people", "list", out, "--faces", "--all", "--format", "table")
    assert "film.mp4#t=000002.000" in listed.out
    film.unlink()
    assert embed(cli, weights, out, crops)["gone"] == {"photos": 3, "faces": 3}


def test_a_video_that_was_replaced_leaves_no_frames_of_the_old_one(
    cli: Cli, weights: Path, out: Path, tmp_path: Path
) -> None:
    film = write_video(tmp_path / "film.mp4", [20 + 4 * n for n in range(30)])
    embed(cli, weights, out, film)
    write_video(film, [200 - 4 * n for n in range(15)])
    answer = embed(cli, weights, out, film, "--prune")
    assert answer["gone"] == {"photos": 1, "faces": 1}
    assert pq.read_table(out)["time"].to_pylist() == [0.0, 1.0]
