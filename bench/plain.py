"""A plain PyTorch training loop of the same GPT, as one would write it today, for its speed alone.

PyTorch's fused attention, AdamW and clipping, a batch gathered at once, autocast to bf16 or fp32 throughout.

Shapes used below
    B  windows of a batch     L  tokens of a window     D  width     H  heads     V  vocabulary
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.models.gpt import GPTConfig
from dnalm.models.layers import rotary_angles, rotate
from dnalm.train.optim import TrainConfig


class Block(nn.Module):
    """One block."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, self.heads = config.n_embd, config.n_head
        self.norm_1, self.norm_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.joint, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor] | None) -> Tensor:
        """Map [B, L, D] to [B, L, D]."""
        size, length, width = x.shape
        joint = self.joint(self.norm_1(x)).view(size, length, 3, self.heads, -1)
        query, key, value = joint.permute(2, 0, 3, 1, 4)  # each [B, H, L, D / H]
        if angles:
            query, key = rotate(query, *angles), rotate(key, *angles)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2)
        x = x + self.out(mixed.reshape(size, length, width))
        out: Tensor = x + self.down(F.gelu(self.up(self.norm_2(x))))
        return out


class Plain(nn.Module):
    """The model."""

    def __init__(self, config: GPTConfig, vocab_size: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, config.n_embd)
        self.places = nn.Embedding(config.block_size, config.n_embd) if config.position == "learned" else None
        angles = torch.stack(rotary_angles(config.block_size, config.n_embd // config.n_head))
        self.register_buffer("angles", angles, persistent=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.n_embd, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of tokens [B, L]."""
        x, angles, length = self.tokens(tokens), None, tokens.shape[1]
        if self.places is None:
            angles = (self.angles[0, :length], self.angles[1, :length])  # type: ignore[index]
        else:
            x = x + self.places.weight[:length]
        for block in self.blocks:
            x = block(x, angles)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def plain_step(
    ids: npt.NDArray[np.uint8],
    vocab_size: int,
    config: GPTConfig,
    train: TrainConfig,
    device: str,
    *,
    bf16: bool,
    mode: str,
) -> Callable[[], None]:
    """Return a function that takes one step; `mode` is torch.compile's, empty for none."""
    model = Plain(config, vocab_size).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=train.lr, weight_decay=train.weight_decay, fused=True
    )
    forward = torch.compile(model, mode=mode) if mode else model
    draws = np.random.default_rng(0)
    places = np.arange(config.block_size + 1)

    def step() -> None:
        starts = draws.integers(len(ids) - config.block_size, size=train.batch_size)
        joint = torch.from_numpy(ids[starts[:, None] + places]).to(device).long()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            loss = forward(joint[:, :-1], joint[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), train.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step
