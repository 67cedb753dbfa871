"""Tests for dnalm/data/prepare_pairs.py."""

import itertools
import json
import re

import numpy as np
import pytest

from dnalm.data.molecules import canonical_smiles, molecule_clusters
from dnalm.data.pair_splits import split_pairs
from dnalm.data.pairs import DROPPED_COLUMNS, PARTS, open_pairs
from dnalm.data.prepare_pairs import SEVERAL, PrepareConfig, prepare_pairs, rename_genes
from dnalm.errors import InputError
from dnalm.formats.pairs import PairRow, TableConfig, pair_columns, read_gene_names, read_pair_rows
from dnalm.formats.text import read_table

pytest.importorskip("rdkit")
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


def inchi(smiles):
    from rdkit import Chem

    return Chem.MolToInchi(Chem.MolFromSmiles(canonical_smiles(smiles)))


def four_forms(rows):
    """Rows of gene, SMILES and label as four tables of other people, each with how it is read."""
    words = [(gene, smiles, ("no", "Yes")[label]) for gene, smiles, label in rows]
    numbers = [(gene, smiles, f"{4 + 3.5 * label:g}") for gene, smiles, label in rows]
    constants = [(f"{label}", f"S{gene}", smiles, 10 ** (4 - 3 * label)) for gene, smiles, label in rows]
    positives = [(gene, inchi(smiles)) for gene, smiles, label in rows if label]
    return {
        "words": ("Entrez Gene ID\tcanonical_smiles\tActive", words, TableConfig()),
        "numbers": ("target\tSMILES\tpChEMBL Value", numbers, TableConfig(threshold=6.0)),
        "constants": (
            "label\tsymbol\tligand\tKd (nM)",
            constants,
            TableConfig(label_column="Kd (nM)", threshold=1000.0, at_most=True),
        ),
        "positives": ("gene\tInChI", positives, TableConfig()),
    }


def pairs_of(made):
    rows = zip(made.gene.tolist(), made.molecule.tolist(), made.label.tolist(), strict=True)
    return {(made.gene_ids[gene], made.smiles[molecule], label) for gene, molecule, label in rows}


def assert_four_forms_are_one(folder, rows, genes):
    """Four tables of the same pairs give the pairs of the plain table, and say which columns they read."""
    (folder / "plain.csv").write_text(table(rows))
    plain, _ = prepare_pairs(folder / "plain.csv", genes)
    (folder / "names.csv").write_text(
        "x,hgnc,entrez\n" + "".join(f"-,S{row[0]},{row[0]}.0\n" for row in rows)
    )
    for name, (header, given, how) in four_forms(rows).items():
        lines = "".join("\t".join(map(str, row)) + "\n" for row in given)
        (folder / f"{name}.tsv").write_text(f"{header}\n{lines}")
        said, names = [], folder / "names.csv" if name == "constants" else None
        made, _ = prepare_pairs(folder / f"{name}.tsv", genes, say=said.append, table=how, gene_names=names)
        if name == "positives":
            wanted = {pair for pair in pairs_of(plain) if pair[2]}
            assert {pair for pair in pairs_of(made) if pair[2]} == wanted
            assert made.meta["negatives"] == "degree-matched"
            assert "no column of labels: all pairs are positive" in said[0]
        else:
            assert pairs_of(made) == pairs_of(plain)
            assert {name: len(rows) for name, rows in made.parts.items()} == {
                name: len(rows) for name, rows in plain.parts.items()
            }
            assert f"labels from {header.split(chr(9))[-1]}" in said[0]


def labelled(rows):
    return [(gene, smiles, row % 3 % 2) for row, (gene, smiles, _) in enumerate(rows)]


def test_a_table_of_other_names_words_numbers_or_inchi_is_the_same_set(inputs):
    rows = [row.values() for _, row in read_table(inputs / "pairs.csv", ("GeneID", "SMILES", "Label"))]
    assert_four_forms_are_one(inputs, labelled(rows), inputs / "genes.tsv")


def test_real_pairs_in_four_forms_are_the_same_set(tmp_path, shared_data):
    folder = shared_data / "interaction"
    read = read_table(folder / "ctd_positive_pairs.csv.gz", ("GeneID", "SMILES", "Label"))
    rows = [(row["GeneID"], row["SMILES"], "1") for _, row in itertools.islice(read, 0, 60_000, 40)]
    same = [row for row in rows if canonical_smiles(inchi(row[1])) == canonical_smiles(row[1])]
    assert len(same) > 0.7 * len(rows)  # InChI does not tell tautomers apart
    assert_four_forms_are_one(tmp_path, labelled(same), folder / "gene_sequences_entrez.tsv.gz")


def test_rows_without_a_label_or_with_a_name_of_several_genes_are_reported(inputs):
    rows = [row.values() for _, row in read_table(inputs / "pairs.csv", ("GeneID", "SMILES", "Label"))]
    rows = [(f"S{gene}", smiles, 7) for gene, smiles, _ in rows]
    rows[0], rows[1] = (*rows[0][:2], "NA"), (*rows[1][:2], ">10")
    (inputs / "pairs.csv").write_text(table(rows))
    (inputs / "names.csv").write_text(
        "a,b\n" + "".join(f"S{row},{row}\n" for row in range(1, 61)) + "S60,59\n"
    )
    made, _ = prepare_pairs(
        inputs / "pairs.csv",
        inputs / "genes.tsv",
        out=inputs / "set",
        table=TableConfig(threshold=6.0),
        gene_names=inputs / "names.csv",
    )
    counts = made.meta["counts"]
    several = sum(row[0] == "S60" for row in rows)
    assert several > 0
    assert counts["dropped"] == {SEVERAL: several, "no label": 1, "label is no number": 1}
    assert counts["read"] == len(rows) == counts["kept"] + sum(counts["dropped"].values())
    assert ["pairs.csv", "2", "1", rows[0][1], "no label"] in dropped(inputs / "set")


HEADERS = [
    ("gene,drugs,label", {}, "expected a column of molecules, such as smiles or canonical smiles, got gene,"),
    ("gene,smiles,hit", {"label_column": "hits"}, "expected one column 'hits', got gene, smiles, hit"),
    ("gene,smiles", {"threshold": 6.0}, "`threshold` needs a column of numbers; name it with"),
    ("gene,smiles,SMILES ", {}, "'smiles' and 'SMILES' may both be the column of molecules"),
    (
        "gene,smiles,is_hit\n1,CCO,1\n2,CCN,0",
        {},
        "no column has a name of labels, and 'is_hit' looks like them",
    ),
    ("gene,smiles,class\n1,CCO,Kinase", {}, "line 2: expected the label 0 or 1, got 'Kinase'"),
]


@pytest.mark.parametrize(("text", "how", "message"), HEADERS)
def test_a_column_that_is_missing_or_unclear_is_named_with_what_is_there(inputs, text, how, message):
    (inputs / "pairs.csv").write_text(text + "\n")
    with pytest.raises(InputError, match=re.escape(message)):
        prepare_pairs(inputs / "pairs.csv", inputs / "genes.tsv", table=TableConfig(**how))
    with pytest.raises(InputError, match="`at_most` is for a `threshold`"):
        TableConfig(at_most=True)


def test_a_given_column_is_exact_numbers_come_first_and_no_labels_can_be_wanted(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("gene,smiles,log10(Kd),-log10(Kd),active,pChEMBL\n1,CCO,2,-2,1,7\n")
    for how, column in (
        ({"label_column": "-log10(Kd)", "threshold": 0.0}, "-log10(Kd)"),
        ({"label_column": "LOG10(KD)", "threshold": 0.0}, "log10(Kd)"),
        ({"threshold": 6.0}, "pChEMBL"),
        ({}, "active"),
        ({"label_column": "none"}, None),
    ):
        assert pair_columns(path, TableConfig(**how)).label == column
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    (tmp_path / "train" / "a.csv").write_text("gene,smiles,label\n1,CCO,1\n")
    (tmp_path / "test" / "a.csv").write_text("gene,smiles\n1,CCO\n")
    with pytest.raises(InputError, match=r"test/a\.csv: has no column of labels, and other tables"):
        list(read_pair_rows(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\nABC1,1\n", "no column has names of the pairs, such as S1"),
        ("a,b\nS1,x\n", "no column has names of the gene sequences, such as 1, 2"),
        ("", "no column has names of the pairs"),
        (
            ",symbol,entrez\n0,S1,1\n1,S2,2\n2,S3,3\n",
            "'' and 'entrez' have as many names of the gene sequences, 2",
        ),
    ],
)
def test_a_table_of_names_that_meets_nothing_or_is_unclear_is_refused(tmp_path, text, message):
    (tmp_path / "names.csv").write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        read_gene_names(tmp_path / "names.csv", ["S1", "S2"], ["1", "2"])


def test_empty_names_match_nothing_and_known_names_stay(tmp_path):
    (tmp_path / "names.csv").write_text("symbol,id\nS1,1\n,2\nNA,2\nS3,2\nS3,1\n")
    known, wanted = ["1", "2"], ["S1", "", "NA", "S3", "2", "new"]
    names = read_gene_names(tmp_path / "names.csv", wanted, known)
    assert names.columns == ("symbol", "id")
    rows, ambiguous = rename_genes([PairRow("p", 2, each, "C", "1") for each in wanted], names.others, known)
    assert [row.gene_id for row in rows] == ["1", "", "NA", "S3", "2", "new"]
    assert ambiguous == {"S3"}


def test_how_labels_were_made_is_in_the_set_and_names_of_several_genes_alone_are_counted(inputs):
    rows = [row.values() for _, row in read_table(inputs / "pairs.csv", ("GeneID", "SMILES", "Label"))]
    (inputs / "pairs.csv").write_text(table([(gene, smiles, 7) for gene, smiles, _ in rows]))
    made, _ = prepare_pairs(inputs / "pairs.csv", inputs / "genes.tsv", table=TableConfig(threshold=6.0))
    columns = {"pairs.csv": {"gene": "GeneID", "molecule": "SMILES", "label": "Label"}}
    assert made.meta["table"]["columns"] == columns
    assert made.meta["table"]["threshold"] == 6.0
    (inputs / "pairs.csv").write_text(table([("S", smiles, 1) for _, smiles, _ in rows]))
    (inputs / "names.csv").write_text("a,b\nS,1\nS,2\n")
    with pytest.raises(InputError, match=f"of 240 rows; 240 rows: {SEVERAL}"):
        prepare_pairs(inputs / "pairs.csv", inputs / "genes.tsv", gene_names=inputs / "names.csv")
