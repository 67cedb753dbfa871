"""ChemBERTa (Ahmad et al. 2022): the published encoder of SMILES' tokens, by transformers' RoBERTa.

Shapes: B molecules in the batch; L tokens per molecule, 513 at most in the published model; D hidden, width
of the states.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from dnalm.checkpoint import load_strict
from dnalm.config import check_minimum, refuse
from dnalm.errors import import_extra
from dnalm.formats.hub import encoder_tensors, read_shape
from dnalm.models.dnabert2 import BERTConfig
from dnalm.models.layers import Encoder, check_tokens, mask_padding


@dataclass(frozen=True)
class ChemBERTaConfig(BERTConfig):
    """The shape of a ChemBERTa; the defaults are those of the published ChemBERTa-77M-MLM."""

    vocab_size: int = 600
    hidden: int = 384
    layers: int = 3
    feed_forward: int = 464
    dropout: float = 0.144
    attention_dropout: float = 0.109
    positions: int = 515  # Rows of the position table, of which those up to `padding_idx` are no token's
    padding_idx: int = 1  # The first token's position is one more. It says nothing of the tokenizer's ids

    what: ClassVar[str] = "a ChemBERTa"
    names: ClassVar[dict[str, str]] = BERTConfig.names | {
        "positions": "max_position_embeddings",
        "padding_idx": "pad_token_id",
    }
    optional: ClassVar[set[str]] = BERTConfig.optional | {"pad_token_id"}
    required: ClassVar[dict[str, Any]] = BERTConfig.required | {
        "model_type": "roberta",
        "position_embedding_type": "absolute",
        "type_vocab_size": 1,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse(check_minimum(self, padding_idx=0))
        refuse(check_minimum(self, vocab_size=self.padding_idx + 1, positions=self.padding_idx + 2))

    @property
    def longest(self) -> int:
        """Tokens of a molecule, at most."""
        return self.positions - self.padding_idx - 1


class ChemBERTa(Encoder):
    """Tokens of SMILES in, states out, each of which has seen the whole molecule.

    Names of its tensors are those of the hub's file, `roberta.` before each. Without the pooler, which no
    masked-language checkpoint has and no state depends on, the published sizes make 3,279,600 parameters.
    """

    def __init__(self, config: ChemBERTaConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.hidden
        transformers = import_extra("transformers", "interaction", "ChemBERTa")
        theirs: dict[str, Any] = {name: getattr(config, ours) for ours, name in config.names.items()}
        theirs |= {"type_vocab_size": 1, "bos_token_id": None, "eos_token_id": None}
        self.roberta: nn.Module = transformers.RobertaModel(
            transformers.RobertaConfig(**theirs, attn_implementation="sdpa"), add_pooling_layer=False
        )

    @property
    def layers(self) -> Any:
        """The layers, first to last: the very modules, for some to be trained and others not."""
        return self.roberta.get_submodule("encoder.layer")

    @property
    def gradient_checkpointing(self) -> bool:
        """In training keep a layer's input alone, and compute the rest again: slower, smaller."""
        return bool(self.roberta.gradient_checkpointing)

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, wanted: bool) -> None:
        # transformers before 5.24 calls it by its old name
        prefix = "activation" if hasattr(self.roberta, "activation_checkpointing_enable") else "gradient"
        if wanted:
            getattr(self.roberta, f"{prefix}_checkpointing_enable")({"use_reentrant": False})
        else:
            getattr(self.roberta, f"{prefix}_checkpointing_disable")()

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map at most `config.longest` tokens, [CLS] and [SEP] among them; padding may be on any side."""
        check_tokens(tokens, real, self.config.longest)
        length, silent = tokens.shape[1], self.config.padding_idx
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
    """Read a ChemBERTa from a hub folder; in eval mode, float32, on the CPU.

    Raises:
        InputError: if a file is missing, damaged or of another model, or transformers is not installed.
    """
    config = read_shape(path, ChemBERTaConfig.from_hub)
    tensors, left_out = encoder_tensors(path, "roberta.", "lm_head.")
    model = ChemBERTa(config)
    load_strict(tensors, model.roberta.state_dict(), str(path))
    model.left_out = left_out
    return model.eval()
