"""Where the time of a training step goes: the profiler's operations, by kind."""

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

BATCH = "bench: batch"
"""Name of what puts a batch together, for `record_function`."""
KINDS = (
    ("convolutions", r"convolution|mkldnn_conv"),
    ("matrix products", r"mm$|linear|matmul|gemm|nvjet|cutlass"),
    ("attention", r"softmax|attention|flash|fmha|bmm"),
    ("GELU", r"gelu"),
    ("casts, copies", r"copy|_to\b|clone|::cat|contiguous|::fill_|::zero_|memcpy|memset"),
    ("LayerNorm", r"layer_norm|layernorm"),
)
"""Kinds of operations and what their names hold; the first that fits, batched products being attention's."""
OPTIMISER = r"Optimizer\.|_fused_adam|_foreach|linalg_vector_norm|multi_tensor"


def kind_of(name: str, above: list[str]) -> str:
    """Return the kind of an operation.

    Args:
        name: of the operation or kernel.
        above: names of the operations it is part of.
    """
    line = [name, *above]
    if BATCH in line:
        return "batch"
    if any(re.search(OPTIMISER, each) for each in line):
        return "optimiser"
    if any(re.search(r"bmm|attention|_CausalProducts", each) for each in line):
        return "attention"
    return next((kind for kind, holds in KINDS if re.search(holds, name)), "other")


def shares(work: Callable[[], object], device: str) -> dict[str, float]:
    """Return the share of the time of each kind of operation in `work`, the largest first, once it is warm.

    Shapes are not recorded: that was seen to keep memory from being used again, and so to slow down what
    makes large tensors.

    Args:
        work: some training steps.
        device: cpu or cuda.
    """
    for _ in range(2):
        work()
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
    with profile(activities=activities) as found:
        work()
    taken: dict[str, float] = defaultdict(float)
    for event in found.events() or ():
        if device == "cpu":
            taken[kind_of(event.name, _above(event))] += event.self_cpu_time_total
        elif event.device_type == DeviceType.CUDA:  # kernels: what started them tells their time too
            taken[kind_of(event.name, [])] += event.self_device_time_total
    total = sum(taken.values())
    return {kind: taken[kind] / total for kind in sorted(taken, key=lambda kind: -taken[kind]) if taken[kind]}


def _above(event: Any) -> list[str]:
    names = []
    while (event := event.cpu_parent) is not None:
        names.append(event.name)
    return names


class Named:
    """Batches whose making the profiler sees as such."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self.smallest = batches.smallest

    def batch(self, *place: int) -> Any:
        """Return the batch."""
        with torch.profiler.record_function(BATCH):
            return self._batches.batch(*place)
