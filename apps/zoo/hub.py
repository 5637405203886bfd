"""``weights push`` and ``pull``: runs and files of weights by Hugging Face's hub, with a model card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import Any

from backbone.exchange import hub_folder, hub_package, push_folder
from backbone.weights import Weights, load_weights

CONFIG, CARD = "config.json", "README.md"
SENT = ("model.safetensors", "model.onnx")  # of a run, beside its configuration
PIPELINES = {
    "dogs": "image-classification", "imagenet": "image-classification", "attributes": "image-classification",
    "objects": "object-detection", "faces": "image-feature-extraction", "places": "image-classification",
}
MARK = Path(".cache", "huggingface")  # what the hub's client leaves in a folder that it filled


def push_weights(
    source: str, repo_id: str, *, licence: str | None = None, public: bool = False
) -> dict[str, Any]:
    """Send a run's network, or a file of weights, to a repository of the hub.

    Photos, reports and the state of the training stay here; paths in the configuration become names.

    Args:
        source: a run's folder, a ``.safetensors`` file, or the name of weights that are here.
        repo_id: ``USER/NAME``; made where it is missing.
        licence: of the weights, as an SPDX name; None takes what they say.
        public: whether everybody may see a repository that is made.

    Returns:
        ``{"repo", "url", "files", "bytes", "licence"}``.

    Raises:
        ConnectionError: the hub cannot be reached, or refuses.
        FileNotFoundError: there are no such weights.
        ImportError: huggingface_hub is not installed.
        ValueError: the weights are damaged, or ``repo_id`` is no name.
    """
    hub_package()
    weights, place = load_weights(source), Path(source)
    with TemporaryDirectory() as name:
        folder = Path(name)
        config: dict[str, Any] = {}
        stated = licence or weights.info.licence
        if place.is_dir():
            config = without_paths(json.loads((place / CONFIG).read_text(encoding="utf-8")))
            for part in SENT:
                if (place / part).is_file():
                    shutil.copy(place / part, folder / part)
            config["backbone"]["licence"] = stated
            (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        else:
            from backbone.weights import locate_weights

            file = locate_weights(source)
            if file is None:
                raise ValueError(f"{source} is timm's: it is on the hub already; fetch it by that name")
            shutil.copy(file, folder / f"{file.stem}.safetensors")
        (folder / CARD).write_text(model_card(repo_id, weights, config, stated), encoding="utf-8")
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        url = push_folder(folder, repo_id, private=not public, message="Add weights and their card")
    return {
        "repo": repo_id, "url": url, "files": list(sizes), "bytes": sum(sizes.values()), "licence": stated,
    }


def pull_weights(repo_id: str, to: Path | None = None, *, revision: str | None = None) -> dict[str, Any]:
    """Fetch a repository's weights into a folder; no pickle and no code is taken.

    Args:
        repo_id: ``USER/NAME``.
        to: the folder; None is NAME, here. One that another download filled is brought up to date.
        revision: a branch, a tag or a commit; None is the newest.

    Returns:
        ``{"repo", "out", "weights", "files", "licence", "source"}``; ``weights`` is what ``--weights`` takes,
        and of a run ``--checkpoint``.

    Raises:
        ConnectionError: the hub cannot be reached.
        FileExistsError: the folder holds something else.
        FileNotFoundError: there is no such repository.
        ImportError: huggingface_hub is not installed.
        ValueError: it holds no weights of a MobileNetV1, or damaged ones.
    """
    out = to or Path(repo_id.rpartition("/")[2])
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARK).is_dir())):
        raise FileExistsError(f"{out} is there already; give another folder as --to")
    hub_folder(repo_id, revision, to=out)
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    files = [name for name in files if not name.startswith(".cache/")]
    weights = _weights_in(repo_id, out, files)
    info = load_weights(weights).info
    return {
        "repo": repo_id, "out": str(out), "weights": str(weights), "files": files, "licence": info.licence,
        "source": info.source,
    }


def _weights_in(repo_id: str, out: Path, files: list[str]) -> Path:
    """A run's folder, or the only file of weights.

    Raises:
        ValueError: there is neither.
    """
    if {CONFIG, SENT[0]} <= set(files):
        return out
    tensors = [name for name in files if name.endswith(".safetensors")]
    if len(tensors) != 1:
        raise ValueError(
            f"{repo_id} holds {len(tensors)} files of weights and no run; expected config.json with "
            "model.safetensors, or a single .safetensors file"
        )
    return out / tensors[0]


def without_paths(value: Any) -> Any:
    """A configuration in which paths of this machine are the names of their files."""
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    if isinstance(value, str):
        for kind in (PurePosixPath, PureWindowsPath):
            if kind(value).is_absolute() and "\n" not in value:
                return kind(value).name
    return value


def model_card(repo_id: str, weights: Weights, config: dict[str, Any], licence: str) -> str:
    """The page of a repository: what the hub reads, then what a reader wants to know.

    Args:
        repo_id: ``USER/NAME``.
        weights: what is sent.
        config: of the run; empty for weights alone.
        licence: of the weights.
    """
    info, app = weights.info, config.get("app", "")
    pipeline = PIPELINES.get(app, "image-classification" if info.classes else "image-feature-extraction")
    head = f" with a head of `{app}`" if app else ""
    lines = [
        "---", f"license: {licence.lower()}" if licence != "unknown" else "license: other",
        "library_name: mobilenet-apps", f"pipeline_tag: {pipeline}", "tags: [mobilenet, mobilenetv1]",
        "---", "",
        f"# {repo_id.rpartition('/')[2]}", "",
        f"A {info.arch} {_arguments(info.arguments)} at {info.preprocessing.resolution} px{head}.",
        "",
        "```console", f"$ python cli.py weights pull {repo_id} --to model",
        f"$ python cli.py predict photo.jpg --{'checkpoint model' if config else 'weights model/FILE'}",
        "```", "",
        "## Licence and origin", "", f"- Licence of the weights: {licence}. Source: {info.source}.",
    ]
    classes = list(config.get("classes") or info.classes)
    if classes:
        shown = ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" if len(classes) > 20 else "")
        lines += ["", "## Classes", "", shown]
    if config.get("metrics"):
        photos = config.get("data", {}).get("val") or "its"
        lines += [
            "", "## Figures", "", f"On {photos} validation images, by its own training:", "",
            "| metric | value |", "|---|---|",
            *(f"| {name} | {value:.4g} |" for name, value in config["metrics"].items() if value is not None),
        ]
    return "\n".join([*lines, ""])


def _arguments(arguments: Any) -> str:
    return "(" + ", ".join(f"{name} {value}" for name, value in arguments.items()) + ")"
