"""docs/scale.md: what training on whole genomes takes, by arithmetic alone: nothing on that page is measured.

Formulas (N parameters, depth `layers`, width D, S tokens of context, T tokens trained on):
    a model       N = 12 layers D^2, layers = D / 64 (embeddings of four letters are nothing beside it)
    work          6 N + 6 layers S D FLOP a token: forward and backward; causal, half of S counts
    weights       fp32, 4 N bytes; as many of gradients; AdamW's two moments, 8 N
    activations   34 D bytes a token and layer (Korthikanti et al. 2022, without the attention matrix, which a
                  fused kernel never stores); with checkpointing 2 D of them stay
    days          work of T tokens / (devices x peak x share)
"""

import math
from dataclasses import dataclass

from docs.make.markdown import table

HUMAN = 3.1e9
"""Bases of a human genome, a token each."""
SIZES = (1e7, 1e8, 1e9, 1e10)
"""Parameters asked for."""
CONTEXTS = (1024, 8192, 131072)
PEAK = 989.4e12
"""FLOP/s of an H100 SXM and of an H200 in dense bf16 (NVIDIA's data sheets)."""
SHARE = 0.4
"""Of the peak, assumed."""
MEMORY = {"H100": 80e9, "H200": 141e9}
"""Bytes of a device (the same sheets)."""
NVLINK, NETWORK, DISK = 450e9, 50e9, 1e9
"""Bytes/s, assumed: one way between devices of a machine (half of the sheet's 900 GB/s), an adapter of 400
Gbit/s, a disk."""
OPTIMAL = 20
"""Tokens a parameter at which compute is spent best on text (Hoffmann et al. 2022); DNA has no such rule."""
BATCH = 2**19
"""Tokens a step, assumed."""
MICRO = 16_384
"""Tokens a device goes through at a time, assumed."""


@dataclass(frozen=True)
class Size:
    """The shape of a GPT of about so many parameters."""

    width: int
    """D."""

    @classmethod
    def of(cls, parameters: float) -> "Size":
        """Return the shape nearest to `parameters`: the width a multiple of 64."""
        return cls(64 * max(1, round((64 * parameters / 12) ** (1 / 3) / 64)))

    @property
    def layers(self) -> int:
        """One for every 64 of the width."""
        return self.width // 64

    @property
    def parameters(self) -> int:
        """N."""
        return 12 * self.layers * self.width**2

    def work(self, context: int) -> int:
        """Return FLOP a token."""
        return 6 * self.parameters + 6 * self.layers * context * self.width

    @property
    def training(self) -> int:
        """Bytes of weights, gradients and AdamW's moments."""
        return 16 * self.parameters

    @property
    def state(self) -> int:
        """Bytes of one saved state: weights and moments."""
        return 12 * self.parameters

    def activations(self, tokens: int, checkpointed: bool = False) -> int:
        """Return bytes kept for the backward pass of so many tokens."""
        return (2 if checkpointed else 34) * self.width * self.layers * tokens

    def days(self, tokens: float, context: int, devices: int = 1) -> float:
        """Return days of training on so many tokens."""
        return tokens * self.work(context) / (PEAK * SHARE * devices) / 86_400


def facts() -> dict[str, str]:
    """Return the tables of the page in Markdown, and the assumptions that its text names."""
    sizes = [Size.of(parameters) for parameters in SIZES]
    return {
        "shapes": table(
            ["parameters", "layers", "width", *(f"FLOP a token, S = {s:,}" for s in CONTEXTS)],
            [
                [_big(s.parameters), str(s.layers), f"{s.width:,}", *(_big(s.work(c)) for c in CONTEXTS)]
                for s in sizes
            ],
        ),
        "memory": table(
            ["parameters", "weights, gradients, moments", "activations", "checkpointed"]
            + [f"devices, {name}" for name in MEMORY],
            [_memory_row(size) for size in sizes],
        ),
        "days": table(
            ["parameters", "1 device, one pass", "8 devices", "64 devices", "tokens for 20 a parameter"]
            + ["passes", "days of 64 devices for these"],
            [_days_row(size) for size in sizes],
        ),
        "traffic": table(
            ["parameters", "work of a step", "DDP, NVLink", "DDP, network", "FSDP, network"]
            + ["a state on disk", "written in", "host memory of 8 processes at the start"],
            [_traffic_row(size) for size in sizes],
        ),
        "peak": f"{PEAK / 1e12:,.1f}",
        "share": f"{100 * SHARE:.0f}",
        "batch": f"{BATCH:,}",
        "micro": f"{MICRO:,}",
        "human": f"{HUMAN:.1e}".replace("e+0", "e"),
        "context": f"{CONTEXTS[0]:,}",
        "nvlink": f"{NVLINK / 1e9:.0f}",
        "network": f"{NETWORK / 1e9:.0f}",
        "disk": f"{DISK / 1e9:.0f}",
    }


def _memory_row(size: Size) -> list[str]:
    checkpointed = size.activations(MICRO, checkpointed=True)
    devices = [math.ceil(size.training / (memory - checkpointed)) for memory in MEMORY.values()]
    amounts = (size.training, size.activations(MICRO), checkpointed)
    return [_big(size.parameters), *map(_bytes, amounts), *(f"{count:,}" for count in devices)]


def _days_row(size: Size) -> list[str]:
    context, tokens = CONTEXTS[0], OPTIMAL * size.parameters
    return [
        _big(size.parameters),
        *(_days(size.days(HUMAN, context, devices)) for devices in (1, 8, 64)),
        _big(tokens),
        f"{tokens / HUMAN:,.1f}",
        _days(size.days(tokens, context, 64)),
    ]


def _traffic_row(size: Size) -> list[str]:
    work = BATCH * size.work(CONTEXTS[0]) / (PEAK * SHARE * 8)
    # A ring moves 2 (W - 1) / W of the gradient's bytes past each device; FSDP gathers twice, scatters once.
    ring, sharded = (passes * 7 / 8 * 4 * size.parameters for passes in (2, 3))
    seconds = (ring / NVLINK, ring / NETWORK, sharded / NETWORK)
    return [
        _big(size.parameters),
        f"{work:,.2f} s",
        *(f"{each:,.3f} s" for each in seconds),
        _bytes(size.state),
        f"{size.state / DISK:,.0f} s",
        _bytes(8 * 2 * 4 * size.parameters),
    ]


def _days(days: float) -> str:
    if days >= 1:
        return f"{days:,.1f} d"
    return f"{24 * days:,.1f} h" if 24 * days >= 1 else f"{24 * 60 * days:,.1f} min"


def _bytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"


def _big(number: float) -> str:
    digits, power = f"{number:.1e}".split("e")
    return f"{digits}e{int(power)}"
