"""The schemas of docs/schemas, and a line of an answer held against one."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from support import ROOT

FOLDER = ROOT / "docs" / "schemas"
OTHERS = {"model-card.schema"}  # of files, not of what a command prints


def schemas() -> list[str]:
    """Their names."""
    return sorted({path.stem for path in FOLDER.glob("*.json")} - OTHERS)


@cache
def schema(name: str) -> dict[str, Any]:
    """As it stands in the file."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content


def closed(value: Any) -> Any:
    """A schema in which an object has the keys that are named, and no others."""
    if isinstance(value, list):
        return [closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {key: closed(item) for key, item in value.items()}
    named = isinstance(value.get("properties"), dict) and "type" in value
    return {"additionalProperties": False, **inner} if named else inner


def check(name: str, line: dict[str, Any], *, strict: bool = False) -> None:
    """Hold a line against a schema.

    Args:
        name: of the schema.
        line: of an answer.
        strict: keys that the schema does not name are wrong, too.

    Raises:
        AssertionError: it does not fit.
    """
    errors = list(_validator(name, strict).iter_errors(line))
    told = "; ".join(f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in errors)
    assert not errors, f"{name}: {told}"


@cache
def _validator(name: str, strict: bool) -> Draft202012Validator:
    return Draft202012Validator(closed(schema(name)) if strict else schema(name))
