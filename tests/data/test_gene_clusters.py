"""Tests for dnalm/data/gene_clusters.py."""

import time
from itertools import permutations

import numpy as np
import pytest

from dnalm.data import similarity as gene_clusters_module
from dnalm.data.similarity import LEAST, K, gene_clusters, likeness, sketch
from dnalm.dna import BASES


def random_gene(draws, length=60):
    return "".join(draws.choice(list(BASES), length))


def substituted(gene, *places):
    letters = list(gene)
    for place in places:
        letters[place] = BASES[(BASES.index(letters[place]) + 1) % 4]
    return "".join(letters)


def together(*genes):
    return len(set(gene_clusters(genes).tolist())) == 1


@pytest.fixture
def draws():
    return np.random.default_rng(3)


def test_genes_are_together_if_the_same_and_apart_if_not(draws):
    one, other, third = (random_gene(draws) for _ in range(3))
    assert gene_clusters([one, other, one, third, other]).tolist() == [0, 1, 0, 2, 1]


def test_the_other_strand_is_another_gene(draws):
    gene = random_gene(draws)
    assert not together(gene, gene[::-1].translate(str.maketrans("ACGT", "TGCA")))


def test_two_substitutions_in_a_promoter_are_nearly_the_same_wherever_they_are(draws):
    for _ in range(100):
        gene = random_gene(draws)
        places = draws.choice(60, 2, replace=False)
        assert together(gene, substituted(gene, *places))


def test_a_promoter_with_a_sixth_of_its_bases_changed_is_another(draws):
    gene = random_gene(draws)
    assert not together(gene, substituted(gene, *range(3, 60, 6)))


@pytest.mark.parametrize(("shift", "near"), [(10, True), (24, True), (30, False), (50, False)])
def test_a_shifted_promoter_is_near_up_to_24_bases(draws, shift, near):
    text = random_gene(draws, 120)
    assert together(text[:60], text[shift : shift + 60]) == near


@pytest.mark.parametrize(("one_in", "near"), [(100, True), (40, True), (8, False)])
def test_long_genes_are_near_by_how_often_they_differ(draws, one_in, near):
    gene = random_gene(draws, 3000)
    assert together(gene, substituted(gene, *range(5, 3000, one_in))) == near


def test_being_near_is_passed_on(draws):
    text = random_gene(draws, 120)
    chain = [text[0:60], text[20:80], text[40:100]]
    assert not together(chain[0], chain[2])
    for order in permutations(chain):
        assert together(*order)


def test_the_likeness_of_short_genes_is_their_jaccard_index(draws):
    for _ in range(20):
        text = random_gene(draws, 90)
        one, other = text[:60], text[draws.integers(0, 30) :][:60]
        kmers = [{gene[at : at + K] for at in range(60 - K + 1)} for gene in (one, other)]
        wanted = len(kmers[0] & kmers[1]) / len(kmers[0] | kmers[1])
        assert likeness(sketch(one), sketch(other)) == wanted


def test_what_is_no_base_makes_no_kmer(draws):
    gene = random_gene(draws)
    masked = gene[:30] + "N" * 10 + gene[40:]
    assert len(sketch(masked)) == (30 - K + 1) + (20 - K + 1)
    assert not together("N" * 60, "N" * 70)


def test_the_order_of_genes_changes_nothing(draws):
    genes = [random_gene(draws) for _ in range(30)]
    genes += [substituted(gene, 5) for gene in genes[:10]]
    order = draws.permutation(len(genes))
    one = gene_clusters(genes)
    other = np.empty_like(one)
    other[order] = gene_clusters([genes[row] for row in order])
    assert np.array_equal(one[:, None] == one, other[:, None] == other)


def test_genes_shorter_than_a_kmer_and_no_genes():
    assert gene_clusters([]).tolist() == []
    assert gene_clusters(["ACG", "ACG", "ACT", ""]).tolist() == [0, 0, 1, 2]


def test_a_repeat_of_many_genes_brings_none_together_but_equals_stay(draws):
    repeat = random_gene(draws, 25)
    genes = list(dict.fromkeys(random_gene(draws, 35) + repeat for _ in range(300)))
    clusters = gene_clusters([*genes, genes[0]])
    assert len(set(clusters.tolist())) == len(genes)
    assert clusters[-1] == clusters[0]


def test_a_large_family_is_together_beside_another_without_looking_at_every_pair(draws, monkeypatch):
    looked = []
    monkeypatch.setattr(
        gene_clusters_module, "likeness", lambda *pair: looked.append(pair) or likeness(*pair)
    )
    families = [random_gene(draws) for _ in range(2)]
    genes = [substituted(gene, *draws.choice(60, 2, replace=False)) for gene in families for _ in range(300)]
    clusters = gene_clusters([*genes, random_gene(draws)])
    assert clusters.tolist() == [0] * 300 + [1] * 300 + [2]
    assert len(looked) < 20 * len(genes)  # of 45,000 pairs in each family


@pytest.mark.parametrize("common", [1, 2, 5, 1000])
def test_clusters_are_what_all_pairs_give_however_common_kmers_are(draws, monkeypatch, common):
    monkeypatch.setattr(gene_clusters_module, "COMMON", common)
    for _ in range(20):
        ancestors = [random_gene(draws, 100) for _ in range(3)]
        genes = []
        for _ in range(25):  # pieces, more or less shifted and changed, some joined of two
            one, other = (ancestors[row] for row in draws.integers(0, 3, 2))
            at, cut = draws.integers(0, 40), draws.integers(15, 60)
            gene = (one[at : at + cut] + other[at + cut :])[: draws.integers(40, 61)]
            places = draws.choice(len(gene), draws.integers(0, 4), replace=False)
            genes.append(substituted(gene, *places))
        sketches = [sketch(gene) for gene in genes]
        near = np.array([[likeness(a, b) >= LEAST for a in sketches] for b in sketches])
        for _ in range(5):
            near = near @ near  # at whatever remove
        clusters = gene_clusters(genes)
        assert 3 < len(set(clusters.tolist())) < len(genes)
        assert np.array_equal(clusters[:, None] == clusters, near)


@pytest.mark.bench
def test_a_genome_of_promoters_takes_seconds(draws):
    genes = [random_gene(draws) for _ in range(17_000)]
    begin = time.monotonic()
    assert len(set(gene_clusters(genes).tolist())) == len(genes)
    assert time.monotonic() - begin < 15


@pytest.mark.bench
def test_a_family_of_thousands_takes_seconds(draws):
    gene = random_gene(draws)
    genes = [substituted(gene, *draws.choice(60, 2, replace=False)) for _ in range(10_000)]
    begin = time.monotonic()
    assert set(gene_clusters(genes).tolist()) == {0}
    assert time.monotonic() - begin < 15
