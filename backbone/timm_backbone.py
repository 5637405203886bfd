"""Any network of timm behind the contract of a backbone."""

from __future__ import annotations

from typing import Any

import timm
from torch import Tensor, nn

from backbone.base import Backbone, Preprocessing
from backbone.timm_models import default_cfgs, register_timm_models


class TimmBackbone(Backbone):
    """Maps of any timm network, by stride; normalised as that network's own configuration says.

    Networks without a pyramid (vision transformers, mixers) give one map, at their patch size.
    A network that pads nothing (Inception V3) gives maps a little below ceil(H / stride).

    Args:
        name: a timm model name, with its weights' tag where wanted: ``resnet18.a1_in1k``.
        pretrained: load timm's weights through its own hub loader, which downloads them once.
        options: passed on to ``timm.create_model``, such as ``img_size``.

    Shape:
        images: (B, 3, H, W) in [0, 1].
        returns: {stride: (B, channels[stride], H', W')}, channels first.

    Raises:
        ValueError: timm has no network of that name, or it cannot give feature maps.
    """

    def __init__(self, name: str, *, pretrained: bool = False, **options: Any) -> None:
        if name in default_cfgs:
            register_timm_models()
        try:
            net = timm.create_model(name, pretrained=pretrained, features_only=True, **options)
        except (AttributeError, NotImplementedError) as err:
            raise ValueError(f"timm's {name!r} cannot give feature maps: {err}") from err
        except RuntimeError as err:
            if "nknown model" not in str(err) and "tag" not in str(err):
                raise
            raise ValueError(
                f"timm has no network called {name!r}: {err}; timm.list_models() names them"
            ) from err
        super().__init__(preprocessing_of(net.pretrained_cfg))
        self.name = name
        self.net: nn.Module = net
        self.map_strides: list[int] = net.feature_info.reduction()
        self.channels = dict(zip(self.map_strides, net.feature_info.channels(), strict=True))
        formats = [str(getattr(net, "output_fmt", "NCHW"))] * len(self.map_strides)
        self.channels_last = [fmt.rpartition(".")[2] == "NHWC" for fmt in formats]

    def features(self, normalised: Tensor) -> dict[int, Tensor]:
        """Maps by stride; a stride met twice keeps the deeper map."""
        maps = self.net(normalised)
        return {
            stride: features.permute(0, 3, 1, 2) if last else features
            for stride, features, last in zip(self.map_strides, maps, self.channels_last, strict=True)
        }


def preprocessing_of(cfg: dict[str, Any]) -> Preprocessing:
    """Our :class:`Preprocessing` from timm's ``pretrained_cfg``."""
    return Preprocessing.from_dict({
        "mean": cfg["mean"], "std": cfg["std"], "resolution": cfg["input_size"][-1], "crop": cfg["crop_pct"],
    })
