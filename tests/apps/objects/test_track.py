"""``detect --track``: objects keep their ids while they move, cross, and are lost for a moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support import Cli
from video_support import film_server

from apps.engine.core.spec import KEY, HeadSpec, ModelSpec
from apps.objects.detect import detect
from apps.objects.video.track import Tracker
from datasets.file_kinds import Sampling
from datasets.video import frames

SIDE = 96
RED, BLUE = (220, 30, 30), (30, 30, 220)
FINDER = """
<ir_version: 9, opset_import: ["" : 18]>
finder (uint8[N,96,96,3] images) => (float[N,2,4] boxes, float[N,2] scores, int64[N,2] labels)
<int64[1] one = {1}, int64[1] two = {2}, int64[1] wide = {3}, float least = {60}, float scale = {15},
 int64[1] red_at = {0}, int64[1] blue_at = {2}, int64[1] red_end = {1}, int64[1] blue_end = {3},
 float edge = {1}, int64[2] both = {1, 2}>
{
    pixels = Cast<to = 1>(images)
    red = Slice(pixels, red_at, red_end, wide)
    blue = Slice(pixels, blue_at, blue_end, wide)
    red_more = Sub(red, blue)
    blue_more = Neg(red_more)
    colours = Concat<axis = 3>(red_more, blue_more)
    seen = Greater(colours, least)
    mask = Cast<to = 1>(seen)
    rows = ReduceMax<keepdims = 0>(mask, two)
    columns = ReduceMax<keepdims = 0>(mask, one)
    y1 = ArgMax<axis = 1, keepdims = 0>(rows)
    x1 = ArgMax<axis = 1, keepdims = 0>(columns)
    y2 = ArgMax<axis = 1, keepdims = 0, select_last_index = 1>(rows)
    x2 = ArgMax<axis = 1, keepdims = 0, select_last_index = 1>(columns)
    low_x = Cast<to = 1>(x1)
    low_y = Cast<to = 1>(y1)
    last_x = Cast<to = 1>(x2)
    last_y = Cast<to = 1>(y2)
    high_x = Add(last_x, edge)
    high_y = Add(last_y, edge)
    a = Unsqueeze(low_x, two)
    b = Unsqueeze(low_y, two)
    c = Unsqueeze(high_x, two)
    d = Unsqueeze(high_y, two)
    boxes = Concat<axis = 2>(a, b, c, d)
    share = ReduceMean<keepdims = 0>(mask, both)
    scores = Mul(share, scale)
    none = Mul(x1, x1)
    labels = Sub(none, none)
}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of what is red and of what is blue, both squares to it; the less is seen, the less sure."""
    head = HeadSpec("objects", "objects", "detections", ("boxes", "scores", "labels"), ("square",), extra={
        "size": SIDE, "resize": "squash", "threshold": 0.3,
    })
    spec = ModelSpec("0", SIDE, 1.0, "nhwc", "fp32", {}, (head,), resize="squash")
    proto = onnx.parser.parse_model(FINDER)
    proto.metadata_props.add(key=KEY, value=spec.to_json())
    path = tmp_path_factory.mktemp("model") / "squares.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def places(at: int) -> list[tuple[int, int]]:
    """The upper left corners of the red and of the blue square, which cross in the middle."""
    return [(10 + 6 * at, 60), (130 - 6 * at, 72)]


def write_film(path: Path, count: int = 20) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10, options={"bf": "0", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = 192, 144, "yuv420p"
        for number in range(count):
            pixels = np.full((144, 192, 3), 120, np.uint8)
            for (left, top), colour in zip(places(number), (RED, BLUE), strict=True):
                pixels[top : top + 40, left : left + 40] = colour
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def square(left: float, top: float, score: float = 0.9, name: str = "square") -> dict[str, Any]:
    return {"name": name, "score": score, "box": [left, top, left + 40, top + 40]}


def numbers(tracker: Tracker, frames_: Sequence[Sequence[dict[str, Any]]]) -> list[list[Any]]:
    return [tracker.update(objects, at / 10) for at, objects in enumerate(frames_)]


def test_squares_that_cross_keep_their_ids_though_one_hides_the_other() -> None:
    """Of the three frames in the middle there is one box, and the order changes from frame to frame."""
    every = []
    for at in range(20):
        red, blue = (square(*place) for place in places(at))
        every.append([red] if 9 <= at <= 11 else [red, blue] if at % 2 else [blue, red])
    seen = numbers(Tracker(0.3), every)
    red_id, blue_id = seen[1]
    for at, given in enumerate(seen):
        both = [red_id, blue_id] if at % 2 else [blue_id, red_id]
        assert given == ([red_id] if 9 <= at <= 11 else both), at


def test_what_is_lost_is_expected_where_its_speed_brings_it() -> None:
    every = [[] if 4 <= at < 9 else [square(12 * at, 0)] for at in range(12)]
    assert numbers(Tracker(0.3), every) == [[] if 4 <= at < 9 else [1] for at in range(12)]


def test_weak_objects_carry_on_and_begin_nothing() -> None:
    frames_ = [[square(0, 0), square(100, 100, 0.2)], [square(2, 0, 0.2)], [square(4, 0)]]
    assert numbers(Tracker(0.3), frames_) == [[1, None], [1], [1]]


def test_another_class_a_far_place_and_a_long_absence_are_other_objects() -> None:
    tracker = Tracker(0.3)
    assert tracker.update([square(0, 0)], 0.0) == [1]
    assert tracker.update([square(0, 0, name="circle")], 0.1) == [2]
    assert tracker.update([square(90, 0)], 0.2) == [3]
    assert tracker.update([square(0, 0)], 0.9) == [1]
    assert [tracker.update([], at / 10) for at in range(10, 25)] == [[]] * 15
    assert tracker.update([square(0, 0)], 2.5) == [4]


def test_another_video_begins_anew() -> None:
    tracker = Tracker(0.3)
    assert tracker.marked([square(0, 0)], "a.mp4", 0.0)[0]["id"] == 1
    assert tracker.marked([square(90, 0)], "a.mp4", 0.1)[0]["id"] == 2
    assert tracker.marked([square(90, 0)], "b.mp4", 0.0) == [{"id": 1, **square(90, 0)}]


def test_the_ids_of_a_film_stay_and_are_drawn(cli: Cli, model: Path, tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4")
    given = ("detect", film, "--model", model, "--every", 0)
    answer = cli(*given, "--track", "--draw", tmp_path / "with.mp4")
    assert answer.code == 0, answer.err
    for at, line in enumerate(answer.lines):
        assert {item["id"] for item in line["objects"]} <= {1, 2}
        first = min(line["objects"], key=lambda item: item["id"])
        assert abs(first["box"][0] - places(at)[0][0]) < 16
    assert all(len(line["objects"]) == 2 for line in answer.lines[:5] + answer.lines[-5:])
    plain = cli(*given, "--draw", tmp_path / "without.mp4")
    assert "id" not in plain.lines[0]["objects"][0]
    drawn = [next(frames(tmp_path / f"{name}.mp4", 0)).pixels for name in ("with", "without")]
    assert np.abs(drawn[0].astype(int) - drawn[1]).max() > 60
    table = cli(*given, "--track", "--format", "csv").out.splitlines()
    assert table[0] == "path,time,frame,id,name,score,x1,y1,x2,y2,error"
    assert table[1].split(",")[3:5] == ["1", "square"]
    (document,) = cli(*given, "--track", "--format", "coco").lines
    assert {item["track_id"] for item in document["annotations"]} == {1, 2}


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A stream of a film over HTTP."""
    with film_server(write_film(tmp_path / "live.ts")) as place:
        yield f"http://{place}"


def test_the_ids_of_a_stream_stay(cli: Cli, model: Path, address: str) -> None:
    answer = cli("detect", address, "--model", model, "--every", 0, "--track")
    assert answer.code == 0, answer.err
    assert len(answer.lines) > 10
    assert {item["id"] for line in answer.lines for item in line.get("objects", [])} == {1, 2}


def test_photos_alone_and_parts_are_refused(cli: Cli, model: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (20, 20)).save(tmp_path / "x.png")
    answer = cli("detect", tmp_path / "x.png", "--model", model, "--track")
    assert (answer.code, answer.out) == (1, "")
    assert "--track follows objects through videos and streams" in answer.last_error
    parts = cli("detect", tmp_path / "x.png", "--model", model, "--track", "--out", tmp_path / "out")
    assert parts.code == 2 and "--track is for lines on stdout" in parts.last_error
    film = write_film(tmp_path / "film.mp4", 3)
    both = list(detect([tmp_path / "x.png", film], str(model), track=True, sampling=Sampling(0)))
    assert [["id" in item for item in line["objects"]] for line in both] == [[], *[[True, True]] * 3]
