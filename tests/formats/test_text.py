"""Tests for dnalm/formats/text.py: what a line is, and what a table is."""

import gzip
import os
import threading

import pytest

from dnalm.errors import InputError
from dnalm.formats.text import read_lines, read_table

COLUMNS = ("GeneID", "SMILES", "Label")


def rows_of(path, text):
    """Cells of the wanted columns of a table, by line."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [(line, tuple(row[name] for name in COLUMNS)) for line, row in read_table(path, COLUMNS)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_without_their_ends_by_content_not_by_name(tmp_path, pack, end):
    text = end.join(["\ufeffone", "twö", "", "last"])
    (tmp_path / "a file.txt").write_bytes(pack(text.encode()))
    assert list(read_lines(tmp_path / "a file.txt")) == [(1, "one"), (2, "twö"), (3, ""), (4, "last")]


def test_lines_of_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text("one\ntwo\n"))
    writer.start()
    assert list(read_lines(tmp_path / "pipe")) == [(1, "one"), (2, "two")]
    writer.join()


@pytest.mark.parametrize("damage", [lambda d: d[:15], lambda d: d[:60], lambda d: d[:12] + b"\xff" + d[13:]])
def test_refuses_damaged_gzip_and_folders(tmp_path, damage):
    (tmp_path / "a.gz").write_bytes(damage(gzip.compress(bytes(range(256)) * 4)))
    for path in (tmp_path / "a.gz", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            list(read_lines(path))


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
        gzip.compress(b"GeneID,SMILES,Label\n7,CCO,1\n\n", mtime=0),
    ],
)
def test_one_row_in_many_forms(tmp_path, text):
    assert rows_of(tmp_path / "pairs", text) == [(2, ("7", "CCO", "1"))]


def test_the_line_of_a_row_is_its_last_one_in_the_file(tmp_path):
    text = 'GeneID,SMILES,Label,name\n\n1,CCO,1,"two\nlines"\n2,CCO,1,x\n'
    assert [line for line, _ in rows_of(tmp_path / "pairs", text)] == [4, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("GeneID,SMILES\n1,CCO\n", "columns GeneID, SMILES, Label, each once, got GeneID, SMILES"),
        ("gene,drug,y\n1,CCO,1\n", "each once, got gene, drug, y"),
        ("", "none at all"),
        ("GeneID,SMILES,Label\n1,CCO,1\n2,CCO\n", "line 3: expected 3 cells .* got 2"),
        ("GeneID,SMILES,Label\n1,CCO,1,x\n", "line 2: expected 3 cells .* got 4"),
        ("GeneID,SMILES,Label,geneid\n1,CCO,1,2\n", "each once, got GeneID, SMILES, Label, GeneID"),
    ],
)
def test_refuses_what_is_no_such_table(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        rows_of(tmp_path / "pairs", text)
