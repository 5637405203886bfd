"""What people said about faces: ``faces.people.json`` beside ``faces.parquet``, each saying kept in order."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from apps.engine.core.files import exclusive, write_json
from apps.engine.inference.decode.overlap import box_iou

Verb = Literal["name", "same", "not-same", "split"]
VERBS: tuple[Verb, ...] = get_args(Verb)
VERSION = 1
WAIT_SECONDS = 20.0  # for another process that writes corrections
LONGEST_NAME = 200
OVERLAP = 0.5  # of two boxes on one photo, from which they are of one face

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class FaceRef:
    """A face by content, so that a photo may be moved, and embedded again.

    Args:
        sha256: of the photo's bytes.
        box: (x1, y1, x2, y2) pixels of the upright photo.
        path: where the photo was; only used to offer names for a photo that was edited.
    """

    sha256: str
    box: Box
    path: str

    def is_among(self, faces: Mapping[str, Sequence[Box]]) -> bool:
        """Whether it is one of some faces: sum of the photo -> boxes."""
        return any(box_iou(self.box, box) >= OVERLAP for box in faces.get(self.sha256, ()))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FaceRef:
        """The inverse of ``asdict``.

        Raises:
            ValueError: something is missing, or is no box.
        """
        box = tuple(float(value) for value in values["box"])
        if len(box) != 4:
            raise ValueError(f"a box has 4 numbers, got {len(box)}")
        return cls(str(values["sha256"]), (box[0], box[1], box[2], box[3]), str(values["path"]))


@dataclass(frozen=True)
class Correction:
    """One thing that was said; a later one wins over an earlier one.

    Args:
        number: counts up; what ``people undo`` names.
        verb: ``name``: the faces have this name; ``same``: they are of one person; ``not-same``: none of them
            is of the person of the others; ``split``: that, and they are of one person.
        faces: that it is about.
        others: that they are kept apart from.
        unnamed: faces that lose their name by it.
        name: that the faces get.
        source: ``people``, ``enroll``, or the sidecar's path that it was read from.
        time: when, UTC.
    """

    number: int
    verb: Verb
    faces: tuple[FaceRef, ...]
    others: tuple[FaceRef, ...] = ()
    unnamed: tuple[FaceRef, ...] = ()
    name: str | None = None
    source: str = "people"
    time: str = ""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Correction:
        """The inverse of ``asdict``.

        Raises:
            ValueError: it is of an unknown kind.
        """
        if values["verb"] not in VERBS:
            raise ValueError(f"a correction is one of {', '.join(VERBS)}, got {values['verb']!r}")

        def refs(key: str) -> tuple[FaceRef, ...]:
            return tuple(FaceRef.from_dict(item) for item in values.get(key, ()))

        name = values.get("name")
        return cls(
            int(values["number"]), values["verb"], refs("faces"), refs("others"), refs("unnamed"),
            None if name is None else str(name), str(values.get("source", "")), str(values.get("time", "")),
        )

    def without(self, gone: dict[str, list[Box]]) -> Correction | None:
        """The same without some faces, sum of the photo -> boxes; None where nothing is left of it."""

        def kept(refs: tuple[FaceRef, ...]) -> tuple[FaceRef, ...]:
            return tuple(ref for ref in refs if not ref.is_among(gone))

        left = replace(self, faces=kept(self.faces), others=kept(self.others), unnamed=kept(self.unnamed))
        apart = self.verb in ("not-same", "split")
        if len(left.faces) < (2 if self.verb == "same" else 1) or (apart and not left.others):
            return None
        return left


@dataclass
class Corrections:
    """All that was said about a table.

    Attributes:
        entries: in order.
        forgotten: faces that are never to come back; the path is empty.
        unfinished: rows of forgotten faces may still be in the table.
        sheets: folders into which contact sheets of the table were written.
        settings: of the last clustering: ``far``, ``threshold``, ``min_size``.
    """

    entries: list[Correction] = field(default_factory=list)
    forgotten: list[FaceRef] = field(default_factory=list)
    unfinished: bool = False
    sheets: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def add(
        self, verb: Verb, faces: Iterable[FaceRef], others: Iterable[FaceRef] = (), *,
        unnamed: Iterable[FaceRef] = (), name: str | None = None, source: str = "people",
    ) -> Correction:
        """Say something more."""
        number = max((entry.number for entry in self.entries), default=0) + 1
        time = datetime.now(UTC).isoformat(timespec="seconds")
        entry = Correction(number, verb, tuple(faces), tuple(others), tuple(unnamed), name, source, time)
        self.entries.append(entry)
        return entry

    def digest(self) -> str:
        """Changes with everything that binds clusters."""
        bound = [[asdict(entry) for entry in self.entries], [asdict(ref) for ref in self.forgotten]]
        return hashlib.sha256(json.dumps(bound, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """As kept in the file."""
        return {"version": VERSION, **asdict(self)}


def corrections_path(table: Path) -> Path:
    """Of the corrections beside a table."""
    return table.with_name(f"{table.stem}.people.json")


def read_corrections(table: Path) -> Corrections:
    """What was said about a table; nothing where nothing was.

    Raises:
        ValueError: the file is damaged, or of a later version.
        OSError: it cannot be read.
    """
    path = corrections_path(table)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Corrections()
    except UnicodeDecodeError as err:
        raise ValueError(_damaged(path, err)) from err
    try:
        values = json.loads(text)
        if values["version"] != VERSION:
            raise ValueError(f"version {values['version']}, and {VERSION} is known; use a newer program")
        return Corrections(
            [Correction.from_dict(item) for item in values["entries"]],
            [FaceRef.from_dict(item) for item in values["forgotten"]],
            bool(values["unfinished"]), [str(item) for item in values["sheets"]], dict(values["settings"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise ValueError(_damaged(path, err)) from err


def _damaged(path: Path, err: Exception) -> str:
    what = f"{err} is missing" if isinstance(err, KeyError) else str(err)
    return f"{path} cannot be read as corrections ({what}); put it right, or move it away to begin anew"


@contextmanager
def edit_corrections(table: Path) -> Iterator[Corrections]:
    """The corrections of a table, to be changed by this process alone; kept whole, or not at all on an error.

    Raises:
        FileExistsError: another process has been changing them for long.
        ValueError: the file is damaged.
        OSError: it cannot be written.
    """
    path = corrections_path(table)
    busy = f"another process has been changing {path} for long; wait for it, or stop it"
    with exclusive(path.with_name(f".{path.name}.lock"), busy, seconds=WAIT_SECONDS):
        corrections = read_corrections(table)
        before = corrections.to_dict()
        yield corrections
        if corrections.to_dict() != before:
            write_json(path, corrections.to_dict())


def person_name(text: str) -> str:
    """A name as it is kept.

    Raises:
        ValueError: it is empty, too long, or holds line breaks or other signs that cannot be printed.
    """
    name = unicodedata.normalize("NFC", text).strip()
    if not name:
        raise ValueError("a person needs a name, got an empty one")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"a name has {LONGEST_NAME} letters at most, got {len(name)}")
    if not name.isprintable():
        raise ValueError(f"a name is one line of letters, got {name!a}")
    return name
