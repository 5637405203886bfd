"""The widths that timm does not name, for timm's registry: ``timm.create_model("mobilenetv1_050")``."""

from __future__ import annotations

from typing import Any

_CFG: dict[str, Any] = {
    "num_classes": 1000, "input_size": (3, 224, 224), "pool_size": (7, 7), "crop_pct": 0.875,
    "interpolation": "bilinear", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5),
    "first_conv": "conv_stem", "classifier": "classifier", "license": "apache-2.0",
}
# timm reads this name in the module of a network that is registered.
default_cfgs = {name: dict(_CFG) for name in ("mobilenetv1_025", "mobilenetv1_050", "mobilenetv1_075")}
__all__ = ["mobilenetv1_025", "mobilenetv1_050", "mobilenetv1_075", "register_timm_models"]


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


def register_timm_models() -> tuple[str, ...]:
    """Give timm the names ``mobilenetv1_025``, ``_050`` and ``_075``, those of them that it does not have.

    It imports timm. Nothing here calls it but :class:`backbone.timm_backbone.TimmBackbone`, where it is asked
    for a network of such a name.

    Returns:
        The names that were new to timm: none at a second call.
    """
    from timm.models import is_model, register_model

    new = tuple(name for name in default_cfgs if not is_model(name))
    for name in new:
        register_model(globals()[name])
    return new
