"""A backbone as a folder that others can take; Hugging Face's hub, whose package is imported on use."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from backbone.base import Backbone
from backbone.weights import WeightsInfo

INSTALL = "pip install huggingface_hub"
CONFIG, STATE = "config.json", "model.safetensors"
# What is taken from a repository: no pickles, no code.
TAKEN = ("*.json", "*.safetensors", "*.onnx", "*.md", "*.txt")


def write_backbone(network: Backbone, folder: Path, *, name: str, licence: str) -> Path:
    """Write a MobileNetV1 as a training writes its own into a run, without a head.

    Raises:
        OSError: the folder cannot be written.
    """
    arguments: dict[str, Any] = getattr(network, "arguments", {})
    info = WeightsInfo(name, arguments=arguments, preprocessing=network.preprocessing, licence=licence)
    folder.mkdir(parents=True, exist_ok=True)
    state = {f"backbone.{key}": value.contiguous() for key, value in network.state_dict().items()}
    save_file(state, folder / STATE)
    text = json.dumps({"backbone": info.to_dict()}, indent=1)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    return folder


def hub_folder(repo_id: str, revision: str | None = None, *, to: Path | None = None) -> Path:
    """The files of a repository that hold weights, fetched once.

    Args:
        repo_id: ``USER/NAME``.
        revision: a branch, a tag or a commit; None is the newest.
        to: folder to put them into; None is the hub's own cache.

    Raises:
        ConnectionError: the hub cannot be reached.
        FileNotFoundError: there is no such repository, or it is not open to this user.
        ImportError: huggingface_hub is not installed.
        ValueError: the name is none of a repository.
    """
    hub = hub_package()
    errors = hub.errors
    _check_name(repo_id)
    try:
        place = hub.snapshot_download(repo_id, revision=revision, local_dir=to, allow_patterns=list(TAKEN))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.GatedRepoError) as err:
        what = repo_id if revision is None else f"{repo_id} at {revision}"
        raise FileNotFoundError(
            f"the hub has no {what} that is open to you; for a private one log in: hf auth login"
        ) from err
    except Exception as err:  # of the client's own library for HTTP, too, which has changed before
        raise ConnectionError(_line(f"{repo_id} could not be fetched", err)) from err
    return Path(place)


def push_folder(
    folder: Path, repo_id: str, *, private: bool = True, token: str | None = None, message: str | None = None
) -> str:
    """Send the files of a folder to a repository, which is made where it is missing; returns its address.

    Raises:
        ConnectionError: the hub cannot be reached, or refuses: without a token, for one.
        ImportError: huggingface_hub is not installed.
        ValueError: the name is none of a repository.
    """
    hub = hub_package()
    _check_name(repo_id)
    api = hub.HfApi(token=token)
    try:
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=str(folder), commit_message=message or "Add weights")
    except Exception as err:  # as above
        raise ConnectionError(_line(f"{repo_id} could not be sent", err)) from err
    return str(address)


def hub_package() -> Any:
    """huggingface_hub.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as err:
        raise ImportError(f"the hub needs a package that is not here; run: {INSTALL}") from err
    return huggingface_hub


def _check_name(repo_id: str) -> None:
    """Refuse what is no name of a repository before anything is asked of the hub.

    Raises:
        ValueError: see above.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo_id):
        raise ValueError(f"{repo_id!r} is no name of a repository; give USER/NAME")


def _line(what: str, err: Exception) -> str:
    """One line of what happened; the hub's own messages have several."""
    text = str(err)
    first = next((line for line in text.splitlines() if line.strip()), type(err).__name__)
    advice = "; log in first: hf auth login" if "401" in text or "oken" in text else ""
    return f"{what}: {first.strip()}{advice}"
