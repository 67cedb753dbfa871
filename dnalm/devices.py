"""Which device and precision a run takes, in the words of the command line."""

import logging
import os
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from lightning_fabric import Fabric

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
FABRIC_NAMES = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def choose_device(wanted: str) -> str:
    """Return cpu, cuda or mps; for auto the fastest that is there.

    Raises:
        ValueError: if the device asked for is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, found in there.items() if found)
    if not there.get(wanted, False):
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise ValueError(f"--device {wanted}: there is no such device here, only {found}; use --device auto")
    return wanted


def choose_precision(wanted: str, device: str) -> str:
    """Return fp32, bf16 or fp16; for auto bf16 where the processor computes in it, else fp32 (fp16 on CUDA).

    Raises:
        ValueError: if the device lacks the precision asked for.
    """
    bf16 = torch.cuda.is_bf16_supported() if device == "cuda" else device == "cpu" and _cpu_has_bf16()
    if wanted == "auto":
        return "bf16" if bf16 else "fp16" if device == "cuda" else "fp32"
    if (wanted == "fp16" and device == "cpu") or (wanted == "bf16" and device == "cuda" and not bf16):
        raise ValueError(f"--precision {wanted}: not available on {device}; use --precision auto")
    return wanted


class Processor(NamedTuple):
    """A device and a precision, both resolved."""

    device: str
    """cpu, cuda or mps."""
    precision: str
    """fp32, bf16 or fp16."""

    @property
    def name(self) -> str:
        """The device in words."""
        if self.device == "cuda":
            return f"cuda ({torch.cuda.get_device_name()})"
        return f"cpu ({torch.get_num_threads()} threads)" if self.device == "cpu" else self.device

    def __str__(self) -> str:
        return f"{self.name}, {self.precision}"

    def fabric(self) -> Fabric:
        """Return a launched Fabric for one process."""
        name: Any = FABRIC_NAMES[self.precision]
        # It announces its precision; dnalm does too.
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        fabric = Fabric(accelerator=self.device, devices=1, precision=name)
        fabric.launch()
        return fabric


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where to compute, and how."""

    device: Device = "auto"
    """Where to compute; auto takes CUDA, then MPS, then the CPU."""
    precision: Precision = "auto"
    """auto takes bf16 where the processor computes in it."""
    threads: int = 0
    """CPU threads; 0 for torch's own choice."""

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ValueError(f"--threads must be at least 0, got {self.threads}")

    def resolve(self) -> Processor:
        """Choose the device and precision, and limit the threads of this process.

        Raises:
            ValueError: if what is asked for is not there.
        """
        device = choose_device(self.device)
        precision = choose_precision(self.precision, device)
        if self.threads:
            torch.set_num_threads(self.threads)
            os.environ["OMP_NUM_THREADS"] = str(self.threads)
        return Processor(device, precision)


def _cpu_has_bf16() -> bool:
    """Tell whether the processor multiplies in bf16 itself: emulated, it is slower than fp32."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
