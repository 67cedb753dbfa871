"""Tests for dnalm/models/bags.py: encoders whose states know nothing of each other."""

import sys
from itertools import product

import pytest
import torch

from dnalm.models.bags import KmerBag, KmerConfig, MorganBag, MorganConfig, set_bits


def codes(*texts):
    longest = max(map(len, texts))
    tokens = torch.tensor([["ACGTN".find(c) for c in text.ljust(longest)] for text in texts])
    return tokens.to(torch.int16), tokens >= 0


def test_a_mean_of_kmers_is_a_linear_layer_on_their_frequencies():
    torch.manual_seed(0)
    bag = KmerBag(KmerConfig(k=2, width=3))
    tokens, real = codes("ACGTTTGANC", "GG")
    mask = bag.state_mask(real)
    means = bag(tokens, real).sum(1) / mask.sum(1, keepdim=True)
    for row, text in enumerate(("ACGTTTGANC", "GG")):
        windows = [text[at : at + 2] for at in range(len(text) - 1)]
        share = torch.tensor(
            [windows.count("".join(kmer)) / len(windows) for kmer in product("ACGT", repeat=2)]
        )
        torch.testing.assert_close(means[row], share @ bag.embedding.weight)


def test_kmers_that_hold_an_n_or_reach_into_padding_are_silent():
    bag = KmerBag(KmerConfig(k=3, width=2))
    tokens, real = codes("ACGNACG", "ACGT", "AC")
    states, mask = bag(tokens, real), bag.state_mask(real)
    assert states.any(-1)[0].tolist() == [True, False, False, False, True, False, False]
    assert mask.sum(1).tolist() == [5, 2, 0]
    assert torch.equal(states[0, 0], states[0, 4])
    bag(tokens.masked_fill(~real, 2), real).sum().backward()
    assert set(bag.embedding.weight.grad.any(-1).nonzero().flatten().tolist()) == {0b000110, 0b011011}


def test_a_substructures_state_is_its_vector():
    bag = MorganBag(MorganConfig(bits=8, width=3))
    states = bag(torch.tensor([[1, 7, 5]]), torch.tensor([[True, True, False]]))
    assert torch.equal(states[0, :2], bag.embedding.weight[[1, 7]])


def test_set_bits_are_those_of_the_fingerprint_whatever_the_spelling():
    pytest.importorskip("rdkit")
    from rdkit import Chem
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    found = set_bits(["CCO", "OCC", "c1ccccc1O"], MorganConfig())
    assert found[0].tolist() == found[1].tolist() != found[2].tolist()
    vector = GetMorganGenerator(radius=2, fpSize=2048).GetFingerprintAsNumPy(Chem.MolFromSmiles("c1ccccc1O"))
    assert vector.nonzero()[0].tolist() == found[2].tolist()
    assert len(set_bits(["c1ccccc1O"], MorganConfig(radius=0))[0]) < len(found[2])


def test_refuses_what_is_no_molecule_and_names_what_to_install(monkeypatch):
    pytest.importorskip("rdkit")
    with pytest.raises(ValueError, match="expected a molecule as SMILES, got 'C1CC'"):
        set_bits(["C1CC"], MorganConfig())
    for name in ("rdkit", "rdkit.RDLogger"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r'pip install "dnalm\[interaction\]"'):
        set_bits(["CCO"], MorganConfig())
