"""Tests of the simulated pairs in dnalm/genome/simulate.py."""

import csv

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


def test_same_seed_same_bytes(tmp_path, truth):
    again, other = simulate_pairs(tmp_path / "again", seed=3), simulate_pairs(tmp_path / "other", seed=4)
    for name in ("pairs", "genes"):
        first, second, third = (getattr(made, name).read_bytes() for made in (truth, again, other))
        assert first == second
        assert first != third


def test_pairs_are_distinct_and_of_both_kinds(rows, genes):
    assert len(rows) == len({(row["GeneID"], row["SMILES"]) for row in rows}) == simulated.PAIRS
    assert {row["GeneID"] for row in rows} == set(genes)
    assert len({row["SMILES"] for row in rows}) == simulated.MOLECULES
    positives = sum(row["Label"] == "1" for row in rows)
    assert {row["Label"] for row in rows} == {"0", "1"}
    assert positives / len(rows) == pytest.approx(0.5, abs=0.03)  # 4 standard errors of 6,000 coins are 0.026


def test_every_gene_holds_one_motif_and_every_molecule_one_fragment(rows, genes):
    for gene in genes.values():
        assert simulated.GENE_LENGTHS[0] <= len(gene) <= simulated.GENE_LENGTHS[1]
        assert set(gene) == set("ACGT")
        assert sorted(gene.count(motif) for motif in simulated.MOTIFS) == [0, simulated.COPIES]
    for smiles in {row["SMILES"] for row in rows}:
        assert sorted(smiles.count(fragment) for fragment in simulated.FRAGMENTS) == [0, 1]


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
