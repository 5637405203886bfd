"""Videos from disk: which frames are taken, their times, how they lie, and what damage gives."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from video_support import write_sound, write_video

from datasets.image_io import BadImageError
from datasets.video import Frame, frame_times, frames, frames_at, is_video, media, place_of, video_size

LEVELS = [20 + 4 * n for n in range(30)]  # three seconds


def looked(path: Path, every: float) -> tuple[list[tuple[float, int, int]], str]:
    """(time, number, grey) of the frames that are read, and what is said at the end."""
    result: list[tuple[float, int, int]] = []
    try:
        for frame in frames(path, every):
            result.append((frame.time, frame.number, int(frame.pixels[40, 40, 0])))
    except BadImageError as err:
        return result, err.reason
    return result, ""


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi", "a.webm", "a.h264"])
def test_the_first_frame_of_every_second_is_read_whatever_the_container(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, LEVELS, rate=25 if name == "a.h264" else 10)
    result, problem = looked(path, 1.0)
    rate = 25 if name == "a.h264" else 10
    wanted = [n * rate for n in range(-(-len(LEVELS) // rate))]
    assert (problem, [time for time, _, _ in result]) == ("", [float(n) for n in range(len(wanted))])
    for (_, number, grey), at in zip(result, wanted, strict=True):
        assert number == at
        assert abs(grey - LEVELS[at]) <= 4
    assert frame_times(path, 1.0) == ([float(n) for n in range(len(wanted))], "")
    assert len(looked(path, 0)[0]) == len(LEVELS)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_a_frame_rate_that_varies_gives_each_frame_its_own_time(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, [20, 60, 100, 140, 180], times_ms=[0, 100, 150, 5000, 9000])
    result, problem = looked(path, 1.0)
    assert (problem, [time for time, _, _ in result]) == ("", [0.0, 5.0, 9.0])
    assert [round(grey, -1) for _, _, grey in result] == [20, 140, 180]
    assert frame_times(path, 0)[0] == [0.0, 0.1, 0.15, 5.0, 9.0]


@pytest.mark.parametrize(("degrees", "corner"), [(-90, (0, -1)), (90, (-1, 0)), (180, (-1, -1)), (0, (0, 0))])
def test_frames_lie_as_a_player_shows_them(tmp_path: Path, degrees: int, corner: tuple[int, int]) -> None:
    path = write_video(tmp_path / "phone.mp4", [40], rotate=degrees)
    (frame,) = frames(path)
    assert frame.pixels.shape == ((64, 48, 3) if degrees in (90, -90) else (48, 64, 3))
    assert frame.pixels[corner[0] * 4, corner[1] * 4, 0] > 200 if any(corner) else frame.pixels[0, 0, 0] > 200
    assert video_size(path) == frame.pixels.shape[1::-1]


def test_a_video_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", LEVELS, options={"movflags": "faststart"})
    path = tmp_path / "half.mp4"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 9 // 10])
    result, problem = looked(path, 0)
    assert 5 < len(result) < len(LEVELS)
    assert problem.startswith("cut off: ")
    assert problem.endswith(" of 3.0 s can be read")
    assert frame_times(path, 0)[1] == problem


def test_damage_within_a_video_costs_the_frames_that_it_hits(tmp_path: Path) -> None:
    path = write_video(tmp_path / "damaged.mp4", LEVELS)  # its index stands at the end
    data = bytearray(path.read_bytes())
    start = data.find(b"mdat") + (data.find(b"moov") - data.find(b"mdat")) * 6 // 10
    data[start : start + 60] = b"\xff" * 60
    path.write_bytes(bytes(data))
    result, problem = looked(path, 0)
    assert 10 < len(result) < len(LEVELS)
    assert problem.startswith("damaged: ")


def test_what_holds_no_pictures_is_one_line(tmp_path: Path) -> None:
    page, empty = tmp_path / "page.mp4", tmp_path / "empty.mp4"
    page.write_text("<!doctype html><title>404</title>")
    empty.write_bytes(b"")
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n")
    assert looked(write_sound(tmp_path / "song.mp4"), 1)[1] == "holds no video, only sound"
    assert looked(page, 1)[1] == "not a video but a web page"
    assert looked(playlist, 1)[1] == "not a video but a text"
    for path in (empty, tmp_path / "absent.mp4"):
        assert looked(path, 1) == ([], looked(path, 1)[1])
        assert looked(path, 1)[1]


def test_without_pyav_a_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", LEVELS[:3])
    monkeypatch.setitem(sys.modules, "av", None)
    assert looked(path, 1) == ([], "a video: pip install av reads it")


def test_frames_are_found_again_by_their_times_and_missing_ones_are_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", LEVELS)
    given = dict(frames_at(path, [0.5, 2.2, 7.0]))
    for time, at in ((0.5, 5), (2.2, 22)):
        frame = given[time]
        assert isinstance(frame, Frame)
        assert abs(int(frame.pixels[40, 40, 0]) - LEVELS[at]) <= 4
    assert "no frame at 7 s" in str(given[7.0])


def test_a_recording_whose_clock_is_set_back_goes_on(tmp_path: Path) -> None:
    part = write_video(tmp_path / "part.ts", LEVELS).read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(part + part)
    result, _ = looked(path, 1.0)
    assert [round(time) for time, _, _ in result] == list(range(6))
    assert [time for time, _, _ in result] == frame_times(path, 1.0)[0]


def test_content_says_what_a_video_is_and_photos_pass_as_they_are(tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", LEVELS[:2])
    plain = film.rename(tmp_path / "film")
    photo = tmp_path / "photo.mp4"
    photo.write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 600)
    assert (is_video(plain), is_video(photo), is_video(tmp_path / "gone.jpg")) == (True, False, False)
    first, second = media([photo, plain], 1.0)
    assert first == photo
    assert place_of(second) == {"path": str(plain), "time": 0.0, "frame": 0}
    assert isinstance(second, Frame)
    assert second.pixels.dtype == np.uint8
