"""Tests for dnalm/data/similarity.py: clusters of genes, near-copies among windows."""

import time
from itertools import permutations

import numpy as np
import pytest

from dnalm.data import similarity
from dnalm.data.similarity import LEAST, K, gene_clusters, likeness, near_duplicates, sketch
from dnalm.data.splits import Split, blocks_split, published_split
from dnalm.dna import BASES
from dnalm.errors import InputError
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


class TestGeneClusters:
    def test_numbers_follow_the_order_of_the_genes(self, draws):
        one, other, third = (random_gene(draws) for _ in range(3))
        assert gene_clusters([one, other, one, third, other]).tolist() == [0, 1, 0, 2, 1]
        assert gene_clusters(["ACG", "ACG", "ACT", ""]).tolist() == [0, 0, 1, 2]  # shorter than a k-mer
        assert gene_clusters([]).tolist() == []

    def test_the_other_strand_is_another_gene(self, draws):
        gene = random_gene(draws)
        assert not together(gene, gene[::-1].translate(str.maketrans("ACGT", "TGCA")))

    def test_promoters_are_near_by_how_many_bases_differ(self, draws):
        for _ in range(100):
            gene = random_gene(draws)
            assert together(gene, substituted(gene, *draws.choice(60, 2, replace=False)))
        assert not together(gene, substituted(gene, *range(3, 60, 6)))  # a sixth

    @pytest.mark.parametrize(("shift", "near"), [(10, True), (24, True), (30, False), (50, False)])
    def test_a_shifted_promoter_is_near_up_to_24_bases(self, draws, shift, near):
        text = random_gene(draws, 120)
        assert together(text[:60], text[shift : shift + 60]) == near

    @pytest.mark.parametrize(("one_in", "near"), [(100, True), (40, True), (8, False)])
    def test_long_genes_are_near_by_how_often_they_differ(self, draws, one_in, near):
        gene = random_gene(draws, 3000)
        assert together(gene, substituted(gene, *range(5, 3000, one_in))) == near

    def test_being_near_is_transitive(self, draws):
        text = random_gene(draws, 120)
        chain = [text[0:60], text[20:80], text[40:100]]
        assert not together(chain[0], chain[2])
        assert all(together(*order) for order in permutations(chain))

    def test_the_likeness_of_short_genes_is_their_jaccard_index(self, draws):
        for _ in range(20):
            text = random_gene(draws, 90)
            one, other = text[:60], text[draws.integers(0, 30) :][:60]
            kmers = [{gene[at : at + K] for at in range(60 - K + 1)} for gene in (one, other)]
            wanted = len(kmers[0] & kmers[1]) / len(kmers[0] | kmers[1])
            assert likeness(sketch(one), sketch(other)) == wanted

    def test_what_is_no_base_makes_no_kmer(self, draws):
        gene = random_gene(draws)
        assert len(sketch(gene[:30] + "N" * 10 + gene[40:])) == (30 - K + 1) + (20 - K + 1)
        assert not together("N" * 60, "N" * 70)

    def test_a_repeat_of_many_genes_brings_none_together_but_equals_stay(self, draws):
        repeat = random_gene(draws, 25)
        genes = list(dict.fromkeys(random_gene(draws, 35) + repeat for _ in range(300)))
        clusters = gene_clusters([*genes, genes[0]])
        assert len(set(clusters.tolist())) == len(genes)
        assert clusters[-1] == clusters[0]

    def test_a_large_family_is_together_without_looking_at_every_pair(self, draws, monkeypatch):
        looked = []
        monkeypatch.setattr(similarity, "likeness", lambda *pair: looked.append(pair) or likeness(*pair))
        families = [random_gene(draws) for _ in range(2)]
        genes = [
            substituted(gene, *draws.choice(60, 2, replace=False)) for gene in families for _ in range(300)
        ]
        clusters = gene_clusters([*genes, random_gene(draws)])
        assert clusters.tolist() == [0] * 300 + [1] * 300 + [2]
        assert len(looked) < 20 * len(genes)  # of 45,000 pairs in each family

    @pytest.mark.parametrize("common", [1, 2, 5, 1000])
    def test_clusters_are_what_all_pairs_give_however_common_kmers_are(self, draws, monkeypatch, common):
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
                near = near @ near  # transitively
            clusters = gene_clusters(genes)
            assert 3 < len(set(clusters.tolist())) < len(genes)
            assert np.array_equal(clusters[:, None] == clusters, near)

    @pytest.mark.bench
    def test_a_genome_of_promoters_and_a_family_of_thousands_take_seconds(self, draws):
        begin, genes = time.monotonic(), [random_gene(draws) for _ in range(17_000)]
        assert len(set(gene_clusters(genes).tolist())) == len(genes)
        family = [substituted(genes[0], *draws.choice(60, 2, replace=False)) for _ in range(10_000)]
        assert set(gene_clusters(family).tolist()) == {0}
        assert time.monotonic() - begin < 30


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


def split_at(train, validation, test=0):
    """The first windows are for training, those behind them for validation, then those for test."""
    borders = np.cumsum([0, train, validation, test])
    parts = [np.arange(*borders[at : at + 2]) for at in range(3)]
    return Split("blocks", *parts, left_out=np.arange(0))


def planted(copy, seed):
    """Return 40 random windows of train, 10 of validation and 10 of test, one of each a copy of train's."""
    letters = windows(60, seed)
    letters[43], letters[57] = copy(letters[3]), copy(letters[4])
    order = np.random.default_rng(seed).permutation(60)  # which row is which must not matter
    mixed = letters[np.argsort(order)]
    return mixed, Split("blocks", order[:40], order[40:50], order[50:], np.empty(0, dtype=np.int64))


COPIES = {
    "equal": lambda one: one,
    "other strand": other_strand,
    # 5 substitutions change 5 * 16 = 80 of 285 k-mers at most: evenly spread they do
    "5 substitutions": lambda one: replaced(one, [30, 90, 150, 210, 270]),
    "5 substitutions, other strand": lambda one: other_strand(replaced(one, [30, 90, 150, 210, 270])),
    "shifted by 60": lambda one: shifted(one, 60),  # 225 of 285 stay
    "both": lambda one: replaced(shifted(one, 60), [20, 60, 100, 140, 180]),
}


class TestNearDuplicates:
    @pytest.mark.parametrize("name", COPIES)
    def test_a_planted_copy_is_found_for_certain_with_full_sketches_and_nearly_always_else(self, name):
        for seed in range(3):
            letters, split = planted(COPIES[name], seed)
            assert near_duplicates(letters, split, sketch=LENGTH) == {"validation": 1, "test": 1}
            if name != "both":
                assert near_duplicates(letters, split) == {"validation": 1, "test": 1}

    def test_test_windows_are_looked_up_in_validation_too(self):
        letters, split = planted(COPIES["equal"], 0)
        letters[split.test[0]] = letters[split.validation[0]]
        assert near_duplicates(letters, split) == {"validation": 1, "test": 2}

    def test_random_windows_and_distant_copies_are_none(self):
        # Backwards, not complemented, is another sequence; shifted by 200 bases 85 of 285 k-mers stay.
        for copy in (lambda one: one[::-1], lambda one: shifted(one, 200)):
            assert near_duplicates(*planted(copy, 0)) == {"validation": 0, "test": 0}

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
        assert near_duplicates(letters, split_at(1, 1)) == {"validation": near}

    def test_equals_a_plain_count(self, monkeypatch):
        monkeypatch.setattr(similarity, "CHUNK", 7)  # many pieces
        draws, letters = np.random.default_rng(1), windows(60, seed=1, length=80)
        for i in range(20, 60):  # half a copy, more or less, of one of the first, on either strand
            cut = draws.integers(20, 60)
            letters[i, :cut] = letters[draws.integers(20), :cut]
            letters[i] = other_strand(letters[i]) if draws.random() < 0.5 else letters[i]
        letters[5, 30] = letters[25, 10] = ord("N")

        def kmers(row):
            words = {bytes(row[i : i + 16]) for i in range(65)}
            pairs = {min(w, other_strand(np.frombuffer(w, np.uint8)).tobytes()) for w in words}
            return {word for word in pairs if b"N" not in word}

        sets = [kmers(row) for row in letters]
        near = sum(any(2 * len(sets[i] & sets[j]) >= len(sets[i]) for j in range(20)) for i in range(20, 60))
        assert 5 < near < 35  # both answers occur
        assert near_duplicates(letters, split_at(20, 40), sketch=80) == {"validation": near}

    def test_a_repeat_in_very_many_windows_neither_counts_nor_takes_long(self):
        letters = windows(8_000, seed=2)
        letters[:, :200] = windows(1, seed=3)[0, :200]
        letters[7_999] = other_strand(letters[0])
        started = time.perf_counter()
        assert near_duplicates(letters, split_at(6_000, 2_000)) == {"validation": 1}
        assert time.perf_counter() - started < 10  # pairs of all windows would take minutes

    def test_windows_of_n_or_of_repeats_alone_are_not_compared_by_a_few_kmers(self):
        letters = windows(20)
        letters[:, 20:] = ord("N")  # 5 k-mers are left
        letters[10:, :20] = letters[:10, :20]
        letters[10:, 25] = ord("A")  # so that they are not equal
        assert near_duplicates(letters, split_at(10, 10)) == {"validation": 0}
        with pytest.raises(InputError, match=r"\(20, 15\)"):  # shorter than a k-mer
            near_duplicates(letters[:, :15], split_at(10, 10))

    def test_the_real_set(self, shared_data):
        names, letters = read_sequences(shared_data / "binding" / "chr22_sequences.txt.gz")
        split = blocks_split([parse_name(name) for name in names])
        started = time.perf_counter()
        blocks = near_duplicates(letters, split)
        shuffled = near_duplicates(letters, published_split(len(names)))
        assert time.perf_counter() - started < 60  # 13 s on two busy cores; a quadratic search takes hours
        assert 0 < blocks["validation"] / len(split.validation) < 0.5 * shuffled["validation"] / 4627
