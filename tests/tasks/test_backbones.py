"""Tests for dnalm/tasks/backbones.py, and for the cores of backbone_names.py."""

import json

import numpy as np
import pytest
import torch

from dnalm import checkpoint
from dnalm.models import backbone_names
from dnalm.models.backbone_names import SEGMENTS, cut, dna_backbone, molecule_backbone
from dnalm.models.backbones import Backbone, Window, segment_spans, segments
from dnalm.models.chemberta import ChemBERTaConfig
from dnalm.models.dnabert2 import DNABert2Config
from dnalm.models.gpt import GPT, GPTConfig

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


def test_segments_are_means_of_equal_pieces():
    states = torch.arange(10.0).view(5, 2)
    assert torch.equal(segments(states, 5), states)
    assert torch.equal(segments(states, 32), states)
    assert segments(states, 2).tolist() == [[2.0, 3.0], [7.0, 8.0]]  # three states, then two
    assert segments(states, 1).tolist() == [[4.0, 5.0]]


def test_a_gene_is_cut_at_what_is_no_base_and_read_from_its_start():
    assert cut("acgNNgguRT", 10, 0) == [(0, "ACG"), (5, "GGT"), (9, "T")]
    assert cut("A" * 25, 10, 0) == [(0, "A" * 10), (10, "A" * 10), (20, "A" * 5)]
    long = cut("ACGT" * 300, 200, 0)
    assert [(piece.begin, len(piece.bases)) for piece in long] == [(0, 200), (200, 200), (400, 110)]
    assert "".join(piece.bases for piece in long) == ("ACGT" * 300)[:510]


def test_windows_are_evenly_spaced_over_the_whole_gene():
    gene = "".join("ACGT"[i // 10 % 4] for i in range(100))  # ten pieces of ten
    assert cut(gene, 10, 4) == [(at, gene[at : at + 10]) for at in (0, 30, 60, 90)]
    assert cut(gene, 10, 99) == [(at, gene[at : at + 10]) for at in range(0, 100, 10)]
    assert cut(gene, 10, 1) == [(0, gene[:10])]


def test_a_gene_without_a_base_is_refused():
    with pytest.raises(ValueError, match="a gene has no base: expected A, C, G and T, got 'NNNN'"):
        cut("NNNN", 10, 0)


def test_states_are_those_of_the_core_and_the_mean_stands_first(core):
    backbone = dna_backbone(str(core), None, 0)
    gene = "ACGTTGCAAC"
    found = backbone.encode([gene])[0]
    tokens = torch.tensor([["ACGT".index(base) for base in gene]])
    wanted = backbone.encoder(tokens, torch.ones(1, 10, dtype=torch.bool))[0]
    torch.testing.assert_close(found[1:], wanted)
    torch.testing.assert_close(found[0], wanted.mean(0))
    assert backbone.causal
    assert backbone.width == 8


def test_windows_of_a_gene_are_read_apart_and_joined(core):
    backbone = dna_backbone(str(core), None, 0)
    gene = "ACGTTGCAAC" * 5  # windows of 40 and 10
    found = backbone.encode([gene])[0]
    parts = [backbone.encode([piece])[0] for piece in (gene[:40], gene[40:])]
    assert len(found) == 1 + SEGMENTS
    torch.testing.assert_close(found[0], (40 * parts[0][0] + 10 * parts[1][0]) / 50)


def test_a_text_has_the_same_states_alone_and_among_others(core):
    backbone = dna_backbone(str(core), None, 0)
    draws = np.random.default_rng(0)
    genes = ["".join(draws.choice(list("ACGT"), length)) for length in (3, 90, 41, 7, 40, 200, 1, 66)] * 3
    for gene, states in zip(genes, backbone.encode(genes), strict=True):
        torch.testing.assert_close(states, backbone.encode([gene])[0])


def test_it_is_frozen(core):
    backbone = dna_backbone(str(core), None, 0)
    assert not backbone.encoder.training
    assert not any(parameter.requires_grad for parameter in backbone.encoder.parameters())
    assert not backbone.encode(["ACGT"])[0].requires_grad


def test_identity_tells_weights_and_windows_apart(core):
    one, other = dna_backbone(str(core), None, 0).identity, dna_backbone(str(core), None, 3).identity
    assert one["weights"] == other["weights"]
    assert one != other
    tensors, about = checkpoint.load(core)
    tensors["transformer.wte.weight"][0, 0] += 1
    about = {key: about[key] for key in ("kind", "encoder", "characters", "vocab_size")}
    checkpoint.save(core / "checkpoint", tensors, about)
    assert dna_backbone(str(core), None, 0).identity["weights"] != one["weights"]


def test_states_of_special_tokens_are_left_out():
    class Ids(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, tokens, real):
            return tokens.masked_fill(~real, 99).unsqueeze(-1).float()

    def windows(text):
        ids = np.array([1, *map(int, text), 2], dtype=np.int32)
        kept = np.ones(len(ids), bool)
        kept[[0, -1]] = False
        return [Window(ids, kept, np.array([(0, 0), *((at, at + 1) for at in range(len(text))), (9, 9)]))]

    backbone = Backbone("", Ids(), {"name": "ids"}, windows, None)
    found = backbone.encode(["345", "7"])
    assert found[0].flatten().tolist() == [4.0, 3.0, 4.0, 5.0]
    assert found[1].flatten().tolist() == [7.0, 7.0]
    assert backbone.spans("345").tolist() == [[0, 1], [1, 2], [2, 3]]


@pytest.mark.parametrize("tokens", [1, 5, 31, 32, 33, 510])
def test_segments_of_spans_tile_the_tokens_and_are_those_of_the_states(tokens):
    edges = np.concatenate([[0], np.random.default_rng(tokens).integers(1, 9, tokens).cumsum()])
    spans = np.stack([edges[:-1], edges[1:]], axis=1)
    found = segment_spans(spans, SEGMENTS)
    assert found[0, 0] == 0
    assert found[-1, 1] == edges[-1]
    assert (found[1:, 0] == found[:-1, 1]).all()
    means = segments(torch.arange(tokens)[:, None].double(), SEGMENTS).flatten()
    assert len(found) == len(means)
    inside = [np.flatnonzero((edges[:-1] >= begin) & (edges[1:] <= end)) for begin, end in found]
    np.testing.assert_allclose([each.mean() for each in inside], means)


def test_spans_of_a_core_are_bases_of_the_gene_as_it_was_given(core):
    backbone = dna_backbone(str(core), None, 0)
    gene = "NNacgtNNNgguN"
    places = [2, 3, 4, 5, 9, 10, 11]
    assert backbone.spans(gene).tolist() == [[at, at + 1] for at in places]
    assert len(backbone.encode([gene])[0]) == 1 + len(places)
    gene = "N" * 7 + "ACGTTGCAAC" * 5 + "N" * 3 + "ACGT" * 5  # 70 bases, 32 segments
    found = backbone.spans(gene)
    assert len(found) == SEGMENTS == len(backbone.encode([gene])[0]) - 1
    assert (found[0, 0], found[-1, 1]) == (7, len(gene))
    bases = [gene[begin:end].replace("N", "") for begin, end in found]
    assert "".join(bases) == gene.replace("N", "")
    assert {len(each) for each in bases} == {2, 3}


def test_spans_of_windows_are_where_the_windows_are(core):
    gene = "".join(np.random.default_rng(0).choice(list("ACGT"), 400))  # ten pieces of forty
    found = dna_backbone(str(core), None, 2).spans(gene)
    assert (found[0, 0], found[-1, 1]) == (0, 400)
    assert not ((found[:, 0] >= 40) & (found[:, 1] <= 360)).any()


def test_spans_of_hub_encoders_are_their_tokenizers_without_special_tokens(tmp_path, monkeypatch):
    tokenizers = pytest.importorskip("tokenizers")
    encoder = torch.nn.Linear(2, 2)
    encoder.width, encoder.causal = 2, False
    shapes = {"open_dnabert2": DNABert2Config(), "open_chemberta": ChemBERTaConfig()}
    for name, config in shapes.items():

        def opened(_folder, config=config):
            encoder.config = config
            return encoder

        monkeypatch.setattr(backbone_names, name, opened)
    names = ["[UNK]", "[CLS]", "[SEP]", *"ACGT", "GA", "TA", "GATA"]
    model = tokenizers.models.BPE(
        {name: row for row, name in enumerate(names)}, [("G", "A"), ("T", "A"), ("GA", "TA")]
    )
    tokenizers.Tokenizer(model).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text("{}")
    found = dna_backbone(str(tmp_path), None, 0).spans("NNgataNCGA")
    assert found.tolist() == [[2, 6], [7, 8], [8, 10]]
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"C()O=", "Cl"]
    (tmp_path / "vocab.json").write_text(json.dumps({name: row for row, name in enumerate(names)}))
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    hub, atomwise = (molecule_backbone(str(tmp_path), None, how) for how in ("hub", "atomwise"))
    assert hub.spans("CClO").tolist() == [[0, 1], [1, 2], [3, 4]]
    assert atomwise.spans("CClO").tolist() == [[0, 1], [1, 3], [3, 4]]
    assert hub.spans("#").tolist() == [[0, 0], [0, 0]]
