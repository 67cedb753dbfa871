"""The peak of matrix products on this machine: what a large square one reaches, at best."""

import time

from bench.work import Build, Settings, Work

TIMES = 5
"""Products in a round, of which the fastest counts."""


def product(precision: str) -> Build:
    """Return the way that multiplies in fp32, bf16 or fp16."""

    def build(settings: Settings) -> Work:
        import torch

        size = 256 if settings.quick else 8192 if settings.device == "cuda" else 2048
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        one, other = (torch.randn(size, size, device=settings.device).to(dtype) for _ in range(2))

        def run() -> float:
            taken = []
            for _ in range(TIMES):
                start = time.perf_counter()
                torch.mm(one, other)
                if settings.device == "cuda":
                    torch.cuda.synchronize()
                taken.append(time.perf_counter() - start)
            return min(taken)

        return Work(run, flops=2.0 * size**3, precision=precision)

    return build


def product_ways(settings: Settings) -> dict[str, Build]:
    """Return a way for each precision that is used on the device."""
    used = ("fp32", "bf16", "fp16") if settings.device == "cuda" else ("fp32", "bf16")
    return {PEAKS[precision]: product(precision) for precision in used}


PEAKS = {precision: f"matrix product, {precision}" for precision in ("fp32", "bf16", "fp16")}
"""The way of each precision."""
