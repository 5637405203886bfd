"""detect on videos and streams: lines with times, the video that is drawn, and polite ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssd_file_support import import_small_ssd
from support import Cli
from video_support import film_server, write_sound, write_video

from apps.objects.video.live import Live, is_stream, shown
from datasets.video import Frame, frames

LEVELS = [20 + 4 * n for n in range(30)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SSD of cat, dog and owl."""
    return import_small_ssd(tmp_path_factory.mktemp("small"))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_video(tmp_path / "film.mp4", LEVELS)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A stream of MPEG's transport packets over HTTP that never ends, three seconds of film every second."""
    with film_server(write_video(tmp_path / "live.ts", LEVELS), endless=True) as place:
        yield f"http://me:secret@{place}"


def test_a_line_a_frame_and_the_rest_of_a_damaged_video_in_one(cli: Cli, weights: Path, film: Path) -> None:
    sound = write_sound(film.with_name("song.mp4"))
    answer = cli("detect", film, sound, "--weights", weights, "--every", 1.5)
    assert answer.code == 0
    assert [(line["path"], line.get("time"), line.get("frame")) for line in answer.lines] == [
        (str(film), 0.0, 0), (str(film), 1.5, 15), (str(sound), None, None)
    ]
    assert answer.lines[2]["error"] == "holds no video, only sound"
    assert answer.last_error == "1 of 3 photos could not be read"


def test_videos_in_folders_are_counted_aloud_and_read_where_that_is_asked_for(
    cli: Cli, weights: Path, film: Path
) -> None:
    cli_answer = cli("detect", film.parent, "--weights", weights)
    assert cli_answer.code == 1
    assert "1 .mp4" in cli_answer.err
    assert "--videos reads videos in folders, too" in cli_answer.err
    assert len(cli("detect", film.parent, "--weights", weights, "--videos").lines) == 3


def test_the_drawn_video_has_every_frame_at_its_time(cli: Cli, weights: Path, tmp_path: Path) -> None:
    times = [0, 100, 150, 1500, 2900]
    film = write_video(tmp_path / "film.mp4", LEVELS[:5], times_ms=times)
    out = tmp_path / "out" / "drawn.mp4"
    out.parent.mkdir()
    answer = cli("detect", film, "--weights", weights, "--threshold", 0, "--draw", out)
    assert (answer.code, len(answer.lines)) == (0, 5)
    drawn = list(frames(out, 0))
    assert [frame.time for frame in drawn] == [time / 1000 for time in times]
    assert drawn[0].pixels.shape == (48, 64, 3)
    assert [path.name for path in out.parent.iterdir()] == ["drawn.mp4"]
    folder = tmp_path / "pictures"
    assert cli("detect", film, "--weights", weights, "--draw", folder).code == 0
    assert sorted(path.name for path in folder.iterdir())[1] == "0001-film-000001.500.jpg"


def test_a_drawn_video_replaces_nothing_of_another_kind(cli: Cli, weights: Path, film: Path) -> None:
    text, photo = film.with_name("notes.mp4"), film.with_name("photo.png")
    text.write_text("keep me")
    photo.write_bytes(b"\x89PNG\r\n\x1a\n")
    for paths, draw, words in (
        ((film,), film, "is the video itself"), ((film,), text, "a file of another kind"),
        ((film, photo), film.with_name("new.mp4"), "draws one video or stream"),
    ):
        answer = cli("detect", *paths, "--weights", weights, "--draw", draw)
        assert (answer.code, answer.out) == (1, "")
        assert words in answer.last_error
    assert text.read_text() == "keep me"


def test_a_stream_is_answered_for_until_its_time_is_up(
    cli: Cli, weights: Path, address: str, tmp_path: Path
) -> None:
    out = tmp_path / "live.mp4"
    answer = cli("detect", address, "--weights", weights, "--every", 0.5, "--seconds", 3, "--draw", out)
    assert answer.code == 0, answer.err
    times = [line["time"] for line in answer.lines]
    assert times == [0.5 * n for n in range(len(times))]
    assert 2 <= len(times) <= 6
    assert "secret" not in answer.out + answer.err
    assert [frame.time for frame in frames(out, 0)] == times


def test_ctrl_c_is_the_end_of_a_stream_and_no_error(address: str) -> None:
    live = Live(address, 1.0).frames()
    first = next(live)
    os.kill(os.getpid(), signal.SIGINT)
    assert isinstance(first, Frame)
    assert len(list(live)) <= 1


def test_what_cannot_be_opened_is_one_line(cli: Cli, weights: Path) -> None:
    answer = cli("detect", "http://me:secret@127.0.0.1:9/x", "--weights", weights)
    assert (answer.code, answer.out) == (1, "")
    assert answer.last_error.startswith("error: http://me:***@127.0.0.1:9/x cannot be opened")
    assert "camera:77 cannot be opened" in cli("detect", "camera:77", "--weights", weights).last_error
    assert cli("detect", "camera:0", "a.jpg", "--weights", weights).code == 2
    assert cli("detect", "a.mp4", "--seconds", 3, "--weights", weights).code == 2
    assert is_stream("rtsp://host/1")
    assert not is_stream("C:/photos")
    assert shown("rtsp://me:pass@host/1") == "rtsp://me:***@host/1"
