"""Tensors that several processes hold a part of each (FSDP), and the whole ones that files hold."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from dnalm import ranks


def shard(module: nn.Module, mesh: Any) -> nn.Module:
    """Share the parameters of `module` among the processes of `mesh`, in place: FSDP (Zhao et al. 2023).

    Each element of a list of layers is gathered when it is needed and let go after it; what is left over is
    gathered once a step.
    """
    from torch.distributed.fsdp import fully_shard

    for layers in module.modules():
        if isinstance(layers, nn.ModuleList):
            for layer in layers:
                fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module


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


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors whole and on the CPU to the first process, which saves them, and none to the others.

    All processes call this together, with the same names.
    """
    found = {}
    for name, tensor in tensors.items():
        one = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if ranks.leads():
            found[name] = one.detach().cpu()
    return found


def parts(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return this process's part of each whole tensor that is in `wanted` too, and the others whole."""
    return {name: part(tensor, wanted[name]) if name in wanted else tensor for name, tensor in found.items()}


@torch.no_grad()
def part(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor on the device of `like`; this process's part, where that is parted alike."""
    tensor = tensor.to(like.device)
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
