"""The reader of tables, against Python's csv and pyarrow on random small tables, and on public accidents."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import csv as pa_csv
from pyarrow import parquet

from datasets.tables import Table, read_table

SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
CELL = st.text(st.sampled_from("ab 1.-,;\t|\"'\n\r\\éя\u0301😀"), max_size=6)
NAME = st.text(st.sampled_from("abcdé xyz"), min_size=1, max_size=4).filter(lambda name: name.strip())


def read(path: Path, data: bytes | str) -> Table:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_table(path)


def raw(table: Table) -> list[list[str]]:
    return [list(row) for row in zip(*(column.to_pylist() for column in table.columns.values()), strict=True)]


@st.composite
def tables(draw: Callable[..., object]) -> tuple[list[str], list[list[str]]]:
    heading: list[str] = draw(st.lists(NAME, min_size=2, max_size=4, unique_by=str.strip))  # type: ignore[assignment]
    row = st.lists(CELL, min_size=len(heading), max_size=len(heading)).filter(any)
    return heading, draw(st.lists(row, max_size=6))  # type: ignore[return-value]


@SETTINGS
@given(
    tables(),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_what_pythons_csv_writes_is_read_as_python_reads_it(
    tmp_path: Path,
    table: tuple[list[str], list[list[str]]],
    separator: str,
    end: str,
    encoding: str,
    quoting: int,
) -> None:
    heading, rows = table
    if quoting == csv.QUOTE_MINIMAL:  # Python's writer leaves a bare carriage return without quotation marks
        rows = [[cell.replace("\r", "") or "a" for cell in row] for row in rows]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting).writerows([heading, *rows])
    got = read(tmp_path / "a.csv", text.getvalue().encode(encoding))
    assert list(got.columns) == [name.strip() for name in heading] and got.separator == separator
    assert not got.misfits and raw(got) == rows
    assert got.rows.tolist() == list(range(1, len(rows) + 1))


@SETTINGS
@given(tables())
def test_what_pyarrow_writes_is_read_back_from_csv_and_parquet(
    tmp_path: Path, table: tuple[list[str], list[list[str]]]
) -> None:
    heading, rows = table
    columns = pa.table(
        [pa.array([row[n] for row in rows], pa.string()) for n in range(len(heading))], heading
    )
    pa_csv.write_csv(columns, tmp_path / "a.csv")
    parquet.write_table(columns, tmp_path / "a.parquet")
    assert raw(read_table(tmp_path / "a.csv")) == raw(read_table(tmp_path / "a.parquet")) == rows


@SETTINGS
@given(
    st.lists(st.lists(st.text(st.sampled_from('ab1 "\n'), max_size=5), min_size=1, max_size=4), max_size=8)
)
def test_rows_of_other_lengths_are_misfits_by_their_number(tmp_path: Path, rows: list[list[str]]) -> None:
    rows = [row for row in rows if "".join(row).strip()]  # a line of blanks is none
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    if rows and len(rows[0]) == 3 and rows[0][0].isdecimal():
        return  # R's numbers of rows
    got = read(tmp_path / "a.csv", text.getvalue())
    assert raw(got) == [row for row in rows if len(row) == 2]
    odd = [(n, len(row)) for n, row in enumerate(rows, 1) if len(row) != 2]
    assert [(item.row, item.fields) for item in got.misfits] == odd
    assert got.rows.tolist() == [n for n, row in enumerate(rows, 1) if len(row) == 2]


def test_captions_of_several_lines_lose_no_row_of_a_table_above_a_megabyte(tmp_path: Path) -> None:
    """A reader in blocks of a megabyte cuts such rows where a block ends."""
    rows = [
        [f"{n}.jpg", f'Line one of {n}, {"x" * 70}\nline "two"\n\nline three {"y" * 60}', str(n % 90)]
        for n in range(9000)
    ]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["path", "caption", "lat"], *rows])
    assert len(text.getvalue()) > 1_500_000
    got = read(tmp_path / "a.csv", text.getvalue())
    assert not got.misfits and raw(got) == rows


@pytest.mark.parametrize(
    ("text", "heading", "rows"),
    [
        ("a,b\n\n1,2\n   \n3,4\n", ["a", "b"], [["1", "2"], ["3", "4"]]),
        ("\n\n a , b \n1,2\n", ["a", "b"], [["1", "2"]]),
        ("sep=;\na;b\n1;2,5\n", ["a", "b"], [["1", "2,5"]]),
        ("a\r1\r2\r", ["a"], [["1"], ["2"]]),
        (",a,b\n0,1,2\n1,3,4\n", ["a", "b"], [["1", "2"], ["3", "4"]]),
        ("Unnamed: 0,a,b\n0,1,2\n", ["a", "b"], [["1", "2"]]),
        ('"a","b"\n"1",2,3\n"2",4,5\n', ["a", "b"], [["2", "3"], ["4", "5"]]),  # R's write.table
        ('"a\nb",c\n1,2\n', ["a\nb", "c"], [["1", "2"]]),
        ('a,b\n5" nail,"x""y"\n', ["a", "b"], [['5" nail', 'x"y']]),
        ("a,b\n1,2", ["a", "b"], [["1", "2"]]),
        ("a,b\n", ["a", "b"], []),
        ("a,bе\u0301\n1,2\n", ["a", "bе\u0301"], [["1", "2"]]),
        ("a,be\u0301\n1,2\n", ["a", "b\u00e9"], [["1", "2"]]),
    ],
)
def test_accidents_of_public_tables(
    tmp_path: Path, text: str, heading: list[str], rows: list[list[str]]
) -> None:
    got = read(tmp_path / "a.csv", text)
    assert list(got.columns) == heading and raw(got) == rows


def test_the_texts_of_a_column_have_no_blanks_around_them_and_flags_are_numbers(tmp_path: Path) -> None:
    parquet.write_table(
        pa.table(
            {
                " a ": [" x", None],
                "b": [True, None],
                "__index_level_0__": [0, 1],
                "c": pa.array(["u", "v"]).dictionary_encode(),
            }
        ),
        tmp_path / "a.bin",
    )
    got = read_table(tmp_path / "a.bin")
    assert {key: got.texts(key) for key in got.columns} == {"a": ["x", ""], "b": ["1", ""], "c": ["u", "v"]}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty; give a heading"),
        (b"\n \n", "is empty; give a heading"),
        (b"a,b\n1,2\nK\xf6ln,3\n", r"is no CSV in UTF-8 \(invalid start byte, line 3\); save it as UTF-8"),
        (b'a,b\n1,2\n3,"open\n5,6\n7,8\n', "a quotation mark that is never closed, in row 2 or before"),
        (b"a,a \n1,2\n", "has two columns 'a'; leave one"),
        (b"PAR1 and no more", "cannot be read as Parquet"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        read(tmp_path / "a.csv", data)
    assert "\n" not in str(caught.value)
