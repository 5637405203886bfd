"""The folder of an unfinished table: its plan, its parts, its lock; several processes may share it."""

from __future__ import annotations

import glob
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from apps.engine.core.files import exclusive, read_object, write_json, write_whole
from apps.faces.extraction.manifest import read_ledger, write_ledger
from apps.faces.extraction.sources import Stamp
from apps.faces.extraction.table import About, ImageRecord, merge, read_part, write_part
from datasets.outside import one_line

CHUNK = 32  # photos a part: what is lost at most when a process is killed
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Plan:
    """What a run has to do, the same for all its processes.

    Args:
        digest: of the inputs and the settings.
        about: of the table, as JSON.
        pending: names of the photos to look at, sorted.
        skipped: how many photos are in the table already.
        touched: name -> stamp of those among them that have a new stamp and the old content.
    """

    digest: str
    about: str
    pending: list[str]
    skipped: int
    touched: dict[str, Stamp] = field(default_factory=dict)

    def chunks(self) -> list[list[str]]:
        """The photos, a part's at a time."""
        return [self.pending[start : start + CHUNK] for start in range(0, len(self.pending), CHUNK)]


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is, as ``torchrun`` tells in the environment."""

    rank: int = 0
    world: int = 1

    @classmethod
    def here(cls) -> Ranks:
        """From RANK and WORLD_SIZE; one process without them.

        Raises:
            ValueError: the two do not go together.
        """
        reported = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
        if not (reported[0].isdigit() and reported[1].isdigit() and int(reported[0]) < int(reported[1])):
            raise ValueError(
                f"RANK={reported[0]} and WORLD_SIZE={reported[1]} do not go together; use torchrun"
            )
        return cls(int(reported[0]), int(reported[1]))

    def mine(self, count: int) -> list[int]:
        """The chunks of ``count`` that fall to this process."""
        return list(range(self.rank, count, self.world))


class ResumableJob:
    """The folder beside a table in which it is made."""

    def __init__(self, table: Path) -> None:
        self.table = table
        self.folder = table.with_name(f".{table.name}.parts")
        self.plan_file = self.folder / "plan.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs off; the lock dies with the process.

        Raises:
            OSError: another run is at work on the same table.
        """
        path = self.table.with_name(f".{self.table.name}.lock")
        with exclusive(path, f"another process is at work on {self.table}; wait for it, or stop it"):
            self.folder.mkdir(exist_ok=True)
            try:
                yield
            finally:
                path.unlink()
                with suppress(OSError):  # holds what a later run goes on from, or is gone already
                    self.folder.rmdir()

    def part(self, number: int) -> Path:
        """Where the rows of a chunk go."""
        return self.folder / f"{number:07d}.parquet"

    def parts(self, folder: Path | None = None) -> list[Path]:
        """The parts that are there, in order; those of a run that was set aside in its folder."""
        return sorted((folder or self.folder).glob("[0-9]*.parquet"))

    def set_aside(self) -> None:
        """Keep what a run left, that was broken off, until another has been done."""
        if self.parts():
            numbers = [0, *(_number(folder) for folder in self.aside())]
            self.folder.rename(self.folder.with_name(f"{self.folder.name}.{max(numbers) + 1}"))
        else:
            self.clear()
        self.folder.mkdir()

    def aside(self) -> list[Path]:
        """The folders of runs that were broken off and set aside, in the order of time."""
        folders = self.folder.parent.glob(f"{glob.escape(self.folder.name)}.[0-9]*")
        return sorted((folder for folder in folders if folder.suffix[1:].isdigit()), key=_number)

    def take_back(self) -> None:
        """Let the last run that was set aside be the one that can be gone on with."""
        if (aside := self.aside()) and self.read_plan() is None:
            self.clear()
            aside[-1].rename(self.folder)

    def read_plan(self, folder: Path | None = None) -> Plan | None:
        """The plan that a run left or another process made; of a run that was set aside, in its folder."""
        plan_file = (folder or self.folder) / self.plan_file.name
        try:
            values: dict[str, Any] = read_object(plan_file)
        except FileNotFoundError:
            return None
        with one_line(plan_file, f"remove {plan_file.parent}, and start again", "is damaged"):
            touched = {name: (s[0], s[1], s[2]) for name, s in values.pop("touched").items()}
            return Plan(**values, touched=touched)

    def write_plan(self, plan: Plan) -> None:
        """Let the other processes begin."""
        write_json(self.plan_file, asdict(plan))

    def put(self, number: int, rows: Any, seen: Sequence[ImageRecord]) -> None:
        """Keep a finished chunk, whole or not at all."""
        write_whole(self.part(number), lambda path: write_part(path, rows, seen))

    def missing(self, plan: Plan) -> list[int]:
        """The chunks that nobody has finished yet."""
        return [number for number in range(len(plan.chunks())) if not self.part(number).exists()]

    def await_parts(self, plan: Plan) -> None:
        """Wait for the parts of the other processes."""
        while self.missing(plan):
            time.sleep(POLL_SECONDS)

    def assemble(self, about: About, plan: Plan, *, shared: bool = False) -> list[ImageRecord]:
        """Merge the parts into the table and clear up; may be broken off and done again.

        What the table knows of a photo that was refused stays. Where all were refused no file is touched.
        Parts of runs that were set aside are merged first.

        Args:
            about: of the table.
            plan: that is done.
            shared: other processes work on it, and learn from the list of photos that it is done.

        Returns:
            The photos of the parts.
        """
        seen = [item for part in self.parts() for item in read_part(part)]
        if seen and all(record.refused for record in seen) and not shared:
            self.clear()
            self.take_back()
            return seen
        for folder in self.aside():
            self._merge_in(about, folder, replace(self.read_plan(folder) or plan, digest=""))
            self.clear(folder)
        self._merge_in(about, self.folder, plan)
        self.clear()
        return seen

    def _merge_in(self, about: About, folder: Path, plan: Plan) -> None:
        """The parts of one folder into the table and its list of photos."""
        parts = self.parts(folder)
        seen = [item for part in parts for item in read_part(part)]
        refused = [record for record in seen if record.refused]
        known = read_ledger(self.table)
        for name, stamp in plan.touched.items():
            if name in known:
                known[name] = _restamped(known[name], stamp)
        if parts or not self.table.exists():
            write_whole(self.folder / "table.parquet", lambda to: merge(self.table, parts, about, to))
            (self.folder / "table.parquet").replace(self.table)
        # nameless: a refused photo is nobody's, so that embed-faces looks at it
        known = {item.path: replace(item, name=None) for item in refused} | known
        known |= {record.path: record for record in seen if not record.refused}
        write_ledger(self.table, known.values(), plan.digest, refused)

    def clear(self, folder: Path | None = None) -> None:
        """Remove the folder; under another name first, so that half of it is never taken for a plan."""
        folder = folder or self.folder
        waste = self.folder.with_name(self.folder.name + ".old")
        shutil.rmtree(waste, ignore_errors=True)
        if folder.exists():
            folder.rename(waste)
        shutil.rmtree(waste, ignore_errors=True)


def _number(folder: Path) -> int:
    """Of a run that was set aside."""
    return int(folder.suffix[1:])


def _restamped(seen: ImageRecord, stamp: Stamp) -> ImageRecord:
    size, modified, changed = stamp
    return ImageRecord(**asdict(seen) | {"bytes": size, "modified_ns": modified, "changed_ns": changed})
