"""What is asked for, cut into shards: some images, a tar file, or groups of rows of a Parquet file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apps.engine.scale.stores import Entry, files_of, is_url, joined, opened, read
from datasets import packed
from datasets.file_kinds import is_image_name
from datasets.folders import NOT_DATA, find_images

FILES, TAR, PARQUET = "files", "tar", "parquet"
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
MARK_DIGITS = 12


@dataclass(frozen=True)
class Shard:
    """Images that make one part of the output.

    Args:
        number: its place among all.
        form: ``files``, ``tar`` or ``parquet``.
        places: the images; or the one file that holds them.
        groups: of rows of a Parquet file, the first and the one after the last.
        mark: hex digits of what was found there: names, sizes and times of change.
    """

    number: int
    form: str
    places: tuple[str, ...]
    groups: tuple[int, int]
    mark: str

    @property
    def part(self) -> str:
        """The name of its part of the output."""
        return f"part-{self.number:06d}-{self.mark}.parquet"

    def to_json(self) -> str:
        """As text, for a table of shards."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Shard:
        """The shard of such a text."""
        values = json.loads(text)
        return Shard(**values | {"places": tuple(values["places"]), "groups": tuple(values["groups"])})


def has_packed(places: Sequence[str]) -> bool:
    """Whether some of these are no plain images and folders, but addresses, archives or tables."""
    return any(is_url(place) or _form(place) for place in places)


def make_shards(places: Sequence[str], images: int) -> list[Shard]:
    """The shards of what is asked for, always the same ones for the same input.

    A folder gives its images, then its tar files, then the Parquet files in it that hold images. A text file
    is a list, a path or an address a line, relative to the list.

    Args:
        places: paths or addresses of images, folders, tar files, Parquet files and lists.
        images: that a shard holds, 1 or more; a tar file is one shard, groups of rows are not cut.

    Raises:
        FileNotFoundError: none of the places exists.
        ValueError: there is no image in them.
    """
    loose: list[Entry] = []
    shards: list[Entry] = []
    missing: list[str] = []
    for place in _unlisted(places):
        try:
            files = _below(place)
        except FileNotFoundError:
            missing.append(place)
            files = [Entry(place, 0, 0)]
        for entry in files:
            (shards if _form(entry.place) else loose).append(entry)
    if missing and len(missing) == len(loose) + len(shards):
        raise FileNotFoundError(f"{missing[0]} does not exist; name images or a folder with images")
    cut = [(FILES, loose[at : at + images], (0, 0)) for at in range(0, len(loose), images)]
    for entry in shards:
        if _form(entry.place) == TAR:
            cut.append((TAR, [entry], (0, 0)))
        else:
            cut += [(PARQUET, [entry], groups) for groups in _row_groups(entry.place, images)]
    if not cut:
        raise ValueError(f"no image in {', '.join(places)}; give images or folders that hold some")
    return [
        Shard(number, form, tuple(entry.place for entry in entries), groups, _mark(entries, groups))
        for number, (form, entries, groups) in enumerate(cut)
    ]


def _unlisted(places: Sequence[str]) -> Iterator[str]:
    """The places, those of lists one by one."""
    for place in places:
        if not place.endswith(".txt"):
            yield place
            continue
        text = read(place).decode("utf-8", "surrogateescape")
        around = place.rpartition("/")[0] if is_url(place) else str(Path(place).parent)
        for line in filter(None, map(str.strip, text.splitlines())):
            yield line if is_url(line) or line.startswith("/") else joined(around, line)


def _below(place: str) -> list[Entry]:
    """The images and packed files at a place.

    Raises:
        FileNotFoundError: it does not exist.
    """
    if not is_url(place) and Path(place).is_dir():
        folder = Path(place)
        images = [_local(path) for path in find_images([folder], beside=(".tar", ".tgz", ".parquet"))]
        others = [entry for entry in files_of(place) if _form(entry.place) and _is_data(entry.place, place)]
        return images + [entry for entry in others if _form(entry.place) == TAR or image_column(entry.place)]
    if not is_url(place):
        return [_local(Path(place))]
    files = files_of(place)
    if len(files) == 1 and files[0].place.rstrip("/") == place.rstrip("/"):
        return files
    kept = [entry for entry in files if _is_data(entry.place, place)]
    return [entry for entry in kept if is_image_name(entry.place)] + [
        entry for entry in kept if _form(entry.place) == TAR
        or (_form(entry.place) == PARQUET and image_column(entry.place))
    ]


def _local(path: Path) -> Entry:
    try:
        status = path.stat()
    except PermissionError:
        return Entry(str(path), 0, 0)
    return Entry(str(path), status.st_size, status.st_mtime_ns)


def _is_data(place: str, folder: str) -> bool:
    """Whether no folder on the way is hidden, or a disk station's."""
    names = place[len(folder) :].strip("/").split("/")
    return not any(name.startswith(".") or name.casefold() in NOT_DATA for name in names)


def _form(place: str) -> str:
    """``tar`` or ``parquet`` by the name; empty for all else."""
    name = place.lower()
    return TAR if name.endswith(TAR_SUFFIXES) else PARQUET if name.endswith(".parquet") else ""


def _mark(entries: Sequence[Entry], groups: tuple[int, int]) -> str:
    values = [[entry.place, entry.size, entry.changed] for entry in entries]
    text = json.dumps([values, list(groups)])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:MARK_DIGITS]


def image_column(place: str) -> str | None:
    """The column of a Parquet file that holds images, ``NAME.bytes`` of a Hugging Face one; None for none."""
    import pyarrow as pa

    schema = _parquet(place).schema_arrow
    name = packed.image_column(schema)
    return f"{name}.bytes" if name is not None and pa.types.is_struct(schema.field(name).type) else name


def _row_groups(place: str, images: int) -> list[tuple[int, int]]:
    """Neighbouring groups of rows, of at most so many rows together where a group has fewer."""
    meta = _parquet(place).metadata
    cuts, rows = [0], 0
    for group in range(meta.num_row_groups):
        count = meta.row_group(group).num_rows
        if rows and rows + count > images:
            cuts.append(group)
            rows = 0
        rows += count
    ends = [*cuts[1:], meta.num_row_groups]
    return [(first, last) for first, last in zip(cuts, ends, strict=True) if first < last]


def _parquet(place: str) -> Any:
    """What a Parquet file says of itself.

    Raises:
        ValueError: it is damaged.
    """
    from pyarrow import parquet

    from datasets.outside import one_line

    with opened(place) as file, one_line(place, "write it again", "cannot be read as Parquet"):
        return parquet.ParquetFile(file)
