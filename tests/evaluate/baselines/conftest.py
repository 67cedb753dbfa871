"""Simulated genes and molecules whose interactions follow a planted rule."""

import numpy as np
import pytest

from dnalm.data.pairs import PairSet
from dnalm.evaluate.auroc import auroc

GENES, MOLECULES, BLOCKS = 80, 60, 4


def smiles(family):
    """30 molecules each: alkyl benzenes, and amides without a ring."""
    ends = ("O", "N", "F", "Cl", "S")
    if family == 0:
        return [f"{'C' * length}c1ccc({end})cc1" for length in range(1, 7) for end in ends]
    return [f"{'C' * length}C(=O)N{'C' * width}" for length in range(1, 7) for width in range(1, 6)]


def labels(rule, gene, molecule, rich, draws):
    """Return the label of each pair, [P]."""
    family = molecule % 2
    if rule == "none":
        return draws.random(len(gene)) < 0.5
    if rule == "degree":  # some genes and some molecules interact more, with whom does not matter
        often = draws.normal(size=GENES)[gene] + draws.normal(size=MOLECULES)[molecule]
        return draws.random(len(gene)) < 1 / (1 + np.exp(-2 * often))
    if rule == "blocks":  # who goes with whom, told by neither sequence nor structure
        genes = draws.permutation(np.arange(GENES) % BLOCKS)
        molecules = draws.permutation(np.arange(MOLECULES) % BLOCKS)
        return np.isin((genes[gene] - molecules[molecule]) % BLOCKS, [0, 1])
    if rule == "family":  # each gene takes to one chemical family, which its sequence does not tell
        return draws.permutation(np.arange(GENES) % 2)[gene] == family
    assert rule == "features"  # genes rich in GATA take to one family
    return (rich[gene] == 1) & (family == 0)


@pytest.fixture(scope="session")
def planted():
    """Makes a set of 80 genes and 60 molecules, 70 % of their pairs to train and the rest to test."""

    def make(rule, seed=0):
        draws = np.random.default_rng(seed)
        rich = np.arange(GENES) // 2 % 2
        sequences = []
        for each in rich:
            letters = draws.choice(list("ACGT"), 300)
            if each:
                letters[:120] = list("GATA" * 30)
            sequences.append("".join(letters))
        gene, molecule = (axis.ravel() for axis in np.mgrid[:GENES, :MOLECULES])
        order = draws.permutation(len(gene))
        return PairSet(
            gene_ids=[str(i) for i in range(GENES)],
            sequences=sequences,
            kinds=["mRNA" if i % 3 else "promoter" for i in range(GENES)],
            clusters=np.arange(GENES),
            smiles=[pair for both in zip(smiles(0), smiles(1), strict=True) for pair in both],
            scaffolds=[""] * MOLECULES,
            gene=gene,
            molecule=molecule,
            label=labels(rule, gene, molecule, rich, draws).astype(np.uint8),
            parts={"train": np.sort(order[:3360]), "validation": order[3360:4080], "test": order[4080:]},
            meta={"digest": rule},
        )

    return make


@pytest.fixture(scope="session")
def auroc_of():
    """Returns the AUROC of a baseline, fitted on the training part, on the test part."""

    def evaluate(baseline, pairs, **settings):
        rows = pairs.parts["test"]
        return auroc(pairs.label[rows], baseline(pairs, pairs.parts["train"], rows, **settings))

    return evaluate
