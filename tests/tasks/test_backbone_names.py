"""Tests for dnalm/tasks/backbone_names.py: small random encoders in the hub's layout."""

import json
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch

from dnalm.models.backbone_names import dna_backbone, molecule_backbone
from dnalm.models.chemberta import ChemBERTa, ChemBERTaConfig
from dnalm.models.dnabert2 import DNABert2, DNABert2Config
from dnalm.models.tuned import PADDING, TunedConfig, TunedEncoder
from dnalm.models.windowed import WindowedTexts

tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("transformers")

SMILES_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"cC()O1=N", "Cl", "Br", "[Na+]"]
DNABERT2 = {
    "vocab_size": 80, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
    "intermediate_size": 16, "layer_norm_eps": 1e-12, "type_vocab_size": 2, "hidden_act": "gelu",
}  # fmt: skip
CHEMBERTA = {
    "vocab_size": len(SMILES_TOKENS), "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3,
    "intermediate_size": 16, "max_position_embeddings": 40, "layer_norm_eps": 1e-12, "type_vocab_size": 1,
    "model_type": "roberta", "hidden_act": "gelu", "pad_token_id": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def dnabert2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "DNABERT-small"
    folder.mkdir()
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="[UNK]"))
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=80,
        special_tokens=["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"],
        initial_alphabet=list("ACGT"),
        show_progress=False,
    )
    draws = np.random.default_rng(0)
    tokenizer.train_from_iterator(["".join(draws.choice(list("ACGT"), 300)) for _ in range(20)], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(DNABERT2))
    torch.manual_seed(0)
    weights = DNABert2(DNABert2Config.from_hub(DNABERT2)).state_dict()
    safetensors.torch.save_file({f"bert.{k}": v for k, v in weights.items()}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def chemberta(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "ChemBERTa-small"
    folder.mkdir()
    vocabulary = {token: number for number, token in enumerate(SMILES_TOKENS)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "config.json").write_text(json.dumps(CHEMBERTA))
    torch.manual_seed(0)
    weights = ChemBERTa(ChemBERTaConfig.from_hub(CHEMBERTA)).state_dict()
    safetensors.torch.save_file(dict(weights), folder / "model.safetensors")
    return folder


def test_states_of_a_gene_are_the_encoders_without_its_special_tokens(dnabert2):
    backbone = dna_backbone(str(dnabert2), None, 0)
    library = tokenizers.Tokenizer.from_file(str(dnabert2 / "tokenizer.json"))
    gene = "ACGTTGCAACGGATTACA"
    ids = torch.tensor([[1, *library.encode(gene).ids, 2]])
    wanted = backbone.encoder(ids, torch.ones_like(ids, dtype=torch.bool))[0, 1:-1]
    found = backbone.encode([gene])[0]
    torch.testing.assert_close(found[1:], wanted)  # fewer tokens than segments: one state each
    torch.testing.assert_close(found[0], wanted.mean(0))
    assert (backbone.name, backbone.width, backbone.causal) == ("DNABERT-small", 24, False)


def test_a_gene_is_read_alike_in_either_case_and_alone_or_among_others(dnabert2):
    backbone = dna_backbone(str(dnabert2), None, 0)
    draws = np.random.default_rng(1)
    genes = ["".join(draws.choice(list("ACGTN"), size, p=[0.24] * 4 + [0.04])) for size in (9, 400, 70)]
    together = backbone.encode(genes + [gene.lower() for gene in genes])
    for row, gene in enumerate(genes):
        torch.testing.assert_close(together[row], together[row + 3])
        torch.testing.assert_close(backbone.encode([gene])[0], together[row], rtol=1e-4, atol=1e-5)
    assert len(together[1]) == 33  # the mean and 32 segments


def test_windows_over_the_gene_see_its_end(dnabert2):
    draws = np.random.default_rng(2)
    gene = "".join(draws.choice(list("ACGT"), 9_000))
    other = gene[:-300] + "A" * 300
    first = dna_backbone(str(dnabert2), None, 0)
    spread = dna_backbone(str(dnabert2), None, 8)
    assert torch.equal(first.encode([gene])[0], first.encode([other])[0])
    assert not torch.equal(spread.encode([gene])[0], spread.encode([other])[0])
    assert first.identity != spread.identity


def test_states_of_a_molecule_are_the_encoders_without_its_special_tokens(chemberta):
    backbone = molecule_backbone(str(chemberta), None, "atomwise")
    ids = torch.tensor([[2, *(SMILES_TOKENS.index(token) for token in ("c", "1", "Cl", "C")), 3]])
    wanted = backbone.encoder(ids, torch.ones_like(ids, dtype=torch.bool))[0, 1:-1]
    torch.testing.assert_close(backbone.encode(["c1ClC"])[0][1:], wanted)


def test_hub_tokens_lose_chlorine_and_the_report_says_so(chemberta):
    hub, atomwise = (molecule_backbone(str(chemberta), None, how) for how in ("hub", "atomwise"))
    lossy, whole = hub.encode(["CCCl", "CCC"]), atomwise.encode(["CCCl", "CCC"])
    torch.testing.assert_close(lossy[0], lossy[1])  # l is no token
    assert not torch.allclose(whole[0], whole[1])
    assert hub.identity != atomwise.identity
    assert "'l'" in hub.report(["CCCl", "CCC"])


def test_of_a_hub_name_all_that_a_vocabulary_is_checked_by_is_asked_for(chemberta, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "dnalm.models.backbone_names.hub_folder",
        lambda _name, _revision, files: asked.extend(files) or chemberta,
    )
    molecule_backbone("chemberta", "0" * 40, "hub")
    assert {"vocab.json", "merges.txt", "config.json"} <= set(asked)


def test_a_molecule_without_a_token_has_the_state_of_its_ends(chemberta):
    backbone = molecule_backbone(str(chemberta), None, "hub")
    found = backbone.encode(["#", "C"])
    assert torch.isfinite(found[0]).all()
    assert found[0].shape == (3, 24)  # the mean, [CLS] and [SEP]


def test_an_encoder_of_the_other_kind_is_refused(dnabert2, chemberta):
    with pytest.raises(ValueError, match="expected a DNABERT-2, got a model of type roberta"):
        dna_backbone(str(chemberta), None, 0)
    with pytest.raises(ValueError, match="expected a ChemBERTa, got a model of type none"):
        molecule_backbone(str(dnabert2), None, "hub")


def test_files_of_two_models_mixed_are_refused(dnabert2, chemberta, tmp_path):
    for folder in (dnabert2, chemberta):
        mixed = tmp_path / folder.name
        shutil.copytree(folder, mixed)
        config = json.loads((mixed / "config.json").read_text())
        (mixed / "config.json").write_text(json.dumps(config | {"vocab_size": 9}))
        tensors = safetensors.torch.load_file(mixed / "model.safetensors")
        name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
        tensors[name] = tensors[name][:9].clone()
        safetensors.torch.save_file(tensors, mixed / "model.safetensors")
    with pytest.raises(ValueError, match="its weights have rows for 9: files of two models are mixed"):
        dna_backbone(str(tmp_path / dnabert2.name), None, 0)
    with pytest.raises(ValueError, match="files of two models are mixed"):
        molecule_backbone(str(tmp_path / chemberta.name), None, "hub")


def test_a_molecule_longer_than_the_encoder_takes_is_cut(chemberta):
    backbone = molecule_backbone(str(chemberta), None, "hub")
    assert len(backbone.encode(["C" * 90])[0]) == 1 + 38 - 2  # 40 positions, of which two are no token's
    assert "1" in backbone.report(["C" * 90])


def test_the_shape_of_an_encoder_is_part_of_its_identity(chemberta, tmp_path):
    other = tmp_path / chemberta.name
    shutil.copytree(chemberta, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"num_attention_heads": 2}))  # no tensor shows it
    one, two = (molecule_backbone(str(folder), None, "hub").identity for folder in (chemberta, other))
    assert one["weights"] == two["weights"]
    assert one != two


def test_a_gene_without_a_base_is_refused(dnabert2):
    with pytest.raises(ValueError, match="at least one of A, C, G, T"):
        dna_backbone(str(dnabert2), None, 0).encode(["NNNN"])


@pytest.mark.parametrize(("name", "windows"), [("dnabert2", 0), ("dnabert2", 3), ("chemberta", 0)])
@pytest.mark.parametrize("pooled", [False, True])
def test_an_encoder_in_a_model_makes_the_states_that_are_kept_of_a_frozen_one(name, windows, pooled, request):
    folder = str(request.getfixturevalue(name))
    draws = np.random.default_rng(3)
    if name == "dnabert2":
        backbone = dna_backbone(folder, None, windows)
        texts = ["".join(draws.choice(list("ACGT"), size)) for size in (700, 90, 2000, 5)]
    else:
        backbone, texts = molecule_backbone(folder, None, "hub"), ["CCO", "c1ccccc1N=O", "C"]
    source = WindowedTexts(texts, backbone.windows, 1 if pooled else backbone.segments)
    tuned = TunedEncoder(TunedConfig(backbone.width), backbone.encoder)
    tokens, places = source.take(np.arange(len(texts)))
    with torch.no_grad():
        states, real = tuned.encode(tokens, places), tuned.state_mask(places)
    for row, kept in enumerate(backbone.encode(texts)):
        torch.testing.assert_close(states[row][real[row]], kept[:1] if pooled else kept[1:])
    assert source.lengths(np.arange(len(texts))).tolist() == (places > PADDING).sum((1, 2)).tolist()
