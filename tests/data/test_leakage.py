"""Tests for dnalm/data/leakage.py."""

import json

import numpy as np
import pytest

from dnalm.commands.interact_prepare import leakage_lines
from dnalm.data.negatives import leakage_report
from dnalm.data.pairs import PairSet

ISOMERS = np.array([0, 1, 0, 2])
"""Molecules 0 and 2 differ in their stereo alone."""


@pytest.fixture
def pairs():
    """Train has genes 0 1 and molecules 0 1; validation 2 and 2; test a twin of gene 0, and molecules 1 3."""
    rows = [(0, 0), (0, 1), (1, 1), (2, 2), (3, 1), (3, 3), (0, 1), (1, 0)]
    return PairSet(
        gene_ids=["1", "2", "3", "4"],
        sequences=["AAAA", "CCCC", "GGGG", "AAAA"],
        kinds=["CDS"] * 4,
        clusters=np.array([0, 1, 2, 0]),
        smiles=["C", "Cc1ccccc1", "CC", "Oc1ccccc1"],
        scaffolds=["", "c1ccccc1", "", "c1ccccc1"],
        gene=np.array([gene for gene, _ in rows]),
        molecule=np.array([molecule for _, molecule in rows]),
        label=np.ones(len(rows), dtype=np.uint8),
        parts={"train": np.array([0, 1, 2, 7]), "validation": np.array([3]), "test": np.array([4, 5, 6])},
        meta={},
    )


def test_what_is_shared_is_counted_by_hand(pairs):
    shared = leakage_report(pairs, ISOMERS)["shared"]["train, test"]
    assert (shared["pairs"], shared["pairs_rows"]) == (1, pytest.approx(1 / 3))
    assert (shared["genes"], shared["genes_rows"]) == (1, pytest.approx(1 / 3))
    assert (shared["clusters"], shared["clusters_rows"]) == (1, 1.0)  # gene 3 is the same as gene 0
    assert (shared["molecules"], shared["molecules_rows"]) == (1, pytest.approx(2 / 3))
    assert (shared["scaffolds"], shared["scaffolds_rows"]) == (1, 1.0)


def test_having_no_ring_is_not_a_scaffold_to_share(pairs):
    shared = leakage_report(pairs, ISOMERS)["shared"]["train, validation"]
    isomers = {key: shared.pop(key) for key in ("molecule_clusters", "molecule_clusters_rows")}
    assert set(shared.values()) == {0}
    assert isomers == {"molecule_clusters": 1, "molecule_clusters_rows": 1.0}


def test_degrees_are_rows_a_gene_and_a_molecule(pairs):
    degrees = leakage_report(pairs, ISOMERS)["degrees"]
    assert degrees["train"]["rows_a_gene"] == [2, 2, 2, 2]
    assert degrees["test"]["rows_a_gene"] == [1, 1.5, pytest.approx(1.9), 2]  # gene 0 one row, gene 3 two
    assert degrees["test"]["rows_a_molecule"] == [1, 1.5, pytest.approx(1.9), 2]
    assert degrees["validation"] == {"rows_a_gene": [1, 1, 1, 1], "rows_a_molecule": [1, 1, 1, 1]}


def test_the_text_says_each_pair_of_parts_and_json_holds_the_report(pairs):
    report = leakage_report(pairs, ISOMERS)
    assert json.loads(json.dumps(report)) == report
    lines = leakage_lines(report)
    assert [line.split(" share ")[0] for line in lines] == [
        "train and validation",
        "train and test",
        "validation and test",
    ]
    assert "1 molecules (67% of test's rows)" in lines[1]
    assert "1 molecules but for stereo and charge (100% of validation's rows)" in lines[0]
    assert "1 near-identical gene groups (100% of test's rows)" in lines[1]
