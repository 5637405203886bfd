"""When the layers of a training on a CPU leave PyTorch's general path for their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

DTYPES = (torch.float32, torch.bfloat16)


def learning(x: Tensor) -> bool:
    """Whether ``x`` passes a network that learns on a CPU, channels-last, with nobody looking in.

    Tracing, exporting, transforms and counters of operators see PyTorch's own operators.
    """
    return (
        torch.is_grad_enabled() and type(x) in (Tensor, nn.Parameter) and x.device.type == "cpu"
        and x.dtype in DTYPES and x.ndim == 4 and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling() and torch._C._get_tracing_state() is None
        and not torch._C._are_functorch_transforms_active() and not torch._C._len_torch_dispatch_stack()
    )


def laid_out(images: Tensor) -> Tensor:
    """Channels-last where a network learns on a CPU; elsewhere as they are."""
    last = images.contiguous(memory_format=torch.channels_last) if torch.is_grad_enabled() else images
    return last if learning(last) else images


def cast(x: Tensor) -> Tensor:
    """As autocast would give it to a convolution; as it is outside of autocast."""
    return x.to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else x
