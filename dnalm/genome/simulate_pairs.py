"""Made-up genes and molecules whose rule is known, for demonstrations and tests.

Every gene holds one of two motifs and every molecule one of two fragments. A pair matches if motif and
fragment are of the same couple. Nine of ten matching pairs are positive and one of ten others, and both kinds
are drawn alike often: but for chance, half of the pairs of each gene and of each molecule are positive, so
that neither end tells anything without the other.
The same seed gives the same bytes: one PCG64 stream, of which only uniform numbers are drawn.

Shapes used below
    G  genes                         M  molecules
    P  pairs, drawn of the G x M     W  bases of a motif
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.dna import BASES
from dnalm.errors import InputError
from dnalm.files import write_text

Rows = npt.NDArray[np.int64]

GENES, MOLECULES, PAIRS = 120, 300, 6_000
SHORTEST, LONGEST = 300, 600
"""Bases of a gene, both included."""
MOTIFS = ("GATTACAGGC", "CCTGAGTCAT")
"""Of the two couples, each W bases: by chance, one gene in a thousand would hold one."""
COPIES = 3
"""Of its motif in each gene."""
FRAGMENTS = ("C(Br)(Br)", "S(=O)(=O)N")
"""Of the two couples; each is text that may stand in a SMILES after one atom and before another."""
FILLERS = ("C", "CC", "CO", "CN", "C(C)", "C(=O)", "c1ccccc1", "C1CCCC1", "c1ccncc1")
"""What the rest of a molecule is built of, in the same way; none holds what a planted fragment holds."""
FEWEST, MOST = 3, 6
"""Fillers of a molecule."""
MATCH_POSITIVE, OTHER_POSITIVE = 0.9, 0.1
"""How probable it is that a pair is positive, if it matches and if not."""
BEST_AUROC = (1 + MATCH_POSITIVE - OTHER_POSITIVE) / 2
"""AUROC of the rule itself, 0.9: the best that a model can reach, but for chance.

Matches and others are alike many, so that the rule finds 0.9 of the positives at the cost of 0.1 of the
negatives; the curve through that one point has an area of half of 1 + 0.9 - 0.1.
"""
PAIRS_FILE, GENES_FILE = "pairs.csv", "genes.fa"
LINE = 60
"""Bases on a line of the FASTA."""


class PairTruth(NamedTuple):
    """What was written, and the truth of it."""

    pairs: Path
    """CSV of GeneID, SMILES and Label."""
    genes: Path
    """FASTA; a record's name is the GeneID."""
    matches: npt.NDArray[np.bool_]
    """Whether each pair matches, in the order of the file, [P]: the best score there is."""
    labels: npt.NDArray[np.bool_]
    """[P]."""


def simulate_pairs(folder: Path, seed: int = 0) -> PairTruth:
    """Write pairs.csv and genes.fa: 6,000 labelled pairs of 120 genes and 300 molecules.

    A model that knows the rule has an AUROC of 0.9 (`BEST_AUROC`); one that knows only how often each gene
    and each molecule is positive has about 0.5.

    Args:
        folder: made if it is not there; files of these names in it are replaced.
        seed: another seed, other genes, molecules and pairs; motifs and fragments stay.

    Raises:
        InputError: if the seed is negative.
    """
    if seed < 0:
        raise InputError(f"seed must be 0 or more, got {seed}")
    random = np.random.Generator(np.random.PCG64(seed))
    genes = [_gene(random, row % 2) for row in range(GENES)]
    molecules: list[str] = []
    while len(molecules) < MOLECULES:
        smiles = _molecule(random, len(molecules) % 2)
        if smiles not in molecules:
            molecules.append(smiles)
    gene, molecule = _drawn(random)
    matches = gene % 2 == molecule % 2
    labels = random.random(PAIRS) < np.where(matches, MATCH_POSITIVE, OTHER_POSITIVE)
    names = [str(1000 + row) for row in range(GENES)]
    rows = (
        f"{names[g]},{molecules[m]},{int(label)}\n"
        for g, m, label in zip(gene, molecule, labels, strict=True)
    )
    truth = PairTruth(folder / PAIRS_FILE, folder / GENES_FILE, matches, labels)
    write_text(truth.pairs, "GeneID,SMILES,Label\n" + "".join(rows))
    records = (f">{name}\n{_lines(gene)}" for name, gene in zip(names, genes, strict=True))
    write_text(truth.genes, "".join(records))
    return truth


def _whole(random: np.random.Generator, low: int, high: int) -> int:
    """Draw a whole number from `low` to `high`, both included."""
    return low + int(random.random() * (high - low + 1))


def _gene(random: np.random.Generator, couple: int) -> str:
    """Return random bases with the couple's motif in `COPIES` places and the other's in none."""
    motif, other = MOTIFS[couple], MOTIFS[1 - couple]
    while True:
        length = _whole(random, SHORTEST, LONGEST)
        gene = "".join(BASES[code] for code in (random.random(length) * 4).astype(np.int64))
        third = length // COPIES  # one copy in each third, so that none lies on another
        for copy in range(COPIES):
            at = copy * third + _whole(random, 0, third - len(motif))
            gene = gene[:at] + motif + gene[at + len(motif) :]
        if gene.count(motif) == COPIES and other not in gene:
            return gene


def _molecule(random: np.random.Generator, couple: int) -> str:
    """Return a chain of fillers with the couple's fragment between two of them."""
    count = _whole(random, FEWEST, MOST)
    parts = [FILLERS[_whole(random, 0, len(FILLERS) - 1)] for _ in range(count)]
    parts.insert(_whole(random, 1, count - 1), FRAGMENTS[couple])
    return "".join(parts)


def _drawn(random: np.random.Generator) -> tuple[Rows, Rows]:
    """Draw P different pairs, half of them matches: genes [P] and molecules [P]."""
    every = np.arange(GENES * MOLECULES)
    match = every // MOLECULES % 2 == every % MOLECULES % 2
    order = np.argsort(random.random(len(every)), kind="stable")
    matching, others = order[match[order]], order[~match[order]]
    chosen = np.concatenate([matching[: PAIRS // 2], others[: PAIRS - PAIRS // 2]])
    chosen = chosen[np.argsort(random.random(PAIRS), kind="stable")]
    return chosen // MOLECULES, chosen % MOLECULES


def _lines(gene: str) -> str:
    return "".join(f"{gene[start : start + LINE]}\n" for start in range(0, len(gene), LINE))
