"""Tokens a second of a full-size DNABERT-2 with random weights, against the same arithmetic written out.

    python bench/dnabert2.py [--length 510] [--batch 1] [--rounds 7] [--threads N] [--device cpu]

The eager way multiplies out each head's [L, L] matrix and takes its softmax; weights and layers are the same.
float32 and bf16, ours and eager, take turns in every round, so that what else runs on the machine meets all
of them alike; a ratio is the median over rounds. Small: `--layers 1 --heads 4 --width 32 --length 64`.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dnalm.encoders.dnabert2 import DNABert2, DNABert2Config, alibi_slopes

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}


def eager(model: Any, tokens: Tensor) -> Tensor:
    """Map tokens [B, L], none of them padding, to states [B, L, D] by plain matrix products."""
    config, inputs = model.config, model.embeddings
    x: Tensor = inputs["word_embeddings"](tokens) + inputs["token_type_embeddings"].weight[0]
    x = inputs["LayerNorm"](x)
    size, length, width = x.shape
    place = torch.arange(length, device=x.device)
    slopes = torch.tensor(alibi_slopes(config.heads), device=x.device)
    bias = (-slopes[:, None, None] * (place[:, None] - place).abs()).to(x.dtype)  # [H, L, L]
    for layer in model.layers:
        attention, mlp = layer.attention, layer.mlp
        joint = attention.self["Wqkv"](x).view(size, length, 3, config.heads, width // config.heads)
        query, key, value = joint.permute(2, 0, 3, 1, 4)  # each [B, H, L, K]
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + bias  # [B, H, L, L]
        mixed = (torch.softmax(scores, dim=-1) @ value).transpose(1, 2).reshape(size, length, width)
        x = attention.output["LayerNorm"](x + attention.output["dense"](mixed))
        gate, passed = mlp.gated_layers(x).chunk(2, dim=-1)
        x = mlp.layernorm(x + mlp.wo(F.gelu(gate) * passed))
    return x


def take_turns(ways: dict[str, Callable[[], Tensor]], rounds: int, device: str) -> dict[str, list[float]]:
    """Return each way's seconds in each round; what comes before the rounds is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 2):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if device != "cpu":
                torch.accelerator.synchronize()
            if number >= 2:  # the first ones build kernels
                taken[name].append(time.perf_counter() - start)
    return taken


@torch.inference_mode()
def measure(config: DNABert2Config, batch: int, length: int, rounds: int, device: str) -> dict[str, Any]:
    """Return tokens a second of each way, and how far ours is from the eager one."""
    torch.manual_seed(0)
    tokens = torch.randint(config.vocab_size, (batch, length), device=device)
    real = torch.ones_like(tokens, dtype=torch.bool)
    ways: dict[str, Callable[[], Tensor]] = {}
    for precision, dtype in PRECISIONS.items():
        model = DNABert2(config).to(device, dtype).eval()
        ways[f"ours, {precision}"] = lambda model=model: model(tokens, real)  # type: ignore[misc]
        ways[f"eager, {precision}"] = lambda model=model: eager(model, tokens)  # type: ignore[misc]
    found: dict[str, Any] = {"parameters": sum(each.numel() for each in model.parameters())}
    for precision in PRECISIONS:
        gap = ways[f"ours, {precision}"]() - ways[f"eager, {precision}"]()
        found[f"largest difference, {precision}"] = round(gap.abs().max().item(), 6)
    taken = take_turns(ways, rounds, device)
    found["tokens a second"] = {
        name: round(batch * length / statistics.median(times), 1) for name, times in taken.items()
    }
    pairs = [(f"ours, {name}", f"eager, {name}") for name in PRECISIONS] + [("ours, bf16", "ours, float32")]
    found["times as fast"] = {
        f"{one} : {other}": round(
            statistics.median(b / a for a, b in zip(taken[one], taken[other], strict=True)), 3
        )
        for one, other in pairs
    }
    return found


def main() -> None:
    """Take turns, and print each way's tokens a second and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--length", type=int, default=510, help="tokens a sequence")
    parser.add_argument("--batch", type=int, default=1, help="sequences")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0, help="0: as PyTorch chooses")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--width", type=int, default=768, help="the gated part is four times as wide")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    config = DNABert2Config(
        hidden=options.width,
        layers=options.layers,
        heads=options.heads,
        feed_forward=4 * options.width,
    )
    found = measure(config, options.batch, options.length, options.rounds, options.device)
    print(json.dumps({"threads": torch.get_num_threads(), "length": options.length, **found}, indent=2))


if __name__ == "__main__":
    main()
