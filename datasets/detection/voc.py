"""Pascal VOC's files: Annotations/*.xml, ImageSets/Main/SPLIT.txt, JPEGImages/; or XML beside the photos."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from pathlib import Path
from xml.etree import ElementTree

from datasets.detection.base import (
    LARGEST_SIDE,
    Annotations,
    BoxedPhoto,
    Marked,
    as_shown,
    existing,
    inside,
    left_out,
    names_of,
    numbered,
    size_in_file,
)
from datasets.file_kinds import first_bytes, is_image_name
from datasets.folders import is_data
from datasets.names import NamedPhotos, missing_photos
from datasets.tables import clean_name
from datasets.validation import LARGEST_PX, finite, read_text

BOTH = ("train", "val")
UNKNOWN = ("", "none", "null", "nan", "undefined")  # what tools write for a size that they do not know
SIDES = ("xmin", "ymin", "xmax", "ymax")
ANNOTATIONS = ("Annotations", "annotations", "labels", "xml")
PHOTOS = ("JPEGImages", "images", "Images", "imgs")
_TAG = re.compile(rb"<annotation[\s>]")  # CVAT's own file begins with <annotations>
_FLAG = re.compile(r"(.+?)\s+-?[01]")  # VOC's lists of a class: 1 where it is there, -1 where not


def voc_splits(root: Path) -> set[str]:
    """The splits of a folder with VOC's XML files; none where there are no such files."""
    every = _annotations(root)
    splits = {split for split in BOTH if _listing(root, split) or _of_split(root, split, every)}
    return splits or ({"train"} if every else set())


def read_voc(root: Path, split: str) -> Annotations:
    """The images that ``ImageSets/Main/SPLIT.txt`` lists; difficult objects are ignored ones.

    Without a list these are the photos of ``SPLIT/*.xml``, or all. Classes are those of all XML files, by
    name, so that both splits agree. A photo is known by the name of its XML file, else by what is in it. A
    size that the file does not tell is that of the photo.

    Raises:
        FileNotFoundError: the list, or all photos or XML files, are missing.
        ValueError: an XML file is damaged, or has a box of negative size.
    """
    every = _annotations(root)
    listing, wanted = _wanted(root, split, every)
    trees = {path: _parse(path) for path in every}
    names = sorted({_class(item, str(path)) for path, tree in trees.items() for item in tree.iter("object")})
    finders: dict[Path, NamedPhotos] = {}
    photos, missing, outside = [], [], 0
    for place, path in enumerate(wanted, start=1):
        file = None if path not in trees else _file(path, trees[path], finders)
        if file is None:
            missing.append(f"{path.stem}.xml" if path not in trees else _name(path, trees[path]))
            continue
        width, height = _size(trees[path], str(path)) or size_in_file(file)
        objects, cut = _objects(trees[path], (width, height), str(path), names)
        outside += cut
        photo = BoxedPhoto(file, 0, objects=objects, width=width, height=height, image_id=place)
        photos.append(as_shown(photo))
    notes = missing_photos(listing, missing, len(wanted), f" or its annotation in {ANNOTATIONS[0]}/")
    return Annotations(photos, numbered(names), [*left_out(listing, outside), *notes])


def _annotations(root: Path) -> list[Path]:
    """All XML files: in ``Annotations/``, beside the photos, or in the folders of the splits."""
    bases = [root, *(root / name for split in ("train", "val", "test") for name in names_of(split))]
    parts = [sorted((base / name).rglob("*.xml")) for base in dict.fromkeys(bases) for name in ANNOTATIONS]
    parts += [
        [path for path in sorted(base.glob("*.xml")) if _TAG.search(first_bytes(path))]
        for base in dict.fromkeys(bases)
    ]
    return list({path.resolve(): path for part in parts for path in part if is_data(path.name)}.values())


def _listing(root: Path, split: str) -> Path | None:
    """The list of a split."""
    places = [root / "ImageSets" / "Main" / f"{name}.txt" for name in names_of(split)]
    return next((path for path in places if path.is_file()), None)


def _of_split(root: Path, split: str, every: Sequence[Path]) -> list[Path]:
    """The XML files in the folder of a split."""
    folders = [root / name for name in names_of(split)]
    parts = [[path for path in every if folder in path.parents] for folder in folders]
    return next((part for part in parts if part), [])


def _wanted(root: Path, split: str, every: Sequence[Path]) -> tuple[Path, list[Path]]:
    """What says which photos are in a split, and their XML files, of which some may be missing."""
    listing = _listing(root, split)
    if listing is None:
        if part := _of_split(root, split, every):
            return part[0].parent, part
        if split == "train" and not any(
            _listing(root, name) or _of_split(root, name, every) for name in BOTH
        ):
            return root, list(every)
        listing = existing(root / "ImageSets" / "Main" / f"{split}.txt", "VOC's list of the split")
    of_stem = {clean_name(path.stem): path for path in every}
    of_stem |= {clean_name(_inner(path)): path for path in every}  # CVAT keeps folders
    stems = [_stem(line, of_stem) for line in read_text(listing).splitlines() if line.strip()]
    if len(set(stems)) < len(stems):
        twice = next(item for item in stems if stems.count(item) > 1)
        raise ValueError(f"{listing} lists {twice} twice; list each photo once")
    return listing, [of_stem.get(stem, root / "Annotations" / f"{stem}.xml") for stem in stems]


def _stem(line: str, known: Container[str]) -> str:
    """The name of a photo in a line of a list: with blanks, a suffix, a folder, or a flag at its end."""
    name = clean_name(line)
    flagged = _FLAG.fullmatch(name)
    for result in (name, flagged[1] if flagged else name):
        bare = result.replace("\\", "/").rpartition("/")[2]
        cut = bare.rpartition(".")[0] if is_image_name(bare) or bare.lower().endswith(".xml") else bare
        for form in (result, bare, cut):
            if form in known:
                return form
    return flagged[1] if flagged else name


class _Builder(ElementTree.TreeBuilder):
    """A tree without a document type: nothing is defined, so nothing can grow or point elsewhere."""

    def doctype(self, name: str, *_places: str | None) -> None:
        """Refuse it."""
        raise ElementTree.ParseError(f"it has a <!DOCTYPE {name[:40]}>, which VOC's files have not")


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path, ElementTree.XMLParser(target=_Builder())).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as err:
        raise ValueError(f"{path} is no whole XML file ({err}); fetch or write it again") from err


def _text(element: ElementTree.Element, name: str, where: str) -> str:
    result = element.findtext(name)
    if result is None or not result.strip():
        raise ValueError(f"{where}: <{element.tag}> has no <{name}>; mend the file")
    return result.strip()


def _class(item: ElementTree.Element, where: str) -> str:
    return clean_name(_text(item, "name", where))


def _name(path: Path, tree: ElementTree.Element) -> str:
    """What an XML file calls its photo; else its own name."""
    return (tree.findtext("filename") or "").strip() or path.stem


def _top(path: Path) -> Path | None:
    """The folder of annotations that an XML file lies in, at some depth; None for one beside its photo."""
    return next((folder for folder in list(path.parents)[:4] if folder.name in ANNOTATIONS), None)


def _inner(path: Path) -> str:
    """The name of an XML file without its suffix, from the folder of annotations."""
    top = _top(path)
    return path.stem if top is None else path.relative_to(top).with_suffix("").as_posix()


def _file(path: Path, tree: ElementTree.Element, finders: dict[Path, NamedPhotos]) -> Path | None:
    """The photo of an XML file, by that file's name, then by the name in it."""
    top = _top(path)
    base = path.parent if top is None else top.parent
    if base not in finders:
        places = [base, base.parent] if base.name in names_of("val") + names_of("train") else [base]
        folders = [place / name for place in places for name in PHOTOS]
        finders[base] = NamedPhotos(*(folder for folder in (*folders, path.parent, base) if folder.is_dir()))
    return finders[base].find(_inner(path)) or finders[base].find(_name(path, tree))


def _size(tree: ElementTree.Element, where: str) -> tuple[int, int] | None:
    """(width, height) in pixels; None where the file does not tell, or tells 0, as labelImg may."""
    texts = [(tree.findtext(f"size/{side}") or "").strip() for side in ("width", "height")]
    texts = ["0" if text.casefold() in UNKNOWN else text for text in texts]
    width, height = (
        int(finite(value, f"{where}: {side}", 0, LARGEST_SIDE))
        for side, value in zip(("width", "height"), texts, strict=True)
    )
    return (width, height) if width and height else None


def _objects(
    tree: ElementTree.Element, size: tuple[int, int], where: str, names: Sequence[str]
) -> tuple[tuple[Marked, ...], int]:
    """The objects, and how many boxes are left out; none of a damaged photo whose size nothing tells."""
    objects, outside = [], 0
    for item in tree.iter("object") if size[0] else ():
        x1, y1, x2, y2 = (
            finite(_text(item, f"bndbox/{side}", where), f"{where}: {side}", -LARGEST_PX, LARGEST_PX)
            for side in SIDES
        )
        box = inside((x1 - 1, y1 - 1, x2, y2), *size, where)  # VOC counts pixels from 1, both ends in
        outside += box is None
        if box is not None:
            ignored = (item.findtext("difficult") or "0").strip() == "1"
            objects.append(Marked(box, names.index(_class(item, where)), ignored))
    return tuple(objects), outside
