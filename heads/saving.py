"""Parts that are saved with what they were made of, and made again: a folder, or a repository of a hub."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

INSTALL = "pip install huggingface_hub"
CONFIG, STATE = "config.json", "model.safetensors"
DTYPES = {name: getattr(torch, name) for name in ("float32", "float64", "int32", "int64", "bool", "uint8")}
SAVED: dict[str, type[Saved]] = {}  # by the name of the class


class Saved(nn.Module):
    """A module that remembers the arguments it was made with, so that a folder can hold all of it.

    ``save_pretrained`` writes ``config.json`` and ``model.safetensors``; ``from_pretrained`` reads them, from
    a folder or from a repository of Hugging Face's hub, for which huggingface_hub is imported.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A class is known by its name."""
        super().__init_subclass__(**kwargs)
        SAVED[cls.__name__] = cls

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """The arguments are kept."""
        made = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind_partial(made, *args, **kwargs)
        # nn.Module has not set itself up yet; copies and pickles bring their own.
        made.__dict__["given"] = dict(list(bound.arguments.items())[1:])
        return made

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write what it was made of and its state; returns the folder, which is made where it is missing.

        Raises:
            OSError: the folder cannot be written.
            TypeError: an argument is of a kind that JSON and this class cannot hold.
        """
        from safetensors.torch import save_file

        place = Path(folder)
        arguments = _plain(self.__dict__["given"])
        config = json.dumps({"head": type(self).__name__, "arguments": arguments}, indent=1)
        place.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, place / STATE)
        (place / CONFIG).write_text(config + "\n", encoding="utf-8")
        return place

    @classmethod
    def from_pretrained(cls, source: str | Path, *, revision: str | None = None) -> Self:
        """The part of a folder that ``save_pretrained`` wrote, or of a repository ``USER/NAME``.

        Args:
            source: a folder, or the name of a repository.
            revision: a branch, a tag or a commit of the repository.

        Raises:
            FileNotFoundError: the folder has no such files.
            ImportError: it is a repository, and huggingface_hub is not installed.
            ValueError: it holds another class, or a state that does not fit.
        """
        from safetensors.torch import load_file

        place = Path(source) if Path(source).is_dir() else from_hub(str(source), revision)
        if not (place / CONFIG).is_file():
            raise FileNotFoundError(f"{place / CONFIG} is missing; give a folder that save_pretrained wrote")
        try:
            config = json.loads((place / CONFIG).read_text(encoding="utf-8"))
            kind = SAVED[config["head"]]
            arguments = _parts(config["arguments"])
        except (KeyError, TypeError, ValueError) as err:
            raise ValueError(f"{place / CONFIG} is of no head that there is here") from err
        if not issubclass(kind, cls):
            raise ValueError(f"{place} holds a {kind.__name__}, not a {cls.__name__}")
        made = kind(**arguments)
        try:
            made.load_state_dict(load_file(place / STATE))
        except RuntimeError as err:
            raise ValueError(f"{place / STATE} does not fit {CONFIG}: {' '.join(str(err).split())}") from err
        return made

    def push_to_hub(self, repo_id: str, *, private: bool = True, token: str | None = None) -> str:
        """Send it to a repository of the hub, which is made where it is missing; returns the address.

        Raises:
            ImportError: huggingface_hub is not installed.
            OSError: the hub does not answer, or refuses.
        """
        import tempfile

        hub = _hub()
        api = hub.HfApi(token=token)
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            api.upload_folder(repo_id=repo_id, folder_path=str(self.save_pretrained(folder)))
        return str(address)


def from_hub(repo_id: str, revision: str | None) -> Path:
    """A folder with the two files of a repository.

    Raises:
        FileNotFoundError: it is neither a folder nor the name of a repository.
        ImportError: huggingface_hub is not installed.
    """
    if repo_id.count("/") != 1 or repo_id.startswith((".", "/", "~")):
        raise FileNotFoundError(f"{repo_id} is neither a folder nor a repository USER/NAME")
    return Path(_hub().snapshot_download(repo_id, revision=revision, allow_patterns=[CONFIG, STATE]))


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as err:
        raise ImportError(f"the hub needs a package that is not here; run: {INSTALL}") from err
    return huggingface_hub


def _plain(value: Any) -> Any:
    """An argument as JSON holds it."""
    if isinstance(value, Saved):
        return {"part": type(value).__name__, "arguments": _plain(value.__dict__["given"])}
    if isinstance(value, Tensor):
        return {"tensor": value.tolist(), "dtype": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    what = type(value).__name__
    raise TypeError(f"an argument of type {what} cannot be saved; give numbers, text or tensors")


def _parts(value: Any) -> Any:
    """The inverse of ``_plain``; tuples come back as lists."""
    if isinstance(value, list):
        return [_parts(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"part", "arguments"}:
        return SAVED[value["part"]](**_parts(value["arguments"]))
    if value.keys() == {"tensor", "dtype"}:
        return torch.tensor(value["tensor"], dtype=DTYPES[value["dtype"]])
    return {key: _parts(item) for key, item in value.items()}
