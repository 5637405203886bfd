"""Names of classes whose folders are called by WordNet number, such as ``n02111889``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from datasets.tables import clean_name

_NUMBERED = re.compile(r"(?P<wnid>n\d{8})(?:-(?P<name>.+))?")


def class_name(folder: str) -> str:
    """The name to show for a class folder.

    Args:
        folder: ``n02111889-Samoyed`` (Stanford Dogs), ``n02111889`` (ImageNet), or any name.

    Returns:
        The name after the number with blanks for underscores; else WordNet's first word for the
        number; else the folder's name as it is.
    """
    match = _NUMBERED.fullmatch(folder)
    if match is None:
        return folder
    if match["name"]:
        return match["name"].replace("_", " ")
    return _lemmas(folder).split(",")[0].strip()


def class_names(folders: Sequence[str]) -> tuple[str, ...]:
    """Names to show for class folders, each different: two cranes get their WordNet numbers.

    Args:
        folders: different names of class folders.
    """
    names = [class_name(folder) for folder in folders]
    uses = Counter(names)
    unique = tuple(
        name if uses[name] == 1 else _with_number(name, folder)
        for name, folder in zip(names, folders, strict=True)
    )
    return unique if len(set(unique)) == len(unique) else tuple(folders)


def match_classes(folders: Sequence[str], classes: Sequence[str], whose: str) -> list[int]:
    """The number of each class folder among classes that were named elsewhere.

    A folder is found by its own name, by ``name (wnid)`` or by its shown name; failing these,
    by the same in any case. Blanks around names, and how accents are stored, do not count.

    Args:
        folders: names of class folders.
        classes: names or folder names, by number.
        whose: whose classes they are, for the error.

    Raises:
        ValueError: a folder is not among the classes, or two folders are the same one.
    """
    exact = {clean_name(name): number for number, name in enumerate(classes)}
    loose = {name.casefold(): number for name, number in reversed(exact.items())}
    taken: dict[int, str] = {}
    for folder in folders:
        words = [clean_name(word) for word in _aliases(folder)]
        results = [exact[word] for word in words if word in exact]
        results += [loose[word.casefold()] for word in words if word.casefold() in loose]
        if not results:
            raise ValueError(
                f"class folder {folder!r} is not among the {len(classes)} classes of {whose}; "
                "remove it or rename it to one of them"
            )
        if results[0] in taken:
            both = f"{taken[results[0]]!r} and {folder!r}"
            raise ValueError(
                f"class folders {both} are both {classes[results[0]]!r} of {whose}; merge or rename one"
            )
        taken[results[0]] = folder
    return list(taken)


def folder_ids(folders: Sequence[str], labels: Sequence[int], classes: Sequence[str]) -> tuple[str, ...]:
    """The folder of each class, in the order of ``classes``; a class without one gives its name."""
    folder_of = dict(zip(labels, folders, strict=True))
    return tuple(folder_of.get(number, name) for number, name in enumerate(classes))


def _aliases(folder: str) -> tuple[str, str, str]:
    """What the class of a folder may be called, most certain first."""
    name = class_name(folder)
    return folder, _with_number(name, folder), name


def _with_number(name: str, folder: str) -> str:
    return f"{name} ({folder.partition('-')[0]})"


@lru_cache(maxsize=4096)
def _lemmas(wnid: str) -> str:
    """WordNet's words for a number, ``Samoyed, Samoyede``; the number itself if it is not known."""
    try:
        return str(_imagenet().label_name_to_description(wnid))
    except KeyError:
        return wnid


@lru_cache(maxsize=1)
def _imagenet():  # type: ignore[no-untyped-def]  # timm has no type for it
    from timm.data import ImageNetInfo

    return ImageNetInfo()
