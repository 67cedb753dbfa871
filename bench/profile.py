"""Where the time of a training step goes: the profiler's operations, by kind."""

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

BATCH = "bench: batch"
"""Name of what puts a batch together, for `record_function`."""
KINDS = (
    ("matrix products", r"mm$|linear|matmul|gemm|nvjet|cutlass"),
    ("attention", r"softmax|attention|flash|fmha|bmm"),
    ("GELU", r"gelu"),
    ("casts, copies", r"copy|_to\b|clone|::cat|contiguous|::fill_|::zero_|memcpy|memset"),
    ("LayerNorm", r"layer_norm|layernorm"),
)
"""Kinds of operations and what their names hold; the first that fits, batched products being attention's."""
OPTIMISER = r"Optimizer\.|_fused_adam|_foreach|linalg_vector_norm|multi_tensor"


def kind_of(name: str, above: list[str], square: bool) -> str:
    """Return the kind of an operation.

    Args:
        name: of the operation or kernel.
        above: names of the operations it is part of.
        square: whether it works on attention matrices [.., L, L].
    """
    line = [name, *above]
    if BATCH in line:
        return "batch"
    if any(re.search(OPTIMISER, each) for each in line):
        return "optimiser"
    if square or any(re.search(r"bmm|attention", each) for each in line):
        return "attention"
    return next((kind for kind, holds in KINDS if re.search(holds, name)), "other")


def shares(work: Callable[[], object], length: int, device: str) -> dict[str, float]:
    """Return the share of the time of each kind of operation in `work`, the largest first.

    Args:
        work: some training steps.
        length: L, tokens of a window: tells attention matrices.
        device: cpu or cuda.
    """
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
    with profile(activities=activities, record_shapes=True) as found:
        work()
    taken: dict[str, float] = defaultdict(float)
    for event in found.events() or ():
        own = event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
        if own > 0:
            taken[kind_of(event.name, _above(event), _square(event.input_shapes, length))] += own
    total = sum(taken.values())
    return {kind: taken[kind] / total for kind in sorted(taken, key=lambda kind: -taken[kind])}


def _above(event: Any) -> list[str]:
    names = []
    while (event := event.cpu_parent) is not None:
        names.append(event.name)
    return names


def _square(shapes: Any, length: int) -> bool:
    return any(len(shape) > 2 and list(shape[-2:]) == [length, length] for shape in shapes or ())


class Named:
    """Batches whose making the profiler sees as such."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches

    def batch(self, *place: int) -> Any:
        """Return the batch."""
        with torch.profiler.record_function(BATCH):
            return self._batches.batch(*place)
