"""The widths that timm does not name, in timm's registry: ``timm.create_model("mobilenetv1_050")``.

``import backbone`` does not import timm, which takes seconds: where timm is there already the names
are registered at once, and else as soon as somebody imports it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_CFG: dict[str, Any] = {
    "num_classes": 1000, "input_size": (3, 224, 224), "pool_size": (7, 7), "crop_pct": 0.875,
    "interpolation": "bilinear", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5),
    "first_conv": "conv_stem", "classifier": "classifier", "license": "apache-2.0",
}
# timm reads this name in the module of a network that is registered.
default_cfgs = {name: dict(_CFG) for name in ("mobilenetv1_025", "mobilenetv1_050", "mobilenetv1_075")}
__all__ = ["mobilenetv1_025", "mobilenetv1_050", "mobilenetv1_075", "offer_to_timm", "register"]


def mobilenetv1_025(pretrained: bool = False, **options: Any) -> Any:
    """timm's MobileNetV1 at width 0.25; see :func:`_build`."""
    return _build("mobilenetv1_025", 0.25, pretrained, options)


def mobilenetv1_050(pretrained: bool = False, **options: Any) -> Any:
    """timm's MobileNetV1 at width 0.5; see :func:`_build`."""
    return _build("mobilenetv1_050", 0.5, pretrained, options)


def mobilenetv1_075(pretrained: bool = False, **options: Any) -> Any:
    """timm's MobileNetV1 at width 0.75; see :func:`_build`."""
    return _build("mobilenetv1_075", 0.75, pretrained, options)


def _build(name: str, width: float, pretrained: bool, options: dict[str, Any]) -> Any:
    """timm's own network, with all that ``timm.create_model`` takes.

    ``pad_type`` is ``same`` where it is not given, as the weights that exist at these widths are
    TensorFlow's; ``symmetric`` pads as timm's own ``mobilenetv1_100`` does. Weights come from a file:
    ``pretrained=True, pretrained_cfg_overlay={"file": "mobilenetv1_0.25_128.safetensors"}``.
    """
    from timm.models.efficientnet import _gen_mobilenet_v1

    return _gen_mobilenet_v1(name, width, pretrained=pretrained, **{"pad_type": "same", **options})


def register() -> tuple[str, ...]:
    """Give timm the names that it does not have; imports timm.

    Returns:
        The names that were new to timm: none at a second call, and none that timm has itself.
    """
    from timm.models import is_model, register_model

    new = tuple(name for name in default_cfgs if not is_model(name))
    for name in new:
        register_model(globals()[name])
    return new


def offer_to_timm() -> None:
    """Register now if timm is imported already, else right after its first import."""
    if "timm" in sys.modules:
        _try_to_register()
    elif not any(isinstance(one, _AfterTimm) for one in sys.meta_path):
        sys.meta_path.insert(0, _AfterTimm())


def _try_to_register() -> None:
    """A timm that is too old must not break its own import, nor ours."""
    try:
        register()
    except (ImportError, AttributeError) as err:
        warnings.warn(f"timm does not take mobilenetv1_025, _050 and _075: {err}", stacklevel=3)


class _AfterTimm(MetaPathFinder):
    """Finds timm as the other finders do, and registers once its module has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "timm":
            return None
        others = [one for one in sys.meta_path if one is not self and hasattr(one, "find_spec")]
        found = (one.find_spec(fullname, path, target) for one in others)
        spec = next((one for one in found if one is not None), None)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_register(module: ModuleType) -> None:
            run(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                _try_to_register()

        spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec
