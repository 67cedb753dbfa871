"""The CNN baseline's layers in plain PyTorch, on windows whose bases are looked up in Python, one by one.

Shapes used below
    B  windows in the batch          L  bases per window
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from dnalm.models.cnn import CNNConfig
from dnalm.models.heads import RegressionHeadConfig
from dnalm.train.binding import TRAIN_SAMPLE

AT = {"A": 0, "C": 1, "G": 2, "T": 3}
Part = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]
"""Letters and scores, each [.., L]."""


class Windows(Dataset[Any]):
    """Windows as text; each is encoded whenever it is needed."""

    def __init__(self, letters: npt.NDArray[np.uint8], scores: npt.NDArray[np.float32]) -> None:
        self.texts, self.scores = [bytes(row).decode() for row in letters], torch.from_numpy(scores)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, row: int) -> Any:
        text = self.texts[row]
        encoded = torch.zeros(4, len(text))
        for place, base in enumerate(text):
            if base in AT:
                encoded[AT[base], place] = 1.0
        return encoded, self.scores[row]


class Model(nn.Module):
    """The same layers as dnalm's."""

    def __init__(self, encoder: CNNConfig, head: RegressionHeadConfig) -> None:
        super().__init__()
        self.first = nn.Conv1d(4, encoder.width, encoder.encoder_kernel, padding="same")
        self.norm = nn.LayerNorm(encoder.width)
        self.second = nn.Conv1d(encoder.width, head.channels, head.kernel, padding="same")
        self.last = nn.Sequential(nn.GELU(), nn.Dropout(head.head_dropout), nn.Linear(head.channels, 1))

    def forward(self, encoded: Tensor) -> Tensor:
        """Map one-hot bases [B, 4, L] to scores [B, L]."""
        states = self.norm(nn.functional.gelu(self.first(encoded)).transpose(1, 2))
        scores: Tensor = self.last(self.second(states.transpose(1, 2)).transpose(1, 2)).squeeze(-1)
        return scores


def epoch(
    model: Model, train: Part, validation: Part, *, size: int, lr: float, device: str
) -> Callable[[], None]:
    """Return a function that trains an epoch, and scores a sample of its windows and `validation`."""
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    windows, held = Windows(*train), Windows(*validation)
    sample = Subset(windows, range(0, len(windows), -(-len(windows) // TRAIN_SAMPLE)))

    def loss(encoded: Tensor, scores: Tensor) -> Tensor:
        return nn.functional.mse_loss(model(encoded.to(device)), scores.to(device))

    def run() -> None:
        model.train()
        for batch in DataLoader(windows, size, shuffle=True):
            optimizer.zero_grad()
            loss(*batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for part in (sample, held):
                for batch in DataLoader(part, size):
                    loss(*batch).item()

    return run
