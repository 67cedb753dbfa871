"""Small encoders of random weights in the hub's layout."""

import json

import numpy as np
import pytest
import safetensors.torch

from dnalm.models.chemberta import ChemBERTa, ChemBERTaConfig
from dnalm.models.dnabert2 import DNABert2, DNABert2Config

SMILES_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"cC()O1=N", "Cl", "Br", "[Na+]"]
SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 16,
    "layer_norm_eps": 1e-12,
}
DNABERT2 = SIZES | {"vocab_size": 80, "type_vocab_size": 2}
CHEMBERTA = SIZES | {"vocab_size": len(SMILES_TOKENS), "max_position_embeddings": 40, "model_type": "roberta"}


def random_genes(*lengths, letters="ACGT", seed=0):
    draws = np.random.default_rng(seed)
    return ["".join(draws.choice(list(letters), length)) for length in lengths]


def save_hub(folder, config, model):
    """Save an encoder of random weights as it lies on the hub."""
    prefix = "bert." if isinstance(model, DNABert2) else ""
    weights = {prefix + name: each for name, each in model.state_dict().items()}
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def dnabert2(tmp_path_factory):
    tokenizers = pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("DNABERT-small", numbered=False)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="[UNK]"))
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    options = {"vocab_size": 80, "initial_alphabet": list("ACGT"), "show_progress": False}
    trainer = tokenizers.trainers.BpeTrainer(special_tokens=special, **options)
    tokenizer.train_from_iterator(random_genes(*[300] * 20), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return save_hub(folder, DNABERT2, DNABert2(DNABert2Config.from_hub(DNABERT2)))


@pytest.fixture(scope="session")
def chemberta(tmp_path_factory):
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("ChemBERTa-small", numbered=False)
    vocabulary = {token: number for number, token in enumerate(SMILES_TOKENS)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    return save_hub(folder, CHEMBERTA, ChemBERTa(ChemBERTaConfig.from_hub(CHEMBERTA)))
