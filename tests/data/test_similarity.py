"""Tests for dnalm/data/similarity.py: clusters of genes, near-copies among windows."""

import numpy as np
import pytest

from dnalm.data import similarity
from dnalm.data.similarity import LEAST, K, gene_clusters, likeness, near_duplicates, sketch
from dnalm.data.splits import Split, blocks_split, published_split
from dnalm.dna import BASES, COMPLEMENT
from dnalm.errors import InputError
from dnalm.formats.binding import parse_name, read_sequences

LENGTH = 300  # of a window


def random_gene(draws, length=60):
    return "".join(draws.choice(list(BASES), length))


def substituted(gene, *places):
    letters = list(gene)
    for place in places:
        letters[place] = BASES[(BASES.index(letters[place]) + 1) % 4]
    return "".join(letters)


def by_sets(one, other):
    """The likeness of two sketches, as it is defined."""
    both = set(sorted({*one, *other})[: similarity.SKETCH])
    return len(both & {*one} & {*other}) / max(1, len(both))


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

    def test_genes_are_near_by_how_many_bases_differ(self, draws):
        for _ in range(100):
            gene = random_gene(draws)
            assert together(gene, substituted(gene, *draws.choice(60, 2, replace=False)))
        assert not together(gene, substituted(gene, *range(3, 60, 6)))  # a sixth
        text = random_gene(draws, 3000)
        for shift, near in ((10, True), (24, True), (30, False), (50, False)):
            assert together(text[:60], text[shift : shift + 60]) == near
        for one_in, near in ((100, True), (40, True), (8, False)):
            assert together(text, substituted(text, *range(5, 3000, one_in))) == near

    def test_the_likeness_of_short_genes_is_the_jaccard_index_of_kmers_of_bases(self, draws):
        for _ in range(20):
            text = random_gene(draws, 90)
            one, other = text[:60], text[draws.integers(0, 30) :][:60]
            kmers = [{gene[at : at + K] for at in range(60 - K + 1)} for gene in (one, other)]
            assert likeness(sketch(one), [sketch(other)])[0] == len(kmers[0] & kmers[1]) / len(
                kmers[0] | kmers[1]
            )
        assert len(sketch(one[:30] + "N" * 10 + one[40:])) == (30 - K + 1) + (20 - K + 1)
        assert not together("N" * 60, "N" * 70)
        assert not together(one, one[::-1].translate(str.maketrans("ACGT", "TGCA")))  # the other strand

    def test_a_large_family_is_together_without_looking_at_every_pair(self, draws, monkeypatch):
        looked = []
        monkeypatch.setattr(similarity, "likeness", lambda *pair: looked.extend(pair[1]) or likeness(*pair))
        families = [random_gene(draws) for _ in range(2)]
        places = iter(draws.choice(60, 2, replace=False) for _ in range(600))
        genes = [substituted(gene, *next(places)) for gene in families for _ in range(300)]
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
            near = np.array([[by_sets(a, b) >= LEAST for a in sketches] for b in sketches])
            assert np.array_equal([likeness(a, sketches) >= LEAST for a in sketches], near)
            for _ in range(5):
                near = near @ near  # transitively
            clusters = gene_clusters(genes)
            assert 3 < len(set(clusters.tolist())) < len(genes)
            assert np.array_equal(clusters[:, None] == clusters, near)


def windows(count, seed=0, length=LENGTH):
    return np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(seed).integers(0, 4, (count, length))]


def other_strand(letters):
    return COMPLEMENT[letters][::-1]


def replaced(letters, places):
    return np.frombuffer(substituted(letters.tobytes().decode(), *places).encode(), np.uint8)


def shifted(letters, by):
    """Return the window that begins `by` bases later in the genome, with other bases there."""
    return np.concatenate([letters[by:], letters[:by][::-1]])


def split_at(train, validation):
    """The first windows are for training, those behind them for validation."""
    rows = np.arange(train + validation)
    return Split("blocks", rows[:train], rows[train:], rows[:0], left_out=rows[:0])


def planted(copy, seed):
    """Return 40 random windows of train, 10 of validation and 10 of test, one of each a copy of train's."""
    letters = windows(60, seed)
    letters[43], letters[57] = copy(letters[3]), copy(letters[4])
    order = np.random.default_rng(seed).permutation(60)  # which row is which must not matter
    mixed = letters[np.argsort(order)]
    return mixed, Split("blocks", order[:40], order[40:50], order[50:], np.empty(0, dtype=np.int64))


COPIES = {
    "equal": lambda one: one,
    # 5 substitutions change 5 * 16 = 80 of 285 k-mers at most: evenly spread they do
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

    def test_windows_of_test_are_looked_up_in_validation_too_and_distant_copies_are_none(self):
        letters, split = planted(COPIES["equal"], 0)
        letters[split.test[0]] = letters[split.validation[0]]
        assert near_duplicates(letters, split) == {"validation": 1, "test": 2}
        # Backwards, not complemented, is another sequence; shifted by 200 bases 85 of 285 k-mers stay.
        for copy in (lambda one: one[::-1], lambda one: shifted(one, 200)):
            assert near_duplicates(*planted(copy, 0)) == {"validation": 0, "test": 0}

    def test_left_out_windows_and_empty_parts_do_not_count(self):
        letters, rows = np.repeat(windows(1), 12, axis=0), np.arange(12)
        split = Split("published", rows[:5], rows[5:10], rows[:0], rows[10:])
        assert near_duplicates(letters, split) == {"validation": 5}
        letters[:5] = windows(5, seed=1)
        assert near_duplicates(letters, split) == {"validation": 0}

    def test_half_is_enough(self):
        for bases, near in ((47, 1), (46, 0)):
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
        assert near_duplicates(letters, split_at(6_000, 2_000)) == {"validation": 1}

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
        for name, share in (("train", 0.70), ("validation", 0.15), ("test", 0.15)):
            assert split.windows[name] / len(names) == pytest.approx(share, abs=0.02)  # a block is about 3 %
        assert split.windows["left_out"] < 0.01 * len(names)  # 1 window in 1,700 bases, 20 borders
        blocks = near_duplicates(letters, split)  # a quadratic search takes hours
        shuffled = near_duplicates(letters, published_split(len(names)))
        assert 0 < blocks["validation"] / len(split.validation) < 0.5 * shuffled["validation"] / 4627
