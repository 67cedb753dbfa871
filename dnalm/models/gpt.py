"""GPT: the causal transformer that is pretrained on a genome. The model and nothing else.

Shapes used below
    B  sequences in the batch        L  tokens per sequence, at most block_size
    D  n_embd, width of the states   V  vocab_size
    H  n_head                        K  D / H, width of one head
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dnalm.config import check_fractions, check_minimum
from dnalm.errors import InputError
from dnalm.models.first_attention import counted_attention, few_tokens
from dnalm.models.layers import (
    Angles,
    causal_attention,
    dropout,
    look_up,
    rotary_angles,
    rotary_speeds,
    silenced,
)

SPREAD = 0.02
"""Standard deviation of untrained weights (Radford et al. 2019)."""


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT; its vocabulary comes with the data."""

    n_layer: int = 4
    """Transformer blocks."""
    n_head: int = 4
    """Attention heads in each block (H)."""
    n_embd: int = 384
    """Width of the states (D)."""
    block_size: int = 300
    """The longest sequence, in tokens (L)."""
    dropout: float = 0.0
    """Share of values dropped in training: embeddings, attention weights, what each layer adds."""
    bias: bool = False
    """Biases in the linear layers and LayerNorms."""
    position: Literal["learned", "rotary"] = "rotary"
    """How a token's place is told: a learned table, or rotation of queries and keys."""

    def __post_init__(self) -> None:
        wrong = check_minimum(self, n_layer=1, n_head=1, n_embd=1, block_size=1)
        if not wrong and self.n_embd % self.n_head:
            wrong.append(f"n_embd must be a multiple of n_head, got {self.n_embd} and {self.n_head}")
        elif not wrong and self.position == "rotary" and self.n_embd // self.n_head % 2:
            wrong.append(f"rotary positions need an even n_embd / n_head, got {self.n_embd // self.n_head}")
        wrong += check_fractions(self, "dropout")
        if self.position not in ("learned", "rotary"):
            wrong.append(f"position must be learned or rotary, got {self.position!r}")
        if wrong:
            raise InputError("; ".join(wrong))


class CausalSelfAttention(nn.Module):
    """Multi-head attention of each token to itself and the tokens on its left."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads, self.rate = config.n_head, config.dropout
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x: Tensor, angles: Angles | None, tokens: Tensor | None = None) -> Tensor:
        """Map [B, L, D] to [B, L, D]; or [V, D], of which each of tokens [B, L] names a row."""
        rate = self.rate if self.training else 0.0
        joint = self.c_attn(x)
        if tokens is not None:
            joint = look_up(joint, tokens)
        return dropout(self.c_proj(causal_attention(joint, self.heads, angles, rate)), rate)


class MLP(nn.Module):
    """Two linear layers around an exact (erf) GELU, four times as wide inside."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.rate = config.dropout
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, L, D] to [B, L, D]."""
        return self.narrow(self.c_fc(x))

    def narrow(self, wide: Tensor) -> Tensor:
        """Map what `c_fc` made of the states, [B, L, 4 D], to [B, L, D]."""
        return dropout(self.c_proj(F.gelu(wide)), self.rate if self.training else 0.0)


class Block(nn.Module):
    """One pre-LayerNorm transformer block."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.rate, self.bias = config.dropout, config.bias
        self.ln_1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, angles: Angles | None, tokens: Tensor | None = None) -> Tensor:
        """Map states to states.

        Args:
            x: [B, L, D]; or, in the first block, a table of rows, [V, D].
            angles: of rotary positions.
            tokens: [B, L], which rows of the table are meant. What depends on nothing else is then worked
                out for each row of the table, not for each token.

        Returns:
            [B, L, D].
        """
        if tokens is not None:
            counted = self._counted(x, angles, tokens)
            if counted is not None:
                return counted
        added = self.attn(self.ln_1(x), angles, tokens)
        x = (x if tokens is None else look_up(x, tokens)) + added
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out

    def _counted(self, table: Tensor, angles: Angles | None, tokens: Tensor) -> Tensor | None:
        """Do the same where attention to few tokens can be counted; else return None.

        States are then combinations of a few rows up to the GELU. So `ln_2` and `attn` are not called, and
        `c_proj` of attention and `c_fc` are given rows.
        """
        if angles is None or self.bias or (self.training and self.rate) or not few_tokens(table, tokens):
            return None
        joint = self.attn.c_attn(self.ln_1(table))
        mixed = counted_attention(joint, tokens, self.attn.heads, angles)
        if mixed is None:
            return None
        x = mixed.linear(self.attn.c_proj).plus(table, tokens)
        out: Tensor = x.states() + self.mlp.narrow(x.normed(self.ln_2).linear(self.mlp.c_fc).states())
        return out


class GPT(nn.Module):
    """Token ids in, states out: the core under the next-token head and under every other head.

    Initialisation: normal with deviation `SPREAD`, divided by sqrt(2 n_layer) for the projections that add to
    the residual stream (Radford et al. 2019).
    """

    causal = True

    def __init__(self, config: GPTConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.width = config, vocab_size, config.n_embd
        self.gradient_checkpointing = False
        """Keep a block's input alone for the backward pass, and compute the rest again: slower, smaller."""
        self.wte = nn.Embedding(vocab_size, config.n_embd)
        if config.position == "learned":
            self.wpe = nn.Embedding(config.block_size, config.n_embd)
        else:
            cosines, sines = rotary_angles(config.block_size, config.n_embd // config.n_head)
            self.register_buffer("cosines", cosines, persistent=False)
            self.register_buffer("sines", sines, persistent=False)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, bias=config.bias)
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, std=SPREAD / math.sqrt(2 * config.n_layer))
            elif parameter.ndim == 2:
                nn.init.normal_(parameter, std=SPREAD)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    @property
    def embedding(self) -> nn.Parameter:
        """The token embedding, [V, D]: the very tensor, for a head to be tied to."""
        weight = self.wte.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    @property
    def layers(self) -> nn.ModuleList:
        """The blocks, first to last: the very modules, for some to be trained and others not."""
        return self.h

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map tokens to states, each of which has seen its own token and those on its left.

        Args:
            tokens: integers, [B, L].
            real: bool, [B, L]; True at a token, False at padding, which is on the right.

        Returns:
            float, [B, L, D]; exactly 0 at padding.

        Raises:
            InputError: if the sequences are longer than block_size, or `real` has another shape.
        """
        if tokens.ndim != 2 or tokens.shape[1] > self.config.block_size:
            raise InputError(
                f"tokens must be [B, L] with L at most {self.config.block_size}, got {list(tokens.shape)}"
            )
        if real.shape != tokens.shape:
            raise InputError(f"real must be {list(tokens.shape)}, got {list(real.shape)}")
        length, tokens = tokens.shape[1], tokens.long()
        table = self.wte.weight
        if self.training and torch.is_autocast_enabled(table.device.type):
            # The sum that layers add to is as narrow as what they add: half the memory to go through.
            table = table.to(torch.get_autocast_dtype(table.device.type))
        angles, of_rows = None, None
        if self.config.position == "rotary":
            angles = (self.cosines[:length], self.sines[:length])  # type: ignore[index]
        if angles is not None and not (self.training and self.config.dropout):
            x, of_rows = table, tokens
        else:  # what the first block sees is more than rows
            x = look_up(table, tokens)  # [B, L, D]
            if angles is None:
                x = x + self.wpe.weight[:length]
            x = dropout(x, self.config.dropout if self.training else 0.0)
        for block in self.h:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, angles, of_rows, use_reentrant=False)
            else:
                x = block(x, angles, of_rows)
            of_rows = None
        # Padding is on the right, so causal attention never looks at it: only its own states need silencing.
        return silenced(self.ln_f(x), real)


START_REACH, START_PULL = 9, 2.5
"""Distances, in tokens, that heads begin to look at (0 to 8); how strongly, in units of a query."""
START_SLOWEST = 0.03
"""Rotations slower than this, in radians a token, hardly tell near from far and are left alone."""


@torch.no_grad()
def start_local(model: GPT) -> None:
    """Let each head of an untrained model begin by attending to one nearby distance, in place.

    Untrained heads attend to all tokens alike, and only slowly find out that in DNA the last few bases tell
    most. With rotary positions a query and a key that are constant vectors, turned against each other by d
    tokens' worth of each angle, match best d tokens apart. Such a constant comes from a direction shared by
    all token embeddings, which the tied next-token head does not see: it adds the same to every logit. (Our
    own.)
    """
    config = model.config
    width, half = config.n_embd, config.n_embd // config.n_head // 2
    shared = torch.randint(0, 2, (width,)) * 2.0 - 1.0  # [D]
    # As large as what tells tokens apart: LayerNorm leaves 1 / sqrt(2) of it.
    model.wte.weight += SPREAD * shared
    pull = START_PULL * math.sqrt(2) / width * shared
    speed = rotary_speeds(2 * half).float()
    used = (speed > START_SLOWEST).float()
    for number, block in enumerate(model.h):
        assert isinstance(block, Block)
        joint = block.attn.c_attn.weight.view(3, config.n_head, 2 * half, width)
        for head in range(config.n_head):
            distance = (number * config.n_head + head) % START_REACH
            query = torch.cat([used, torch.zeros(half)])
            key = torch.cat([(speed * distance).cos() * used, (speed * distance).sin() * used])
            joint[0, head] += query[:, None] * pull
            joint[1, head] += key[:, None] * pull
