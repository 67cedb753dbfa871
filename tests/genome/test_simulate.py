"""Tests of the simulated genome in dnalm/genome/simulate.py."""

import hashlib

import numpy as np
import pytest

from dnalm.dna import BASE_CODES, NOT_A_BASE, encode, reverse_complement
from dnalm.errors import InputError
from dnalm.evaluate.baselines.markov import ladder
from dnalm.formats.bed import read_bed
from dnalm.formats.motif import choose_motif
from dnalm.genome import simulate
from dnalm.genome.simulate import simulate_genome

BASES = 400_000


def read_fasta(path):
    """Name and letters (uint8) of each record."""
    records = [record.partition("\n") for record in path.read_text().split(">")[1:]]
    return {name: np.frombuffer(text.replace("\n", "").encode(), dtype=np.uint8) for name, _, text in records}


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return simulate_genome(tmp_path_factory.mktemp("a genome") / "made up.fa", bases=BASES, seed=3)


@pytest.fixture(scope="module")
def contigs(truth):
    return read_fasta(truth.genome)


def runs(found):
    """Length of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], found.astype(int), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


def test_same_seed_same_bytes(tmp_path, truth):
    def digests(folder, seed):
        made = simulate_genome(tmp_path / folder / "g.fa", bases=BASES, seed=seed)
        files = made.genome, made.sites_bed, made.motif_file
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]

    first, again, other = digests("first", 3), digests("again", 3), digests("other", 4)
    assert first == again
    assert hashlib.sha256(truth.genome.read_bytes()).hexdigest() == first[0]
    assert first[:2] != other[:2]
    assert first[2] == other[2]  # the motif is a constant


def test_contigs_are_as_long_as_asked(tmp_path, truth, contigs):
    assert truth.contigs == (("chr1", 160_000), ("chr2", 120_000), ("chr3", 80_000), ("chr4", 40_000))
    assert {name: len(letters) for name, letters in contigs.items()} == dict(truth.contigs)
    odd = simulate_genome(tmp_path / "odd.fa", bases=61_237, contigs=3)
    assert sum(length for _, length in odd.contigs) == 61_237
    assert {name: len(letters) for name, letters in read_fasta(odd.genome).items()} == dict(odd.contigs)


def test_lines_are_60_letters_of_dna(truth):
    lines = truth.genome.read_text().split("\n")
    assert lines.pop() == ""
    headers = [i for i, line in enumerate(lines) if line.startswith(">")]
    last = {i - 1 for i in headers[1:]} | {len(lines) - 1}
    assert all(len(line) == 60 for i, line in enumerate(lines) if i not in headers and i not in last)
    assert all(0 < len(lines[i]) <= 60 for i in last)
    assert set("".join(line for line in lines if line[0] != ">")) == set("ACGTNacgt")


def test_gaps_at_the_start_and_inside(contigs):
    inside = []
    for letters in contigs.values():
        first, *rest = runs(letters == ord("N"))
        assert (letters[: simulate.LEADING_GAP] == ord("N")).all()
        assert first >= simulate.LEADING_GAP
        inside += rest
    assert inside
    assert all(50 <= length <= 2 * simulate.SLOT for length in inside)  # two may lie end to end


def test_repeats_are_soft_masked_and_alike(truth, contigs):
    text = b"".join(letters.tobytes() for letters in contigs.values())
    lower = np.frombuffer(text, dtype=np.uint8) >= ord("a")
    assert 0.2 < lower.mean() < 0.35

    def often(masked):
        """Share of the 12-mers that come four times or more; of 300,000 random bases, next to none does."""
        inside = np.round(np.convolve(lower == masked, np.ones(12), "valid")) == 12
        words = [text[i : i + 12] for i in np.flatnonzero(inside)]
        words = [word for word in words if b"N" not in word]
        _, times = np.unique(words, return_counts=True)
        return times[times >= 4].sum() / len(words)

    assert often(True) > 0.1
    assert often(False) < 0.001


def test_gc_content_changes_along_the_contigs(contigs):
    values = []
    for letters in contigs.values():
        upper = letters[letters < ord("a")]
        upper = upper[upper != ord("N")]
        for window in np.split(upper, np.arange(5_000, len(upper), 5_000))[:-1]:
            values.append(np.isin(window, np.frombuffer(b"GC", dtype=np.uint8)).mean())
    chance = np.sqrt(0.25 / 5_000)  # standard deviation if every base were drawn alike
    assert np.std(values) > 4 * chance
    assert 0.33 < min(values) < max(values) < 0.58


def test_cpg_is_rare_and_strands_are_alike(contigs):
    pairs = np.zeros((4, 4))
    for letters in contigs.values():
        codes = BASE_CODES[letters]
        here, after = codes[:-1], codes[1:]
        background = (letters[:-1] < ord("a")) & (letters[1:] < ord("a")) & (here < 4) & (after < 4)
        np.add.at(pairs, (here[background], after[background]), 1)
    pairs /= pairs.sum()
    odds = pairs / np.outer(pairs.sum(axis=1), pairs.sum(axis=0))
    assert odds[1, 2] < 0.45
    assert np.delete(odds.ravel(), 6).min() > 0.6
    # AC on one strand is GT on the other; most pairs are seen 15,000 times, and 5 % is 4 standard errors
    np.testing.assert_allclose(pairs, pairs[::-1, ::-1].T, rtol=0.05)


def test_sites_are_where_the_truth_says(truth, contigs):
    assert len(truth.sites) > 150
    assert {site.strand for site in truth.sites} == {"+", "-"}
    for contig, start, strand, sequence in truth.sites:
        codes = BASE_CODES[contigs[contig][start : start + 10]]
        read = codes if strand == "+" else reverse_complement(codes)
        assert read.tolist() == encode(sequence).tolist()
    order = [(site.contig, site.start) for site in truth.sites]
    assert order == sorted(order)
    assert min(b[1] - a[1] for a, b in zip(order, order[1:], strict=False) if a[0] == b[0]) >= 10


def test_bed_and_motif_file_hold_the_same(truth):
    assert truth.sites_bed.name == "made up.sites.bed"
    found = [(r.interval.contig, r.interval.start, r.strand, r.name) for r in read_bed(truth.sites_bed)]
    assert found == list(truth.sites)
    motif = choose_motif(truth.motif_file)
    assert motif.name == simulate.MOTIF_NAME
    np.testing.assert_allclose(motif.probabilities, simulate.MOTIF, atol=5e-7)  # six decimals


def test_sites_follow_the_motif(truth):
    matrix = simulate.MOTIF
    assert matrix.shape == (10, 4)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-12)
    assert 12 < 20 + (matrix * np.log2(matrix)).sum() < 14  # bits: 2 a position, less the entropy
    drawn = np.array([encode(site.sequence) for site in truth.sites])  # [R, W]
    found = np.stack([(drawn == base).mean(axis=0) for base in range(4)], axis=1)  # [W, 4]
    error = np.sqrt(matrix * (1 - matrix) / len(drawn))
    assert (np.abs(found - matrix) < 4 * error + 1 / len(drawn)).all()  # 1 / R: one site more or less
    assert 0.35 < np.mean([site.strand == "+" for site in truth.sites]) < 0.65  # 4 standard errors


def test_more_is_to_be_learned_than_a_low_order_tells(contigs):
    def stretches(names):
        for codes in (BASE_CODES[contigs[name]] for name in names):
            cuts = np.flatnonzero(np.diff((codes == NOT_A_BASE).astype(int))) + 1
            yield from (piece for piece in np.split(codes, cuts) if piece[0] != NOT_A_BASE)

    found = ladder(stretches(["chr1", "chr2", "chr3"]), stretches(["chr4"]), max_order=9)
    assert found.both_strands[0] < 2.0
    assert found.both_strands[1] < found.both_strands[0] - 0.01  # the chain
    assert found.best[0] >= 6
    assert found.best[2] < found.both_strands[2] - 0.01  # the families


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bases": 99_999}, "100,000 bases or more for 4; got 99,999"),
        ({"contigs": 0}, "expected 1 contig or more"),
        ({"seed": -1}, "got -1"),
    ],
)
def test_refuses(tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        simulate_genome(tmp_path / "g.fa", **settings)
    assert not list(tmp_path.iterdir())


def test_smallest_genome_has_one_of_everything(tmp_path):
    truth = simulate_genome(tmp_path / "g.fa", bases=simulate.SHORTEST_CONTIG, contigs=1)
    (letters,) = read_fasta(truth.genome).values()
    assert truth.sites
    assert (letters >= ord("a")).any()
    assert len(runs(letters == ord("N"))) >= 1
