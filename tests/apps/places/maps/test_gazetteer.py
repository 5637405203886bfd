"""Countries and cities that a reader can check on a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apps.places.maps.gazetteer import Gazetteer, gazetteer
from apps.places.maps.world import FILE, load_world, thinned


@pytest.fixture(scope="module")
def names() -> Gazetteer:
    return gazetteer()


@pytest.mark.parametrize(("lat", "lon", "code", "country", "city"), [
    (48.85, 2.35, "FR", "France", "Paris"),
    (-22.57, 17.08, "NA", "Namibia", "Windhoek"),  # NA is no missing value
    (66.9, 179.9, "RU", "Russia", "Anadyr"),  # on either side of the antimeridian
    (66.9, -179.9, "RU", "Russia", "Anadyr"),
    (-16.5, 180, "FJ", "Fiji", "Labasa"),
    (-16.5, -180, "FJ", "Fiji", "Labasa"),
    (-29.3, 27.5, "LS", "Lesotho", "Maseru"),  # an enclave is a hole in South Africa
    (43.94, 12.45, "SM", "San Marino", "San Marino"),
    (42.66, 21.16, "XK", "Kosovo", "Pristina"),
    (-21.1, 55.5, "RE", "Reunion", "Le Tampon"),  # drawn as a part of France
    (47.585, 7.60, "CH", "Switzerland", "Basel"),
    (-90, 0, "AQ", "Antarctica", ""),
    (-85, -179.99, "AQ", "Antarctica", ""),
    (90, 0, "", "", ""),
    (0, -30, "", "", ""),  # in the middle of the Atlantic
])
def test_places_are_called_what_maps_call_them(
    names: Gazetteer, lat: float, lon: float, code: str, country: str, city: str
) -> None:
    (place,) = names.places([lat], [lon])
    assert (place.country_code, place.country) == (code, country)
    if city:
        assert place.city == city
        assert place.city_km < 300


def test_at_a_border_the_city_is_one_of_the_same_country(names: Gazetteer) -> None:
    """Konstanz (DE) and Kreuzlingen (CH) touch; the nearest city of all would often be the other one."""
    lat, lon = np.meshgrid(np.linspace(47.3, 47.8, 25), np.linspace(7.5, 9.5, 25))
    places = names.places(lat.ravel(), lon.ravel())
    both = [number for number, code in enumerate(names.codes.tolist()) if code in ("DE", "CH")]
    of_city = {names.names[number]: names.codes[number] for number in both}
    seen = {one.country_code for one in places}
    assert {"DE", "CH"} <= seen
    for one in places:
        if one.country_code in ("DE", "CH"):
            assert of_city[one.city] == one.country_code


def test_real_cities_lie_in_their_own_country(names: Gazetteer) -> None:
    """Outlines at 1 : 50 million miss harbours and small islands, so a few in a hundred may not."""
    some = slice(None, None, 40)
    found = np.array(names.country_codes(names.lat[some], names.lon[some]))
    assert len(found) > 800
    assert (found == names.codes[some]).mean() > 0.985


def test_outlines_are_whole_and_thin_lines_stay_near_them() -> None:
    world = load_world()
    assert FILE.stat().st_size < 300_000
    assert len(set(world.countries)) == 236
    assert all((ring[0] == ring[-1]).all() for ring in world.rings)
    for line in world.lines:
        assert np.abs(line).max() <= 180
        assert np.abs(np.diff(line[:, 0])).max() <= 180
    thin = thinned(world.lines, 0.5)
    assert sum(map(len, thin)) < sum(map(len, world.lines)) / 4
    assert min(len(line) for line in thin) >= 2


def test_positions_off_the_globe_are_refused(names: Gazetteer) -> None:
    with pytest.raises(ValueError, match=r"position 0 is latitude 91"):
        names.places([91], [0])


def test_the_file_of_outlines_is_made_by_the_script_from_its_source(tmp_path: Path) -> None:
    """Two squares side by side with a shared border, one with a hole, as TopoJSON."""
    from apps.places.maps.make_world import convert

    source = tmp_path / "countries.json"
    source.write_text(
        '{"transform": {"scale": [0.1, 0.1], "translate": [-180, -90]}, "arcs": ['
        '[[1900, 1000], [0, 100]], [[1900, 1100], [-100, 0], [0, -100], [100, 0]],'
        '[[1900, 1000], [100, 0], [0, 100], [-100, 0]],'
        '[[1820, 1020], [0, 20], [20, 0], [0, -20], [-20, 0]]],'
        '"objects": {"countries": {"geometries": ['
        '{"type": "Polygon", "arcs": [[0, 1], [3]], "id": "516", "properties": {"name": "Namibia"}},'
        '{"type": "MultiPolygon", "arcs": [[[-1, 2]]], "properties": {"name": "Kosovo"}},'
        '{"type": "Polygon", "arcs": [[3]], "properties": {"name": "Nobody\'s"}}]}}}'
    )
    convert(source, tmp_path / "world.npz")
    world = load_world(tmp_path / "world.npz")
    codes = world.country_codes([15, 13, 15, 15], [9, 3, 15, 25])
    assert codes.tolist() == ["NA", "", "XK", ""]
