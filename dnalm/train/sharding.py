"""Tensors that several processes hold a part of each (FSDP), and the whole ones that files hold.

Batch normalisation over a batch that several processes share.

Shapes used below
    B  rows of this process's share  C  values a row
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from dnalm import process
from dnalm.errors import InputError


@contextlib.contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Hold the parameters that are outside lists of layers whole, for calls that go past `module`."""
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(module, FSDPModule):
        yield
        return
    module.unshard()
    try:
        yield
    finally:
        module.reshard()


def gather_full(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors whole and on the CPU to the first process, which saves them, and none to the others.

    All processes call this together, with the same names.
    """
    found = {}
    for name, tensor in tensors.items():
        one = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if process.is_rank_zero():
            found[name] = one.detach().cpu()
    return found


def shard_all(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return this process's part of each whole tensor that is in `wanted` too, and the others whole."""
    return {name: shard(tensor, wanted[name]) if name in wanted else tensor for name, tensor in found.items()}


@torch.no_grad()
def shard(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor on the device of `like`; this process's part, where that is parted alike."""
    tensor = tensor.to(like.device)
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


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


class SyncedBatchNorm(nn.BatchNorm1d):
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


def synchronize_batch_norm(model: nn.Module, accumulate: int, smallest: int) -> None:
    """Let the batch normalisation in a model be over the rows of all processes, in place.

    Of micro-batches one after the other each is normalised by its own rows: the whole batch's are never there
    together.

    Args:
        model: changed in place.
        accumulate: micro-batches a step of each process.
        smallest: rows of the smallest batch.

    Raises:
        InputError: if it cannot be, of another kind of layer, or a micro-batch has too few rows for it.
    """
    world = process.current().world_size
    if world * accumulate == 1 or not normalises(model):
        return
    layers = [module for module in model.modules() if hasattr(module, "running_mean")]
    known = (nn.BatchNorm1d, SyncedBatchNorm)
    if not all(type(layer) in known for layer in layers):
        raise InputError(
            "this model normalises over the whole batch in a layer of its own, which must not be cut into "
            "shares: train it with --accumulate 1, in one process"
        )
    if smallest // (world * accumulate) * world < 2:
        raise InputError(
            f"the smallest batch has {smallest} rows, too few for {world * accumulate} shares (processes "
            "times micro-batches): this model normalises over at least 2 rows at once; choose another "
            "--batch-size, or a lower --accumulate"
        )
    for layer in layers if world > 1 else []:
        layer.__class__ = SyncedBatchNorm
