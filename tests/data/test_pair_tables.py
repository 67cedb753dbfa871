"""Tests of tables of pairs as people have them: names of columns, kinds of labels, names of genes."""

import itertools
import re

import pytest

from dnalm.data.molecules import canonical_smiles
from dnalm.data.pairs import DROPPED_COLUMNS
from dnalm.data.prepare_pairs import SEVERAL, prepare_pairs, rename_genes
from dnalm.errors import InputError
from dnalm.formats.pairs import PairRow, TableConfig, pair_columns, read_gene_names, read_pair_rows
from dnalm.formats.text import read_table
from tests.data.conftest import table

pytest.importorskip("rdkit")


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
    left_out = read_table(inputs / "set" / "dropped.tsv.gz", DROPPED_COLUMNS)
    assert ["pairs.csv", "2", "1", rows[0][1], "no label"] in [list(row.values()) for _, row in left_out]


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
    with pytest.raises(InputError, match="no column has names of the pairs"):
        read_gene_names(tmp_path / "names.csv", ["", "NA"], known)


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
