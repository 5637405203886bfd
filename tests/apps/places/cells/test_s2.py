"""Cells against Google's own library, and what must hold of any cell."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import s2geometry
import s2sphere
from processors import SETTINGS, Setting, environment

from apps.places.cells import s2, s2_shapes
from apps.places.cells.trigonometry import sin_cos

pytestmark = pytest.mark.computes
LEAVES = "968a8a0be0ca1bc37832d6526869c306e2a6717d30a972f2ce877c08a97e8656"  # of drawn_positions(1_000_000)

CORNER = 35.264389682754654  # latitude of the corners of the cube
EDGES_LAT = (-90, -89.9999999, -45, -CORNER, -1e-12, 0.0, -0.0, 1e-12, CORNER, 45, 89.9999999, 90)
EDGES_LON = (-180, -179.9999999, -135, -90, -45, -1e-12, -0.0, 0, 1e-12, 45, 90, 135, 179.9999999, 180)


def positions(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random positions, even on the sphere, then poles, date line, edges and corners of the faces."""
    rng = np.random.default_rng(seed)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, count))), rng.uniform(-180, 180, count)
    grid = np.array([(a, b) for a in EDGES_LAT for b in EDGES_LON], float)
    return np.concatenate([lat, grid[:, 0]]), np.concatenate([lon, grid[:, 1]])


def cells(count: int, seed: int = 0) -> np.ndarray:
    """Random cells of all levels, and all of the first two levels."""
    ids = s2.leaf_ids(*positions(count, seed))
    levels = np.random.default_rng(seed).integers(0, 31, len(ids))
    return np.concatenate([s2.parents(ids, levels), s2.faces(), s2.faces(1), s2.faces(2)])


def google_leaf(lat: float, lon: float) -> int:
    found: int = s2geometry.S2CellId(s2geometry.S2LatLng.FromDegrees(lat, lon)).id()
    return found


def unlike_googles(count: int) -> int:
    """How many of so many leaves differ from Google's."""
    lat, lon = positions(count)
    theirs = [google_leaf(a, b) for a, b in zip(lat.tolist(), lon.tolist(), strict=True)]
    return int((s2.leaf_ids(lat, lon) != np.array(theirs, np.uint64)).sum())


def test_leaves_are_bit_for_bit_those_of_googles_library() -> None:
    assert unlike_googles(20_000) == 0


@pytest.mark.slow
def test_a_million_leaves_are_bit_for_bit_those_of_googles_library() -> None:
    assert unlike_googles(1_000_000) == 0


def test_positions_on_the_very_corners_of_cells_are_not_rounded_the_other_way() -> None:
    """Half a leaf's error would show here. Google's own answer on a border hangs on the last digit of the C
    library's sine: 6 in 10,000 differ on one processor, and then the two leaves touch."""
    points = s2_shapes.vertices(cells(3_000)).reshape(-1, 3)
    lat, lon = (np.clip(one, -limit, limit) for one, limit in zip(s2.degrees(points), (90, 180), strict=True))
    theirs = np.array([google_leaf(a, b) for a, b in zip(lat.tolist(), lon.tolist(), strict=True)], np.uint64)
    ours = s2.leaf_ids(lat, lon)
    other = ours != theirs
    assert other.mean() < 0.01
    apart = np.linalg.norm(s2_shapes.centres(ours[other]) - s2_shapes.centres(theirs[other]), axis=1)
    assert (apart < 4 / 2**30).all()


def drawn_positions(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions, half of them on meridians, parallels and faces' edges; no function of a library in them."""
    rng = np.random.default_rng(14)
    lat, lon = rng.random(count) * 180 - 90, rng.random(count) * 360 - 180
    lat[::4], lon[::2] = np.rint(lat[::4]), np.rint(lon[::2] / 45) * 45
    return lat, lon


def test_leaves_are_the_same_on_every_processor() -> None:
    """Whole numbers: their sum was taken once, and numpy's or the C library's sines change some of them."""
    ids = s2.leaf_ids(*drawn_positions(1_000_000))
    assert sha256(ids.astype("<u8").tobytes()).hexdigest() == LEAVES


@pytest.mark.parametrize("setting", SETTINGS[:2], ids=lambda setting: setting.name)
def test_a_million_leaves_do_not_depend_on_numpys_loops(setting: Setting, tmp_path: Path) -> None:
    code = (
        f"import hashlib, sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_s2 as t\n"
        "ids = t.s2.leaf_ids(*t.drawn_positions(1_000_000))\n"
        "print(hashlib.sha256(ids.astype('<u8').tobytes()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=environment(setting, tmp_path),
    )
    assert done.stdout.split() == [LEAVES]


def exact_sin_cos(angle: float, bits: int = 240) -> tuple[float, float]:
    """By their Taylor series in whole numbers of 2**-240, rounded once."""
    x = abs(int(Fraction(angle) * (1 << bits)))
    sums, term, power = [0, 0], 1 << bits, 0
    while term:
        sums[power % 2] += term if power % 4 < 2 else -term
        power += 1
        term = (x * term >> bits) // power
    return (sums[1] if angle >= 0 else -sums[1]) / (1 << bits), sums[0] / (1 << bits)


def test_sines_and_cosines_are_the_nearest_doubles() -> None:
    """Right angles too, where almost all digits cancel; a last digit off is allowed to 1 in 1,000."""
    near = [corner - 10.0 ** -np.arange(12) for corner in (90, 180)]
    degrees = np.concatenate([np.arange(-180, 181), *near])
    angles = np.concatenate([degrees * (np.pi / 180), np.random.default_rng(0).uniform(-np.pi, np.pi, 3_000)])
    exact = np.array([exact_sin_cos(angle) for angle in angles.tolist()]).T
    for ours, nearest in zip(sin_cos(angles), exact, strict=True):
        assert (ours != nearest).sum() <= 3
        assert (np.abs(ours - nearest) <= np.spacing(np.abs(nearest))).all()


def test_another_port_agrees_on_leaves_parents_tokens_and_levels() -> None:
    lat, lon = positions(500)
    ids = s2.leaf_ids(lat, lon)
    levels = np.random.default_rng(1).integers(0, 31, len(ids))
    ours = s2.parents(ids, levels)
    for n, (a, b, level) in enumerate(zip(lat.tolist(), lon.tolist(), levels.tolist(), strict=True)):
        leaf = s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(a, b))
        assert leaf.id() == ids[n]
        assert leaf.parent(level).id() == ours[n]
        assert leaf.parent(level).to_token() == s2.tokens(ours[n : n + 1])[0]
    assert (s2.levels(ours) == levels).all()


def test_children_ranges_centres_corners_areas_and_bounds_are_googles() -> None:
    ids = cells(400)
    lat, lon = s2_shapes.centres_deg(ids)
    corners, areas, bounds = s2_shapes.vertices(ids), s2_shapes.areas_km2(ids), s2_shapes.bounds(ids)
    first, last = s2.ranges(ids)
    for n, number in enumerate(ids.tolist()):
        cell = s2geometry.S2CellId(number)
        shape = s2geometry.S2Cell(cell)
        assert (cell.range_min().id(), cell.range_max().id()) == (first[n], last[n])
        if not cell.is_leaf():
            assert [cell.child(k).id() for k in range(4)] == s2.children(ids[n : n + 1])[0].tolist()
        middle = cell.ToLatLng()
        theirs = (middle.lat().degrees(), middle.lng().degrees())
        assert (lat[n], lon[n]) == pytest.approx(theirs, rel=1e-13, abs=1e-13)
        for k in range(4):
            theirs = shape.GetVertex(k)
            assert corners[n, k] == pytest.approx((theirs.x(), theirs.y(), theirs.z()), abs=1e-14)
        rectangle = shape.GetRectBound()
        lo, hi = rectangle.lo(), rectangle.hi()
        ours = (bounds.south[n], bounds.north[n])
        assert ours == pytest.approx((lo.lat().degrees(), hi.lat().degrees()), abs=1e-12)
        if max(ours[1], -ours[0]) < 90:  # at a pole Google's rectangle has every longitude
            turned = np.array([bounds.west[n] - lo.lng().degrees(), bounds.east[n] - hi.lng().degrees()])
            assert (turned + 180) % 360 - 180 == pytest.approx([0, 0], abs=1e-12)
        exact = shape.ExactArea() * s2_shapes.EARTH_RADIUS_KM**2
        assert areas[n] == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("level", [0, 1, 4])
def test_the_cells_of_a_level_cover_the_earth_once(level: int) -> None:
    ids = s2.faces(level)
    assert len(ids) == len(np.unique(ids)) == 6 * 4**level
    assert s2_shapes.areas_km2(ids).sum() == pytest.approx(4 * np.pi * 6371.0088**2, rel=1e-12)


def test_the_area_of_the_smallest_cells_is_exact_too() -> None:
    """Differences of ends would leave seven digits at level 30; here children add up to their parent."""
    ids = s2.parents(s2.leaf_ids(*positions(200)), 29)
    parts = s2_shapes.areas_km2(s2.children(ids).ravel()).reshape(-1, 4)
    assert parts.sum(axis=1) == pytest.approx(s2_shapes.areas_km2(ids), rel=1e-8)


def test_a_cell_holds_its_own_middle_and_its_bounds_hold_its_corners() -> None:
    ids = cells(2_000)
    leaf = s2.leaf_ids(*s2_shapes.centres_deg(ids))
    first, last = s2.ranges(ids)
    assert ((first <= leaf) & (leaf <= last)).all()
    assert s2.valid(ids).all()


def test_tokens_come_back_as_the_cells_and_bad_ones_are_named() -> None:
    ids = cells(100)
    assert (s2.from_tokens(s2.tokens(ids)) == ids).all()
    for bad, words in (("xyz", "'xyz' is no S2 token"), ("2", "'2' is no cell of S2"), ("", "'' is no cell"),
                       ("123456789012345678", "is no S2 token")):
        with pytest.raises(ValueError, match=words):
            s2.from_tokens([bad])


@pytest.mark.parametrize(("lat", "lon"), [(91, 0), (0, 181), (float("nan"), 0), (0, float("inf"))])
def test_positions_that_are_none_are_refused_by_number(lat: float, lon: float) -> None:
    with pytest.raises(ValueError, match=r"position 1 is latitude .* expected degrees from -90 to 90"):
        s2.leaf_ids([0, lat], [0, lon])
    with pytest.raises(ValueError, match="as many latitudes as longitudes"):
        s2.leaf_ids([0, 1], [0])


def test_a_parent_below_its_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="level 0 has no parent at level 3"):
        s2.parents(s2.faces(), 3)
