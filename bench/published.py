"""The published pretraining step, rewritten from its description, for its speed alone.

Learned positions, dropout, LayerNorms and linear layers without biases, exact GELU, the head tied to the
token embedding; attention by plain products with its full matrix, computed twice in each block, which returns
its map. The batch is put together window by window. fp32 on a CPU, fp16 with loss scaling on CUDA.

Shapes used below
    B  windows of a batch     L  tokens of a window     D  width     H  heads     V  vocabulary
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.models.gpt import GPTConfig
from dnalm.train.optim import TrainConfig


class Attention(nn.Module):
    """Attention that returns its map too."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.n_head
        self.joint = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.drop_map, self.drop = nn.Dropout(config.dropout), nn.Dropout(config.dropout)
        past = torch.tril(torch.ones(config.block_size, config.block_size, dtype=torch.bool))
        self.register_buffer("past", past, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map [B, L, D] to [B, L, D], and return the map [B, H, L, L]."""
        size, length, width = x.shape
        query, key, value = (
            part.view(size, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.joint(x).split(width, dim=2)
        )
        scores = query @ key.transpose(-2, -1) / math.sqrt(width // self.heads)
        scores = scores.masked_fill(~self.past[:length, :length], float("-inf"))  # type: ignore[index]
        weights = self.drop_map(torch.softmax(scores, dim=-1))
        mixed = (weights @ value).transpose(1, 2).contiguous().view(size, length, width)
        return self.drop(self.out(mixed)), weights


class Block(nn.Module):
    """One block, which computes its attention once more for the map."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width = config.n_embd
        self.norm_1, self.norm_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.attention = Attention(config)
        up, down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
        self.mlp = nn.Sequential(up, nn.GELU(), down, nn.Dropout(config.dropout))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map [B, L, D] to [B, L, D], and return the map [B, H, L, L]."""
        normed = self.norm_1(x)
        x = x + self.attention(normed)[0]
        weights = self.attention(normed)[1]
        return x + self.mlp(self.norm_2(x)), weights


class Published(nn.Module):
    """The published model."""

    def __init__(self, config: GPTConfig, vocab_size: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, config.n_embd)
        self.places = nn.Embedding(config.block_size, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.n_embd, bias=False)
        self.head = nn.Linear(config.n_embd, vocab_size, bias=False)
        self.head.weight = self.tokens.weight
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the loss of tokens [B, L], and each block's attention map."""
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1], device=tokens.device))
        x, maps = self.drop(x), []
        for block in self.blocks:
            x, weights = block(x)
            maps.append(weights)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten()), maps


def published_batch(ids: npt.NDArray[np.uint8], size: int, length: int) -> tuple[Tensor, Tensor]:
    """Return tokens and targets [B, L], window by window."""
    starts = torch.randint(len(ids) - length, (size,)).tolist()
    tokens, targets = (
        torch.stack([torch.from_numpy(ids[at + on : at + on + length].astype(np.int64)) for at in starts])
        for on in (0, 1)
    )
    return tokens, targets


def published_step(
    ids: npt.NDArray[np.uint8], vocab_size: int, config: GPTConfig, train: TrainConfig, device: str
) -> Callable[[], None]:
    """Return a function that takes one step."""
    model = Published(config, vocab_size).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=train.lr, weight_decay=train.weight_decay)
    scaler = torch.amp.GradScaler(device, enabled=device == "cuda")

    def step() -> None:
        tokens, targets = (x.to(device) for x in published_batch(ids, train.batch_size, config.block_size))
        with torch.autocast(device, dtype=torch.float16, enabled=device == "cuda"):
            loss, _maps = model(tokens, targets)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        loss.item()

    return step
