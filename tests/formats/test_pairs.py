"""Tests for dnalm/formats/pairs.py."""

import pytest

from dnalm.errors import InputError
from dnalm.formats.pairs import plain_gene_id, read_pair_rows


def test_a_row_has_plain_names_and_knows_its_place(tmp_path):
    (tmp_path / "pairs.csv").write_text("GeneID,SMILES,Label\n7.0, CCO ,1 \n")
    assert list(read_pair_rows(tmp_path / "pairs.csv")) == [("pairs.csv", 2, "7", "CCO", "1")]


@pytest.mark.parametrize(
    ("text", "plain"),
    [("1234.0", "1234"), (" 1234 ", "1234"), ("1234.5", "1234.5"), ("ENSG01.0", "ENSG01.0"), ("", "")],
)
def test_a_number_stored_as_a_float_is_the_number(text, plain):
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
    with pytest.raises(InputError, match="expected a table of pairs, or a folder"):
        list(read_pair_rows(tmp_path / "other"))
