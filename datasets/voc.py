"""Pascal VOC's layout: Annotations/*.xml, ImageSets/Main/SPLIT.txt, JPEGImages/."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from datasets.boxed_photos import BoxedPhoto, Category, Found, Marked, existing, inside

SIDES = ("xmin", "ymin", "xmax", "ymax")


def is_voc(root: Path) -> bool:
    """Whether the folder has VOC's lists and XML files."""
    return (root / "Annotations").is_dir() and (root / "ImageSets" / "Main").is_dir()


def read_voc(root: Path, split: str) -> Found:
    """The photos that ``ImageSets/Main/SPLIT.txt`` lists; difficult objects are ignored ones.

    Classes are those of all XML files, by name, so that both splits agree.

    Raises:
        FileNotFoundError: the list, an XML file or a photo is missing.
        ValueError: an XML file is damaged, or has a box of negative size.
    """
    listing = existing(root / "ImageSets" / "Main" / f"{split}.txt", "VOC's list of the split")
    stems = [line.split()[0] for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()]
    every = {path.stem: _parse(path) for path in sorted((root / "Annotations").glob("*.xml"))}
    names = sorted({_text(one, "name", "?") for tree in every.values() for one in tree.iter("object")})
    photos = []
    for number, stem in enumerate(stems, start=1):
        if stem not in every:
            raise FileNotFoundError(f"{root / 'Annotations' / stem}.xml is missing: {listing} lists it")
        photos.append(_photo(root, every[stem], stem, names, number))
    return Found(photos, [Category(n, name) for n, name in enumerate(names, start=1)])


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except ElementTree.ParseError as err:
        raise ValueError(f"{path} is no whole XML file ({err}); fetch or write it again") from err


def _text(element: ElementTree.Element, name: str, where: str) -> str:
    found = element.findtext(name)
    if found is None:
        raise ValueError(f"{where}: <{element.tag}> has no <{name}>; mend the file")
    return found.strip()


def _photo(root: Path, tree: ElementTree.Element, stem: str, names: list[str], number: int) -> BoxedPhoto:
    where = str(root / "Annotations" / f"{stem}.xml")
    width, height = (int(_text(tree, f"size/{side}", where)) for side in ("width", "height"))
    objects = []
    for one in tree.iter("object"):
        x1, y1, x2, y2 = (float(_text(one, f"bndbox/{side}", where)) for side in SIDES)
        box = inside((x1 - 1, y1 - 1, x2, y2), width, height, where)  # VOC counts pixels from 1, both ends in
        if box is not None:
            ignored = (one.findtext("difficult") or "0").strip() == "1"
            objects.append(Marked(box, names.index(_text(one, "name", where)), ignored))
    name = tree.findtext("filename") or f"{stem}.jpg"
    path = existing(root / "JPEGImages" / name, f"the photo of {where}")
    return BoxedPhoto(path, 0, objects=tuple(objects), width=width, height=height, image_id=number)
