"""What is wrong with weights, as far as it can be said without torch, which takes seconds to import."""

from __future__ import annotations

import json
from pathlib import Path

from backbone.pretrained import COCO_SSD, REGISTRY
from backbone.storage import MIRRORED, SUFFIX, is_safetensors, local_weights

DESCRIPTION = "mobilenet_apps"  # of files that this program wrote
FACE_HEADS = ("feats", "gender_pred", "age_pred")  # of the face network: a layer with ReLU, and two on it


def check_weights(spec: str, app: str | None = None) -> Path | None:
    """Refuse weights that cannot answer, by their name, by the kind of the file and by its header.

    Args:
        spec: a path or a name.
        app: what they are to answer; None for anything.

    Returns:
        Where they are; None where timm brings them.

    Raises:
        ConnectionError: timm's hub has them and cannot be reached.
        FileNotFoundError: there is no such file, and nothing is known by this name.
        ValueError: the file is of another kind, or brings no head for ``app``.
    """
    path = local_weights(spec)
    if path is None:
        _check_name(spec.removesuffix(SUFFIX))
    elif app is not None and path.is_file() and is_safetensors(path):
        _check_head(path, app)
    return path


def _check_name(name: str) -> None:
    from backbone.reach import check_hub, no_such_name, timm_may_have

    if not timm_may_have(name):
        raise no_such_name(name, MIRRORED)
    if name in REGISTRY:
        check_hub(name, f"timm/{name}")


def _check_head(path: Path, app: str) -> None:
    """What is wrong with the header is said by the reader of the whole file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names, metadata = set(file.keys()), file.metadata() or {}
        described = json.loads(metadata.get(DESCRIPTION, "{}"))
    except (SafetensorError, ValueError):
        return
    if app == "objects" and not ("head" in metadata or described.get("head")):
        raise ValueError(
            f"weights {path.stem} bring no detector: give others, such as {COCO_SSD}, or a run of `finetune "
            "objects`"
        )
    if app == "attributes" and not {f"{head}.weight" for head in FACE_HEADS} <= names:
        raise ValueError(
            f"{path.stem} has no heads {', '.join(FACE_HEADS)}; give the face network, such as "
            "faces_mobilenetv1_1.0_224.safetensors, or a run of finetune attributes"
        )
    if app in ("imagenet", "dogs") and not any(name.endswith("classifier.weight") for name in names):
        raise ValueError(
            f"weights {path.stem} bring no classifier: give others, or a run by --checkpoint RUN"
        )
