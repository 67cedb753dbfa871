"""DNABERT-2 (Zhou et al. 2023): the published encoder of DNA's BPE tokens, in plain PyTorch.

A post-LayerNorm BERT with ALiBi in place of position embeddings and a gated feed-forward layer, as in
MosaicBERT (Portes et al. 2023). Names and shapes of its tensors are those of the hub's file.

Shapes: B sequences in the batch; L tokens per sequence, any number; D hidden, width of the states; F
feed_forward; H heads; K D / H, width of one head.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.checkpoint import load_strict
from dnalm.config import check_fractions, check_minimum, check_multiple, refuse
from dnalm.formats.hub import encoder_tensors, read_fields, read_shape
from dnalm.models.layers import Encoder, check_tokens, mask_padding, run_layer

INIT_STD = 0.02
"""Standard deviation of untrained weights (initializer_range of the published config)."""
PREFIX = "bert."
"""Before each name of the encoder's in a file that has a language-model head, too."""
HEAD = "cls.predictions."
"""Prefix of the language-model head's tensors, which are no part of the encoder."""
NAMES = {
    "vocab_size": "vocab_size",
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "eps": "layer_norm_eps",
    "types": "type_vocab_size",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
}
"""Our names of a config's fields, and the hub's."""
OPTIONAL = {"hidden_dropout_prob", "attention_probs_dropout_prob"}
"""Fields that a config.json may lack: they change nothing outside training."""
REQUIRED = {"hidden_act": "gelu", "is_decoder": False}
"""Fields that, where a config.json has them, can have this value alone: the exact GELU, an encoder."""


@dataclass(frozen=True)
class DNABert2Config:
    """The shape of a DNABert2; the defaults are the published 117M model's."""

    vocab_size: int = 4096
    hidden: int = 768
    """Width of the states (D)."""
    layers: int = 12
    heads: int = 12
    """Attention heads in each layer (H)."""
    feed_forward: int = 3072
    """Width of a layer's gated part (F)."""
    eps: float = 1e-12
    """Added to the variance in each LayerNorm."""
    types: int = 2
    """Rows of the token-type table; all tokens are of type 0."""
    dropout: float = 0.1
    """Share of values dropped in training: embeddings, attention's output, the gated values."""
    attention_dropout: float = 0.0
    """Share of attention weights dropped in training."""

    def __post_init__(self) -> None:
        wrong = check_minimum(self, vocab_size=1, hidden=1, layers=1, heads=1, feed_forward=1, types=1)
        wrong += check_multiple(self, "hidden", "heads")
        if self.eps <= 0.0:
            wrong.append(f"eps must be above 0, got {self.eps}")
        refuse(wrong + check_fractions(self, "dropout", "attention_dropout"))

    @classmethod
    def from_hub(cls, content: Mapping[str, Any]) -> "DNABert2Config":
        """Return the config that a hub folder's config.json describes.

        Raises:
            InputError: if it lacks a size, or describes what this encoder cannot do; all of it is named.
        """
        return cls(**read_fields(content, "a DNABERT-2", NAMES, OPTIONAL, REQUIRED))


class _Attention(nn.Module):
    """Multi-head attention with ALiBi, what it adds to its input, and the LayerNorm on the sum."""

    def __init__(self, config: DNABert2Config) -> None:
        super().__init__()
        width, self.heads, self.rate = config.hidden, config.heads, config.attention_dropout
        self.self = nn.ModuleDict({"Wqkv": nn.Linear(width, 3 * width)})
        self.output = nn.ModuleDict(
            {"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width, config.eps)}
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map [B, L, D] to [B, L, D], with `bias` [B or 1, H, L, L] added to the scores."""
        size, length, width = x.shape
        joint = self.self["Wqkv"](x).view(size, length, 3, self.heads, width // self.heads)
        query, key, value = joint.permute(2, 0, 3, 1, 4)  # each [B, H, L, K]
        # A finite minimum: its weight is exactly 0 beside a real key, and a row of padding is not NaN.
        bias = bias.clamp(min=torch.finfo(query.dtype).min).to(query.dtype)
        rate = self.rate if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, bias, rate)
        out = self.output["dense"](mixed.transpose(1, 2).reshape(size, length, width))
        states: Tensor = self.output["LayerNorm"](x + self.dropout(out))
        return states


class _GatedMLP(nn.Module):
    """Linear layers around GELU(gate) * value, what they add to their input, and the LayerNorm on the sum."""

    def __init__(self, config: DNABert2Config) -> None:
        super().__init__()
        self.gated_layers = nn.Linear(config.hidden, 2 * config.feed_forward, bias=False)
        self.wo = nn.Linear(config.feed_forward, config.hidden)
        self.layernorm = nn.LayerNorm(config.hidden, config.eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, L, D] to [B, L, D]."""
        gate, value = self.gated_layers(x).chunk(2, dim=-1)  # each [B, L, F]
        states: Tensor = self.layernorm(x + self.wo(self.dropout(F.gelu(gate) * value)))
        return states


class _Layer(nn.Module):
    """Attention, then the gated feed-forward part."""

    def __init__(self, config: DNABert2Config) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.mlp = _GatedMLP(config)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map [B, L, D] to [B, L, D]."""
        states: Tensor = self.mlp(self.attention(x, bias))
        return states


class DNABert2(Encoder):
    """BPE tokens in, states out, each of which has seen the whole sequence.

    Untrained: weights normal with deviation `INIT_STD`, biases 0, LayerNorms the identity.
    """

    def __init__(self, config: DNABert2Config) -> None:
        super().__init__()
        self.config, self.width = config, config.hidden
        self.gradient_checkpointing = False
        """Recompute each layer in the backward pass instead of storing its activations."""
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(config.vocab_size, config.hidden),
                "token_type_embeddings": nn.Embedding(config.types, config.hidden),
                "LayerNorm": nn.LayerNorm(config.hidden, config.eps),
            }
        )
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_Layer(config) for _ in range(config.layers))})
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=INIT_STD)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    @property
    def layers(self) -> nn.ModuleList:
        """The layers, first to last."""
        layers = self.encoder["layer"]
        assert isinstance(layers, nn.ModuleList)
        return layers

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map tokens, [CLS] and [SEP] among them, to states; see `Encoder`. Padding may be on any side."""
        check_tokens(tokens, real)
        ids = tokens.masked_fill(~real, 0).long()
        kind = self.embeddings["token_type_embeddings"](ids.new_zeros(1))  # [1, D]
        x = self.embeddings["LayerNorm"](self.embeddings["word_embeddings"](ids) + kind)  # [B, L, D]
        x = self.dropout(x)
        bias = _bias(real, self.config.heads, torch.promote_types(x.dtype, torch.float32))
        for layer in self.layers:
            x = run_layer(layer, x, bias, recompute=self.gradient_checkpointing)
        return mask_padding(x, real)


def alibi_slopes(heads: int) -> list[float]:
    """Return by how much each head's score falls with each token of distance (Press et al. 2022), [H].

    For a power of two they are the geometric series that begins with its own ratio, 2 ** (-8 / H). Otherwise
    those of the next lower power of two come first, then every other one of the next higher.
    """
    lower = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (head + 1) / lower) for head in range(lower)]
    between = [2.0 ** (-4.0 * (head + 1) / lower) for head in range(0, 2 * lower, 2)]
    return slopes + between[: heads - lower]


def open_dnabert2(path: Path) -> DNABert2:
    """Read a DNABERT-2, or a DNABERT-S, as it lies on the hub; in eval mode, float32, on the CPU.

    Args:
        path: a hub folder, or a weights file with config.json beside it.

    Raises:
        InputError: if a file is missing, damaged or of another model; what does not fit is named.
    """
    config = read_shape(path, DNABert2Config.from_hub)
    tensors = encoder_tensors(path, PREFIX, HEAD)
    with torch.device("meta"):
        model = DNABert2(config)
    model.to_empty(device="cpu")  # `load_strict` fills every tensor, or raises
    load_strict(tensors, model.state_dict(), str(path))
    return model.eval()


def _bias(real: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """Return what is added to scores: ALiBi, and minus infinity for padded keys, [B or 1, H, L, L]."""
    position = torch.arange(real.shape[1], device=real.device, dtype=dtype)
    slopes = torch.tensor(alibi_slopes(heads), device=real.device, dtype=dtype)
    bias = (-slopes[:, None, None] * (position[:, None] - position).abs()).unsqueeze(0)  # [1, H, L, L]
    return bias if real.all() else bias.masked_fill(~real[:, None, None, :], -math.inf)  # [B, H, L, L]
