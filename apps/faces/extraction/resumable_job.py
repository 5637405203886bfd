"""The parts of an unfinished table, in a folder beside it, and the lock on both."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from apps.engine.core.files import exclusive, write_whole
from apps.engine.scale.parts import PartsFolder
from apps.faces.extraction.manifest import read_ledger, write_ledger
from apps.faces.extraction.table import About, ImageRecord, merge, read_records


class ResumableJob:
    """The folder beside a table in which it is made; runs that were broken off may have left parts there."""

    def __init__(self, table: Path) -> None:
        self.table = table
        self.folder = table.with_name(f".{table.name}.parts")

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

    def names(self) -> list[str]:
        """The whole parts that are there: by run in the order of time, and in the order of the photos."""
        parts = PartsFolder(str(self.folder))
        return [name for name in parts.names() if parts.part(name) is not None]

    def records(self, names: Iterable[str]) -> list[ImageRecord]:
        """The photos of some parts."""
        return [record for name in names for record in read_records(self.folder / name)]

    def assemble(
        self, about: About, names: Sequence[str], seen: Sequence[ImageRecord], touched: Sequence[ImageRecord]
    ) -> None:
        """Merge all parts into the table, those of this run last, and clear up; may be done again.

        What the table knows of a photo that was refused stays. Where all were refused only the parts of this
        run are removed.

        Args:
            about: of the table.
            names: the parts of this run.
            seen: their photos.
            touched: photos that are known, with their new stamps.
        """
        mine = set(names)
        others = [name for name in self.names() if name not in mine]
        if seen and all(record.refused for record in seen):
            PartsFolder(str(self.folder)).remove(names)
            if not others:
                self.clear()
            return
        parts = [self.folder / name for name in (*others, *names)]
        known = read_ledger(self.table)
        if parts or not self.table.exists():
            whole = self.folder / "table.parquet"  # so that half of it goes with the folder
            write_whole(whole, lambda to: merge(self.table, parts, about, to))
            whole.replace(self.table)
        known |= {item.path: item for item in self.records(others) if not item.refused}
        known |= {item.path: item for item in touched}
        refused = [item for item in seen if item.refused]
        # nameless: a refused photo is nobody's, so that embed-faces looks at it
        known = {item.path: replace(item, name=None) for item in refused} | known
        known |= {item.path: item for item in seen if not item.refused}
        write_ledger(self.table, known.values(), refused)
        self.clear()

    def clear(self) -> None:
        """Remove the folder; under another name first, so that half of it is never gone on with."""
        waste = self.folder.with_name(f"{self.folder.name}.old")
        shutil.rmtree(waste, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(waste)
        shutil.rmtree(waste, ignore_errors=True)
