"""Tests for opening pretrained encoders: a small core, and small random encoders in the hub's layout."""

import json
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch

from dnalm import checkpoint
from dnalm.errors import InputError
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.input_encoder import FILES, SEGMENTS, cut, open_gene_encoder, open_molecule_encoder
from dnalm.models.pretrained import PADDING, TokenWindows, encode_windows, state_mask
from tests.hub_models import SMILES_TOKENS, random_genes

tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("transformers")

SHAPE = {"n_layer": 1, "n_head": 2, "n_embd": 8, "block_size": 40}


@pytest.fixture
def core(tmp_path):
    """A folder of `dnalm pretrain`, as far as it is read here."""
    torch.manual_seed(0)
    encoder = GPT(GPTConfig(**SHAPE), 4)
    tensors = {f"transformer.{name}": tensor for name, tensor in encoder.state_dict().items()}
    about = {"kind": "language", "encoder": {"name": "gpt", **SHAPE}, "characters": "ACGT", "vocab_size": 4}
    checkpoint.save(tmp_path / "vocab4" / "checkpoint", tensors, about)
    return tmp_path / "vocab4"


def test_a_gene_is_cut_at_what_is_no_base_and_read_from_its_start_or_in_even_windows():
    assert cut("acgNNgguRT", 10, 0) == [(0, "ACG"), (5, "GGT"), (9, "T")]
    assert cut("A" * 25, 10, 0) == [(0, "A" * 10), (10, "A" * 10), (20, "A" * 5)]
    long = cut("ACGT" * 300, 200, 0)
    assert [(begin, len(bases)) for begin, bases in long] == [(0, 200), (200, 200), (400, 110)]
    assert "".join(bases for _, bases in long) == ("ACGT" * 300)[:510]
    gene = "".join("ACGT"[i // 10 % 4] for i in range(100))  # ten pieces of ten
    assert cut(gene, 10, 4) == [(at, gene[at : at + 10]) for at in (0, 30, 60, 90)]
    assert cut(gene, 10, 99) == [(at, gene[at : at + 10]) for at in range(0, 100, 10)]
    assert cut(gene, 10, 1) == [(0, gene[:10])]
    with pytest.raises(InputError, match="a gene has no base: expected A, C, G and T, got 'NNNN'"):
        cut("NNNN", 10, 0)


def test_states_are_those_of_the_frozen_core_and_the_mean_stands_first(core):
    encoder = open_gene_encoder(str(core), "", 0)
    gene = "ACGTTGCAAC"
    (found,) = encoder.encode([gene])
    tokens = torch.tensor([["ACGT".index(base) for base in gene]])
    wanted = encoder.module(tokens, torch.ones(1, 10, dtype=torch.bool))[0]
    torch.testing.assert_close(found[1:], wanted)
    torch.testing.assert_close(found[0], wanted.mean(0))
    assert (encoder.config().causal, encoder.config().width) == (True, 8)
    assert not encoder.module.training
    assert not any(parameter.requires_grad for parameter in encoder.module.parameters())
    assert not found.requires_grad
    (long,) = encoder.encode([gene * 5])  # windows of 40 and 10, read apart and joined
    parts = [encoder.encode([piece])[0] for piece in (gene * 4, gene)]
    assert len(long) == 1 + SEGMENTS
    torch.testing.assert_close(long[0], (40 * parts[0][0] + 10 * parts[1][0]) / 50)


def test_identity_tells_weights_and_windows_apart(core):
    one, other = open_gene_encoder(str(core), "", 0).identity, open_gene_encoder(str(core), "", 3).identity
    assert one["weights"] == other["weights"]
    assert one != other
    tensors, about = checkpoint.load(core)
    tensors["transformer.wte.weight"][0, 0] += 1
    about = {key: about[key] for key in ("kind", "encoder", "characters", "vocab_size")}
    checkpoint.save(core / "checkpoint", tensors, about)
    assert open_gene_encoder(str(core), "", 0).identity["weights"] != one["weights"]


def test_spans_of_a_core_are_bases_of_the_gene_as_it_was_given(core):
    encoder = open_gene_encoder(str(core), "", 0)
    gene = "NNacgtNNNgguN"
    places = [2, 3, 4, 5, 9, 10, 11]
    assert encoder.spans(gene).tolist() == [[at, at + 1] for at in places]
    assert len(encoder.encode([gene])[0]) == 1 + len(places)
    gene = "N" * 7 + "ACGTTGCAAC" * 5 + "N" * 3 + "ACGT" * 5  # 70 bases, 32 segments
    found = encoder.spans(gene)
    assert len(found) == SEGMENTS == len(encoder.encode([gene])[0]) - 1
    assert (found[0, 0], found[-1, 1]) == (7, len(gene))
    bases = [gene[begin:end].replace("N", "") for begin, end in found]
    assert "".join(bases) == gene.replace("N", "")
    assert {len(each) for each in bases} == {2, 3}
    found = open_gene_encoder(str(core), "", 2).spans(*random_genes(400))  # ten pieces of forty
    assert (found[0, 0], found[-1, 1]) == (0, 400)
    assert not ((found[:, 0] >= 40) & (found[:, 1] <= 360)).any()


def test_spans_of_hub_encoders_are_their_tokenizers_without_special_tokens(dnabert2, chemberta):
    encoder = open_gene_encoder(str(dnabert2), "", 0)
    gene = "NNgataNCGA"
    found = encoder.spans(gene)
    tokens = tokenizers.Tokenizer.from_file(str(dnabert2 / "tokenizer.json"))
    wanted = [
        [begin + first, begin + last]
        for begin, run in ((2, "GATA"), (7, "CGA"))
        for first, last in tokens.encode(run).offsets
    ]
    assert found.tolist() == wanted
    hub, atomwise = (open_molecule_encoder(str(chemberta), "", how) for how in ("hub", "atomwise"))
    assert hub.spans("CClO").tolist() == [[0, 1], [1, 2], [3, 4]]
    assert atomwise.spans("CClO").tolist() == [[0, 1], [1, 3], [3, 4]]
    assert hub.spans("#").tolist() == [[0, 0], [0, 0]]


def test_states_of_a_gene_are_the_encoders_without_its_special_tokens(dnabert2):
    encoder = open_gene_encoder(str(dnabert2), "", 0)
    library = tokenizers.Tokenizer.from_file(str(dnabert2 / "tokenizer.json"))
    gene = "ACGTTGCAACGGATTACA"
    ids = torch.tensor([[1, *library.encode(gene).ids, 2]])
    wanted = encoder.module(ids, torch.ones_like(ids, dtype=torch.bool))[0, 1:-1]
    found = encoder.encode([gene])[0]
    torch.testing.assert_close(found[1:], wanted)  # fewer tokens than segments: one state each
    torch.testing.assert_close(found[0], wanted.mean(0))
    config = encoder.config()
    assert (config.identity["name"], config.width, config.causal) == ("DNABERT-small", 24, False)
    genes = random_genes(9, 400, 70, letters="ACGT" * 6 + "N", seed=1)  # alike in either case, and alone
    together = encoder.encode(genes + [gene.lower() for gene in genes])
    for row, gene in enumerate(genes):
        torch.testing.assert_close(together[row], together[row + 3])
        torch.testing.assert_close(encoder.encode([gene])[0], together[row], rtol=1e-4, atol=1e-5)
    assert len(together[1]) == 33  # the mean and 32 segments


def test_windows_over_the_gene_see_its_end(dnabert2):
    (gene,) = random_genes(9_000, seed=2)
    other = gene[:-300] + "A" * 300
    first = open_gene_encoder(str(dnabert2), "", 0)
    spread = open_gene_encoder(str(dnabert2), "", 8)
    assert torch.equal(first.encode([gene])[0], first.encode([other])[0])
    assert not torch.equal(spread.encode([gene])[0], spread.encode([other])[0])
    assert first.identity != spread.identity


def test_hub_tokens_lose_chlorine_and_the_report_says_so(chemberta):
    assert {"vocab.json", "merges.txt", "config.json"} <= set(FILES)  # fetched of a hub name
    hub, atomwise = (open_molecule_encoder(str(chemberta), "", how) for how in ("hub", "atomwise"))
    ids = torch.tensor([[2, *(SMILES_TOKENS.index(token) for token in ("c", "1", "Cl", "C")), 3]])
    wanted = atomwise.module(ids, torch.ones_like(ids, dtype=torch.bool))[0, 1:-1]  # no special tokens
    torch.testing.assert_close(atomwise.encode(["c1ClC"])[0][1:], wanted)
    lossy, whole = hub.encode(["CCCl", "CCC"]), atomwise.encode(["CCCl", "CCC"])
    torch.testing.assert_close(lossy[0], lossy[1])  # l is no token
    assert not torch.allclose(whole[0], whole[1])
    assert hub.identity != atomwise.identity
    assert "'l'" in hub.report_losses(["CCCl", "CCC"])


def test_a_molecule_without_a_token_has_the_state_of_its_ends_and_a_long_one_is_cut(chemberta):
    encoder = open_molecule_encoder(str(chemberta), "", "hub")
    found = encoder.encode(["#", "C" * 90])
    assert torch.isfinite(found[0]).all()
    assert found[0].shape == (3, 24)  # the mean, [CLS] and [SEP]
    assert len(found[1]) == 1 + 38 - 2  # 40 positions, of which two are no token's
    assert "1" in encoder.report_losses(["C" * 90])


def test_an_encoder_of_the_other_kind_and_a_gene_without_a_token_are_refused(dnabert2, chemberta):
    with pytest.raises(InputError, match="of a DNABERT-2: .*model_type is 'roberta', expected 'bert'"):
        open_gene_encoder(str(chemberta), "", 0)
    with pytest.raises(InputError, match="expected the config.json of a ChemBERTa"):
        open_molecule_encoder(str(dnabert2), "", "hub")
    with pytest.raises(InputError, match="at least one of A, C, G, T"):
        open_gene_encoder(str(dnabert2), "", 0).encode(["NNNN"])


def changed(folder, path, **changes):
    """A copy of a hub folder in `path` with other settings and as many words as they say."""
    shutil.copytree(folder, path)
    config = json.loads((folder / "config.json").read_text()) | changes
    (path / "config.json").write_text(json.dumps(config))
    tensors = safetensors.torch.load_file(path / "model.safetensors")
    name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
    tensors[name] = tensors[name][: config["vocab_size"]].clone()
    safetensors.torch.save_file(tensors, path / "model.safetensors")
    return str(path)


def test_files_of_two_models_mixed_are_refused_and_the_shape_is_part_of_the_identity(
    dnabert2, chemberta, tmp_path
):
    with pytest.raises(InputError, match="its weights have rows for 9: files of two models are mixed"):
        open_gene_encoder(changed(dnabert2, tmp_path / "dna", vocab_size=9), "", 0)
    with pytest.raises(InputError, match="files of two models are mixed"):
        open_molecule_encoder(changed(chemberta, tmp_path / "molecules", vocab_size=9), "", "hub")
    other = changed(chemberta, tmp_path / chemberta.name, num_attention_heads=2)  # no tensor shows it
    one, two = (open_molecule_encoder(str(folder), "", "hub").identity for folder in (chemberta, other))
    assert one["weights"] == two["weights"]
    assert one != two


@pytest.mark.parametrize(("name", "windows"), [("dnabert2", 0), ("dnabert2", 3), ("chemberta", 0)])
@pytest.mark.parametrize("pooled", [False, True])
def test_windows_of_a_trained_encoder_give_the_states_of_a_frozen_one(name, windows, pooled, request):
    folder = str(request.getfixturevalue(name))
    if name == "dnabert2":
        encoder, texts = open_gene_encoder(folder, "", windows), random_genes(700, 90, 2000, 5)
    else:
        encoder, texts = open_molecule_encoder(folder, "", "hub"), ["CCO", "c1ccccc1N=O", "C"]
    windows = TokenWindows(texts, encoder.tokenize, 1 if pooled else encoder.segments)
    tokens, state_of = windows.take(np.arange(len(texts)))
    with torch.no_grad():
        states, real = encode_windows(encoder.module, tokens, state_of), state_mask(state_of)
    for row, cached in enumerate(encoder.encode(texts)):
        torch.testing.assert_close(states[row][real[row]], cached[:1] if pooled else cached[1:])
    assert windows.lengths(np.arange(len(texts))).tolist() == (state_of > PADDING).sum((1, 2)).tolist()
