"""A folder of parts: Parquet files that are whole or not there, one a shard."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apps.engine.core.files import json_line
from apps.engine.scale.rows import ROWS, line_of, schema_of, table_of
from apps.engine.scale.shards import Shard
from apps.engine.scale.stores import files_of, is_url, joined, make_folder, opened, read, remove, write

JOB = "job.json"
PREFIX, SUFFIX = "part-", ".parquet"
COUNTS = ("images", "failed", "empty", "rows")


@dataclass(frozen=True)
class Part:
    """What a part says of itself.

    Attributes:
        name: of its file.
        images: that it answers for.
        failed: of them, that could not be answered for.
        empty: of them, whose line has rows of its own, and none.
        rows: of the lines that have rows of their own.
    """

    name: str
    images: int
    failed: int
    empty: int = 0
    rows: int = 0


def lines_of(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of all parts in a folder here.

    Raises:
        FileNotFoundError: there is none.
    """
    parts = PartsFolder(str(folder))
    if not parts.names():
        raise FileNotFoundError(f"{folder} holds no parts; give a folder that --out FOLDER wrote")
    return parts.lines()


@dataclass(frozen=True)
class PartsFolder:
    """Where parts are written, a path or an address."""

    place: str

    @contextmanager
    def claimed(self, job: Mapping[str, Any]) -> Iterator[None]:
        """Make the folder this job's, or find that it is; where no part is written, nothing stays.

        Args:
            job: plain values that all its parts depend on.

        Raises:
            OSError: it cannot be written.
            ValueError: it holds the parts of another job.
        """
        new = self._claim(job)
        try:
            yield
        except BaseException:
            if new and not is_url(self.place) and not self.names():
                remove(joined(self.place, JOB))
            raise

    def _claim(self, job: Mapping[str, Any]) -> bool:
        """Whether the job begins here."""
        make_folder(self.place)
        wanted = json.loads(json_line(job))
        place = joined(self.place, JOB)
        try:
            there = json.loads(read(place))
        except FileNotFoundError:
            if self.names():
                raise ValueError(
                    f"{self.place} holds parts, but no {JOB} that says of what; give another folder"
                ) from None
            write(place, f"{json.dumps(wanted, indent=2)}\n".encode())
            return True
        except ValueError as err:
            raise ValueError(f"{place} is damaged ({err}); give another folder") from err
        if there != wanted:
            known = there if isinstance(there, dict) else {}
            names = [name for name in wanted if known.get(name) != wanted[name]]
            raise ValueError(
                f"{self.place} holds the answers of another job: {', '.join(names) or 'its values'} "
                f"{'differs' if len(names) == 1 else 'differ'}; give another folder"
            )
        return False

    def names(self) -> list[str]:
        """The parts that are there, in their order."""
        try:
            entries = files_of(self.place)
        except FileNotFoundError:
            return []
        below = [entry.place[len(self.place.rstrip("/")) + 1 :] for entry in entries]
        return sorted(name for name in below if name.startswith(PREFIX) and name.endswith(SUFFIX))

    def put(self, shard: Shard, lines: Sequence[Mapping[str, Any]], columns: Any) -> Part:
        """Write the part of a shard.

        Raises:
            OSError: it cannot be written.
        """
        from pyarrow import parquet

        several = [line[ROWS] for line in lines if ROWS in line and "error" not in line]
        part = Part(
            shard.part, len(lines), failed=sum("error" in line for line in lines),
            empty=sum(not rows for rows in several), rows=sum(map(len, several)),
        )
        counts = asdict(part)
        schema = schema_of(columns, {name: str(counts[name]) for name in COUNTS})
        data = io.BytesIO()
        parquet.write_table(table_of(lines, schema), data, compression="zstd")
        write(joined(self.place, shard.part), data.getvalue())
        return part

    def part(self, name: str) -> Part | None:
        """What a part says of itself; None where it is damaged."""
        from pyarrow import ArrowException, parquet

        try:
            with opened(joined(self.place, name)) as file:
                about = parquet.ParquetFile(file).schema_arrow.metadata or {}
                return Part(name, **{count: int(about[count.encode()]) for count in COUNTS})
        except (ArrowException, KeyError, ValueError):
            return None

    def table(self, name: str, columns: Sequence[str] | None = None) -> Any:
        """The rows of a part as an Arrow table."""
        from pyarrow import parquet

        with opened(joined(self.place, name)) as file:
            return parquet.ParquetFile(file).read(columns=None if columns is None else list(columns))

    def lines(self) -> Iterator[dict[str, Any]]:
        """The lines of all parts, in their order."""
        for name in self.names():
            yield from map(line_of, self.table(name).to_pylist())

    def remove(self, names: Sequence[str]) -> None:
        """Remove parts."""
        for name in names:
            remove(joined(self.place, name))
