"""Device, precision and strategy of a run: chosen from what the machine has, never set for the process."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch

from dnalm import process
from dnalm.errors import InputError, counted

if TYPE_CHECKING:  # slow to import, and errors in the options need not wait for it
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.strategy import Strategy

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Sharing = Literal["auto", "ddp", "fsdp"]
COMPILE_STEPS = 2000
"""Training steps from which compiling pays on CUDA: it was measured to take 10 s and to save 6 ms a step."""
FABRIC_NAMES = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


class Processor(NamedTuple):
    """A device and a precision, both resolved, and how several processes work together."""

    device: str  # cpu, cuda or mps
    precision: str  # fp32, bf16 or fp16
    strategy: str = "single"  # single, ddp or fsdp

    def __str__(self) -> str:
        words = {"cpu": f"cpu ({counted(torch.get_num_threads(), 'thread')})"}
        if self.device == "cuda":
            words["cuda"] = f"cuda ({torch.cuda.get_device_name()})"
        several = f", {process.current().world_size} processes ({self.strategy})"
        several = several if self.strategy != "single" else ""
        return f"{words.get(self.device, self.device)}, {self.precision}{several}"

    def fabric(self, *, unused: bool = False) -> "Fabric":
        """Return a launched Fabric; `unused`: the processes look for parameters that a step has left out."""
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
        from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
        from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

        precision: Any = FABRIC_NAMES[self.precision]
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces its precision
        info, single = process.current(), self.strategy == "single"
        environment: Any = TorchElasticEnvironment if info.launcher == "torchrun" else SLURMEnvironment
        if single:  # whatever the variables of a batch script are
            environment = LightningEnvironment
        fabric = Fabric(
            accelerator=self.device,
            devices=1 if single else info.local_world_size,
            num_nodes=1 if single else info.world_size // info.local_world_size,
            strategy="auto" if single else _strategy(self.strategy, info.world_size, unused),
            precision=precision,
            plugins=[environment()],
        )
        fabric.launch()
        return fabric


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where to compute, and how."""

    device: Device = "auto"  # Where to compute; auto takes CUDA, then MPS, then the CPU.
    precision: Precision = "auto"  # auto takes bf16 where the processor computes in it.
    threads: int = 0  # CPU threads; 0 for torch's own choice.
    deterministic: bool = False  # On CUDA, the same bits every time, as always on a CPU: slower.
    strategy: Sharing = "auto"
    """How processes of torchrun or srun work together: ddp, each with the full model, or fsdp, each with a
    part of it; auto takes ddp."""

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise InputError(f"`threads` must be at least 0, got {self.threads}")

    def processor(self) -> Processor:
        """Choose device, precision and strategy; raise InputError if the machine has not what is wanted."""
        device = choose_device(self.device)
        precision = choose_precision(self.precision, device)
        return Processor(device, precision, choose_strategy(self.strategy, device, precision))


def choose_device(wanted: str) -> str:
    """Return cpu, cuda or mps, for auto the fastest; raise InputError if the machine has no such device."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    names = [name for name, is_available in available.items() if is_available]
    if wanted == "auto":
        return names[0]
    if wanted not in names:
        raise InputError(f"`device` {wanted}: not available, only {', '.join(names)}; use `device` auto")
    return wanted


def choose_precision(wanted: str, device: str) -> str:
    """Return fp32, bf16 or fp16; for auto bf16 where the processor computes in it, else fp16 or fp32."""
    if device == "cuda":
        bf16 = torch.cuda.is_bf16_supported()
    else:  # emulated bf16 is slower than fp32
        native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        bf16 = device == "cpu" and native
    if wanted == "auto":
        return "bf16" if bf16 else "fp16" if device == "cuda" else "fp32"
    if (wanted == "fp16" and device == "cpu") or (wanted == "bf16" and device == "cuda" and not bf16):
        raise InputError(f"`precision` {wanted}: not available on {device}; use `precision` auto")
    return wanted


def choose_strategy(wanted: str, device: str, precision: str) -> str:
    """Return single, ddp or fsdp; for auto ddp where torchrun or srun has started several processes."""
    info = process.current()
    if info.world_size == 1:
        if wanted != "auto":
            raise InputError(f"`strategy` {wanted}: needs several processes, and there is one; use torchrun")
        return "single"
    devices = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device, info.local_world_size)
    if devices < info.local_world_size:
        raise InputError(
            f"{info.local_world_size} processes on a machine of {counted(devices, f'{device} device')}: "
            "start as many as there are devices, or use `device` cpu"
        )
    if wanted == "fsdp" and precision == "fp16":
        raise InputError("`strategy` fsdp: not available in fp16; use `precision` bf16 or fp32")
    return "ddp" if wanted == "auto" else wanted


def choose_compiled(wanted: str, processor: Processor, steps: int) -> bool:
    """Return whether a run of `steps` is compiled; for auto where that pays. InputError if it cannot be."""
    if wanted == "on" and processor.strategy == "fsdp":
        raise InputError("`compile` on: not with `strategy` fsdp; leave one of them out")
    pays = processor.device == "cuda" and steps >= COMPILE_STEPS and processor.strategy != "fsdp"
    return wanted == "on" or (wanted == "auto" and pays)


def compile_mode(fabric: "Fabric", accumulate: int) -> str | None:
    """Return the mode of torch.compile for a model; None for the default.

    reduce-overhead replays a step's kernels as one CUDA graph, which owns its gradients: no second
    micro-batch and no other process may add to them.
    """
    graph = fabric.device.type == "cuda" and fabric.world_size == accumulate == 1
    return "reduce-overhead" if graph else None


def alone(fabric: "Fabric") -> "Fabric":
    """Return a Fabric of this process alone, on the same device in the same precision."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.single_device import SingleDeviceStrategy

    strategy = SingleDeviceStrategy(device=fabric.device)
    return Fabric(
        accelerator=fabric.device.type, devices=1, strategy=strategy, plugins=[fabric.strategy.precision]
    )


def is_sharded(fabric: "Fabric") -> bool:
    """Return whether each process holds only a part of the model."""
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    return isinstance(fabric.strategy, ModelParallelStrategy)


def _strategy(name: str, world: int, unused: bool) -> "Strategy":
    """Return lightning-fabric's strategy for one or several processes."""
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    if name == "ddp":  # no buffer of ours differs between processes
        return DDPStrategy(
            forward_sync_buffers=False, find_unused_parameters=unused, gradient_as_bucket_view=True
        )
    return ModelParallelStrategy(shard_module, data_parallel_size=world, tensor_parallel_size=1)


def shard_module(module: torch.nn.Module, meshes: Any) -> torch.nn.Module:
    """Shard the parameters of `module` over all processes, in place: FSDP (Zhao et al. 2023).

    Each element of a list of layers is gathered for its own computation; what is left, once a step.
    """
    from torch.distributed.fsdp import fully_shard

    mesh = meshes["data_parallel"]
    for layers in module.modules():
        if isinstance(layers, torch.nn.ModuleList):
            for layer in layers:
                fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module
