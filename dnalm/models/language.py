"""A language model: a GPT with a head that predicts the next token.

Shapes: B windows in the batch; L tokens per window; V tokens in the vocabulary.
"""

import numpy as np
import torch
from torch import Tensor, nn

from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.layers import Model
from dnalm.tokens.characters import CharacterTokenizer


class LanguageModel(Model):
    """A GPT with the next-token head tied to its token embedding.

    Its state dict has the published keys: `transformer.*`, and `lm_head.weight` for the tied one.
    """

    def __init__(self, config: GPTConfig, vocab_size: int) -> None:
        super().__init__()
        self.transformer = GPT(config, vocab_size)
        # Scores every token by its embedding's product with the state (Press and Wolf 2017).
        self.lm_head = nn.Linear(config.n_embd, vocab_size, bias=False, device="meta")
        self.lm_head.weight = self.transformer.wte.weight

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map tokens [B, L] and their mask, bool [B, L], to logits of the next token, [B, L, V]."""
        logits: Tensor = self.lm_head(self.transformer(tokens, real))
        return logits


def base_log_probabilities(logits: Tensor, tokenizer: CharacterTokenizer) -> Tensor:
    """Turn logits [..., V] into log-probabilities of A, C, G, T, [..., 4], in nats.

    Upper and lower case are added, and all other tokens are left out of the sum that normalises.
    """
    codes = torch.from_numpy(tokenizer.base_of_token.astype(np.int64))
    log_p = torch.stack([logits[..., codes == code].logsumexp(dim=-1) for code in range(4)], dim=-1)
    return log_p.log_softmax(dim=-1)
