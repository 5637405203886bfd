"""``python -m benchmarks [NAME [options]]``: one benchmark, or all of them one after the other."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.machine import NoDeviceError

# name -> module with add_options(parser) and run(options); strings, so that help imports no torch.
BENCHMARKS = {
    "family": "benchmarks.family", "speed": "benchmarks.speed", "precision": "benchmarks.precision",
    "places": "benchmarks.places", "attributes": "benchmarks.attributes",
    "objects": "benchmarks.objects", "detectors": "benchmarks.detectors",
    "faces": "benchmarks.faces", "faces-search": "benchmarks.faces_search",
    "search-size": "benchmarks.search_size",
    "face-detectors": "benchmarks.face_detectors", "face-clusters": "benchmarks.face_clusters",
    "heads": "benchmarks.heads", "no-dog": "benchmarks.no_dog", "sex-and-age": "benchmarks.sex_and_age",
    "export": "benchmarks.export", "formats": "benchmarks.formats", "cache": "benchmarks.cache",
    "check": "benchmarks.check",
    "cluster": "benchmarks.cluster", "shards": "benchmarks.shards",
    "exchange": "benchmarks.exchange", "gpu": "benchmarks.gpu", "album": "benchmarks.album",
    "slices": "benchmarks.slices", "students": "benchmarks.students",
}

INPUTS = ("data", "photos", "weights_folder", "checkpoint", "onnx")  # options that name what must be there


def parser_of(name: str) -> argparse.ArgumentParser:
    """What reads the words that follow a benchmark's name."""
    module = import_module(BENCHMARKS[name])
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=module.__doc__)
    module.add_options(parser)
    return parser


def run_one(name: str, words: list[str]) -> None:
    """Run a benchmark with the words that follow its name; wrong weights and data are refused at once."""
    options = parser_of(name).parse_args(words)
    check_inputs(options)
    import_module(BENCHMARKS[name]).run(options)


def check_inputs(options: argparse.Namespace) -> None:
    """Refuse weights and folders that are not there, before minutes of work.

    Raises:
        OSError: something is missing; the message names it.
        ValueError: the weights are a file of another kind.
    """
    for name in INPUTS:
        path = getattr(options, name, None)
        if isinstance(path, Path) and not path.exists():
            raise FileNotFoundError(f"--{name.replace('_', '-')} {path} does not exist")
    if getattr(options, "weights", None) is not None:
        from backbone.weights import locate_weights

        locate_weights(str(options.weights))


def main(words: list[str]) -> int:
    """Run what the command line names; returns the exit code: 0, 1 (a run failed), 2 (usage, no device)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=list(BENCHMARKS), help="which benchmark; without it, all")
    options = parser.parse_args(words[:1])
    try:
        for name in [options.name] if options.name else BENCHMARKS:
            try:
                run_one(name, words[1:])
            except NoDeviceError as err:
                sys.stderr.write(f"error: {err}\n")
                if options.name:
                    return 2
    except (OSError, ValueError) as err:
        sys.stderr.write(f"error: {' '.join(str(err).split())}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
