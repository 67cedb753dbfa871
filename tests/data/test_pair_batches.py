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


def told(batch):
    """What a batch holds: (gene, molecule, label) of each pair."""
    return list(
        zip(
            batch.genes[:, 0].tolist(),
            batch.molecules[batch.molecule, 0].tolist(),
            batch.labels.tolist(),
            strict=True,
        )
    )


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(23, [4] * 5 + [3]), (24, [4] * 6), (25, [4] * 5 + [5]), (26, [4] * 6 + [2]), (3, [3]), (5, [5])],
)
def test_every_pair_once_an_epoch_in_another_order_and_no_batch_of_one(tokens, count, sizes):
    batches = PairBatches(tokens, pairs(count), 4, seed=3)
    assert batches.steps_per_epoch == len(sizes)
    epochs = [
        [batches.rows(len(sizes) * epoch + step).tolist() for step in range(len(sizes))] for epoch in range(2)
    ]
    for epoch in epochs:
        assert sorted(sum(epoch, [])) == list(range(count))
        assert [len(rows) for rows in epoch] == sizes
    assert batches.smallest == min(sizes)
    assert epochs[0] != epochs[1]


def test_a_batch_is_a_function_of_seed_and_step_alone(tokens):
    one, other = (PairBatches(tokens, pairs(23), 4, seed=3) for _ in range(2))
    for step in (11, 0, 7, 11):  # whatever was asked before
        both = zip(one.batch(step), other.batch(step), strict=True)
        assert all(a is b is None or torch.equal(a, b) for a, b in both)
        other.batch(step + 6)
    assert told(one.batch(0)) != told(PairBatches(tokens, pairs(23), 4, seed=4).batch(0))


def test_ranks_share_one_batch(tokens):
    batches = PairBatches(tokens, pairs(40), 16, seed=0)
    shares = [told(batches.batch(2, rank, 3)) for rank in range(3)]
    assert sorted(sum(shares, [])) == sorted(told(batches.batch(2)))


def test_gene_molecule_and_label_stay_together_and_molecules_are_there_once(tokens):
    rows = pairs(23)
    batches = PairBatches(tokens, rows, 12, seed=0)
    batch, taken = batches.batch(1), batches.rows(1)
    wanted = zip(rows.gene[taken], rows.molecule[taken], rows.label[taken], strict=True)
    assert told(batch) == [(int(g), int(m), float(y)) for g, m, y in wanted]
    assert len(batch.molecules) == len(set(rows.molecule[taken])) < len(taken)
    assert batch.genes_real.sum(1).tolist() == [gene + 1 for gene in rows.gene[taken]]


def test_the_first_tensor_is_the_dna():
    assert PairBatches.batch.__annotations__["return"].__name__ == "PairBatch"
    from dnalm.data.pair_batches import PairBatch

    assert PairBatch._fields[0] == "genes"  # what the loop counts as tokens


def test_padding_is_behind_and_zero():
    ragged = Ragged([np.array(x, dtype=np.int16) for x in ([5, 6, 7], [], [8])])
    tokens, real = ragged.take(np.array([2, 0, 1, 2]))
    assert tokens.tolist() == [[8, 0, 0], [5, 6, 7], [0, 0, 0], [8, 0, 0]]
    assert real.sum(1).tolist() == [1, 3, 0, 1]
    assert (real[:, 1:] <= real[:, :-1]).all()
    assert [x.tolist() for x in ragged.take(np.array([1]))] == [[[0]], [[False]]]
    assert len(ragged) == 3


@pytest.mark.parametrize(("count", "size"), [(1, 4), (4, 1)])
def test_refuses_what_batch_normalisation_cannot_take(tokens, count, size):
    with pytest.raises(ValueError, match=f"at least 2 pairs, got {count} pairs .* batch size of {size}"):
        PairBatches(tokens, pairs(count), size, seed=0)


def test_other_tokens_take_the_place_of_the_first_epochs_and_no_longer(tokens):
    other = PairTokens(
        Ragged([np.full(9, 77, dtype=np.int16) for _ in range(len(tokens.genes))]), tokens.molecules
    )
    batches = PairBatches(tokens, pairs(23), 4, seed=3, early=other, early_epochs=2)
    plain = PairBatches(tokens, pairs(23), 4, seed=3)
    last = 2 * batches.steps_per_epoch - 1
    assert [bool((batches.batch(step).genes == 77).all()) for step in (0, last, last + 1)] == [
        True,
        True,
        False,
    ]
    assert torch.equal(batches.batch(last).labels, plain.batch(last).labels)
    assert torch.equal(batches.batch(last + 1).genes, plain.batch(last + 1).genes)
