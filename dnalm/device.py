"""Which device and precision a run takes, in the words of the command line."""

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch

from dnalm import process
from dnalm.errors import InputError

if TYPE_CHECKING:  # it takes seconds to import, which a mistake in the options need not wait for
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from lightning_fabric.strategies.strategy import Strategy

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Sharing = Literal["auto", "ddp", "fsdp"]
COMPILE_STEPS = 2000
"""Training steps from which compiling pays on CUDA: it was measured to take 10 s and to save 6 ms a step."""
FABRIC_NAMES = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def choose_device(wanted: str) -> str:
    """Return cpu, cuda or mps; for auto the fastest that is there.

    Raises:
        InputError: if the device asked for is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, found in there.items() if found)
    if not there.get(wanted, False):
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise InputError(f"--device {wanted}: there is no such device here, only {found}; use --device auto")
    return wanted


def choose_precision(wanted: str, device: str) -> str:
    """Return fp32, bf16 or fp16; for auto bf16 where the processor computes in it, else fp32 (fp16 on CUDA).

    Raises:
        InputError: if the device lacks the precision asked for.
    """
    bf16 = torch.cuda.is_bf16_supported() if device == "cuda" else device == "cpu" and _cpu_has_bf16()
    if wanted == "auto":
        return "bf16" if bf16 else "fp16" if device == "cuda" else "fp32"
    if (wanted == "fp16" and device == "cpu") or (wanted == "bf16" and device == "cuda" and not bf16):
        raise InputError(f"--precision {wanted}: not available on {device}; use --precision auto")
    return wanted


class Processor(NamedTuple):
    """A device and a precision, both resolved, and how several processes share the work."""

    device: str
    """cpu, cuda or mps."""
    precision: str
    """fp32, bf16 or fp16."""
    strategy: str = "single"
    """single, ddp or fsdp."""

    @property
    def name(self) -> str:
        """The device in words."""
        if self.device == "cuda":
            return f"cuda ({torch.cuda.get_device_name()})"
        return f"cpu ({torch.get_num_threads()} threads)" if self.device == "cpu" else self.device

    def __str__(self) -> str:
        several = (
            ""
            if self.strategy == "single"
            else f", {process.current().world_size} processes ({self.strategy})"
        )
        return f"{self.name}, {self.precision}{several}"

    def fabric(self, *, unused: bool = False) -> "Fabric":
        """Return a launched Fabric, of the processes that torchrun or srun has started; they meet in it.

        Args:
            unused: whether a step may leave out parameters that are trained: the processes then look for it.
        """
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment

        precision: Any = FABRIC_NAMES[self.precision]
        # It announces its precision; dnalm does too.
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        if self.strategy == "single":
            plugins: list[Any] = [LightningEnvironment()]  # whatever a batch script's variables say
            fabric = Fabric(accelerator=self.device, devices=1, precision=precision, plugins=plugins)
        else:
            info = process.current()
            fabric = Fabric(
                accelerator=self.device,
                devices=info.local_world_size,
                num_nodes=info.world_size // info.local_world_size,
                strategy=_strategy(self.strategy, info.world_size, unused),
                precision=precision,
                plugins=[_environment(info)],
            )
        fabric.launch()
        return fabric


def alone(fabric: "Fabric") -> "Fabric":
    """Return a Fabric of this process alone, on the same device in the same precision."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.single_device import SingleDeviceStrategy

    strategy = SingleDeviceStrategy(device=fabric.device)
    return Fabric(
        accelerator=fabric.device.type, devices=1, strategy=strategy, plugins=[fabric.strategy.precision]
    )


def is_sharded(fabric: "Fabric") -> bool:
    """Whether each process holds a part of the model alone."""
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    return isinstance(fabric.strategy, ModelParallelStrategy)


def compile_mode(fabric: "Fabric", accumulate: int) -> str | None:
    """Return how torch.compile is asked to compile a model; None for its own way.

    reduce-overhead replays a step's kernels as one CUDA graph, which owns its gradients: nothing else may add
    to them, no second micro-batch and no other process.
    """
    alone_on_cuda = fabric.device.type == "cuda" and fabric.world_size == 1 and accumulate == 1
    return "reduce-overhead" if alone_on_cuda else None


def choose_compiled(wanted: str, processor: Processor, steps: int) -> bool:
    """Tell whether a run of `steps` is compiled; for auto where that pays: compiling takes some ten seconds.

    Raises:
        InputError: if it cannot be.
    """
    if wanted == "on" and processor.strategy == "fsdp":
        raise InputError("--compile on: not with --strategy fsdp; leave one of them out")
    pays = processor.device == "cuda" and steps >= COMPILE_STEPS and processor.strategy != "fsdp"
    return wanted == "on" or (wanted == "auto" and pays)


def _strategy(name: str, world: int, unused: bool) -> "Strategy":
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    if name == "ddp":  # no buffer of ours differs between processes
        return DDPStrategy(
            forward_sync_buffers=False, find_unused_parameters=unused, gradient_as_bucket_view=True
        )
    return ModelParallelStrategy(
        lambda module, mesh: shard_module(module, mesh["data_parallel"]),
        data_parallel_size=world,
        tensor_parallel_size=1,
    )


def _environment(info: process.ProcessInfo) -> "ClusterEnvironment":
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if info.launcher == "torchrun":
        return TorchElasticEnvironment()
    os.environ.setdefault(
        "SLURM_NTASKS_PER_NODE", str(info.local_world_size)
    )  # it insists on it; srun sets it if given
    return SLURMEnvironment()


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where to compute, and how."""

    device: Device = "auto"
    """Where to compute; auto takes CUDA, then MPS, then the CPU."""
    precision: Precision = "auto"
    """auto takes bf16 where the processor computes in it."""
    threads: int = 0
    """CPU threads; 0 for torch's own choice."""
    deterministic: bool = False
    """On CUDA, the same bits every time, as always on a CPU: slower."""
    strategy: Sharing = "auto"
    """How processes of torchrun or srun share the work: ddp, each with the whole model, or fsdp, each with
    a part of it; auto takes ddp."""

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise InputError(f"--threads must be at least 0, got {self.threads}")

    def resolve(self) -> Processor:
        """Choose the device and precision, limit the threads of this process, and meet the other processes.

        Raises:
            InputError: if what is asked for is not there.
        """
        device = choose_device(self.device)
        precision = choose_precision(self.precision, device)
        strategy = choose_strategy(self.strategy, device, precision)
        if self.deterministic and device == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
            torch.use_deterministic_algorithms(True)
        if self.threads:
            torch.set_num_threads(self.threads)
            os.environ["OMP_NUM_THREADS"] = str(self.threads)
        processor = Processor(device, precision, strategy)
        if strategy != "single":
            processor.fabric()
            process.barrier()  # connected, so that each notices when another ends
        return processor


def choose_strategy(wanted: str, device: str, precision: str) -> str:
    """Return single, ddp or fsdp; for auto ddp where torchrun or srun has started several processes.

    Raises:
        InputError: if the processes cannot work together so, or there is one alone.
    """
    info = process.current()
    if info.world_size == 1:
        if wanted != "auto":
            raise InputError(
                f"--strategy {wanted}: shares the work of several processes, and there is one; start it by "
                "torchrun --nproc-per-node N -m dnalm ..., or leave --strategy out"
            )
        return "single"
    if device == "cuda" and torch.cuda.device_count() < info.local_world_size:
        raise InputError(
            f"{info.local_world_size} processes on a machine of {torch.cuda.device_count()} CUDA devices, "
            "and each needs one: start as many as there are devices, or use --device cpu"
        )
    if device == "mps":
        raise InputError("several processes cannot share an mps device; start one, or use --device cpu")
    if wanted == "fsdp" and precision == "fp16":
        raise InputError("--strategy fsdp: not available in fp16; use --precision bf16 or fp32")
    return "ddp" if wanted == "auto" else wanted


def _cpu_has_bf16() -> bool:
    """Tell whether the processor multiplies in bf16 itself: emulated, it is slower than fp32."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def shard_module(module: torch.nn.Module, mesh: Any) -> torch.nn.Module:
    """Share the parameters of `module` among the processes of `mesh`, in place: FSDP (Zhao et al. 2023).

    Each element of a list of layers is gathered when it is needed and let go after it; what is left over is
    gathered once a step.
    """
    from torch.distributed.fsdp import fully_shard

    for layers in module.modules():
        if isinstance(layers, torch.nn.ModuleList):
            for layer in layers:
                fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module
