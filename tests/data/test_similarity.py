"""Tests for dnalm/data/similarity.py: clusters of genes, near-copies among windows."""

import time
from itertools import permutations

import numpy as np
import pytest

from dnalm.data import similarity
from dnalm.data.similarity import LEAST, K, gene_clusters, likeness, near_duplicates, sketch
from dnalm.data.splits import Split, blocks_split, published_split
from dnalm.dna import BASES
from dnalm.formats.binding import parse_name, read_sequences

LENGTH = 300


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
    monkeypatch.setattr(similarity, "likeness", lambda *pair: looked.append(pair) or likeness(*pair))
    families = [random_gene(draws) for _ in range(2)]
    genes = [substituted(gene, *draws.choice(60, 2, replace=False)) for gene in families for _ in range(300)]
    clusters = gene_clusters([*genes, random_gene(draws)])
    assert clusters.tolist() == [0] * 300 + [1] * 300 + [2]
    assert len(looked) < 20 * len(genes)  # of 45,000 pairs in each family


@pytest.mark.parametrize("common", [1, 2, 5, 1000])
def test_clusters_are_what_all_pairs_give_however_common_kmers_are(draws, monkeypatch, common):
    monkeypatch.setattr(similarity, "COMMON", common)
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


def windows(count, seed=0, length=LENGTH):
    return np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(seed).integers(0, 4, (count, length))]


def other_strand(letters):
    table = bytes.maketrans(b"ACGTN", b"TGCAN")
    return np.frombuffer(letters.tobytes().translate(table), np.uint8)[::-1]


def replaced(letters, places):
    return np.frombuffer(substituted(letters.tobytes().decode(), *places).encode(), np.uint8)


def shifted(letters, by):
    """Return the window that begins `by` bases later in the genome, with other bases there."""
    return np.concatenate([letters[by:], letters[:by][::-1]])


COPIES = {
    "equal": lambda one: one,
    "other strand": other_strand,
    # 5 substitutions spoil 5 * 16 = 80 of 285 k-mers at most: evenly spread they do
    "5 substitutions": lambda one: replaced(one, [30, 90, 150, 210, 270]),
    "5 substitutions, other strand": lambda one: other_strand(replaced(one, [30, 90, 150, 210, 270])),
    "shifted by 60": lambda one: shifted(one, 60),  # 225 of 285 stay
    "shifted by 60, 5 substitutions": lambda one: replaced(shifted(one, 60), [20, 60, 100, 140, 180]),
}


def planted(copy, seed):
    """Return 40 random windows of train, 10 of validation and 10 of test, one of each a copy of train's."""
    letters = windows(60, seed)
    letters[43], letters[57] = copy(letters[3]), copy(letters[4])
    order = np.random.default_rng(seed).permutation(60)  # which row is which must not matter
    mixed = letters[np.argsort(order)]
    return mixed, Split("blocks", order[:40], order[40:50], order[50:], np.empty(0, dtype=np.int64))


class TestNearDuplicates:
    @pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES.keys())
    @pytest.mark.parametrize("seed", range(3))
    def test_a_planted_copy_is_found_for_certain_with_whole_sketches(self, copy, seed):
        letters, split = planted(copy, seed)
        assert near_duplicates(letters, split, sketch=LENGTH) == {"validation": 1, "test": 1}

    @pytest.mark.parametrize("copy", list(COPIES.values())[:5], ids=list(COPIES)[:5])
    @pytest.mark.parametrize("seed", range(3))
    def test_and_nearly_always_with_the_usual_ones(self, copy, seed):
        letters, split = planted(copy, seed)
        assert near_duplicates(letters, split) == {"validation": 1, "test": 1}

    def test_test_windows_are_sought_in_validation_too(self):
        letters, split = planted(lambda one: one, 0)
        letters[split.test[0]] = letters[split.validation[0]]
        assert near_duplicates(letters, split) == {"validation": 1, "test": 2}

    def test_random_windows_and_distant_copies_are_none(self):
        letters, split = planted(lambda one: one[::-1], 0)  # backwards, not complemented: another sequence
        assert near_duplicates(letters, split) == {"validation": 0, "test": 0}
        letters, split = planted(lambda one: shifted(one, 200), 0)  # 85 of 285 stay
        assert near_duplicates(letters, split) == {"validation": 0, "test": 0}

    def test_left_out_windows_and_empty_parts_do_not_count(self):
        letters = np.repeat(windows(1), 12, axis=0)
        none = np.empty(0, dtype=np.int64)
        split = Split("published", np.arange(5), np.arange(5, 10), none, np.arange(10, 12))
        assert near_duplicates(letters, split) == {"validation": 5}
        letters[:5] = windows(5, seed=1)
        assert near_duplicates(letters, split) == {"validation": 0}

    @pytest.mark.parametrize(("bases", "near"), [(47, 1), (46, 0)])
    def test_half_is_enough(self, bases, near):
        letters = windows(2, length=79)  # 64 k-mers; `bases` of them in one piece hold bases - 15
        letters[1, :bases] = letters[0, :bases]
        letters[1, bases] = replaced(letters[0], [bases])[bases]
        split = Split("blocks", np.arange(1), np.arange(1, 2), np.arange(0), np.arange(0))
        assert near_duplicates(letters, split) == {"validation": near}

    def test_equals_a_plain_count(self, monkeypatch):
        monkeypatch.setattr(similarity, "CHUNK", 7)  # many pieces
        draws, letters = np.random.default_rng(1), windows(60, seed=1, length=80)
        for i in range(20, 60):  # half a copy, more or less, of one of the first, on either strand
            cut = draws.integers(20, 60)
            letters[i, :cut] = letters[draws.integers(20), :cut]
            letters[i] = other_strand(letters[i]) if draws.random() < 0.5 else letters[i]
        letters[5, 30] = letters[25, 10] = ord("N")
        split = Split("blocks", np.arange(20), np.arange(20, 60), np.arange(0), np.arange(0))

        def kmers(row):
            words = {bytes(row[i : i + 16]) for i in range(65)}
            pairs = {min(w, other_strand(np.frombuffer(w, np.uint8)).tobytes()) for w in words}
            return {word for word in pairs if b"N" not in word}

        sets = [kmers(row) for row in letters]
        near = sum(any(2 * len(sets[i] & sets[j]) >= len(sets[i]) for j in range(20)) for i in range(20, 60))
        assert 5 < near < 35  # both answers occur
        assert near_duplicates(letters, split, sketch=80) == {"validation": near}

    def test_a_repeat_in_very_many_windows_neither_counts_nor_takes_long(self):
        letters = windows(8_000, seed=2)
        letters[:, :200] = windows(1, seed=3)[0, :200]
        letters[7_999] = other_strand(letters[0])
        split = Split("blocks", np.arange(6_000), np.arange(6_000, 8_000), np.arange(0), np.arange(0))
        started = time.perf_counter()
        assert near_duplicates(letters, split) == {"validation": 1}
        assert time.perf_counter() - started < 10  # pairs of all windows would take minutes

    def test_windows_of_n_or_of_repeats_alone_are_not_judged_by_a_few_kmers(self):
        letters = windows(20)
        letters[:, 20:] = ord("N")  # 5 k-mers are left
        letters[10:, :20] = letters[:10, :20]
        letters[10:, 25] = ord("A")  # so that they are not equal
        split = Split("blocks", np.arange(10), np.arange(10, 20), np.arange(0), np.arange(0))
        assert near_duplicates(letters, split) == {"validation": 0}

    def test_windows_shorter_than_a_kmer(self):
        letters, split = planted(lambda one: one, 0)
        with pytest.raises(ValueError, match=r"windows of 16 bases or more .*\(60, 15\)"):
            near_duplicates(letters[:, :15], split)


def test_near_copies_in_the_real_set(shared_data):
    names, letters = read_sequences(shared_data / "binding" / "chr22_sequences.txt.gz")
    split = blocks_split([parse_name(name) for name in names])
    started = time.perf_counter()
    blocks, shuffled = near_duplicates(letters, split), near_duplicates(letters, published_split(len(names)))
    assert time.perf_counter() - started < 60  # 13 s on two busy cores; a quadratic search takes hours
    assert 0 < blocks["validation"] / len(split.validation) < 0.5 * shuffled["validation"] / 4627
