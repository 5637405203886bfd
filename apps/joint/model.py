"""A backbone with the heads of several tasks, the tasks' loss weights and their batch-norm statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from heads import Head, MultiHead

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class _Statistics(nn.Module):
    """A copy of the statistics of some batch-norm layers."""

    def __init__(self, norms: list[nn.Module]) -> None:
        super().__init__()
        for place, norm in enumerate(norms):
            for name in STATISTICS:
                self.register_buffer(f"{name}_{place}", getattr(norm, name).clone())


class JointModel(MultiHead):
    """:class:`MultiHead` whose tasks may have batch-norm statistics and loss weights of their own.

    Args:
        backbone: shared.
        heads: by task.
        weights: of the tasks' losses.
        learned: learn the weights instead.
        apart: keep batch-norm statistics apart by task; scales and shifts are shared.

    Raises:
        ValueError: a task has a name that PyTorch's containers keep for themselves.

    Source:
        Kendall et al. 2018, "Multi-task learning using uncertainty to weigh losses", equations 7 and 10.
    """

    active: Tensor

    def __init__(
        self, backbone: nn.Module, heads: Mapping[str, Head], *, weights: Mapping[str, float],
        learned: bool = False, apart: bool = False,
    ) -> None:
        taken = [name for name in heads if hasattr(nn.ModuleDict(), name)]
        if taken:
            raise ValueError(f"a task cannot be called {taken[0]!r} here; name it otherwise: NAME=APP")
        super().__init__(backbone, heads)
        self.weights, self.names = dict(weights), list(heads)
        self.log_variance = nn.ParameterDict({name: torch.zeros(()) for name in heads} if learned else {})
        self.norms = [
            module for module in backbone.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None
        ]
        self.apart = nn.ModuleDict({name: _Statistics([*self.norms]) for name in heads} if apart else {})
        self.register_buffer("active", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor, want: Iterable[str] | None = None) -> dict[str, Any]:
        """Outputs of the heads in ``want``, which are of one task where statistics are kept apart."""
        names = self.names if want is None else list(want)
        if len(names) == 1:
            self.switch(names[0])
        return super().forward(images, names)

    @torch.no_grad()
    def switch(self, name: str) -> None:
        """Put a task's statistics into the backbone, and keep those of the task before."""
        number = self.names.index(name)
        if not self.apart or int(self.active) == number:
            return
        before, after = self.apart[self.names[int(self.active)]], self.apart[name]
        for place, norm in enumerate(self.norms):
            for statistic in STATISTICS:
                current: Tensor = getattr(norm, statistic)
                getattr(before, f"{statistic}_{place}").copy_(current)
                current.copy_(getattr(after, f"{statistic}_{place}"))
        self.active.fill_(number)

    def weigh(self, name: str, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A task's terms as ``TASK/TERM``, times its weight.

        A learned weight is 1 / variance; the term ``TASK/uncertainty``, half the log of the variance, keeps
        it from going to 0.
        """
        if not self.log_variance:
            return {f"{name}/{key}": self.weights[name] * term for key, term in terms.items()}
        log_variance = self.log_variance[name]
        weighed = {f"{name}/{key}": torch.exp(-log_variance) * term for key, term in terms.items()}
        return weighed | {f"{name}/uncertainty": log_variance / 2}

    def current_weights(self) -> dict[str, float]:
        """The tasks' weights as they are now."""
        if not self.log_variance:
            return dict(self.weights)
        return {name: float(torch.exp(-value.detach())) for name, value in self.log_variance.items()}
