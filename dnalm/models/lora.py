"""LoRA (Hu et al. 2021): low-rank updates of an encoder's linear layers, by peft."""

import warnings

from torch import nn

from dnalm.errors import import_extra

TARGETS = ["c_attn", "c_proj", "c_fc", "Wqkv", "gated_layers", "wo", "dense", "query", "key", "value"]
"""The linear layers of a block of a GPT, DNABERT-2 or ChemBERTa, by the last part of their names."""


def add_lora(encoder: nn.Module, rank: int) -> None:
    """Put an update of rank `rank` beside each linear layer of the blocks, in place; all else is frozen."""
    peft = import_extra("peft", "tune", "training by low-rank updates (LoRA)")
    encoder.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers it would name otherwise in a transformers model
        config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS)
        peft.inject_adapter_in_model(config, encoder)


def merge_lora(encoder: nn.Module) -> None:
    """Add each update into its layer, in place, so that the encoder is as plain as before."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(encoder.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            parent, _, last = name.rpartition(".")
            setattr(encoder.get_submodule(parent), last, layer.get_base_layer())
