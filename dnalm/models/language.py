"""A language model: an encoder with a head that predicts the next token, or masked ones.

Shapes: B windows in the batch; L tokens per window; V tokens in the vocabulary.
"""

import numpy as np
import torch
from torch import Tensor, nn

from dnalm.models.conv import ConvConfig, ConvEncoder
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.layers import Model
from dnalm.tokens.characters import CharacterTokenizer

LanguageShape = GPTConfig | ConvConfig


class LanguageModel(Model):
    """An encoder with a head tied to its token embedding.

    Its state dict has the published keys: `transformer.*`, whatever the encoder, and `lm_head.weight` for the
    tied one.
    """

    def __init__(self, config: LanguageShape, vocab_size: int) -> None:
        super().__init__()
        self.transformer: GPT | ConvEncoder = (
            GPT(config, vocab_size) if isinstance(config, GPTConfig) else ConvEncoder(config, vocab_size)
        )
        self.vocab_size = vocab_size
        # Scores every token by its embedding's product with the state (Press and Wolf 2017).
        embedding = self.transformer.wte.weight  # [V, D], or [V + 1, D] with the mask token
        self.lm_head = nn.Linear(self.transformer.width, len(embedding), bias=False, device="meta")
        self.lm_head.weight = embedding

    @property
    def mask_token(self) -> int | None:
        """The token that stands for a masked one; None for a model that predicts the next token."""
        return self.transformer.mask_token

    def forward(self, tokens: Tensor, real: Tensor, species: Tensor | None = None) -> Tensor:
        """Map tokens [B, L] and their mask, bool [B, L], to logits, [B, L, V].

        They are of the token after each, or of a masked model of the token itself. `species`: the row of each
        sequence in `SpeciesToken`, integers [B].
        """
        logits: Tensor = self.lm_head(self.transformer(tokens, real, species=species))
        return logits[..., : self.vocab_size]


def base_log_probabilities(logits: Tensor, tokenizer: CharacterTokenizer) -> Tensor:
    """Turn logits [..., V] into log-probabilities of A, C, G, T, [..., 4], in nats.

    Upper and lower case are added, and all other tokens are left out of the sum that normalises.
    """
    codes = torch.from_numpy(tokenizer.base_of_token.astype(np.int64))
    log_p = torch.stack([logits[..., codes == code].logsumexp(dim=-1) for code in range(4)], dim=-1)
    return log_p.log_softmax(dim=-1)
