"""Models over several processes: tensors sharded by FSDP, and batch normalisation over the full batch.

Shapes used below
    B  rows in this process    C  values per row
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.distributed.tensor import DTensor, distribute_tensor

from dnalm import process
from dnalm.errors import InputError


@contextlib.contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Gather the parameters outside of layer lists, for calls that bypass `module`'s forward."""
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(module, FSDPModule):
        yield
        return
    module.unshard()
    yield
    module.reshard()


def gather_full(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return full tensors on the CPU in the first process, which saves them, and none in the others.

    All processes call this together, with the same names.
    """
    full = {}
    for name, tensor in tensors.items():
        one = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if process.is_rank_zero():
            full[name] = one.detach().cpu()
    return full


@torch.no_grad()
def shard(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a full tensor on the device of `like`, sharded as it is if it has the same shape."""
    tensor = tensor.to(like.device)
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


class SyncedBatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` of rows [B, C] with mean and variance over the rows of all processes.

    PyTorch's SyncBatchNorm runs on CUDA only.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C] to [B, C]; in training all processes call this together."""
        if not self.training:
            return super().forward(x)
        layer: Any = self  # its statistics are tracked
        with torch.autocast(x.device.type, enabled=False):
            values = x.float()
            rows = values.new_full((1,), len(values))
            sums = all_reduce(torch.cat([values.sum(0), rows]))  # type: ignore[no-untyped-call]
            count = sums[-1].detach()
            mean = sums[:-1] / count
            centred = values - mean
            variance = all_reduce(centred.square().sum(0)) / count  # type: ignore[no-untyped-call]
            with torch.no_grad():  # the running variance is unbiased, as in PyTorch's layer
                layer.running_mean.lerp_(mean, layer.momentum)
                layer.running_var.lerp_(variance * count / (count - 1.0).clamp(min=1.0), layer.momentum)
                layer.num_batches_tracked.add_(1)
            normalised: Tensor = centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return normalised.to(x.dtype)


def synchronize_batch_norm(model: nn.Module, accumulate: int, smallest: int) -> None:
    """Make batch normalisation in a model span the rows of all processes, in place.

    Each of several micro-batches is normalised by its own rows: the full batch is never in memory at once.

    Args:
        model: changed in place.
        accumulate: micro-batches a step of each process.
        smallest: rows of the smallest batch.

    Raises:
        InputError: if another kind of layer normalises over the batch, or a micro-batch has too few rows.
    """
    world = process.current().world_size
    layers = [module for module in model.modules() if hasattr(module, "running_mean")]
    if world * accumulate == 1 or not layers:
        return
    if not all(type(layer) in (nn.BatchNorm1d, SyncedBatchNorm) for layer in layers):
        raise InputError(
            "a layer of this model normalises over the full batch and cannot be divided: train it with "
            "`accumulate` 1, in one process"
        )
    if smallest // (world * accumulate) * world < 2:
        raise InputError(
            f"the smallest batch has {smallest} rows, too few for {world * accumulate} micro-batches of at "
            "least 2 (processes times `accumulate`); choose another `batch_size`, or a lower `accumulate`"
        )
    for layer in layers if world > 1 else []:
        layer.__class__ = SyncedBatchNorm
