"""XMP sidecars: read without trust, added to, and written with all else that is in them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META = "adobe:ns:meta/"
PREFIXES = {"rdf": RDF, "x": META}
MOST_BYTES = 16 * 1024 * 1024
BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
END = '\n<?xpacket end="w"?>\n'


class XmpDocument:
    """An XMP document.

    Args:
        root: of the document; None for a new one.
        namespaces: prefix -> address, kept when it is written.
    """

    prefixes: Mapping[str, str] = {}  # that a kind of document adds

    def __init__(
        self, root: ElementTree.Element | None = None, namespaces: dict[str, str] | None = None
    ) -> None:
        self.root = ElementTree.Element(f"{{{META}}}xmpmeta") if root is None else root
        self.namespaces = namespaces or {}
        if root is None:
            ElementTree.SubElement(self.root, f"{{{RDF}}}RDF")

    @classmethod
    def read(cls, path: Path) -> Self:
        """A sidecar as it is.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no XMP, damaged, or larger than 16 MB.
        """
        if not path.is_file():
            raise ValueError("it is no file")
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES >> 20} MB")
        content = path.read_bytes()
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            raise ValueError("it declares entities, which no sidecar does")
        events: Any = ElementTree.iterparse(io.BytesIO(content), ["start-ns"])
        try:
            namespaces = {str(prefix): str(address) for _, (prefix, address) in events}
        except (ElementTree.ParseError, LookupError, ValueError) as err:
            raise ValueError(f"it is damaged ({err})") from err
        root: ElementTree.Element | None = events.root
        if root is None or (root.tag != f"{{{RDF}}}RDF" and root.find(f"{{{RDF}}}RDF") is None):
            raise ValueError("it is no XMP")
        return cls(root, namespaces)

    @property
    def rdf(self) -> ElementTree.Element:
        """What holds the descriptions."""
        rdf = self.root if self.root.tag == f"{{{RDF}}}RDF" else self.root.find(f"{{{RDF}}}RDF")
        assert rdf is not None
        return rdf

    def description(self) -> ElementTree.Element:
        """A new description of the photo."""
        return ElementTree.SubElement(self.rdf, f"{{{RDF}}}Description", {f"{{{RDF}}}about": ""})

    def property(self, space: str, name: str) -> str | None:
        """A simple property of the photo; None where it has none."""
        values = (value_of(item, space, name) for item in self.rdf.iter(f"{{{RDF}}}Description"))
        return next((value for value in values if value is not None), None)

    def put_properties(self, space: str, values: Mapping[str, str]) -> None:
        """Simple properties of the photo in the place of those that are there; the rest stays."""
        for item in self.rdf.iter(f"{{{RDF}}}Description"):
            for key in (f"{{{space}}}{name}" for name in values):
                item.attrib.pop(key, None)
                for child in item.findall(key):
                    item.remove(child)
        place = self.description()
        for name, value in values.items():
            ElementTree.SubElement(place, f"{{{space}}}{name}").text = value

    def to_bytes(self) -> bytes:
        """The document, in UTF-8."""
        for prefix, address in (self.namespaces | PREFIXES | dict(self.prefixes)).items():
            try:
                ElementTree.register_namespace(prefix, address)
            except ValueError:
                continue  # a prefix that ElementTree keeps for itself
        text = ElementTree.tostring(self.root, encoding="unicode")
        return f"{BEGIN}{text}{END}".encode()


def value_of(item: ElementTree.Element, space: str, name: str) -> str | None:
    """A property of an element, which XMP lets be an attribute or an element, also inside a Description."""
    for place in (item, item.find(f"{{{RDF}}}Description")):
        if place is None:
            continue
        if (attribute := place.get(f"{{{space}}}{name}")) is not None:
            return attribute
        if (child := place.find(f"{{{space}}}{name}")) is not None and child.text is not None:
            return child.text
    return None
