"""Tests of `dnalm interact prepare` where genes or molecules are alike, or their names."""

import json

import numpy as np
import pytest

from dnalm.commands.interact_prepare import Options, run
from dnalm.data.molecules import molecule_clusters
from dnalm.data.pairs import open_pairs

pytest.importorskip("rdkit")
GENES = 60


def chain(row):
    """A molecule of its own for each row."""
    return "C" * (row + 1) + "O"


def table(rows):
    return "GeneID,SMILES,Label\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)


@pytest.fixture
def inputs(tmp_path):
    """Sequences of 60 genes, and a pair of each with a molecule of its own."""
    draws = np.random.default_rng(1)
    genes = ["".join(draws.choice(list("acgt"), 60)) for _ in range(GENES)]
    lines = [f"{row + 1}\t{gene}" for row, gene in enumerate(genes)]
    (tmp_path / "genes.tsv").write_text("\n".join(["GeneID\tsequence", *lines]) + "\n")
    (tmp_path / "pairs.csv").write_text(table((row + 1, chain(row), 1) for row in range(GENES)))
    return tmp_path


def prepared(folder, **options):
    run(Options(folder / "pairs.csv", folder / "genes.tsv", folder / "set", quiet=True, **options))
    return open_pairs(folder / "set")


def test_a_positive_is_no_negative_of_a_gene_with_the_same_sequence(inputs):
    header, first, _second, *others = (inputs / "genes.tsv").read_text().splitlines()
    twin = "2\t" + first.split("\t")[1]
    (inputs / "genes.tsv").write_text("\n".join([header, first, twin, *others]) + "\n")
    rows = [(1, chain(row), 1) for row in range(20)] + [(2, chain(row), 1) for row in range(16, 40)]
    rows += [(gene, chain(gene), 1) for gene in range(3, 43)]
    (inputs / "pairs.csv").write_text(table(rows))
    pairs = prepared(inputs, ratio=3)
    assert pairs.clusters[0] == pairs.clusters[1]
    keys = pairs.clusters[pairs.gene] * len(pairs.smiles) + pairs.molecule
    assert not set(keys[pairs.label == 1]) & set(keys[pairs.label == 0])
    parts = [set(keys[rows[pairs.label[rows] == 1]]) for rows in pairs.parts.values()]
    assert not (parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2])


@pytest.mark.parametrize("split", ["random", "cold-molecule", "scaffold", "cold-both"])
def test_isomers_are_in_one_part_and_contradict_nothing(inputs, split):
    # Every molecule in both hands, each with genes of its own.
    rows = [
        (1 + (7 * chain + 3 * gene + hand) % 40, f"C{'C' * chain}[C{mark}H](N)O", 1)
        for chain in range(12)
        for gene in range(12)
        for hand, mark in enumerate(("@", ""))
    ]
    (inputs / "pairs.csv").write_text(table(rows))
    pairs = prepared(inputs, split=split)
    assert len(pairs.smiles) == 24
    flat = molecule_clusters(pairs.smiles)
    assert len(set(flat.tolist())) == 12
    keys = pairs.clusters[pairs.gene] * 24 + flat[pairs.molecule]
    assert not set(keys[pairs.label == 1]) & set(keys[pairs.label == 0])
    shared = json.loads((inputs / "set" / "leakage.json").read_text())["shared"]
    assert all(entry["molecule_clusters" if split != "random" else "pairs"] == 0 for entry in shared.values())
    for names, entry in shared.items():
        one, other = (set(flat[pairs.molecule[pairs.parts[name]]].tolist()) for name in names.split(", "))
        assert entry["molecule_clusters"] == len(one & other)
    parts = [set(keys[rows].tolist()) for rows in pairs.parts.values()]
    assert not (parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2])


def test_blanks_inside_names_do_not_matter(inputs):
    text = (inputs / "genes.tsv").read_text().splitlines()
    head, rows = text[0].split("\t"), [line.split("\t") for line in text[1:]]
    rows = [["g  " + row[0], *row[1:], "mRNA  variant 1"] for row in rows]
    lines = ["\t".join([*head, "kind"]), *("\t".join(row) for row in rows)]
    (inputs / "genes.tsv").write_text("\n".join(lines) + "\n")
    header, *pairs = (inputs / "pairs.csv").read_text().splitlines()
    (inputs / "pairs.csv").write_text("\n".join([header, *(f" g {line}" for line in pairs)]) + "\n")
    made = prepared(inputs)
    assert made.gene_ids[0] == "g 1"
    assert set(made.kinds) == {"mRNA variant 1"}
