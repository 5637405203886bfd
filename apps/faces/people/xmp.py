"""Face regions of the Metadata Working Group in XMP sidecars: read, and put in beside what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from apps.engine.inference.decode.overlap import box_iou
from apps.faces.people.corrections import OVERLAP, Box
from datasets.sidecars.xmp import RDF, XmpDocument, value_of

MWG = "http://www.metadataworkinggroup.com/schemas/regions/"
AREA, DIMENSIONS = "http://ns.adobe.com/xmp/sType/Area#", "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
PREFIXES = {"mwg-rs": MWG, "stArea": AREA, "stDim": DIMENSIONS}
FACE = "Face"
ASPECT = 0.02  # share by which the sides of photo and sidecar may differ


@dataclass(frozen=True)
class Region:
    """A face on a photo as it is stored, before it is turned upright.

    Args:
        box: (x1, y1, x2, y2), 0 to 1 of the stored width and height.
        name: of the person; None where nobody knows.
    """

    box: Box
    name: str | None


@dataclass(frozen=True)
class Frame:
    """How a photo is stored.

    Args:
        width: in pixels as stored.
        height: in pixels as stored.
        orientation: of EXIF, 1 to 8.
    """

    width: int
    height: int
    orientation: int

    def to_stored(self, box: Box) -> Box:
        """A box in pixels of the upright photo as shares of the stored one."""
        turned = self.orientation >= 5
        width, height = (self.height, self.width) if turned else (self.width, self.height)
        return _box([self._stored(x / width, y / height) for x, y in ((box[0], box[1]), (box[2], box[3]))])

    def to_upright(self, box: Box) -> Box:
        """The inverse of :meth:`to_stored`."""
        turned = self.orientation >= 5
        width, height = (self.height, self.width) if turned else (self.width, self.height)
        x1, y1, x2, y2 = _box([self._upright(x, y) for x, y in ((box[0], box[1]), (box[2], box[3]))])
        return x1 * width, y1 * height, x2 * width, y2 * height

    def _stored(self, u: float, v: float) -> tuple[float, float]:
        return {
            2: (1 - u, v), 3: (1 - u, 1 - v), 4: (u, 1 - v), 5: (v, u), 6: (v, 1 - u), 7: (1 - v, 1 - u),
            8: (1 - v, u),
        }.get(self.orientation, (u, v))

    def _upright(self, x: float, y: float) -> tuple[float, float]:
        return {
            2: (1 - x, y), 3: (1 - x, 1 - y), 4: (x, 1 - y), 5: (y, x), 6: (1 - y, x), 7: (1 - y, 1 - x),
            8: (y, 1 - x),
        }.get(self.orientation, (x, y))


def _box(points: Sequence[tuple[float, float]]) -> Box:
    xs, ys = sorted(x for x, _ in points), sorted(y for _, y in points)
    return xs[0], ys[0], xs[1], ys[1]


class Sidecar(XmpDocument):
    """An XMP document with face regions."""

    prefixes = PREFIXES

    def regions(self, frame: Frame) -> list[Region]:
        """Its face regions; those without a usable area are left out.

        Args:
            frame: of the photo.

        Raises:
            ValueError: it was made for a photo of another shape.
        """
        width, height = self._dimensions()
        if width and height and abs(width * frame.height / (height * frame.width) - 1) > ASPECT:
            here = f"{frame.width} x {frame.height}"
            raise ValueError(f"it is of a photo of {width:g} x {height:g} pixels, not {here}")
        regions = []
        for item in self._items():
            box = _area(item, width or frame.width, height or frame.height)
            if box is not None and (value_of(item, MWG, "Type") or FACE) == FACE:
                regions.append(Region(box, (value_of(item, MWG, "Name") or "").strip() or None))
        return regions

    def put(self, regions: Sequence[Region], frame: Frame) -> None:
        """Put names in: into the region that lies there already, else into a new one; the rest stays."""
        there = [(item, _area(item, frame.width, frame.height)) for item in self._items()]
        free = [(item, box) for item, box in there if box and (value_of(item, MWG, "Type") or FACE) == FACE]
        for region in regions:
            near = [(float(box_iou(region.box, box)), number) for number, (_, box) in enumerate(free)]
            common, best = max(near, default=(0.0, -1))
            if common >= OVERLAP:
                _set(free.pop(best)[0], "Name", str(region.name))
            else:
                self._add(region, frame)

    def _dimensions(self) -> tuple[float, float]:
        item = self.root.find(f".//{{{MWG}}}AppliedToDimensions")
        if item is None or (value_of(item, DIMENSIONS, "unit") or "pixel") != "pixel":
            return 0.0, 0.0
        width, height = (_number(value_of(item, DIMENSIONS, side)) for side in "wh")
        return width or 0.0, height or 0.0

    def _items(self) -> list[ElementTree.Element]:
        bag = self.root.find(f".//{{{MWG}}}RegionList")
        return [] if bag is None else list(bag.iter(f"{{{RDF}}}li"))

    def _add(self, region: Region, frame: Frame) -> None:
        x1, y1, x2, y2 = region.box
        item = ElementTree.SubElement(self._bag(frame), f"{{{RDF}}}li", {f"{{{RDF}}}parseType": "Resource"})
        ElementTree.SubElement(item, f"{{{MWG}}}Name").text = region.name
        ElementTree.SubElement(item, f"{{{MWG}}}Type").text = FACE
        area = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "w": x2 - x1, "h": y2 - y1}
        ElementTree.SubElement(
            item, f"{{{MWG}}}Area",
            {f"{{{AREA}}}{key}": f"{value:.6f}" for key, value in area.items()}
            | {f"{{{AREA}}}unit": "normalized"},
        )

    def _bag(self, frame: Frame) -> ElementTree.Element:
        """The list of regions; made where there is none."""
        bag = self.root.find(f".//{{{MWG}}}RegionList/{{{RDF}}}Bag")
        if bag is not None:
            return bag
        regions = self.root.find(f".//{{{MWG}}}Regions")
        if regions is None:
            resource = {f"{{{RDF}}}parseType": "Resource"}
            regions = ElementTree.SubElement(self.description(), f"{{{MWG}}}Regions", resource)
        inner = regions.find(f"{{{RDF}}}Description")
        regions = regions if inner is None else inner
        if regions.find(f"{{{MWG}}}AppliedToDimensions") is None:
            sides = {"w": str(frame.width), "h": str(frame.height), "unit": "pixel"}
            ElementTree.SubElement(
                regions, f"{{{MWG}}}AppliedToDimensions",
                {f"{{{DIMENSIONS}}}{key}": value for key, value in sides.items()},
            )
        listed = regions.find(f"{{{MWG}}}RegionList")
        listed = ElementTree.SubElement(regions, f"{{{MWG}}}RegionList") if listed is None else listed
        return ElementTree.SubElement(listed, f"{{{RDF}}}Bag")


def _area(item: ElementTree.Element, width: float, height: float) -> Box | None:
    """The box of a region as shares, or None where it has none."""
    area = item.find(f".//{{{MWG}}}Area")
    if area is None:
        return None
    values = [_number(value_of(area, AREA, key)) for key in ("x", "y", "w", "h")]
    x, y, w, h = (0.0 if value is None else value for value in values)
    if None in values or w <= 0 or h <= 0:
        return None
    if value_of(area, AREA, "unit") == "pixel":
        x, y, w, h = x / width, y / height, w / width, h / height
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def _set(item: ElementTree.Element, name: str, value: str) -> None:
    inner = item.find(f"{{{RDF}}}Description")
    place, key = item if inner is None else inner, f"{{{MWG}}}{name}"
    child = place.find(key)
    if child is not None:
        child.text = value
    elif place.get(key) is not None or inner is not None:
        place.set(key, value)
    else:
        ElementTree.SubElement(place, key).text = value


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None  # not a number and what is infinite are not below it
