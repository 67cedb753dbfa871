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
from dnalm.genome.motif_scan import log_odds, scan
from dnalm.genome.simulate import simulate_genome, simulate_variants

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


def test_the_same_seed_gives_the_same_bytes(tmp_path, truth):
    files = truth.genome, truth.sites_bed, truth.motif_file
    digests = [hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files]
    assert digests == ["32b62a5a2ce2c31d", "7ec6579ffe933156", "ed567b43c79dd5e1"]
    other = simulate_genome(tmp_path / "g.fa", bases=BASES, seed=4)
    assert other.genome.read_bytes() != truth.genome.read_bytes()


def test_contigs_are_as_long_as_asked(tmp_path, truth, contigs):
    assert truth.contigs == (("chr1", 160_000), ("chr2", 120_000), ("chr3", 80_000), ("chr4", 40_000))
    assert {name: len(letters) for name, letters in contigs.items()} == dict(truth.contigs)
    odd = simulate_genome(tmp_path / "odd.fa", bases=61_237, contigs=3)
    assert sum(length for _, length in odd.contigs) == 61_237
    assert {name: len(letters) for name, letters in read_fasta(odd.genome).items()} == dict(odd.contigs)


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
    rows = [line.split("\t") for line in truth.sites_bed.read_text().splitlines()]
    assert [(row[0], int(row[1]), row[5], row[3]) for row in rows] == list(truth.sites)
    assert [each[:2] for each in read_bed(truth.sites_bed)] == [site[:2] for site in truth.sites]
    motif = choose_motif(truth.motif_file)
    assert motif.name == simulate.MOTIF_NAME
    np.testing.assert_allclose(motif.probabilities, simulate.MOTIF, atol=5e-7)  # six decimals


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


def test_variants_break_a_site_or_are_in_none(tmp_path, truth, contigs):
    simulate_variants(truth, tmp_path / "v.vcf", tmp_path / "r.bed", count=30)
    rows = [line.split("\t") for line in (tmp_path / "v.vcf").read_text().splitlines() if line[0] != "#"]
    inside = {(site.contig, site.start + at) for site in truth.sites for at in range(10)}
    assert len(rows) == 30
    assert rows == sorted(rows, key=lambda row: (row[0], int(row[1])))
    for row in rows:
        at = int(row[1]) - 1
        assert chr(contigs[row[0]][at]).upper() == row[3] != row[4]
        assert row[7] == f"SITE={int((row[0], at) in inside)}"
    assert sum(row[7] == "SITE=1" for row in rows) == 15
    starts = {(site.contig, site.start - 150) for site in truth.sites}
    assert {(region.contig, region.start) for region in read_bed(tmp_path / "r.bed")} <= starts
    odds = log_odds(choose_motif(truth.motif_file))
    for row in rows[::2]:  # the site that the variant is in scores less with it
        letters = contigs[row[0]][int(row[1]) - 10 : int(row[1]) + 9]
        codes = BASE_CODES[letters]
        changed = codes.copy()
        changed[9] = BASE_CODES[ord(row[4])]
        assert scan(changed, odds)[0].max() < scan(codes, odds)[0].max() - 2
