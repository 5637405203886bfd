"""`make fuzz`: feed every reader of outside files with damaged ones, and say what went wrong."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.catalogue import all_readers
from fuzz.outcome import CRASH, HANG, READ, REFUSED, UNFORESEEN, outcome_of
from fuzz.runner import BAD, Reader, Tally, check_seeds, fuzz

COLUMNS = (READ, REFUSED, UNFORESEEN, CRASH, HANG)


def main() -> int:
    """The number of readers that failed, at most 100."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="in all")
    parser.add_argument("--count", type=int, help="files a reader, however long it takes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", action="append", default=[], help="only those whose name holds this")
    parser.add_argument(
        "--show", type=int, help="read this one file in this process, and print what came of it"
    )
    parser.add_argument("--crashes", action="store_true", help="fail for crashes and hangs alone")
    parser.add_argument("--list", action="store_true", help="print the readers' names")
    asked, began = parser.parse_args(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        os.environ["MOBILENET_APPS_CACHE"] = f"{folder}/cache"
        readers = [
            reader
            for reader in all_readers(Path(folder))
            if not asked.reader or any(part in reader.name for part in asked.reader)
        ]
        if asked.list:
            print("\n".join(reader.name for reader in readers))
            return 0
        if asked.show is not None:
            return _show(readers[0], asked.seed, asked.show)
        fatal = (CRASH, HANG) if asked.crashes else BAD
        return _run(readers, asked.seed, began + asked.seconds, asked.count, fatal)


def _run(
    readers: list[Reader], seed: int, end: float, count: int | None, fatal: tuple[str, ...]
) -> int:
    failed = 0
    print(f"seed {seed}")
    print(f"{'reader':28}{'files':>8}" + "".join(f"{name:>12}" for name in COLUMNS), flush=True)
    for number, reader in enumerate(readers):
        check_seeds(reader)
        share = (end - time.monotonic()) / (len(readers) - number)
        tally = fuzz(reader, seed=seed, seconds=max(share, 0.2) if count is None else 1e6, count=count)
        failed += any(tally.counts[what] for what in fatal)
        _print(tally)
    return min(failed, 100)


def _print(tally: Tally) -> None:
    total = sum(tally.counts.values())
    print(f"{tally.reader:28}{total:8}" + "".join(f"{tally.counts[name]:12}" for name in COLUMNS), flush=True)
    for (what, where), times in tally.numbers.most_common():
        first, said = tally.bad[what, where]
        print(f"  {what} x{times}, first --reader '{tally.reader}' --show {first}: {where}")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        print("    " + " | ".join(line[:160] for line in (*lines[:1], *lines[-1:])), flush=True)


def _show(reader: Reader, seed: int, number: int) -> int:
    data = reader.mutant(seed, number)
    reader.target.write_bytes(data)
    print(repr(data) if len(data) < 4000 else f"{data[:2000]!r} ... ({len(data)} bytes)")
    result = outcome_of(lambda: reader.read(reader.target), reader.target)
    print(result.what, result.where, result.text, sep="\n")
    return int(result.what in BAD)


if __name__ == "__main__":
    sys.exit(main())
