"""Tests for dnalm/formats/text.py: what a line is, and what a table is."""

import gzip
import os
import threading

import pysam
import pytest

from dnalm.errors import InputError
from dnalm.formats.genes import read_gene_rows
from dnalm.formats.smiles import read_molecules
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


@pytest.mark.parametrize(
    ("read", "text", "count"),
    [
        (read_lines, "one\ntwo\n", 2),
        (read_gene_rows, ">1\nACGT\n>2\nACGT\n", 2),
        (read_gene_rows, "GeneID,sequence\n1,ACGT\n", 1),
        (read_molecules, "SMILES,name\nCCO,a\n", 1),
        (read_molecules, "CCO a\nCC b\n", 2),
    ],
)
def test_a_pipe(tmp_path, read, text, count):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text(text))
    writer.start()
    assert len(list(read(tmp_path / "pipe"))) == count
    writer.join()


def test_a_mistake_in_a_pipe_names_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text("GeneID,sequence\n1\n"))
    writer.start()
    with pytest.raises(InputError, match=rf"^{tmp_path / 'pipe'}: line 2"):
        list(read_gene_rows(tmp_path / "pipe"))
    writer.join()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("code", ["utf-16", "utf-16-le", "utf-16-be"])
def test_refuses_utf_16(tmp_path, pack, code):
    (tmp_path / "a.txt").write_bytes(pack("chr1\t1\t2\n".encode(code)))
    with pytest.raises(InputError, match="UTF-16"):
        list(read_lines(tmp_path / "a.txt"))


TWO = gzip.compress(b"one\n") + gzip.compress(b"two\n")


@pytest.mark.parametrize(
    ("after", "said"),
    [(b"", 0), (bytes(70_000), 0), (b"more", 1), (bytes(9) + b"x" * 70_000, 1), (b"\x1fx", 1)],
)
def test_all_members_of_gzip_and_a_warning_of_bytes_after_them(tmp_path, after, said, recwarn):
    (tmp_path / "a.gz").write_bytes(TWO[:24] + bytes(5) + TWO[24:] + after)
    assert [line for _, line in read_lines(tmp_path / "a.gz")] == ["one", "two"]
    assert len(recwarn) == said
    assert all(f"{len(after.lstrip(bytes(1))):,} bytes" in str(each.message) for each in recwarn)


def test_bytes_before_a_member_and_a_bgzip_cut_between_blocks_are_damage(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"chr1\t1\t2\n" * 20_000)
    pysam.tabix_compress(str(tmp_path / "a.txt"), str(tmp_path / "a.bgz"))
    blocks = (tmp_path / "a.bgz").read_bytes()
    for damaged in (TWO[:24] + b"more" + TWO[24:], TWO + b"\x1f", blocks[:-28], blocks[:-28] + b"more"):
        (tmp_path / "b.gz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"b\.gz"):
            list(read_lines(tmp_path / "b.gz"))


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
        "GeneID,SMILES,Label \r7 ,CCO\t,1 \r \r,,\r",
        'GeneID,SMILES,Label,name\n7,CCO,1,"2""-inch"\n',
        'GeneID,SMILES,Label,name\n7,CCO,1,2"-inch\n',
    ],
)
def test_one_row_in_many_forms(tmp_path, text):
    assert rows_of(tmp_path / "pairs", text) == [(2, ("7", "CCO", "1"))]


def test_lines_are_numbered_as_in_the_file(tmp_path):
    assert [line for line, _ in rows_of(tmp_path / "pairs", "\nGeneID,SMILES,Label\n\n1,CCO,1\n")] == [4]


@pytest.mark.parametrize("cell", ['"2-inch', '"two\nlines"', '"2-inch" pipe', '"'])
@pytest.mark.parametrize("head", ["GeneID,SMILES,Label,name", '"GeneID"\tSMILES\tLabel\tname'])
def test_refuses_a_quote_that_stays_open_by_its_line(tmp_path, head, cell):
    rows = ["1017,CCO,1,x\n"] * 60
    rows[20] = f"1017,CCO,1,{cell}\n"
    text = f"{head}\n{''.join(rows)}"
    with pytest.raises(InputError, match="line 22"):
        rows_of(tmp_path / "pairs", text if "," in head else text.replace(",", "\t"))


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
