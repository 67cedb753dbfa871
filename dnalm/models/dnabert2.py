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
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.checkpoint import load_strict
from dnalm.config import check_fractions, check_minimum, check_multiple, refuse
from dnalm.formats.hub import encoder_tensors, read_fields, read_shape
from dnalm.models.layers import Encoder, check_tokens, mask_padding, run_layer

INIT_STD = 0.02
"""Standard deviation of untrained weights (initializer_range of the published config)."""


@dataclass(frozen=True)
class BERTConfig:
    """The sizes of a BERT; the defaults are those of the published DNABERT-2."""

    vocab_size: int = 4096
    hidden: int = 768  # Width of the states (D)
    layers: int = 12
    heads: int = 12  # Attention heads in each layer (H)
    feed_forward: int = 3072  # Width of a layer's inner part (F)
    eps: float = 1e-12  # Added to the variance in each LayerNorm
    dropout: float = 0.1  # Share of values dropped in training: embeddings, and inside each layer
    attention_dropout: float = 0.0  # Share of attention weights dropped in training

    what: ClassVar[str] = "a BERT"
    names: ClassVar[dict[str, str]] = {
        "vocab_size": "vocab_size",
        "hidden": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "feed_forward": "intermediate_size",
        "eps": "layer_norm_eps",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
    }
    """The hub's name of each field."""
    optional: ClassVar[set[str]] = {"hidden_dropout_prob", "attention_probs_dropout_prob"}
    """Fields that a config.json may lack: they change nothing outside training."""
    required: ClassVar[dict[str, Any]] = {"hidden_act": "gelu", "is_decoder": False}
    """Fields that, where a config.json has them, can have this value alone: the exact GELU, an encoder."""

    def __post_init__(self) -> None:
        wrong = check_minimum(self, vocab_size=1, hidden=1, layers=1, heads=1, feed_forward=1)
        if self.eps <= 0.0:
            wrong.append(f"eps must be above 0, got {self.eps}")
        wrong += check_multiple(self, "hidden", "heads")
        refuse(wrong + check_fractions(self, "dropout", "attention_dropout"))

    @classmethod
    def from_hub(cls, content: Mapping[str, Any]) -> Self:
        """Return the config that a config.json describes; InputError names all that does not fit."""
        return cls(**read_fields(content, cls.what, cls.names, cls.optional, cls.required))


@dataclass(frozen=True)
class DNABert2Config(BERTConfig):
    """The shape of a DNABert2; the defaults are the published 117M model's."""

    types: int = 2  # Rows of the token-type table; all tokens are of type 0

    what: ClassVar[str] = "a DNABERT-2"
    names: ClassVar[dict[str, str]] = BERTConfig.names | {"types": "type_vocab_size"}
    required: ClassVar[dict[str, Any]] = BERTConfig.required | {"model_type": "bert"}

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse(check_minimum(self, types=1))


class _Layer(nn.Module):
    """Multi-head attention with ALiBi, then a gated MLP; each with a LayerNorm on its input plus output."""

    def __init__(self, config: DNABert2Config) -> None:
        super().__init__()
        width, self.heads, self.rate = config.hidden, config.heads, config.attention_dropout
        norms = [nn.LayerNorm(width, config.eps) for _ in range(2)]
        output = {"dense": nn.Linear(width, width), "LayerNorm": norms[0]}
        self.attention = nn.ModuleDict(
            {"self": nn.ModuleDict({"Wqkv": nn.Linear(width, 3 * width)}), "output": nn.ModuleDict(output)}
        )
        self.mlp = nn.ModuleDict(
            {
                "gated_layers": nn.Linear(width, 2 * config.feed_forward, bias=False),
                "wo": nn.Linear(config.feed_forward, width),
                "layernorm": norms[1],
            }
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map [B, L, D] to [B, L, D], with `bias` [B or 1, H, L, L] added to the scores."""
        attention: Any = self.attention
        size, length, width = x.shape
        joint = attention["self"]["Wqkv"](x).view(size, length, 3, self.heads, width // self.heads)
        query, key, value = joint.permute(2, 0, 3, 1, 4)  # each [B, H, L, K]
        # A finite minimum: its weight is exactly 0 beside a real key, and a row of padding is not NaN.
        bias = bias.clamp(min=torch.finfo(query.dtype).min).to(query.dtype)
        rate = self.rate if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, bias, rate)
        added = attention["output"]["dense"](mixed.transpose(1, 2).reshape(size, length, width))
        x = attention["output"]["LayerNorm"](x + self.dropout(added))
        gate, value = self.mlp["gated_layers"](x).chunk(2, dim=-1)  # each [B, L, F]
        states: Tensor = self.mlp["layernorm"](x + self.mlp["wo"](self.dropout(F.gelu(gate) * value)))
        return states


class DNABert2(Encoder):
    """BPE tokens in, states out, each of which has seen the whole sequence.

    Untrained: weights normal with deviation `INIT_STD`, biases 0, LayerNorms the identity.
    """

    def __init__(self, config: DNABert2Config) -> None:
        super().__init__()
        self.config, self.width = config, config.hidden
        self.gradient_checkpointing = False  # recompute each layer in the backward pass
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
    def layers(self) -> Any:
        """The layers, first to last."""
        return self.encoder["layer"]

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

    A power of two has 2 ** (-8 / H) and its powers. Otherwise those of the next lower power of two come
    first, then every other one of the next higher.
    """
    lower = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (head + 1) / lower) for head in range(lower)]
    between = [2.0 ** (-4.0 * (head + 1) / lower) for head in range(0, 2 * lower, 2)]
    return slopes + between[: heads - lower]


def open_dnabert2(path: Path) -> DNABert2:
    """Read a DNABERT-2, or a DNABERT-S, from a hub folder; in eval mode, float32, on the CPU.

    Raises:
        InputError: if a file is missing, damaged or of another model; what does not fit is named.
    """
    config = read_shape(path, DNABert2Config.from_hub)
    tensors, left_out = encoder_tensors(path, "bert.", "cls.predictions.")
    with torch.device("meta"):
        model = DNABert2(config)
    model.to_empty(device="cpu")  # `load_strict` fills every tensor, or raises
    load_strict(tensors, model.state_dict(), str(path))
    model.left_out = left_out
    return model.eval()


def _bias(real: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """Return what is added to scores: ALiBi, and minus infinity for padded keys, [B or 1, H, L, L]."""
    position = torch.arange(real.shape[1], device=real.device, dtype=dtype)
    slopes = torch.tensor(alibi_slopes(heads), device=real.device, dtype=dtype)
    bias = (-slopes[:, None, None] * (position[:, None] - position).abs()).unsqueeze(0)  # [1, H, L, L]
    return bias if real.all() else bias.masked_fill(~real[:, None, None, :], -math.inf)  # [B, H, L, L]
