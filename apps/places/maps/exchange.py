"""A map for other programs: GeoJSON and KML of its cells, of the position answered, and of its photos."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from matplotlib.colors import to_hex

from apps.places.cells import s2
from apps.places.cells.files import polygon
from apps.places.maps.style import HEAT, OPACITY
from apps.places.maps.view import Shown, Spot

KML = "http://www.opengis.net/kml/2.2"


def geojson(shown: Shown, spots: Sequence[Spot], *, trip: bool) -> str:
    """A feature collection (RFC 7946): cells, the position, photos and, for a trip, the line of them.

    ``properties.role`` says which a feature is: ``cell``, ``answer``, ``photo`` or ``trip``.
    """
    features = [
        _feature(polygon(cell), role="cell", token=token, probability=p)
        for cell, token, p, _ in _cells(shown)
    ]
    if shown.position is not None:
        features.append(_feature(_point(*shown.position), role="answer"))
    features += [
        _feature(
            _point(spot.lat, spot.lon), role="photo", path=spot.path, confidence=spot.confidence,
            city=spot.city, country=spot.country,
        )
        for spot in spots
    ]
    if trip and len(spots) > 1:
        line = [[spot.lon, spot.lat] for spot in spots]
        features.append(_feature({"type": "LineString", "coordinates": line}, role="trip"))
    return json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False)


def kml(shown: Shown, spots: Sequence[Spot], title: str, *, trip: bool) -> bytes:
    """A document of KML 2.2, as Google Earth and QGIS read it: folders of cells, photos and the trip."""
    ElementTree.register_namespace("", KML)
    root = ElementTree.Element(f"{{{KML}}}kml")
    document = _add(root, "Document")
    _add(document, "name", title)
    cells = _add(document, "Folder")
    _add(cells, "name", "probability")
    for cell, token, p, tone in _cells(shown):
        mark = _placemark(cells, f"{p:.2%}", token)
        style = _add(mark, "Style")
        _add(_add(style, "LineStyle"), "width", "0")
        _add(_add(style, "PolyStyle"), "color", _colour(tone))
        geometry = polygon(cell)
        several = geometry["type"] == "MultiPolygon"
        parts = geometry["coordinates"] if several else [geometry["coordinates"]]
        holder = _add(mark, "MultiGeometry") if several else mark
        for rings in parts:
            ring = _add(_add(_add(holder, "Polygon"), "outerBoundaryIs"), "LinearRing")
            _add(ring, "coordinates", _coordinates(rings[0]))
    if shown.position is not None:
        _dot(_placemark(document, "likeliest", ""), *shown.position)
    photos = _add(document, "Folder")
    _add(photos, "name", "photos")
    for spot in spots:
        _dot(_placemark(photos, spot.name, f"{spot.place} ({spot.confidence:.0%})"), spot.lat, spot.lon)
    if trip and len(spots) > 1:
        line = _add(_placemark(document, "trip", ""), "LineString")
        _add(line, "coordinates", _coordinates([[spot.lon, spot.lat] for spot in spots]))
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _cells(shown: Shown) -> Iterator[tuple[int, str, float, float]]:
    return zip(
        shown.ids.tolist(), s2.tokens(shown.ids), shown.probabilities.tolist(), shown.tones.tolist(),
        strict=True,
    )


def _feature(geometry: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _point(lat: float, lon: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [lon, lat]}


def _add(parent: ElementTree.Element, tag: str, text: str | None = None) -> ElementTree.Element:
    """A child; signs that XML cannot have are replaced."""
    child = ElementTree.SubElement(parent, f"{{{KML}}}{tag}")
    if text is not None:
        child.text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return child


def _placemark(parent: ElementTree.Element, name: str, words: str) -> ElementTree.Element:
    mark = _add(parent, "Placemark")
    _add(mark, "name", name)
    if words:
        _add(mark, "description", words)
    return mark


def _dot(mark: ElementTree.Element, lat: float, lon: float) -> None:
    _add(_add(mark, "Point"), "coordinates", f"{lon:.6f},{lat:.6f}")


def _coordinates(points: Sequence[Sequence[float]]) -> str:
    return " ".join(f"{lon:.6f},{lat:.6f}" for lon, lat in points)


def _colour(tone: float) -> str:
    """A tone as KML writes colours: aabbggrr."""
    red, green, blue = (to_hex(HEAT(tone))[at : at + 2] for at in (1, 3, 5))
    return f"{round(255 * OPACITY):02x}{blue}{green}{red}"
