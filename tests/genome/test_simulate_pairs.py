"""Tests of the simulated pairs in dnalm/genome/simulate.py."""

import csv
import hashlib

import numpy as np
import pytest

from dnalm.errors import InputError
from dnalm.genome import simulate as simulated
from dnalm.genome.simulate import simulate_pairs


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return simulate_pairs(tmp_path_factory.mktemp("made up") / "a new folder", seed=3)


@pytest.fixture(scope="module")
def rows(truth):
    with truth.pairs.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def genes(truth):
    records = [record.partition("\n") for record in truth.genes.read_text().split(">")[1:]]
    return {name: text.replace("\n", "") for name, _, text in records}


def auroc(label, score):
    """Share of the pairs of a positive and a negative that are in order, ties counted half."""
    high, low = score[label][:, None], score[~label][None, :]
    return float(((high > low) + 0.5 * (high == low)).mean())


def columns(rows):
    label = np.array([row["Label"] == "1" for row in rows])
    gene, molecule = (
        np.unique([row[name] for row in rows], return_inverse=True)[1] for name in ("GeneID", "SMILES")
    )
    return gene, molecule, label


def test_the_same_seed_gives_the_same_bytes_and_distinct_pairs(tmp_path, truth, rows, genes):
    digests = [hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in (truth.pairs, truth.genes)]
    assert digests == ["14cf2aa7a9dfe0e7", "1a7eb3ea3d48ce54"]
    assert simulate_pairs(tmp_path, seed=4).pairs.read_bytes() != truth.pairs.read_bytes()
    assert len(rows) == len({(row["GeneID"], row["SMILES"]) for row in rows}) == simulated.PAIRS
    assert {row["GeneID"] for row in rows} == set(genes)


def test_the_rule_in_the_files_is_the_best_score(truth, rows, genes):
    def matches(row):
        (motif,) = (i for i, motif in enumerate(simulated.MOTIFS) if motif in genes[row["GeneID"]])
        (fragment,) = (i for i, text in enumerate(simulated.FRAGMENTS) if text in row["SMILES"])
        return motif == fragment

    found = np.array([matches(row) for row in rows])
    _, _, label = columns(rows)
    assert (found == truth.matches).all()
    assert (label == truth.labels).all()
    assert pytest.approx(0.9) == simulated.BEST_AUROC
    # 4 standard errors, 6,000 pairs
    assert auroc(label, found.astype(float)) == pytest.approx(0.9, abs=0.016)


def test_neither_end_tells_anything_alone(rows):
    gene, molecule, label = columns(rows)
    half = np.arange(len(rows)) < len(rows) // 2
    for node in (gene, molecule):
        rate = np.bincount(node[half], label[half]) / np.maximum(1, np.bincount(node[half]))
        assert auroc(label[~half], rate[node[~half]]) == pytest.approx(0.5, abs=0.05)


def test_molecules_are_molecules_that_stay_distinct(rows):
    chem = pytest.importorskip("rdkit.Chem", reason="needs rdkit")
    written = {row["SMILES"] for row in rows}
    read = {smiles: chem.MolFromSmiles(smiles) for smiles in written}
    assert None not in read.values()
    canonical = {chem.MolToSmiles(molecule) for molecule in read.values()}
    assert len(canonical) > 0.9 * len(written)
    planted = [chem.MolFromSmarts(text) for text in ("C(Br)Br", "S(=O)(=O)N")]
    for molecule in read.values():
        assert sorted(molecule.HasSubstructMatch(fragment) for fragment in planted) == [False, True]


def test_refuses_a_negative_seed(tmp_path):
    with pytest.raises(InputError, match="got -1"):
        simulate_pairs(tmp_path / "x", seed=-1)
    assert not list(tmp_path.iterdir())
