"""Pascal VOC's layout: Annotations/*.xml, ImageSets/Main/SPLIT.txt, JPEGImages/."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from datasets.detection.base import (
    LARGEST_SIDE,
    BoxedPhoto,
    Category,
    Found,
    Marked,
    a_file,
    as_shown,
    existing,
    inside,
    left_out,
)
from datasets.validation import LARGEST_PX, finite, read_text

SIDES = ("xmin", "ymin", "xmax", "ymax")


def is_voc(root: Path) -> bool:
    """Whether the folder has VOC's lists and XML files."""
    return (root / "Annotations").is_dir() and (root / "ImageSets" / "Main").is_dir()


def read_voc(root: Path, split: str) -> Found:
    """The images that ``ImageSets/Main/SPLIT.txt`` lists; difficult objects are ignored ones.

    Classes are those of all XML files, by name, so that both splits agree.

    Raises:
        FileNotFoundError: the list, an XML file or an image is missing.
        ValueError: an XML file is damaged, or has a box of negative size.
    """
    listing = existing(root / "ImageSets" / "Main" / f"{split}.txt", "VOC's list of the split")
    stems = [line.split()[0] for line in read_text(listing).splitlines() if line.strip()]
    if len(set(stems)) < len(stems):
        twice = next(item for item in stems if stems.count(item) > 1)
        raise ValueError(f"{listing} lists {twice} twice; list each photo once")
    every = {path.stem: _parse(path) for path in sorted((root / "Annotations").glob("*.xml"))}
    names = sorted({
        _text(item, "name", str(root / "Annotations" / f"{stem}.xml"))
        for stem, tree in every.items() for item in tree.iter("object")
    })
    photos, notes = [], []
    for place, stem in enumerate(stems, start=1):
        if stem not in every:
            raise FileNotFoundError(f"{root / 'Annotations' / stem}.xml is missing: {listing} lists it")
        photo, outside = _photo(root, every[stem], stem, names, place)
        photos.append(photo)
        notes.append(outside)
    return Found(
        photos, [Category(n, name) for n, name in enumerate(names, start=1)], left_out(listing, sum(notes))
    )


class _Builder(ElementTree.TreeBuilder):
    """A tree without a document type: nothing is defined, so nothing can grow or point elsewhere."""

    def doctype(self, name: str, *_places: str | None) -> None:
        """Refuse it."""
        raise ElementTree.ParseError(f"it has a <!DOCTYPE {name[:40]}>, which VOC's files have not")


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path, ElementTree.XMLParser(target=_Builder())).getroot()
    except ElementTree.ParseError as err:
        raise ValueError(f"{path} is no whole XML file ({err}); fetch or write it again") from err


def _text(element: ElementTree.Element, name: str, where: str) -> str:
    result = element.findtext(name)
    if result is None or not result.strip():
        raise ValueError(f"{where}: <{element.tag}> has no <{name}>; mend the file")
    return result.strip()


def _photo(
    root: Path, tree: ElementTree.Element, stem: str, names: list[str], place: int
) -> tuple[BoxedPhoto, int]:
    """The image, and how many of its boxes are left out."""
    where = str(root / "Annotations" / f"{stem}.xml")
    width, height = (
        int(finite(_text(tree, f"size/{side}", where), f"{where}: {side}", 1, LARGEST_SIDE))
        for side in ("width", "height")
    )
    objects, outside = [], 0
    for item in tree.iter("object"):
        x1, y1, x2, y2 = (
            finite(_text(item, f"bndbox/{side}", where), f"{where}: {side}", -LARGEST_PX, LARGEST_PX)
            for side in SIDES
        )
        box = inside((x1 - 1, y1 - 1, x2, y2), width, height, where)  # VOC counts pixels from 1, both ends in
        outside += box is None
        if box is not None:
            ignored = (item.findtext("difficult") or "0").strip() == "1"
            objects.append(Marked(box, names.index(_text(item, "name", where)), ignored))
    name = tree.findtext("filename") or f"{stem}.jpg"
    path = a_file(root / "JPEGImages" / name, f"the photo of {where}")
    photo = BoxedPhoto(path, 0, objects=tuple(objects), width=width, height=height, image_id=place)
    return as_shown(photo), outside
