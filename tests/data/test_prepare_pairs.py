"""Tests for dnalm/data/prepare_pairs.py."""

import itertools
import json
import re

import numpy as np
import pytest

from dnalm.data.molecules import molecule_clusters
from dnalm.data.pair_splits import split_pairs
from dnalm.data.pairs import DROPPED_COLUMNS, PARTS, open_pairs
from dnalm.data.prepare_pairs import PrepareConfig, prepare_pairs
from dnalm.errors import InputError
from dnalm.formats.text import read_table
from tests.data.conftest import GENES, PAIRS, chain, table

pytest.importorskip("rdkit")


def prepared(folder, rows=None, *, out="set", pairs="pairs.csv", genes="genes.tsv", **config):
    """The set, read from its folder; `rows` replace those of pairs.csv."""
    if rows is not None:
        (folder / "pairs.csv").write_text(table(rows))
    made, _ = prepare_pairs(folder / pairs, folder / genes, PrepareConfig(**config), folder / out)
    pairs = open_pairs(folder / out)
    assert made.digest == pairs.digest
    return pairs


def dropped(folder):
    return [list(row.values()) for _, row in read_table(folder / "dropped.tsv.gz", DROPPED_COLUMNS)]


def assert_nothing_is_shared(pairs, keys):
    """No positive is a negative, and no positive of one part is in another."""
    assert not set(keys[pairs.label == 1]) & set(keys[pairs.label == 0])
    one, other, third = (set(keys[rows[pairs.label[rows] == 1]].tolist()) for rows in pairs.parts.values())
    assert not (one & other | one & third | other & third)


@pytest.mark.parametrize("split", ["random", "cold-molecule", "scaffold", "cold-gene", "cold-both"])
def test_each_split_gives_three_parts_with_as_many_negatives_as_positives(inputs, split):
    pairs = prepared(inputs, split=split)
    keys = pairs.gene * len(pairs.smiles) + pairs.molecule
    rows = np.concatenate([pairs.parts[part] for part in PARTS])
    assert sorted(rows) == list(range(len(keys)))
    assert len(np.unique(keys)) == len(keys)  # no pair twice: not as positive and negative, not in two parts
    for part, about in pairs.meta["parts"].items():
        label = pairs.label[pairs.parts[part]]
        assert about["rows"] == len(label) > 0
        assert about["positives"] == label.sum() == len(label) - label.sum()
    shared = json.loads((inputs / "set" / "leakage.json").read_text())["shared"]
    molecules = ["molecules", "molecule_clusters"]
    cold = {"cold-molecule": molecules, "scaffold": [*molecules, "scaffolds"], "cold-gene": ["genes"]}
    cold["cold-both"] = ["genes", *molecules]
    for what in ["pairs", *cold.get(split, [])]:
        assert [entry[what] for entry in shared.values()] == [0, 0, 0]
    counts = pairs.meta["counts"]
    assert counts["read"] == counts["kept"] == PAIRS
    assert pairs.label.sum() == PAIRS - counts["between_parts"]
    assert (counts["between_parts"] > 0) == (split == "cold-both")
    assert (pairs.meta["split"], pairs.meta["negatives"], pairs.meta["ratio"]) == (split, "degree-matched", 1)
    assert pairs.gene_ids == [str(gene) for gene in range(1, GENES + 1)]  # by number
    assert set("".join(pairs.sequences)) == set("ACGT")


@pytest.mark.parametrize("negatives", ["degree-matched", "uniform"])
def test_negatives_are_as_many_as_wanted_or_all_there_are(inputs, negatives):
    pairs = prepared(inputs, split="cold-both", negatives=negatives, ratio=0.5)
    for rows in pairs.parts.values():
        positives = pairs.label[rows].sum()
        assert len(rows) == positives + round(positives / 2)
    pairs = prepared(inputs, split="cold-both", negatives=negatives, ratio=50)
    for part, about in pairs.meta["parts"].items():
        assert about["rows"] == about["genes"] * about["molecules"]  # every pair there is
        missing = pairs.meta["counts"]["negatives_missing"][part]
        assert missing == 51 * about["positives"] - about["rows"]


def test_the_seed_decides_split_and_negatives_and_the_bytes_are_the_same(inputs, monkeypatch):
    made = lambda name, seed: prepared(inputs, out=name, seed=seed, split="cold-gene")  # noqa: E731
    one, same, other = made("one", 1), made("same", 1), made("other", 2)
    assert one.digest == same.digest != other.digest
    assert set(one.gene[one.parts["test"]]) != set(other.gene[other.parts["test"]])
    for path in (inputs / "one").iterdir():
        assert path.read_bytes() == (inputs / "same" / path.name).read_bytes()
    same_split = lambda *columns: split_pairs(*columns[:-1], seed=0)  # noqa: E731
    monkeypatch.setattr("dnalm.data.prepare_pairs.split_pairs", same_split)
    assert made("third", 1).digest != made("fourth", 2).digest


def test_every_dropped_row_is_counted_and_listed(inputs):
    good = (inputs / "pairs.csv").read_text()
    gene, smiles, _ = good.splitlines()[1].split(",")
    again, both = "the same pair again", "the same pair with both labels"
    bad = [
        ((999, "CCO", 1), "gene without a sequence"),
        ((1, "", 1), "no SMILES"),
        ((1, "C1CC", 1), "SMILES is no molecule"),
        ((1, "CC" * 600, 1), "SMILES of more than 1000 characters"),
        ((gene, f"{smiles}.Cl", 1), again),  # line 2 as a salt
        ((f"{gene}.0", smiles, 1), again),  # and as a spreadsheet has it
        ((5, "CCOCC", 1), both),
        ((5, "C(C)OCC", 0), both),
    ]
    (inputs / "pairs.csv").write_text(good + table(row for row, _ in bad).split("\n", 1)[1])
    counts = prepared(inputs).meta["counts"]
    assert (counts["read"], counts["kept"]) == (PAIRS + 8, PAIRS)
    assert [row[1:] for row in dropped(inputs / "set")] == [
        [str(PAIRS + 2 + place), str(gene_id).removesuffix(".0"), text, reason]
        for place, ((gene_id, text, _), reason) in enumerate(bad)
    ]
    reasons = [reason for _, reason in bad]
    assert counts["dropped"] == {reason: reasons.count(reason) for reason in reasons}


def test_half_of_the_smiles_may_be_none_and_salts_may_be_kept(inputs):
    pairs = prepared(inputs, [(gene, text, 1) for gene in range(1, 21) for text in ("CCO", "")])
    assert pairs.meta["counts"]["dropped"] == {"no SMILES": 20}
    rows = [(gene, text, 1) for text in ("CCC(=O)O.[Na+]", "CCC(=O)O") for gene in range(1, 11)]
    assert len(prepared(inputs, rows, out="largest", negatives="none").smiles) == 1
    kept = prepared(inputs, rows, out="keep", negatives="none", salts="keep")
    assert kept.smiles == ["CCC(=O)O", "CCC(=O)O.[Na+]"]
    assert kept.meta["salts"] == "keep"


@pytest.mark.parametrize("split", ["random", "cold-molecule", "scaffold", "cold-both"])
def test_spellings_with_atom_maps_and_isotopes_are_in_one_part(inputs, split):
    rows = [(gene, f"{'C' * n}O", 1) for gene in range(1, 21) for n in range(2, 12)]
    rows += [
        (gene + 20, f"[CH3:1]{'C' * (n - 2)}[CH2:9][OH:3]", 1)
        for gene, n in [(g, len(s) - 1) for g, s, _ in rows]
    ]
    rows += [(gene + 40, f"[13CH3]{'C' * (n - 1)}O", 1) for gene in range(1, 21) for n in range(2, 12)]
    pairs = prepared(inputs, rows, split=split, isotopes="drop", negatives="none")
    assert len(pairs.smiles) == 10
    assert pairs.meta["isotopes"] == "drop"
    shared = json.loads((inputs / "set" / "leakage.json").read_text())["shared"]
    assert split == "random" or all(entry["molecules"] == 0 for entry in shared.values())
    kept = prepared(inputs, rows, out="kept", negatives="none")
    assert len(kept.smiles) == 20


NAMES = {"{}": "ENSG{:011}", "{}.9": "ENSG{:011}.9", "{}|{}": "ENSG{:011}.2|ENST{:011}.4|x", "plain": "G{}"}


@pytest.mark.parametrize(("one", "other"), [*itertools.product(NAMES, repeat=2)])
def test_gene_names_of_two_sources_meet_without_their_versions(inputs, one, other):
    name = lambda kind, row: NAMES[kind].format(row, row + 900)  # noqa: E731
    rows = [(name(one, row), chain(row % 9), 1) for row in range(1, 31)]
    genes = [f"{name(other, row)}\tmRNA\t{'ACGT' * row}\n" for row in range(1, 61)]
    (inputs / "genes.tsv").write_text("GeneID\tkind\tsequence\n" + "".join(genes))
    if (one == "plain") != (other == "plain"):
        with pytest.raises(InputError) as error:
            prepared(inputs, rows)
        assert all(name(kind, row) in str(error.value) for kind in (one, other) for row in (1, 2, 3))
        return
    pairs = prepared(inputs, rows)
    assert pairs.meta["counts"]["kept"] == 30
    assert pairs.meta["gene_versions"] == ("keep" if one == other else "drop")
    assert pairs.gene_ids == sorted(name(one if one == other else "{}", row) for row in range(1, 31))
    assert pairs.sequences[0] == "ACGT"


def test_a_transcript_of_ensembl_is_matched_by_its_gene(inputs):
    header = ">ENST{:011}.{} cdna chromosome:GRCh38:12 gene:ENSG{:011}.11 gene_biotype:x\n{}\n"
    genes = [
        header.format(2 * gene + n, n, gene, "ACGT" * (gene + n)) for gene in range(1, 31) for n in (0, 1)
    ]
    (inputs / "genes.fa").write_text("".join(genes))
    for kind, first in (("ENSG{:011}", "ACGT" * 2), ("ENST{:011}.0", "ACGT")):  # the longest transcript
        rows = [(kind.format(row * (2 if "T" in kind else 1)), chain(row), 1) for row in range(1, 31)]
        pairs = prepared(inputs, rows, genes="genes.fa", out=kind[:4])
        assert pairs.gene_ids == [gene for gene, *_ in rows]
        assert pairs.sequences[0] == first


def test_of_several_sequences_the_preferred_kind_is_used_and_of_a_kind_the_longest(inputs):
    lines = ["GeneID\tkind\tsource_id\tsequence"]
    lines += [f"{gene}\tPROM60_EPDnew\tp\t{'ACGT' * 15}{'A' * gene}" for gene in range(1, 13)]
    lines += ["1\tmRNA_CPAT\tlong\tACGTT", "1\tCDS_iCodon\tshort\tATG", "1\tcds_x\tlonger\tatgccc"]
    lines += ["2\tmRNA_CPAT\tm\tACGTAC", "3\tother\to\t" + "A" * 99, "4\tmRNA\tempty\t"]
    lines += ["5\tprom\tlater\t" + "T" * 65]
    (inputs / "genes.tsv").write_text("\n".join(lines) + "\n")
    pairs = prepared(inputs, [(gene, "C" * gene, 1) for gene in range(1, 13)])
    assert pairs.sequences[:2] == ["ATGCCC", "ACGTAC"]
    assert pairs.sequences[4] == "ACGT" * 15 + "A" * 5  # of equally long ones the first
    assert [kind.split("_")[0] for kind in pairs.kinds[:4]] == ["cds", "mRNA", "PROM60", "PROM60"]
    assert pairs.meta["gene_kinds"] == {"PROM60_EPDnew": 10, "cds_x": 1, "mRNA_CPAT": 1}
    assert set(pairs.gene[pairs.has_transcript()]) == {0, 1}
    other = prepared(inputs, out="promoters", gene_kind="promoter,")
    assert set(other.kinds) == {"PROM60_EPDnew"}


def test_given_labels_remain_and_a_positive_is_no_negative_of_a_gene_with_the_same_sequence(inputs):
    rows = [line.split(",")[:2] for line in (inputs / "pairs.csv").read_text().splitlines()[1:]]
    pairs = prepared(inputs, [(*row, int(place % 3 > 0)) for place, row in enumerate(rows)])
    assert (len(pairs.label), pairs.label.sum()) == (PAIRS, PAIRS * 2 // 3)
    assert (pairs.meta["negatives"], pairs.meta["ratio"]) == ("given", None)
    header, first, _second, *others = (inputs / "genes.tsv").read_text().splitlines()
    twin = "2\t" + first.split("\t")[1]
    (inputs / "genes.tsv").write_text("\n".join([header, first, twin, *others]) + "\n")
    rows = [(1, chain(row), 1) for row in range(20)] + [(2, chain(row), 1) for row in range(16, 40)]
    pairs = prepared(inputs, rows + [(gene, chain(gene), 1) for gene in range(3, 43)], ratio=3)
    assert pairs.clusters[0] == pairs.clusters[1]
    assert_nothing_is_shared(pairs, pairs.clusters[pairs.gene] * len(pairs.smiles) + pairs.molecule)


@pytest.mark.parametrize("split", ["random", "cold-molecule", "scaffold", "cold-both"])
def test_isomers_are_in_one_part_and_contradict_nothing(inputs, split):
    rows = [  # every molecule in both hands, each with genes of its own
        (1 + (7 * chain + 3 * gene + hand) % 40, f"C{'C' * chain}[C{mark}H](N)O", 1)
        for chain in range(12)
        for gene in range(12)
        for hand, mark in enumerate(("@", ""))
    ]
    pairs = prepared(inputs, rows, split=split)
    assert len(pairs.smiles) == 24
    flat = molecule_clusters(pairs.smiles)
    assert len(set(flat.tolist())) == 12
    assert_nothing_is_shared(pairs, pairs.clusters[pairs.gene] * 24 + flat[pairs.molecule])
    shared = json.loads((inputs / "set" / "leakage.json").read_text())["shared"]
    assert all(entry["molecule_clusters" if split != "random" else "pairs"] == 0 for entry in shared.values())


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([(1, "CCO", 2)], "line 2: expected the label 0 or 1, got '2'"),
        ([(1, "CCO", "maybe")], "line 2: expected the label 0 or 1, got 'maybe' (yes and no do too)"),
        ([(1, "CCO", 1), (1, "CCN", "")], "at least 3 pairs"),
        ([(1, "CCO", 1), (1, "C1CC", 1), (1, "drug", 1)], "2 of 3 rows"),
        ([(1, "C", 1), (1, "C" * 1001, 1), (1, "C" * 1002, 1)], "at most 1,000 characters"),
        ([(1, "CCO", 1), (1, "CCO", 0)], "2 rows: the same pair with both labels"),
        ([(1001, "CCO", 1)], "1 row: gene without a sequence"),
        ([], "no pair is left of 0 rows"),
        ([(1, "CCO", 1), (2, "CCO", 1)], "at least 3 pairs"),
    ],
)
def test_bad_pairs_are_refused_and_nothing_is_written(inputs, rows, reason):
    with pytest.raises(InputError, match=re.escape(reason)):
        prepared(inputs, rows)
    assert not (inputs / "set").exists()


@pytest.mark.parametrize("options", [{"ratio": float("nan")}, {"gene_kind": " , "}, {"ratio": 0, "seed": -1}])
def test_bad_settings_are_refused_all_at_once(options):
    with pytest.raises(InputError) as error:
        PrepareConfig(**options)
    assert all(name in str(error.value) for name in options)


def test_real_pairs_are_all_explained(shared_data, tmp_path):
    folder = shared_data / "interaction"
    files = {"pairs": folder / "ctd_positive_pairs.csv.gz", "genes": folder / "gene_sequences_entrez.tsv.gz"}
    pairs = prepared(tmp_path, **files, split="cold-both")
    counts = pairs.meta["counts"]
    assert counts["read"] == 102_304
    assert counts["dropped"]["gene without a sequence"] == 102_304 - 96_121
    assert counts["read"] == counts["kept"] + sum(counts["dropped"].values())
    assert len(dropped(tmp_path / "set")) == sum(counts["dropped"].values())
    assert pairs.label.sum() == counts["kept"] - counts["between_parts"]
    shared = json.loads((tmp_path / "set" / "leakage.json").read_text())["shared"]
    for entry in shared.values():
        assert (entry["pairs"], entry["genes"], entry["clusters"], entry["molecules"]) == (0, 0, 0, 0)
    assert 0 < pairs.has_transcript().mean() < 1
