"""The peak of matrix products on this machine: what the best of some large ones reaches."""

import time

from bench.work import Build, Settings, Work

TIMES = 5
"""Products of each shape in a round, of which the fastest counts."""
SHAPES = ((2048, 2048, 2048), (4096, 4096, 4096), (19_200, 384, 1536), (19_200, 1536, 384))
"""Rows, what is summed over, columns: square ones, and those of the step's widest layers. A square one alone
is not the fastest on every machine."""


def product(precision: str) -> Build:
    """Return the way that multiplies in fp32, bf16 or fp16."""

    def build(settings: Settings) -> Work:
        import torch

        shapes = SHAPES if settings.device == "cpu" else ((8192, 8192, 8192), *SHAPES[1:])
        if settings.quick:
            shapes = ((256, 256, 256), (64, 128, 256))
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        made = []
        for rows, inner, columns in shapes:
            sizes = ((rows, inner), (inner, columns), (rows, columns))
            made.append([torch.randn(size, device=settings.device).to(dtype) for size in sizes])
        nominal = 2.0 * shapes[0][0] * shapes[0][1] * shapes[0][2]

        def run() -> float:
            """Return the seconds that the first product would take at the best rate of all."""
            rates = []
            for (rows, inner, columns), (one, other, out) in zip(shapes, made, strict=True):
                for _ in range(TIMES):
                    start = time.perf_counter()
                    torch.mm(one, other, out=out)
                    if settings.device == "cuda":
                        torch.cuda.synchronize()
                    rates.append(2.0 * rows * inner * columns / (time.perf_counter() - start))
            return nominal / max(rates)

        return Work(run, flops=nominal, precision=precision)

    return build


def product_ways(settings: Settings) -> dict[str, Build]:
    """Return a way for each precision that is used on the device."""
    used = ("fp32", "bf16", "fp16") if settings.device == "cuda" else cpu_precisions()
    return {PEAKS[precision]: product(precision) for precision in used}


def cpu_precisions() -> list[str]:
    """Return bf16 and fp32, or fp32 alone: a processor without bf16 emulates it, many times slower."""
    from dnalm.device import Compute

    return sorted({"fp32", Compute(device="cpu").processor().precision})


PEAKS = {precision: f"matrix product, {precision}" for precision in ("fp32", "bf16", "fp16")}
"""The way of each precision."""
