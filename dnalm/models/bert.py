"""What the published encoders of the hub have in common: the sizes of a BERT, by the hub's names and ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from dnalm.config import check_fractions, check_minimum, check_multiple, refuse
from dnalm.formats.hub import read_fields


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
        """Return the config that a hub folder's config.json describes.

        Raises:
            InputError: if it lacks a size, or describes what this encoder cannot do; all of it is named.
        """
        return cls(**read_fields(content, cls.what, cls.names, cls.optional, cls.required))
