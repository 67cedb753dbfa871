"""Simulated pairs of genes and molecules with a rule, for demonstrations and tests.

Every gene holds one of two motifs and every molecule one of two fragments; a pair matches if both are of one
couple. Of matching pairs nine in ten are positive, of others one in ten, and both kinds are equally frequent,
so that neither end predicts anything without the other.

The same arguments give the same bytes: one PCG64 stream, of which only uniform numbers are used.

Shapes used below
    P  pairs of a gene and a molecule
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.dna import BASES
from dnalm.errors import InputError
from dnalm.files import write_text

Flags = npt.NDArray[np.bool_]

GENES, MOLECULES, PAIRS = 120, 300, 6_000
GENE_LENGTHS = (300, 600)
MOTIFS = ("GATTACAGGC", "CCTGAGTCAT")  # of the two couples: by chance, in one gene of a thousand
COPIES = 3  # of its motif in each gene
FRAGMENTS = ("C(Br)(Br)", "S(=O)(=O)N")
"""Of the two couples; each is text that may stand in a SMILES after one atom and before another."""
FILLERS = ("C", "CC", "CO", "CN", "C(C)", "C(=O)", "c1ccccc1", "C1CCCC1", "c1ccncc1")
"""The rest of a molecule; none holds a part of a planted fragment."""
FILLER_COUNTS = (3, 6)
MATCH_POSITIVE, OTHER_POSITIVE = 0.9, 0.1  # how probable a positive pair is, if it matches and if not
BEST_AUROC = (1 + MATCH_POSITIVE - OTHER_POSITIVE) / 2
"""AUROC of the rule itself: it finds 0.9 of the positives at the cost of 0.1 of the negatives."""


class PairTruth(NamedTuple):
    """The files that were written, and their truth."""

    pairs: Path  # CSV of GeneID, SMILES and Label
    genes: Path  # FASTA; a record's name is the GeneID
    matches: Flags  # whether each pair matches, in the order of the file, [P]: the best score there is
    labels: Flags  # [P]


def simulate_pairs(folder: Path, seed: int = 0) -> PairTruth:
    """Write pairs.csv and genes.fa: 6,000 labelled pairs of 120 genes and 300 molecules.

    A model that knows the rule has an AUROC of 0.9 (`BEST_AUROC`); one that knows only the share of
    positives of each gene and each molecule has about 0.5.

    Args:
        folder: made if it is not there; files of these names in it are replaced.
        seed: another seed, other genes, molecules and pairs; motifs and fragments stay.

    Raises:
        InputError: if the seed is negative.
    """
    random = _generator(seed)
    genes = [_gene(random, row % 2) for row in range(GENES)]
    molecules: list[str] = []
    while len(molecules) < MOLECULES:
        smiles = _molecule(random, len(molecules) % 2)
        if smiles not in molecules:
            molecules.append(smiles)
    # Distinct pairs in random order, half of them matches.
    every = np.arange(GENES * MOLECULES)
    match = every // MOLECULES % 2 == every % MOLECULES % 2
    order = _shuffled(random, len(every))
    chosen = np.concatenate([order[match[order]][: PAIRS // 2], order[~match[order]][: PAIRS - PAIRS // 2]])
    chosen = chosen[_shuffled(random, PAIRS)]
    labels = random.random(PAIRS) < np.where(match[chosen], MATCH_POSITIVE, OTHER_POSITIVE)
    names = [str(1000 + row) for row in range(GENES)]
    rows = (
        f"{names[pair // MOLECULES]},{molecules[pair % MOLECULES]},{int(label)}\n"
        for pair, label in zip(chosen, labels, strict=True)
    )
    truth = PairTruth(folder / "pairs.csv", folder / "genes.fa", match[chosen], labels)
    write_text(truth.pairs, "GeneID,SMILES,Label\n" + "".join(rows))
    write_text(truth.genes, "".join(f">{name}\n{gene}\n" for name, gene in zip(names, genes, strict=True)))
    return truth


def _gene(random: np.random.Generator, couple: int) -> str:
    """Return random bases with `COPIES` of the couple's motif and none of the other's."""
    motif, other = MOTIFS[couple], MOTIFS[1 - couple]
    while True:
        length = _integer(random, *GENE_LENGTHS)
        gene = "".join(BASES[code] for code in (random.random(length) * 4).astype(int))
        third = length // COPIES  # one copy in each third, so that none lies on another
        for copy in range(COPIES):
            at = copy * third + _integer(random, 0, third - len(motif))
            gene = gene[:at] + motif + gene[at + len(motif) :]
        if gene.count(motif) == COPIES and other not in gene:
            return gene


def _molecule(random: np.random.Generator, couple: int) -> str:
    """Return a chain of fillers with the couple's fragment between two of them."""
    count = _integer(random, *FILLER_COUNTS)
    parts = [FILLERS[_integer(random, 0, len(FILLERS) - 1)] for _ in range(count)]
    parts.insert(_integer(random, 1, count - 1), FRAGMENTS[couple])
    return "".join(parts)


def _generator(seed: int) -> np.random.Generator:
    if seed < 0:
        raise InputError(f"`seed` must be 0 or more, got {seed}")
    return np.random.Generator(np.random.PCG64(seed))


def _integer(random: np.random.Generator, low: int, high: int) -> int:
    """Return a random integer from `low` to `high`, both included."""
    return low + int(random.random() * (high - low + 1))


def _shuffled(random: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
    """Return 0 to `count` - 1 in random order."""
    return np.argsort(random.random(count), kind="stable")
