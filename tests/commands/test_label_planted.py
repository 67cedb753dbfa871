"""Tests for `dnalm label` on a random genome in which sites of a motif were planted."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from dnalm.cli import main
from dnalm.dna import BASE_CODES, other_strand
from dnalm.formats.binding import parse_name, read_binding
from dnalm.formats.motif import choose_motif
from dnalm.genome.motif_scan import log_odds, scan, site_scores
from dnalm.record import read_record

THRESHOLD = 7.0
MOTIF = [[0.91 if base == best else 0.03 for base in "ACGT"] for best in "GCATTAGACC"]
"""Of planted sites: the probability of each base at each position."""


class Site(NamedTuple):
    contig: str
    start: int
    strand: str
    sequence: str  # along its own strand


class Simulated(NamedTuple):
    """A genome of random bases with planted sites of one motif, and runs of lower case and N."""

    genome: Path
    motif_file: Path
    contigs: dict[str, int]
    sites: list[Site]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("sim"), np.random.default_rng(3)
    contigs, sites, text = {"chr1": 120_000, "chr2": 80_000}, [], ""
    for name, length in contigs.items():
        letters = random.choice(list("ACGT"), length)
        for slot in range(0, length - 1000, 1000):
            word = "".join(random.choice(list("ACGT"), p=row) for row in MOTIF)
            at, strand = slot + int(random.integers(600)), "+-"[slot // 1000 % 2]
            letters[at : at + len(MOTIF)] = list(word if strand == "+" else other_strand(word))
            sites.append(Site(name, at, strand, word))
            letters[slot + 700 : slot + 800] = np.char.lower(letters[slot + 700 : slot + 800])
            if slot % 10_000 == 0:
                letters[slot + 800 : slot + 950] = "N"
        text += f">{name} words\n{''.join(letters)}\n"
    rows = "".join(" ".join(f"{p:.2f}" for p in row) + "\n" for row in MOTIF)
    (folder / "genome.fa").write_text(text)
    (folder / "motif.meme").write_text(
        "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF SIM\n"
        f"letter-probability matrix: alength= 4 w= {len(MOTIF)} nsites= {len(sites)} E= 0\n{rows}"
    )
    return Simulated(folder / "genome.fa", folder / "motif.meme", contigs, sites)


def run(genome, *flags):
    assert main(["label", str(genome), *map(str, flags)]) == 0


def binding(out):
    """The windows and scores that a run has written."""
    return read_binding(out / "sequences.txt.gz", out / "scores.txt.gz")


def codes_of(letters):
    return BASE_CODES[np.frombuffer(letters.encode(), np.uint8)]


def test_planted_sites_are_labelled_at_their_places_on_either_strand(simulated, tmp_path):
    flags = ["--motif", simulated.motif_file, "--threshold", THRESHOLD, "--window", 200, "--all", "--quiet"]
    run(simulated.genome, *flags, "--out", tmp_path / "a set")
    labelled = binding(tmp_path / "a set")
    records = simulated.genome.read_text().split(">")[1:]
    contigs = {record.split(maxsplit=1)[0]: "".join(record.split("\n")[1:]) for record in records}
    # Windows are all tiles without N, and their letters those of the genome.
    wanted = {
        f"{contig}_{start}_{start + 199}": text[start : start + 200].upper()
        for contig, text in contigs.items()
        for start in range(0, len(text) - 199, 200)
        if "N" not in text[start : start + 200]
    }
    letters = (row.tobytes().decode() for row in labelled.letters)
    assert dict(zip(labelled.names, letters, strict=True)) == wanted
    # Labels are those of the whole contig, cut at the edges: a scan of the windows alone misses sites there.
    matrix, width = log_odds(choose_motif(simulated.motif_file)), len(MOTIF)
    scores = {name: np.full(length, np.nan) for name, length in simulated.contigs.items()}
    for name, row in zip(labelled.names, labelled.scores, strict=True):
        contig, start, end = parse_name(name)
        scores[contig][start:end] = row
    for contig, found in scores.items():
        inside = ~np.isnan(found)
        whole = site_scores(codes_of(contigs[contig]), matrix, THRESHOLD)
        np.testing.assert_array_equal(found[inside], whole[inside])
    assert (labelled.scores != site_scores(BASE_CODES[labelled.letters], matrix, THRESHOLD)).any()
    # Each planted site has its score, where it was planted and on its strand.
    met = {"+": 0, "-": 0}
    for site in simulated.sites:
        score = float(matrix[np.arange(width), codes_of(site.sequence)].sum())
        found = scores[site.contig][site.start : site.start + width]
        if score < THRESHOLD or np.isnan(found).any():
            continue
        # 1e-5: float32. A better site within half a width would take its place; this genome has no such one.
        assert (found >= score - 1e-5).all(), site
        codes = codes_of(contigs[site.contig][site.start :][:width])
        forward = codes if site.strand == "+" else 3 - codes[::-1]
        assert "".join("ACGT"[code] for code in forward) == site.sequence
        met[site.strand] += 1
    assert min(met.values()) > 20


def test_a_probability_is_a_threshold(simulated, tmp_path, capsys):
    planted = simulated.motif_file  # which names no threshold
    assert main(["label", str(simulated.genome), "--motif", str(planted)]) == 2
    assert "--threshold" in capsys.readouterr().err
    run(simulated.genome, "--motif", planted, "--pvalue", 1e-5, "--out", tmp_path / "p")
    threshold = read_record(tmp_path / "p/run.json")["recipe"]["threshold"]
    found = binding(tmp_path / "p")
    assert found.scores[found.scores > 0].min() >= threshold - 1e-5  # float32
    matrix = log_odds(choose_motif(planted))
    best = np.array([scan(BASE_CODES[row], matrix)[0].max() for row in found.letters])
    assert (best >= threshold - 1e-5).mean() > 0.9  # the rest hold sites cut by an edge
