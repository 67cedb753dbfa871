"""A full-size DNABERT-2 with random weights, against the same arithmetic written out.

Shapes used below
    B  sequences     L  tokens     D  width     H  heads     K  width of a head
"""

from typing import TYPE_CHECKING, Any

from bench.work import Build, Case, Settings, Target, Work

if TYPE_CHECKING:
    from torch import Tensor

LENGTH = 510
"""Tokens of the one sequence."""


def eager(model: Any, tokens: "Tensor") -> "Tensor":
    """Map tokens [B, L], none of them padding, to states [B, L, D] by plain matrix products and softmax."""
    import torch
    import torch.nn.functional as F

    from dnalm.models.dnabert2 import alibi_slopes

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


def reading(precision: str, *, plainly: bool) -> Build:
    """Return one of the two ways, in fp32 or bf16."""

    def build(settings: Settings) -> Work:
        import torch

        from dnalm.models.dnabert2 import DNABert2, DNABert2Config

        shape = DNABert2Config()
        if settings.quick:
            shape = DNABert2Config(hidden=32, layers=1, heads=4, feed_forward=128)
        torch.manual_seed(0)
        tokens = torch.randint(shape.vocab_size, (1, LENGTH), device=settings.device)
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        model = DNABert2(shape).to(settings.device, dtype).eval()
        real = torch.ones_like(tokens, dtype=torch.bool)

        @torch.inference_mode()
        def run() -> None:
            if plainly:
                eager(model, tokens)
            else:
                model(tokens, real)

        with torch.inference_mode():
            gap = float((eager(model, tokens) - model(tokens, real)).abs().max())
        facts = {"largest difference of the two ways": round(gap, 6)}
        return Work(run, float(LENGTH), precision=precision, facts=facts)

    return build


CASE = Case(
    name="dnabert2",
    title="Reading with DNABERT-2",
    about=(
        "A full-size DNABERT-2 with random weights reads one sequence of 510 tokens. eager: the same "
        "arithmetic, with each head's whole attention matrix multiplied out."
    ),
    unit="tokens",
    ours="dnalm, bf16",
    ways=lambda settings: {
        "dnalm, bf16": reading("bf16", plainly=False),
        "dnalm, fp32": reading("fp32", plainly=False),
        "eager, bf16": reading("bf16", plainly=True),
        "eager, fp32": reading("fp32", plainly=True),
    },
    groups={"eager": ("eager, bf16", "eager, fp32")},
    targets=lambda settings: [Target("not behind eager", "eager", "ratio", at_least=1.0)],
    memory=5e9,
)
