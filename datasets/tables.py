"""Tables that others wrote, CSV or Parquet: every reader of rows in this package takes them from here."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.outside import one_line, regular_file, whole_file
from datasets.parquet import MEND, WHAT, open_parquet, read_parquet

Pick = Callable[[Path, list[str]], dict[str, str]]
SEPARATORS = ",;\t|"
MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)
INDEX = re.compile(r"(unnamed: 0(\.\d+)?|__index_level_\d+__)?", re.IGNORECASE)  # as pandas and R write them
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>", "#n/a", "nat"})
_SENTINEL = "\x01end of the table\x01"
_LONGEST_HEADING = 1 << 16
_INVISIBLE = "\ufeff\u200b\u200e\u200f\u2060"


@dataclass(frozen=True)
class Misfit:
    """A row with more or fewer fields than the heading.

    Args:
        row: its number; the first below the heading is 1.
        fields: how many it has.
        text: as it stands.
    """

    row: int
    fields: int
    text: str


@dataclass(frozen=True, eq=False)
class Table:
    """Some columns of a CSV or Parquet file.

    Args:
        path: the file.
        columns: Arrow columns by the names that they are asked for by; those of CSV are texts.
        rows: the number of each row in the file; the first below the heading is 1.
        misfits: the rows that are left out since they do not fit the heading.
        names: what the columns are called in the file, without blanks around them.
        headless: whether the file has no heading, so that the names are those that were expected.
        separator: of a CSV; empty for Parquet.
    """

    path: Path
    columns: dict[str, Any]
    rows: NDArray[np.int64]
    misfits: list[Misfit]
    names: dict[str, str]
    headless: bool = False
    separator: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, key: str) -> list[str]:
        """A column as texts without blanks around them, empty where there is none."""
        return ["" if value is None else _text(value) for value in self.columns[key].to_pylist()]


def read_table(path: Path, pick: Pick | None = None, *, headless: Sequence[str] = ()) -> Table:
    """Columns of a CSV or Parquet file.

    CSV is in UTF-8, or in UTF-16 with a mark; separated by commas, semicolons, tabs or bars; fields in
    quotation marks may hold separators, marks and new lines. A column without a name, as pandas and R write
    for the number of the row, is left out. Blanks around names of columns do not count.

    Args:
        path: the file; Parquet is known by its content.
        pick: (file, its heading) -> names to call columns by -> their names in the heading; None takes all.
        headless: names for the columns of a CSV without a heading, of which all but the first are numbers;
            none where a heading is needed.

    Raises:
        ValueError: it is no table, two columns have one name, a quotation mark is never closed, or ``pick``
            refuses the heading; in one line.
    """
    with regular_file(path).open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    return _parquet(path, pick or _all) if parquet else _csv(path, pick or _all, headless)


def clean_name(name: str) -> str:
    """A name of a class, a column or a person as it is compared: no blanks around it, letters composed.

    Macs write an accent as a letter of its own where others write it into the letter.
    """
    return unicodedata.normalize("NFC", name).strip().strip(_INVISIBLE).strip()


def decoded(data: bytes, path: Path, what: str = "text") -> str:
    """The text of a file's bytes: UTF-8, with or without a byte order mark, or what another mark says.

    Raises:
        ValueError: it is neither; the message names the line.
    """
    mark, encoding = next(((m, e) for m, e in MARKS if data.startswith(m)), (b"", "utf-8"))
    try:
        return data[len(mark):].decode(encoding)
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise ValueError(
            f"{path} is no {what} in UTF-8 ({err.reason}, line {line}); save it as UTF-8, or fetch it again"
        ) from err


def _all(path: Path, heading: list[str]) -> dict[str, str]:
    twice = next((name for n, name in enumerate(heading) if name in heading[:n]), None)
    if twice is not None:
        raise ValueError(f"{path} has two columns {twice!r}; leave one")
    return {name: name for name in heading}


def _text(value: Any) -> str:
    return str(int(value) if isinstance(value, bool) else value).strip()


def _csv(path: Path, pick: Pick, headless: Sequence[str]) -> Table:
    text = decoded(whole_file(path), path, "CSV")
    first, below, skip, separator = _beginning(path, text)
    bare = len(first) == len(headless) > 0 and all(map(_is_number, first[1:]))
    heading = list(headless) if bare else [clean_name(name) for name in first]
    if not bare and len(below) == len(heading) + 1 and below[0].isdecimal():
        heading = ["", *heading]  # as R writes: the rows are numbered, the heading has no name for that
    if bare:
        names = dict(zip(headless, headless, strict=True))
    else:
        names = pick(path, [name for name in heading if not INDEX.fullmatch(name)])
    columns, misfits = _rows(path, text, heading, 0 if bare else skip, separator)
    chosen = {key: columns[heading.index(name)] for key, name in names.items()}
    every = np.arange(1, len(columns[0]) + len(misfits) + 1)
    rows = np.setdiff1d(every, [item.row for item in misfits]).astype(np.int64)
    return Table(path, chosen, rows, misfits, names, bare, separator)


def _beginning(path: Path, text: str) -> tuple[list[str], list[str], int, str]:
    """The heading as written, the row below it, how many lines end with the heading, and the separator."""
    skip = at = 0
    for line in io.StringIO(text[:_LONGEST_HEADING], newline=""):
        if line.strip() and not line.lower().startswith("sep="):  # Excel's line on its separator
            break
        skip, at = skip + 1, at + len(line)
    else:
        raise ValueError(f"{path} is empty; give a heading, the names of the columns, and one photo a row")
    results = []
    for separator in SEPARATORS:
        lines = io.StringIO(text[at : at + _LONGEST_HEADING], newline="")
        reader = csv.reader(lines, delimiter=separator)
        first, end = next(reader), reader.line_num
        results.append((first, next(reader, []), skip + end, separator))
    return max(results, key=lambda result: len(result[0]))


def _rows(
    path: Path, text: str, heading: Sequence[str], skip: int, separator: str
) -> tuple[list[Any], list[Misfit]]:
    """Every column as text, and the rows that do not fit the heading."""
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    misfits: list[Misfit] = []
    blank = 0

    def misfit(row: Any) -> str:  # pyarrow swallows what is raised here
        nonlocal blank
        blank += not row.text.strip()
        if row.text.strip():
            misfits.append(Misfit(row.number - skip - blank, row.actual_columns, row.text))
        return "skip"

    names = [str(place) for place in range(len(heading))]
    end = separator.join([_SENTINEL] * len(names))  # swallowed where a quotation mark is open
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(f"{text}\n{end}\n".encode()),
            read_options=pa_csv.ReadOptions(use_threads=False, column_names=names, skip_rows=skip),
            parse_options=pa_csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, invalid_row_handler=misfit
            ),
            convert_options=pa_csv.ConvertOptions(
                strings_can_be_null=False, column_types=dict.fromkeys(names, pa.string())
            ),
        )
    except pa.ArrowInvalid as err:
        raise ValueError(f"{path} cannot be read as CSV in UTF-8: {' '.join(str(err).split())}") from err
    count = table.num_rows - 1
    if count < 0 or table[0][count].as_py() != _SENTINEL:
        raise ValueError(
            f"{path}: a field begins with a quotation mark that is never closed, in row "
            f"{max(count, 0) + 1 + len(misfits)} or before; close it, or write the file again"
        )
    return [column.slice(0, count) for column in table.columns], misfits


def _parquet(path: Path, pick: Pick) -> Table:
    with one_line(path, MEND, WHAT):
        file = open_parquet(path, ())
        stored = {clean_name(name): name for name in reversed(file.schema_arrow.names)}
        heading = [clean_name(name) for name in file.schema_arrow.names]
        names = pick(path, [name for name in heading if not INDEX.fullmatch(name)])
        table = read_parquet(path, list(dict.fromkeys(stored[name] for name in names.values())))
        columns = {key: _plain(table[stored[name]]) for key, name in names.items()}
    return Table(path, columns, np.arange(1, table.num_rows + 1), [], names)


def _plain(column: Any) -> Any:
    """A column without pandas' categories."""
    import pyarrow as pa

    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _is_number(text: str) -> bool:
    try:
        return not np.isnan(float(text))
    except ValueError:
        return False
