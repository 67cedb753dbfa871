"""Batch normalisation over a batch that several processes share.

Shapes used below
    B  rows of this process's share  C  values a row
"""

from typing import Any

import torch
from torch import Tensor, nn

from dnalm import ranks


class _Total(torch.autograd.Function):
    """The sum over all processes, whose gradient is the sum of theirs."""

    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        """Return the sums of `values`, of any shape."""
        found = values.clone()
        torch.distributed.all_reduce(found)
        return found

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        """Return the sums of the gradient, likewise."""
        found = gradients[0].contiguous().clone()
        torch.distributed.all_reduce(found)
        return found


class WholeBatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` of rows [B, C] whose mean and variance are those of the rows of all processes."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C] to [B, C]; in training all processes call this together."""
        if not self.training:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            values = x.float()
            rows = values.new_full((1,), len(values))
            sums = _Total.apply(torch.cat([values.sum(0), rows]))  # type: ignore[no-untyped-call]
            count = sums[-1].detach()
            mean = sums[:-1] / count
            centred = values - mean
            variance = _Total.apply(centred.square().sum(0)) / count  # type: ignore[no-untyped-call]
            with torch.no_grad():  # the variance unbiased, as PyTorch's layer remembers it
                self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr, arg-type]
                self.running_var.lerp_(variance * count / (count - 1.0).clamp(min=1.0), self.momentum)  # type: ignore[union-attr, arg-type]
                self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            found: Tensor = centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return found.to(x.dtype)


def normalises(model: nn.Module) -> bool:
    """Tell whether a model looks at the whole batch in training."""
    return any(name.endswith("running_mean") for name, _ in model.named_buffers())


def over_all_processes(model: nn.Module, accumulate: int, smallest: int) -> None:
    """Let the batch normalisation in a model be over the rows of all processes, in place.

    Of micro-batches one after the other each is normalised by its own rows: the whole batch's are never there
    together.

    Args:
        model: changed in place.
        accumulate: micro-batches a step of each process.
        smallest: rows of the smallest batch.

    Raises:
        ValueError: if it cannot be, of another kind of layer, or a micro-batch has too few rows for it.
    """
    world = ranks.place().world
    if world * accumulate == 1 or not normalises(model):
        return
    layers = [module for module in model.modules() if hasattr(module, "running_mean")]
    known = (nn.BatchNorm1d, WholeBatchNorm)
    if not all(type(layer) in known for layer in layers):
        raise ValueError(
            "this model normalises over the whole batch in a layer of its own, which must not be cut into "
            "shares: train it with --accumulate 1, in one process"
        )
    if smallest // (world * accumulate) * world < 2:
        raise ValueError(
            f"the smallest batch has {smallest} rows, too few for {world * accumulate} shares (processes "
            "times micro-batches): this model normalises over at least 2 rows at once; choose another "
            "--batch-size, or a lower --accumulate"
        )
    for layer in layers if world > 1 else []:
        layer.__class__ = WholeBatchNorm
