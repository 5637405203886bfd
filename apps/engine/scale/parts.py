"""A folder of parts: Parquet files that are whole or not there, one a shard."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.engine.core.files import json_line
from apps.engine.scale.rows import line_of, schema_of, table_of
from apps.engine.scale.shards import Shard
from apps.engine.scale.stores import files_of, joined, make_folder, opened, read, remove, write

JOB = "job.json"
PREFIX, SUFFIX = "part-", ".parquet"


@dataclass(frozen=True)
class Part:
    """What a part says of itself: its name, its rows, and how many of them are of images that failed."""

    name: str
    rows: int
    failed: int


@dataclass(frozen=True)
class PartsFolder:
    """Where parts are written, a path or an address."""

    place: str

    def claim(self, job: Mapping[str, Any]) -> None:
        """Make the folder this job's, or find that it is.

        Args:
            job: plain values that all its parts depend on.

        Raises:
            OSError: it cannot be written.
            ValueError: it holds the parts of another job.
        """
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
            return
        except ValueError as err:
            raise ValueError(f"{place} is damaged ({err}); give another folder") from err
        if there != wanted:
            known = there if isinstance(there, dict) else {}
            names = [name for name in wanted if known.get(name) != wanted[name]]
            raise ValueError(
                f"{self.place} holds the answers of another job: {', '.join(names) or 'its values'} "
                f"{'differs' if len(names) == 1 else 'differ'}; give another folder"
            )

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

        failed = sum("error" in line for line in lines)
        schema = schema_of(columns, {"images": str(len(lines)), "failed": str(failed)})
        data = io.BytesIO()
        parquet.write_table(table_of(lines, schema), data, compression="zstd")
        write(joined(self.place, shard.part), data.getvalue())
        return Part(shard.part, len(lines), failed)

    def part(self, name: str) -> Part | None:
        """What a part says of itself; None where it is damaged."""
        from pyarrow import ArrowException, parquet

        try:
            with opened(joined(self.place, name)) as file:
                about = parquet.ParquetFile(file).schema_arrow.metadata or {}
                return Part(name, int(about[b"images"]), int(about[b"failed"]))
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
