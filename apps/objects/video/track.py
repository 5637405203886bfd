"""Objects of a video that stay the same from frame to frame: an ``id`` each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from apps.engine.inference.decode.overlap import box_iou

LEAST_OVERLAP = 0.2  # IoU of an object and where it is expected
LOST_SECONDS, LOST_FRAMES = 1.0, 2  # a track ends that was not seen for longer than both
STEADY = 0.5  # share of the speed so far in the new one
Box = NDArray[np.float64]


@dataclass
class Track:
    """An object that was seen.

    Args:
        number, name: its id, from 1, and its class.
        box, time: where it was seen last, (x1, y1, x2, y2) pixels, and when, in seconds.
        speed: pixels a second, along x and y; None after one sight.
        missed: frames since then.
    """

    number: int
    name: str
    box: Box
    time: float
    speed: Box | None = None
    missed: int = 0

    def expected(self, time: float) -> Box:
        """Where it is at a time if it goes on as before."""
        if self.speed is None:
            return self.box
        moved: Box = self.box + np.tile(self.speed * (time - self.time), 2)
        return moved

    def see(self, box: Box, time: float) -> None:
        """Go on from where it is now."""
        if time > self.time:
            centres = [(each[:2] + each[2:]) / 2 for each in (self.box, box)]
            speed = (centres[1] - centres[0]) / (time - self.time)
            self.speed = speed if self.speed is None else STEADY * self.speed + (1 - STEADY) * speed
        self.box, self.time, self.missed = box, time, 0


@dataclass
class Tracker:
    """The objects of videos and streams, frame by frame.

    Each object goes on with the track of its class that it overlaps most where that one is expected, all
    together by the Hungarian method; strong objects first, then weak ones, which begin no track.

    Args:
        threshold: least score of an object that begins a track.

    Source: Zhang et al. 2022, "ByteTrack", without its Kalman filter: an object is expected at its speed.
    """

    threshold: float
    tracks: list[Track] = field(default_factory=list)
    count: int = 0
    video: str = ""

    def marked(self, objects: Sequence[dict[str, Any]], video: str, time: float) -> list[dict[str, Any]]:
        """The objects of the next frame, those of a track with its ``id``; another video begins anew."""
        if video != self.video:
            self.tracks, self.count, self.video = [], 0, video
        numbers = self.update(objects, time)
        return [({} if n is None else {"id": n}) | item for n, item in zip(numbers, objects, strict=True)]

    def update(self, objects: Sequence[dict[str, Any]], time: float) -> list[int | None]:
        """The id of each object of a frame, at a time in seconds; None of a weak one without a track."""
        for track in self.tracks:
            track.missed += 1
        self.tracks = [
            track for track in self.tracks
            if time - track.time <= LOST_SECONDS or track.missed <= LOST_FRAMES
        ]
        numbers: list[int | None] = [None] * len(objects)
        strong = [at for at, item in enumerate(objects) if item["score"] >= self.threshold]
        weak = [at for at, item in enumerate(objects) if item["score"] < self.threshold]
        free = list(self.tracks)
        for some in (strong, weak):
            for at, track in _pairs([objects[n] for n in some], free, time):
                hidden = some is weak  # in part: it is where it was expected, as large as before
                track.see(track.expected(time) if hidden else _box(objects[some[at]]), time)
                numbers[some[at]] = track.number
            free = [track for track in free if track.missed]
        for at in (at for at in strong if numbers[at] is None):
            self.count += 1
            numbers[at] = self.count
            self.tracks.append(Track(self.count, objects[at]["name"], _box(objects[at]), time))
        return numbers


def _box(item: dict[str, Any]) -> Box:
    return np.asarray(item["box"], float)


def _pairs(
    objects: Sequence[dict[str, Any]], tracks: Sequence[Track], time: float
) -> list[tuple[int, Track]]:
    """Objects, by their place, and the tracks that they carry on."""
    if not objects or not tracks:
        return []
    boxes, expected = map(_box, objects), (track.expected(time) for track in tracks)
    near = box_iou(np.stack(list(boxes))[:, None], np.stack(list(expected)))
    same = np.array([[item["name"] == track.name for track in tracks] for item in objects])
    near = np.where(same & (near >= LEAST_OVERLAP), near, 0.0)
    pairs = zip(*linear_sum_assignment(near, maximize=True), strict=True)
    return [(int(at), tracks[to]) for at, to in pairs if near[at, to] > 0]
