"""Pairs that are prepared."""

import numpy as np
import pytest

GENES, MOLECULES, PAIRS = 60, 48, 240


def chain(row):
    return "C" * (row + 1) + "O"


def table(rows):
    return "GeneID,SMILES,Label\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)


@pytest.fixture
def inputs(tmp_path):
    """Positives of 60 genes and 48 molecules in pairs.csv, and a gene file with a sequence for each."""
    draws = np.random.default_rng(1)
    keys = np.sort(draws.choice(GENES * MOLECULES, PAIRS, replace=False))
    molecules = [chain(row) if row % 2 else "C" * (row + 1) + "c1ccccc1" for row in range(MOLECULES)]
    rows = [(key // MOLECULES + 1, molecules[key % MOLECULES], 1) for key in keys]
    (tmp_path / "pairs.csv").write_text(table(rows))
    genes = [f"{row + 1}\t{''.join(draws.choice(list('acgt'), 60))}\n" for row in range(GENES)]
    (tmp_path / "genes.tsv").write_text("GeneID\tsequence\n" + "".join(genes))
    return tmp_path
