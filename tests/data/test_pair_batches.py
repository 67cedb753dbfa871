"""Tests for dnalm/data/pair_batches.py."""

import numpy as np
import pytest
import torch

from dnalm.data.pair_batches import PairBatches, PairRows, PairTokens, Ragged


@pytest.fixture
def tokens():
    """Gene g is g written g + 1 times, molecule m is m once: a batch says what is in it."""
    genes = Ragged([np.full(gene + 1, gene, dtype=np.int16) for gene in range(7)])
    return PairTokens(genes, Ragged([np.array([molecule], dtype=np.int16) for molecule in range(5)]))


def pairs(count):
    draws = np.random.default_rng(0)
    return PairRows(
        draws.integers(0, 7, count), draws.integers(0, 5, count), draws.integers(0, 2, count).astype(np.uint8)
    )


def test_gene_molecule_and_label_stay_together_and_molecules_are_there_once(tokens):
    rows = pairs(23)
    batches = PairBatches(tokens, rows, 12, seed=0)
    batch, taken = batches.batch(1), batches.rows(1)
    assert batch[0] is batch.genes  # what the loop counts as tokens
    assert batch.genes[:, 0].tolist() == rows.gene[taken].tolist()
    assert batch.molecules[batch.molecule, 0].tolist() == rows.molecule[taken].tolist()
    assert batch.labels.tolist() == rows.label[taken].tolist()
    assert len(batch.molecules) == len(set(rows.molecule[taken])) < len(taken)
    assert batch.genes_real.sum(1).tolist() == [gene + 1 for gene in rows.gene[taken]]


def test_padding_is_behind_and_zero():
    ragged = Ragged([np.array(x, dtype=np.int16) for x in ([5, 6, 7], [], [8])])
    tokens, real = ragged.take(np.array([2, 0, 1, 2]))
    assert tokens.tolist() == [[8, 0, 0], [5, 6, 7], [0, 0, 0], [8, 0, 0]]
    assert real.sum(1).tolist() == [1, 3, 0, 1]
    assert (real[:, 1:] <= real[:, :-1]).all()
    assert [x.tolist() for x in ragged.take(np.array([1]))] == [[[0]], [[False]]]
    assert len(ragged) == 3


def test_refuses_what_batch_normalisation_cannot_take(tokens):
    for count, size in ((1, 4), (4, 1)):
        with pytest.raises(ValueError, match=f"at least 2 pairs, got {count} pairs? .* batch size of {size}"):
            PairBatches(tokens, pairs(count), size, seed=0)


def test_other_tokens_take_the_place_of_the_first_epochs_and_no_longer(tokens):
    other = PairTokens(Ragged([np.full(9, 77, dtype=np.int16)] * len(tokens.genes)), tokens.molecules)
    batches = PairBatches(tokens, pairs(23), 4, seed=3, early=other, early_epochs=2)
    plain = PairBatches(tokens, pairs(23), 4, seed=3)
    last = 2 * batches.steps_per_epoch - 1
    for step, is_early in ((0, True), (last, True), (last + 1, False)):
        assert bool((batches.batch(step).genes == 77).all()) == is_early
        assert torch.equal(batches.batch(step).labels, plain.batch(step).labels)
    assert torch.equal(batches.batch(last + 1).genes, plain.batch(last + 1).genes)
