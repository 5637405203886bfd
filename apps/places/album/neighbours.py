"""Where a photo may be from by its neighbours in time: other photos that tell a position, and GPX tracks.

Between two fixes, or after one, somebody travels some way, mostly a short one and now and then a long one: a
log-normal distance whose median grows with the hours to the fixes. Points drawn by that law, always the same
ones, fall into cells; their shares are multiplied with how much likelier the photo makes each cell.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from apps.engine.evaluation.classification import log_softmax
from apps.places.answers import SURE_WITHIN_KM, named
from apps.places.cells import s2
from apps.places.cells.partition import CellPartition
from apps.places.cells.s2 import Floats
from apps.places.cells.sphere import EARTH_RADIUS_KM, distance_km
from apps.places.cells.trigonometry import sin_cos
from datasets.geo.geotags import Moment, NoPositionError, moment_of, read_geotag
from datasets.geo.tracks import Track, read_gpx

DRAWS = 2000  # points a photo
AT_REST_KM, KM_AFTER_AN_HOUR, POWER = 0.03, 1.0, 0.7  # median distance: 0.03 km + 1 km (hours)^0.7
SPREAD, SPREAD_GROWS, SPREAD_MOST = 1.4, 0.3, 2.6  # of the distance's logarithm, in e
MOST_HOURS = 14 * 24.0  # further away in time nothing is said
FASTEST_KMH, FARTHEST_KM = 900.0, 20_000.0  # a plane; half around the earth
UNFORESEEN = 0.02  # probability that the fixes say nothing: a wrong clock, a photo of somebody else


class Fix(NamedTuple):
    """A known position.

    Args:
        seconds: since 1970, of UTC or of the camera's clock.
        lat: degrees north.
        lon: degrees east.
        path: the photo that tells it; empty for a point of a track.
    """

    seconds: float
    lat: float
    lon: float
    path: str = ""


@dataclass(frozen=True, eq=False)
class Near:
    """What neighbours say of one photo.

    Args:
        shares: (K,) probability of each cell, they add up to 1; ``usual`` where no point lies in a cell.
        usual: (K,) share of the images that were learned from, above 0, which the model knows of each cell.
        cells: (D,) cell of each drawn point, -1 where none holds it.
        lat: (D,) degrees north of the points.
        lon: (D,) degrees east.
        hours: to the nearest fix.
        fixes: one or two.
    """

    shares: Floats
    usual: Floats
    cells: Any
    lat: Floats
    lon: Floats
    hours: float
    fixes: int

    def fused(self, log_probabilities: Floats) -> Floats:
        """Log-probabilities (K,) of the model and of the neighbours together."""
        return log_softmax(np.maximum(log_probabilities, -1e30) + np.log(self.shares / self.usual))

    def line(self, alone: Floats, precise: bool, abstains: bool) -> dict[str, Any]:
        """What helped, and the position: of the likeliest cell, or of the fixes where that is in no cell.

        Args:
            alone: (K,) probabilities of the model.
            precise: tell the position as it is.
            abstains: tell none.
        """
        line: dict[str, Any] = {"neighbours": self.fixes, "neighbour_hours": round(self.hours, 3)}
        if abstains:
            return line
        # How much likelier the photo makes each cell; of what lies in none it says nothing.
        weights = np.bincount(self.cells + 1, np.append(1.0, alone / self.usual)[self.cells + 1])
        nearest = int(np.flatnonzero(self.cells == int(weights.argmax()) - 1)[0])  # from the middle outwards
        lat, lon = (round(float(axis[nearest]), 5) for axis in (self.lat, self.lon))
        if not (self.cells >= 0).any():  # the model knows no place there, so it is not asked how sure it is
            close = distance_km(lat, lon, self.lat, self.lon) <= SURE_WITHIN_KM
            line["confidence"] = (1 - UNFORESEEN) * float(close.mean())
        return line | named(lat, lon, precise=precise)


class Neighbours:
    """The fixes around a photo in time.

    Args:
        grid: cells.
        photos: all that are asked about; their positions are fixes for each other.
        tracks: GPX files.
        zone_hours: how far the cameras' clocks are ahead of UTC, where photos do not tell.

    Raises:
        FileNotFoundError, OSError, ValueError: as of :func:`datasets.geo.tracks.read_gpx`.
    """

    def __init__(
        self, grid: CellPartition, photos: Sequence[Path], tracks: Sequence[Path] = (),
        zone_hours: float | None = None,
    ) -> None:
        self.grid = grid
        read = [read_gpx(path) for path in tracks]
        moments = {path: moment_of(path) for path in photos}
        self.zone_hours, self.notes = _zone(moments.values(), read, zone_hours)
        self.seconds = {path: self._utc(moment) for path, moment in moments.items()}
        self.of_tracks = sorted(
            Fix(*row) for track in read
            for row in zip(track.seconds.tolist(), track.lat.tolist(), track.lon.tolist(), strict=True)
        )
        self.of_photos: dict[Path, list[Fix]] = {}
        for path, seconds in self.seconds.items():
            fix = None if seconds is None else _fix_of(path, seconds)
            if fix is not None:
                self.of_photos.setdefault(path.parent, []).append(fix)
        for fixes in self.of_photos.values():
            fixes.sort()

    def _utc(self, moment: Moment | None) -> float | None:
        if moment is None:
            return None
        hours = self.zone_hours if moment.zone_hours is None else moment.zone_hours
        return moment.seconds - 3600 * hours

    def __call__(self, path: Path) -> Near | None:
        """What others say of where a photo is from; None where nothing is near. Its own GPS takes no part."""
        seconds = self.seconds.get(path)
        if seconds is None:
            return None
        fixes = [fix for fix in self.of_photos.get(path.parent, ()) if fix.path != str(path)]
        around = [_around(part, seconds) for part in (fixes, self.of_tracks)]
        before = max((pair[0] for pair in around if pair[0]), default=None)
        after = min((pair[1] for pair in around if pair[1]), default=None)
        return near(self.grid, seconds, before, after)


def near(grid: CellPartition, seconds: float, before: Fix | None, after: Fix | None) -> Near | None:
    """What one or two fixes say of where somebody was; None where they are too far in time.

    Args:
        grid: cells.
        seconds: of the photo.
        before: the last fix at or before it.
        after: the first fix after it.
    """
    fixes = [fix for fix in (before, after) if fix and abs(fix.seconds - seconds) <= 3600 * MOST_HOURS]
    if not fixes:
        return None
    gaps = [abs(fix.seconds - seconds) / 3600 for fix in fixes]
    vectors = s2.unit_vectors([fix.lat for fix in fixes], [fix.lon for fix in fixes])
    if len(fixes) == 2 and sum(gaps) > 0:  # on the way, the nearer the one the less the other counts
        weights = np.array([gaps[1], gaps[0]]) / sum(gaps)
        centre, hours = (vectors * weights[:, None]).sum(axis=0), gaps[0] * gaps[1] / sum(gaps)
    else:
        centre, hours = vectors[0], min(gaps)
    centre = centre / max(float(np.linalg.norm(centre)), 1e-12)
    lat, lon = _drawn(centre, hours)
    cells = grid.locate(lat, lon)
    usual = np.maximum(grid.weights / grid.weights.sum(), 1e-6)
    counts = np.bincount(cells[cells >= 0], minlength=len(grid)).astype(np.float64)
    shares = usual  # of points in no cell: they tell the cells nothing
    if counts.any():
        shares = (1 - UNFORESEEN) * counts / counts.sum() + UNFORESEEN / len(grid)
    return Near(shares, usual, cells, lat, lon, min(gaps), len(fixes))


def _drawn(centre: Floats, hours: float) -> tuple[Floats, Floats]:
    """Points (D,) around a unit vector (3,) as far as one goes in some hours."""
    normal, (sine, cosine) = _pattern()
    median = AT_REST_KM + KM_AFTER_AN_HOUR * hours**POWER
    spread = min(SPREAD + SPREAD_GROWS * math.log1p(hours), SPREAD_MOST)
    most = min(FASTEST_KMH * hours + 10 * AT_REST_KM, FARTHEST_KM)
    km: Floats = np.minimum(median * np.exp(spread * normal), most)
    east = np.cross([0.0, 0.0, 1.0], centre)
    size = float(np.linalg.norm(east))
    east = east / size if size > 1e-9 else np.array([0.0, 1.0, 0.0])
    north = np.cross(centre, east)
    way = sine[:, None] * east + cosine[:, None] * north
    out, along = sin_cos((km / EARTH_RADIUS_KM).astype(np.float64))
    return s2.degrees(along[:, None] * centre + out[:, None] * way)


@cache
def _pattern() -> tuple[Floats, tuple[Floats, Floats]]:
    """Quantiles (D,) of the normal distribution; sines and cosines (D,) of angles by the golden section."""
    normal = NormalDist()
    levels = np.array([normal.inv_cdf((at + 0.5) / DRAWS) for at in range(DRAWS)])
    turns = np.arange(DRAWS) * ((3 - math.sqrt(5)) / 2) % 1.0
    angles: Floats = (2 * math.pi * (turns - 0.5)).astype(np.float64)
    return levels, sin_cos(angles)


def _around(fixes: Sequence[Fix], seconds: float) -> tuple[Fix | None, Fix | None]:
    """The last fix at or before a moment, and the first after it, of fixes in order."""
    at = bisect_right(fixes, seconds, key=lambda fix: fix.seconds)
    return fixes[at - 1] if at else None, fixes[at] if at < len(fixes) else None


def _fix_of(path: Path, seconds: float) -> Fix | None:
    try:
        tag = read_geotag(path)
    except NoPositionError:
        return None
    return Fix(seconds, tag.lat, tag.lon, str(path))


def _zone(
    moments: Iterable[Moment | None], tracks: Sequence[Track], given: float | None
) -> tuple[float, list[str]]:
    """How far clocks without a zone are ahead of UTC, and notes on times."""
    timed = [moment for moment in moments if moment is not None]
    known = sorted(moment.zone_hours for moment in timed if moment.zone_hours is not None)
    left_out = sum(track.left_out for track in tracks)
    notes = [f"{left_out} points of the tracks tell no time and are left out"] if left_out else []
    if given is not None or known or not (tracks and timed):
        return given if given is not None else known[len(known) // 2] if known else 0.0, notes
    hours = float(round(np.concatenate([track.lon for track in tracks]).mean() / 15))
    return hours, [
        *notes, f"the photos do not tell their time zone: {hours:+g} hours are taken, by the tracks' "
        "longitude and without summer time; give --clock HOURS where that is wrong",
    ]
