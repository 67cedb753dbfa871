"""GPT: the transformer that is pretrained on a genome, to predict the next token or masked ones.

Shapes: B sequences in the batch; L tokens per sequence, at most block_size; D n_embd, width of the states; V
vocab_size; H n_head; K D / H, width of one head.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.config import check_fractions, check_minimum, check_multiple, refuse
from dnalm.models.layers import Angles, Encoder, SpeciesToken, check_tokens, rotary_angles, rotate, run_layers

INIT_STD = 0.02  # standard deviation of untrained weights (Radford et al. 2019)


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT; its vocabulary comes with the data."""

    n_layer: int = 4  # Transformer blocks.
    n_head: int = 4  # Attention heads in each block (H).
    n_embd: int = 384  # Width of the states (D).
    block_size: int = 300  # The longest sequence, in tokens (L).
    dropout: float = 0.0  # Dropout rate in training: of embeddings, attention weights, and layers' outputs.
    bias: bool = False  # Biases in the linear layers and LayerNorms.
    position: Literal["learned", "rotary"] = "rotary"
    """Position encoding: a learned table, or rotation of queries and keys."""
    objective: Literal["causal", "masked"] = "causal"
    """What pretraining predicts: the next token, from those on its left, or masked ones, from both sides."""
    species_token: str = ""
    """Genomes that get a vector each, added to the embedding of every token: their names, separated by
    commas; all: those of the data. One more vector is for unknown genomes."""

    def __post_init__(self) -> None:
        wrong = check_minimum(self, n_layer=1, n_head=1, n_embd=1, block_size=1)
        wrong += check_multiple(self, "n_embd", "n_head") + check_fractions(self, "dropout")
        if not wrong and self.position == "rotary" and self.n_embd // self.n_head % 2:
            wrong.append(f"rotary positions need an even n_embd / n_head, got {self.n_embd // self.n_head}")
        if self.position not in ("learned", "rotary"):
            wrong.append(f"position must be learned or rotary, got {self.position!r}")
        if self.objective not in ("causal", "masked"):
            wrong.append(f"objective must be causal or masked, got {self.objective!r}")
        refuse(wrong)


class SelfAttention(nn.Module):
    """Multi-head attention of each token to itself and the tokens on its left, or on both sides."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, angles: Angles | None, visible: Tensor | None = None) -> Tensor:
        """Map [B, L, D] to [B, L, D]; `angles` of rotary positions turn queries and keys.

        `visible`, bool [B, 1, 1, L], are the tokens that all others see; None: each sees those on its left.
        """
        size, length, width = x.shape
        joint = self.c_attn(x).view(size, length, 3, self.heads, width // self.heads)
        query, key, value = joint.permute(2, 0, 3, 1, 4)  # each [B, H, L, K]
        if angles is not None:
            query, key = rotate(query, *angles), rotate(key, *angles)
        rate = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=visible, dropout_p=rate, is_causal=visible is None
        )
        out: Tensor = self.dropout(self.c_proj(mixed.transpose(1, 2).reshape(size, length, width)))
        return out


class MLP(nn.Module):
    """Two linear layers around an exact (erf) GELU, four times as wide inside."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, L, D] to [B, L, D]."""
        out: Tensor = self.dropout(self.c_proj(F.gelu(self.c_fc(x))))
        return out


class Block(nn.Module):
    """One pre-LayerNorm transformer block."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attn = SelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, angles: Angles | None, visible: Tensor | None = None) -> Tensor:
        """Map [B, L, D] to [B, L, D]; `visible` as in `SelfAttention`."""
        x = x + self.attn(self.ln_1(x), angles, visible)
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class GPT(Encoder):
    """Token ids in, states out: the core under the head of pretraining and under every other head.

    One of the masked objective has a token more than its vocabulary, `mask_token`, which no text holds.

    Initialisation: normal with deviation `INIT_STD`, divided by sqrt(2 n_layer) for the projections that add
    to the residual stream (Radford et al. 2019).
    """

    def __init__(self, config: GPTConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.width = config, vocab_size, config.n_embd
        self.depth = config.n_layer
        self.causal = config.objective == "causal"
        self.mask_token = None if self.causal else vocab_size
        self.gradient_checkpointing = False  # recompute each block in the backward pass: less memory
        self.wte = nn.Embedding(vocab_size + (not self.causal), config.n_embd)
        if config.position == "learned":
            self.wpe = nn.Embedding(config.block_size, config.n_embd)
        else:
            cosines, sines = rotary_angles(config.block_size, config.n_embd // config.n_head)
            self.register_buffer("cosines", cosines, persistent=False)
            self.register_buffer("sines", sines, persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, bias=config.bias)
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, std=INIT_STD / math.sqrt(2 * config.n_layer))
            elif parameter.ndim == 2:
                nn.init.normal_(parameter, std=INIT_STD)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        species = config.species_token
        self.species = SpeciesToken(species, config.n_embd) if species else None

    @property
    def layers(self) -> nn.ModuleList:
        """The blocks, first to last."""
        return self.h

    def forward(
        self,
        tokens: Tensor,
        real: Tensor,
        layers: Collection[int] | None = None,
        species: Tensor | None = None,
    ) -> Tensor:
        """Map tokens to states that depend on their own token and its left, or both sides; see `Encoder`.

        Padding must be on the right, and L at most block_size. `layers`: return the states of each of these
        in turn, [B, L, layers D], instead of the last: 0 is the embedding, n_layer the last. `species`: the
        row of each sequence in `SpeciesToken`, integers [B].
        """
        check_tokens(tokens, real, longest=self.config.block_size)
        length, angles = tokens.shape[1], None
        x = self.wte(tokens.long())  # [B, L, D]
        if self.species is not None:
            x = self.species(x, species)
        if self.config.position == "learned":
            x = x + self.wpe.weight[:length]
        else:
            angles = (self.cosines[:length], self.sines[:length])  # type: ignore[index]
        x = self.dropout(x)
        # Causal attention never reads padding, which is on the right; its own states are set to 0.
        visible = None if self.causal else real[:, None, None]
        recompute = self.gradient_checkpointing
        return run_layers(x, self.h, self.ln_f, real, angles, visible, layers=layers, recompute=recompute)
