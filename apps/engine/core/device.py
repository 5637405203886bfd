"""Where a network computes: the processor, or a GPU that PyTorch can use."""

from __future__ import annotations

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")


def choose_device(asked: str = "auto") -> str:
    """The name of a device of PyTorch's.

    Args:
        asked: one of :data:`DEVICES`; ``auto`` takes the first GPU that is there, else the processor.

    Raises:
        ValueError: there is no such device here; the message names those that there are.
    """
    there = available_devices()
    if asked == "auto":
        return there[-1]
    if asked not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {asked!r}")
    if asked not in there:
        raise ValueError(f"there is no device {asked!r} here; there are: {', '.join(there)}")
    return asked


def available_devices() -> list[str]:
    """``cpu`` and the kinds of GPU that PyTorch can use, the preferred one last."""
    import torch

    there = {
        "mps": torch.backends.mps.is_available(), "xpu": torch.xpu.is_available(),
        "cuda": torch.cuda.is_available(),
    }
    return ["cpu", *(name for name, value in there.items() if value)]
