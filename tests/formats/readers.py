"""Every text format that dnalm reads: a small file of it, its reader, and the records that a text holds."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dnalm.data.labels import rename_rule
from dnalm.formats.bed import BedGraph, read_bed
from dnalm.formats.binding import read_binding, read_scores, read_sequences
from dnalm.formats.fasta import Source, read_fasta
from dnalm.formats.genes import read_gene_rows
from dnalm.formats.motif import read_motifs
from dnalm.formats.pairs import read_pair_rows
from dnalm.formats.smiles import read_molecules

NAMES = [f"chr{row}_0_3" for row in range(6)]
MATRIX = "0.1 0.2 0.3 0.4\n0.7 0.1 0.1 0.1\n0.25 0.25 0.25 0.25\n"


class Format(NamedTuple):
    """One text format."""

    text: str  # A small correct file of at least three records
    read: Callable[[Path], list[Any]]  # Returns the records, which can be compared
    comment: str = ""  # A line that holds no record; empty where the format has none
    delimiter: str = ""  # Of a table with a header whose cells may be quoted
    empty: bool = False  # Whether a file without records is read, and its user refuses it


def genome(path):
    records = []
    for name, text in read_fasta(Source(path)):
        if name is not None:
            records.append([name, b""])
        records[-1][1] += text.replace(b"\n", b"")
    return records


def motifs(path):
    return [(m.name, m.probabilities.tolist(), m.threshold, m.background) for m in read_motifs(path)]


def pairs(path):
    return [row[2:] for row in read_pair_rows(path)]


def molecules(path):
    return [row[1:] for row in read_molecules(path)]


def windows(path):
    """Also with the scores that belong to the file, where every window is there."""
    names, letters = read_sequences(path)
    scores = path.with_name("its scores")
    scores.write_text(FORMATS["scores"].text)
    if len(names) == len(NAMES):
        read_binding(path, scores)
    return list(zip(names, letters.tolist(), strict=True))


def scores(path):
    sequences = path.with_name("its windows")
    sequences.write_text(FORMATS["windows"].text)
    names, table = read_scores(path)
    if table.shape[1] == 4:
        read_binding(sequences, path)
    return [(tuple(names), base) for base in table.T.tolist()]  # one record a base


def renamed(path):
    rule = rename_rule(str(path))
    return [name for name in ("1", "2", "3", "4", "V", "6") if rule(name) != [name]]


def track(path):
    """The last value of each contig; rows of one contig are joined."""
    graph = BedGraph(path)
    return [(name, end, graph.values(name, end - 1, end).tolist()) for name, end in graph.contigs.items()]


def fasta(names):
    return "".join(f">{name} described\nACGTNACGTR\nACG\n" for name in names)


def table(delimiter, header, *columns):
    return "".join(delimiter.join(row) + "\n" for row in [header.split(), *zip(*columns, strict=True)])


GENES, SMILES = ["1017", "7157", "TP53", "11", "12", "13"], ["CCO", "CCN", "C", "CCC", "c1ccccc1", "OC"]
SEQUENCES, KINDS = ["ACGTAC", "TT", "ACG", "GGG", "NNAC", "T"], ["CDS", "mRNA", "CDS", "CDS", "promoter", "x"]
LABELS, LETTERS = list("101001"), ["ACGT", "TTTT", "ACGN", "GGGG", "CCCC", "AAAA"]
BASES = [[f"{row + base / 4:g}" for base in range(4)] for row in range(6)]
MEME = "MEME version 4\n\nALPHABET= ACGT\n\nBackground letter frequencies\nA 0.3 C 0.2 G 0.2 T 0.3\n\n"
MEME += "".join(
    f"MOTIF M{row} GATA{row}\nletter-probability matrix: alength= 4 w= 3 nsites= 20 E= 0\n{MATRIX}\n"
    for row in range(3)
)
JASPAR = "".join(
    f">M{row} GATA\nA [ 1 2 95 4 9 ]\nC [ 94 2 2 1 9 ]\nG [ 3 1 1 94 1 ]\nT [ 2 95 2 1 9 ]\n"
    for row in range(3)
)
FORMATS = {
    "genome": Format(fasta(["chr1", "chr2", "chrM"]), genome),
    "genes, FASTA": Format(fasta(GENES), lambda path: list(read_gene_rows(path))),
    "genes, TSV": Format(
        table("\t", "GeneID sequence kind", GENES, SEQUENCES, KINDS),
        lambda path: list(read_gene_rows(path)),
        delimiter="\t",
    ),
    "genes, CSV": Format(
        table(",", "kind GeneID sequence", KINDS, GENES, SEQUENCES),
        lambda path: list(read_gene_rows(path)),
        delimiter=",",
    ),
    "pairs, CSV": Format(
        table(",", "GeneID SMILES Label Name", GENES, SMILES, LABELS, KINDS), pairs, delimiter=","
    ),
    "pairs, TSV": Format(table("\t", "GeneID SMILES Label", GENES, SMILES, LABELS), pairs, delimiter="\t"),
    "SMILES": Format(
        "CCO ethanol\nCCN\tan amine\nCCC\nOC x\nCN y\n", molecules, comment="# a comment", empty=True
    ),
    "SMILES, CSV": Format(table(",", "name SMILES", GENES, SMILES), molecules, delimiter=",", empty=True),
    "BED": Format(
        "".join(f"chr{row}\t{300 * row}\t{300 * row + 99}\tpeak{row}\t5\t+\n" for row in range(6)),
        lambda path: list(read_bed(path)),
        comment="# a comment\ntrack name=peaks\nbrowser position chr1",
        empty=True,
    ),
    "bedGraph": Format(
        "".join(f"chr{row}\t{300 * row}\t{300 * row + 99}\t{row / 2}\n" for row in range(6)),
        track,
        comment="# a comment\ntrack type=bedGraph\nbrowser position chr1",
    ),
    "MEME": Format(MEME, motifs),
    "HOMER": Format("".join(f">GATA\tM{row}\t5.5\n{MATRIX}" for row in range(3)).replace(" ", "\t"), motifs),
    "JASPAR": Format(JASPAR, motifs),
    "windows": Format(table("\t", "sequence window_name", LETTERS, NAMES), windows, delimiter="\t"),
    "scores": Format(table("\t", " ".join(NAMES), *BASES), scores),
    "rename": Format("chr1\t1\nchr2 2\nchr3\t3\nchr5\tV\n", renamed, comment="# a comment", empty=True),
}


def count_records(name, text):
    """Return how many records a text of a format holds, from its lines alone."""
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", text)]
    lines = [line for line in lines if line]
    if name in ("genome", "genes, FASTA", "HOMER", "JASPAR"):
        return sum(line.startswith(">") for line in lines)
    if name == "MEME":
        return sum(bool(re.match(r"MOTIF\s", line)) for line in lines)
    cells = [cell.strip().strip('"').lower() for cell in re.split("[\t,]", "".join(lines[:1]))]
    if name == "SMILES, CSV" and "smiles" not in cells:
        name = "SMILES"  # lines of SMILES, then
    if FORMATS[name].delimiter or name == "scores":
        return sum(bool(line.strip('\t ,"')) for line in lines[1:])
    comments = r"#|track(\s|$)|browser(\s|$)" if name == "BED" else "#"
    return sum(not re.match(comments, line) for line in lines)
