"""Tests for dnalm/evaluate/attention.py."""

import numpy as np
import pytest
import torch

from dnalm.data.molecules import atom_symbols, morgan_atoms, morgan_bits
from dnalm.data.pair_batches import PairTokens
from dnalm.errors import InputError
from dnalm.evaluate.attention import (
    AttentionWeights,
    attention_weights,
    check_attends,
    gene_spans,
    mean_attention,
    molecule_atoms,
    pair_attention,
)
from dnalm.models.bags import KmerConfig, MorganConfig
from dnalm.models.cross_attention import CrossAttentionBlock, CrossAttentionConfig, PooledAttentionConfig
from dnalm.models.gene_cnn import GeneCNNConfig
from dnalm.models.heads import EncodedBatch, PairHeadConfig
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import InteractionShape, PairTexts
from dnalm.models.pretrained import PretrainedConfig
from dnalm.models.smiles_lstm import SmilesLSTMConfig

pytest.importorskip("rdkit")

HEAD = CrossAttentionConfig(width=4, heads=2, feed_forward=4)
GENE, SMILES = "CCCCCCCCCCGATACCCCCCC", "CCCN"
EVEN = 1e-6  # of shares computed in float32


class Held:
    """A source of states that are in memory."""

    def __init__(self, *states):
        self.states = [torch.tensor(each) for each in states]

    def __len__(self):
        return len(self.states)

    def lengths(self, rows):
        return np.array([len(self.states[row]) for row in rows])

    def take(self, rows):
        taken = torch.nn.utils.rnn.pad_sequence([self.states[row] for row in rows], batch_first=True)
        return taken, torch.arange(taken.shape[1]) < torch.from_numpy(self.lengths(rows))[:, None]


def planted(gene, molecule, characters=""):
    """A model whose sides, of width 4, attend to what is 1 in their channels, and hardly to what is 0."""
    model = InteractionModel(InteractionShape(gene, molecule, HEAD, characters)).eval()
    with torch.no_grad():
        for layer in (model.head.gene_projection, model.head.molecule_projection):
            layer.weight.copy_(torch.eye(4))
            layer.bias.zero_()
        for attending in (model.head.gene_attending, model.head.molecule_attending):
            attending.query.weight.zero_()
            attending.query.bias.fill_(1.0)
            attending.key.weight.copy_(50 * torch.eye(4))
            attending.key.bias.zero_()
    return model


def looked(model, gene, smiles):
    """The attention of one pair whose encoders are trained."""
    found = attention_weights(model, model.shape.tokens(PairTexts([gene], [smiles])), 0, 0)
    places = gene_spans(model.shape, gene), molecule_atoms(model.shape, smiles)
    return pair_attention(found, *places, len(atom_symbols(smiles)))


@pytest.fixture
def bags():
    """A model that attends to GATA, and to the amine of SMILES alone."""
    model = planted(KmerConfig(4, 4), MorganConfig(width=4))
    with torch.no_grad():
        model.gene.embedding.weight.zero_()
        model.gene.embedding.weight[2 * 64 + 0 * 16 + 3 * 4 + 0] = 1.0
        model.molecule.embedding.weight.zero_()
    return model


@pytest.mark.parametrize(("atoms", "by_atom"), [((3,), [0, 0, 0, 1]), ((2, 3), [0, 0, 0.5, 0.5])])
def test_attention_lands_on_the_right_bases_and_atoms(bags, atoms, by_atom):
    place = morgan_atoms(SMILES).index(atoms)
    with torch.no_grad():
        bags.molecule.embedding.weight[morgan_bits(SMILES)[place]] = 1.0
    found = looked(bags, GENE, SMILES)
    assert found.gene[10, 14] == pytest.approx(1.0, abs=EVEN)
    assert found.molecule[atoms] == pytest.approx(1.0, abs=EVEN)
    np.testing.assert_allclose(found.atoms, by_atom, atol=EVEN)


def test_attention_to_kept_states_lands_on_the_planted_ones_whatever_stands_beside():
    gene, longer, molecule = np.zeros((5, 4), "f"), np.zeros((9, 4), "f"), np.zeros((3, 4), "f")
    gene[3], longer[0], molecule[1] = 1.0, 1.0, 1.0
    model = planted(PretrainedConfig(4), PretrainedConfig(4))
    found = attention_weights(model, PairTokens(Held(longer, gene), Held(molecule)), 1, 0)
    np.testing.assert_allclose(found.gene, [0, 0, 0, 1, 0], atol=EVEN)
    np.testing.assert_allclose(found.molecule, [0, 1, 0], atol=EVEN)


def test_each_side_is_attended_to_by_the_other():
    model, one_of_each = planted(PretrainedConfig(4), PretrainedConfig(4)), np.eye(4, dtype="f")
    with torch.no_grad():
        for channel, attending in enumerate((model.head.gene_attending, model.head.molecule_attending)):
            attending.key.weight.zero_()
            attending.key.weight[:, channel] = 50.0
    found = attention_weights(model, PairTokens(Held(one_of_each), Held(one_of_each)), 0, 0)
    np.testing.assert_allclose(found.molecule, [1, 0, 0, 0], atol=EVEN)  # to channel 0, by the gene's
    np.testing.assert_allclose(found.gene, [0, 1, 0, 0], atol=EVEN)


@pytest.mark.parametrize("gene", [KmerConfig(3, 8), GeneCNNConfig(8, (4, 4, 8))])
@pytest.mark.parametrize("molecule", [MorganConfig(width=8), SmilesLSTMConfig(8, 4)])
def test_shares_add_up_to_one_and_are_not_those_of_dropout(gene, molecule):
    torch.manual_seed(0)
    shape = InteractionShape(gene, molecule, HEAD, "CNO()=[]+H", 40, 12)
    model = InteractionModel(shape)
    smiles, sequence = "CC(=O)NCC[NH3+]", "ACGTTNCA" * 3 + "GGACT"
    found = looked(model.train(), sequence, smiles)
    assert model.training
    for share in (found.gene.values(), found.molecule.values(), found.atoms):
        assert sum(share) == pytest.approx(1.0, abs=EVEN)
    again = looked(model, sequence, smiles)
    assert again.gene == found.gene
    assert again.molecule == found.molecule


def side(states, padding):
    real = torch.arange(len(states) + padding) < len(states)
    return EncodedBatch(torch.nn.functional.pad(states, (0, 0, 0, padding))[None], real[None])


def test_attended_is_the_mean_of_softmaxes_and_padding_gets_nothing():
    torch.manual_seed(0)
    attending, own, other = CrossAttentionBlock(HEAD), torch.randn(3, 4), torch.randn(5, 4)
    with torch.no_grad():
        query, key = (
            layer.double()(x.double()) for layer, x in ((attending.query, own), (attending.key, other))
        )
        attending.float()
        wanted = np.zeros(5)
        for half in (slice(0, 2), slice(2, 4)):  # two heads of width 2
            for row in range(3):
                grown = np.exp((key[:, half] @ query[row, half]).numpy() / np.sqrt(2))
                wanted += grown / grown.sum() / 6
        found = mean_attention(attending, side(own, 0), side(other, 0))
        padded = mean_attention(attending, side(own, 4), side(other, 7))
    np.testing.assert_allclose(found, wanted, atol=EVEN)
    assert len(padded) == 5
    np.testing.assert_allclose(padded, wanted, atol=EVEN)


def test_a_gene_too_short_for_a_state_has_no_attention(bags):
    assert attention_weights(bags, bags.shape.tokens(PairTexts(["ACG"], [SMILES])), 0, 0) is None
    assert len(gene_spans(bags.shape, "ACG")) == 0


def test_places_of_a_gene_are_those_its_encoder_reads():
    kmer = InteractionShape(KmerConfig(4), MorganConfig(), HEAD, dna_length=6)
    assert gene_spans(kmer, "ACGTACGTACGT").tolist() == [[0, 4], [1, 5], [2, 6]]
    cnn = InteractionShape(GeneCNNConfig(), MorganConfig(), HEAD, dna_length=100)
    assert gene_spans(cnn, "A" * 21).tolist() == [[0, 8], [8, 16], [16, 21]]


@pytest.mark.parametrize(
    ("smiles", "atoms"),
    [
        ("CC(=O)Cl", [0, 1, 1, 1, 2, 2, 3, 3]),
        ("C[NH3+]", [0, 1, 1, 1, 1, 1, 1]),
        ("c1cc[nH]c1", [0, 0, 1, 2, 3, 3, 3, 3, 4, 4]),
        ("C.[Na+]", [0, 0, 1, 1, 1, 1, 1]),
    ],
)
def test_what_is_no_atom_is_counted_to_the_atom_before_it(smiles, atoms):
    shape = InteractionShape(KmerConfig(), SmilesLSTMConfig(), HEAD)
    assert [each for (each,) in molecule_atoms(shape, smiles)] == atoms
    short = InteractionShape(KmerConfig(), SmilesLSTMConfig(), HEAD, smiles_length=5)
    assert [each for (each,) in molecule_atoms(short, smiles)] == atoms[:5]


def test_tokens_of_a_frozen_encoder_are_counted_to_atoms_by_their_characters():
    shape = InteractionShape(KmerConfig(), PretrainedConfig(4), HEAD)
    spans = np.array([[0, 1], [1, 2], [2, 3], [4, 5], [6, 8]])  # C C ( O Cl
    assert molecule_atoms(shape, "CC(=O)Cl", spans) == [(0,), (1,), (1,), (2,), (3,)]
    assert molecule_atoms(shape, "CCO", np.array([[0, 0], [0, 0]])) == [(0,), (0,)]  # no token: both ends


def test_states_of_one_place_are_added_up_and_shared_out_evenly():
    found = AttentionWeights(np.array([0.25, 0.75]), np.array([0.2, 0.5, 0.3]))
    bases = np.array([[0, 3], [5, 9]])
    told = pair_attention(found, bases, [(0, 1), (1,), (0, 1)], 3)
    assert told.gene == {(0, 3): 0.25, (5, 9): 0.75}
    assert told.molecule == {(0, 1): 0.5, (1,): 0.5}
    np.testing.assert_allclose(told.atoms, [0.25, 0.75, 0.0])


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (PairHeadConfig("mean", "mean"), "run: .*no attention between gene and molecule .kmer-morgan."),
        (PooledAttentionConfig(4, 2, 4), "run: .*nothing to choose"),
    ],
)
def test_a_model_that_chooses_nothing_is_refused(head, message):
    with pytest.raises(InputError, match=message):
        check_attends(InteractionShape(KmerConfig(), MorganConfig(), head), "run")
    check_attends(InteractionShape(KmerConfig(), MorganConfig(), HEAD), "run")
