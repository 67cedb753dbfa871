"""ChemBERTa (Ahmad et al. 2022): the published encoder of SMILES' tokens, by transformers' RoBERTa.

Shapes: B molecules in the batch; L tokens per molecule, 513 at most in the published model; D hidden, width
of the states.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dnalm.checkpoint import load_strict
from dnalm.config import check_fractions, check_minimum, check_multiple, refuse
from dnalm.errors import InputError, import_extra
from dnalm.formats.hub import encoder_tensors, read_fields, read_shape
from dnalm.models.layers import Encoder, check_tokens, mask_padding

PREFIX = "roberta."
"""Before each name of the encoder's in a file that has a language-model head, too."""
HEAD = "lm_head."
"""Before the names of the language-model head, which is no part of the encoder."""
NAMES = {
    "vocab_size": "vocab_size",
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "positions": "max_position_embeddings",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "eps": "layer_norm_eps",
    "padding_idx": "pad_token_id",
}
"""Our names of a config's fields, and the hub's."""
OPTIONAL = {"hidden_dropout_prob", "attention_probs_dropout_prob", "pad_token_id"}
"""Fields that a config.json may lack: nothing outside training, and RoBERTa's own default."""
REQUIRED = {
    "model_type": "roberta",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "type_vocab_size": 1,
    "is_decoder": False,
}
"""Fields that, where a config.json has them, can have this value alone."""


@dataclass(frozen=True)
class ChemBERTaConfig:
    """The shape of a ChemBERTa; the defaults are those of the published ChemBERTa-77M-MLM."""

    vocab_size: int = 600
    hidden: int = 384
    """Width of the states (D)."""
    layers: int = 3
    heads: int = 12
    """Attention heads in each layer."""
    feed_forward: int = 464
    """Width of a layer's inner part."""
    positions: int = 515
    """Rows of the position table, of which those up to `padding_idx` are no token's."""
    dropout: float = 0.144
    """Share of values dropped in training: embeddings, and what each layer adds."""
    attention_dropout: float = 0.109
    """Share of attention weights dropped in training."""
    eps: float = 1e-12
    """Added to the variance in each LayerNorm."""
    padding_idx: int = 1
    """The first token's position is one more. It says nothing of the tokenizer's ids."""

    def __post_init__(self) -> None:
        wrong = check_minimum(self, vocab_size=1, hidden=1, layers=1, heads=1, feed_forward=1, positions=1)
        wrong += check_multiple(self, "hidden", "heads")
        if not wrong and not 0 <= self.padding_idx < min(self.vocab_size, self.positions - 1):
            wrong.append(
                f"padding_idx must be at least 0, below vocab_size and below positions - 1, got "
                f"{self.padding_idx}"
            )
        if self.eps <= 0.0:
            wrong.append(f"eps must be above 0, got {self.eps}")
        refuse(wrong + check_fractions(self, "dropout", "attention_dropout"))

    @property
    def longest(self) -> int:
        """Tokens of a molecule, at most."""
        return self.positions - self.padding_idx - 1

    @classmethod
    def from_hub(cls, content: Mapping[str, Any]) -> "ChemBERTaConfig":
        """Return the config that a hub folder's config.json describes.

        Raises:
            InputError: if it lacks a size, or describes what this encoder cannot do; all of it is named.
        """
        return cls(**read_fields(content, "a ChemBERTa", NAMES, OPTIONAL, REQUIRED))


class ChemBERTa(Encoder):
    """Tokens of SMILES in, states out, each of which has seen the whole molecule.

    Names of its tensors are those of the hub's file, `roberta.` before each. Without the pooler, which no
    masked-language checkpoint has and no state depends on, the published sizes make 3,279,600 parameters.

    Raises:
        InputError: if transformers is not installed.
    """

    def __init__(self, config: ChemBERTaConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.hidden
        self.roberta = _roberta(config)

    @property
    def layers(self) -> nn.ModuleList:
        """The layers, first to last: the very modules, for some to be trained and others not."""
        layers = self.roberta.get_submodule("encoder.layer")
        assert isinstance(layers, nn.ModuleList)
        return layers

    @property
    def gradient_checkpointing(self) -> bool:
        """In training keep a layer's input alone, and compute the rest again: slower, smaller."""
        return bool(self.roberta.gradient_checkpointing)

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, wanted: bool) -> None:
        word = "enable" if wanted else "disable"
        # transformers before 5.24 calls it by its old name
        switch: Any = getattr(self.roberta, f"activation_checkpointing_{word}", None)
        switch = switch or getattr(self.roberta, f"gradient_checkpointing_{word}")
        switch({"use_reentrant": False}) if wanted else switch()

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map tokens, [CLS] and [SEP] among them, to states; see `Encoder`. Padding may be on any side.

        Raises:
            InputError: also if L is more than `config.longest`.
        """
        check_tokens(tokens, real)
        length = tokens.shape[1]
        if length > self.config.longest:
            raise InputError(
                f"a molecule may have at most {self.config.longest} tokens with [CLS] and [SEP], got "
                f"{length}; cut longer ones"
            )
        silent = self.config.padding_idx
        # A row of nothing but padding attends to all of it, so that no softmax is over nothing.
        seen = real | ~real.any(1, keepdim=True)
        found = self.roberta(
            input_ids=tokens.masked_fill(~real, silent).long(),
            attention_mask=seen[:, None, None].expand(-1, 1, length, -1),  # [B, 1, L, L]
            position_ids=(silent + real.cumsum(1)).masked_fill(~real, silent),
            token_type_ids=tokens.new_zeros(tokens.shape).long(),
        )
        states: Tensor = found.last_hidden_state
        return mask_padding(states, real)


def open_chemberta(path: Path) -> ChemBERTa:
    """Read a ChemBERTa as it lies on the hub; in eval mode, float32, on the CPU.

    Args:
        path: a hub folder, or a weights file with config.json beside it.

    Raises:
        InputError: if a file is missing, damaged or of another model, what does not fit is named; or if
            transformers is not installed.
    """
    config = read_shape(path, ChemBERTaConfig.from_hub)
    tensors = encoder_tensors(path, PREFIX, HEAD)
    model = ChemBERTa(config)
    load_strict(tensors, model.roberta.state_dict(), str(path))
    return model.eval()


def _roberta(config: ChemBERTaConfig) -> nn.Module:
    """Return transformers' model without a pooler, untrained."""
    transformers = import_extra("transformers", "interaction", "ChemBERTa")
    theirs: dict[str, Any] = {name: getattr(config, ours) for ours, name in NAMES.items()}
    theirs |= {"type_vocab_size": 1, "bos_token_id": None, "eos_token_id": None}
    theirs["attn_implementation"] = "sdpa"
    model: nn.Module = transformers.RobertaModel(
        transformers.RobertaConfig(**theirs), add_pooling_layer=False
    )
    return model
