"""Tests for dnalm/formats/pairs.py."""

import gzip

import pytest

from dnalm.formats.pairs import plain_gene_id, read_pair_rows


def rows_of(path):
    return [(row.gene_id, row.smiles, row.label) for row in read_pair_rows(path)]


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv", "pairs.csv.gz", "pairs.tsv.gz", "pairs.txt"])
def test_reads_csv_and_tsv_plain_and_gzip(tmp_path, name):
    text = "GeneID,SMILES,Label,compound\n1,CCO,1,ethanol\n23,CCN,0,ethylamine\n"
    if "csv" not in name:
        text = text.replace(",", "\t")
    data = text.encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert rows_of(path) == [("1", "CCO", "1"), ("23", "CCN", "0")]
    assert [(row.file, row.line) for row in read_pair_rows(path)] == [(name, 2), (name, 3)]


@pytest.mark.parametrize(
    "text",
    [
        "Label,GeneID,SMILES\n1,7,CCO\n",  # the order of columns is free
        "geneid,smiles,LABEL\n7,CCO,1\n",  # and so is their case
        "\ufeffGeneID,SMILES,Label\r\n7,CCO,1\r\n",  # as Excel writes it
        '"GeneID","SMILES","Label"\n"7","CCO","1"\n',  # as R writes it
        '"GeneID"\t"SMILES"\t"Label"\n"7"\t"CCO"\t"1"\n',
        'GeneID,SMILES,Label,names\n7,CCO,1,"ethanol, alcohol"\n',
        'GeneID\tname\tSMILES\tLabel\n7\t"5 primer\tCCO\t1\n',  # a quote that is text
        "GeneID,SMILES,Label\n\n7, CCO ,1\n\n",
        "GeneID,SMILES,Label\n7.0,CCO,1\n",
    ],
)
def test_one_row_in_many_dresses(tmp_path, text):
    (tmp_path / "pairs.csv").write_bytes(text.encode())
    assert rows_of(tmp_path / "pairs.csv") == [("7", "CCO", "1")]


@pytest.mark.parametrize(
    ("text", "plain"),
    [("1234.0", "1234"), (" 1234 ", "1234"), ("1234.5", "1234.5"), ("ENSG01.0", "ENSG01.0"), ("", "")],
)
def test_a_number_kept_as_a_float_is_the_number(text, plain):
    assert plain_gene_id(text) == plain


def test_a_folder_is_its_train_and_test_tables_in_order(tmp_path):
    for name in ("train/b.csv", "train/a.csv", "test/c.csv", "other/d.csv", "train/readme.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"GeneID,SMILES,Label\n{name[-5]},CCO,1\n")
    assert [(row.file, row.line, row.gene_id) for row in read_pair_rows(tmp_path)] == [
        ("train/a.csv", 2, "a"),
        ("train/b.csv", 2, "b"),
        ("test/c.csv", 2, "c"),
    ]


def test_a_line_is_the_one_in_the_file(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text('GeneID,SMILES,Label,name\n\n1,CCO,1,"two\nlines"\n2,CCO,1,x\n')
    assert [row.line for row in read_pair_rows(path)] == [4, 5]  # where a row ends


def test_refuses_a_folder_without_tables(tmp_path):
    with pytest.raises(ValueError, match="expected a table of pairs, or a folder"):
        list(read_pair_rows(tmp_path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("GeneID,SMILES\n1,CCO\n", "columns GeneID, SMILES, Label; .*Label missing"),
        ("gene,drug,y\n1,CCO,1\n", "GeneID, SMILES, Label missing"),
        ("", "none at all"),
        ("GeneID,SMILES,Label\n1,CCO,1\n2,CCO\n", "line 3: expected 3 cells as in the header, got 2"),
        ("GeneID,SMILES,Label\n1,CCO,1,x\n", "line 2: expected 3 cells as in the header, got 4"),
        ("GeneID,SMILES,Label,geneid\n1,CCO,1,2\n", "GeneID"),  # which of the two?
    ],
)
def test_refuses_what_is_no_table_of_pairs(tmp_path, text, said):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(ValueError, match=said):
        list(read_pair_rows(tmp_path / "pairs.csv"))
