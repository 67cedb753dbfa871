"""GFF3 and GTF: the features of a genome, plain or gzip, line by line; lines that are none are counted.

Column 9 is read in the form of either: `key=value;` with percent escapes (GFF3), or `key "value";` (GTF).
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from dnalm.formats.text import read_lines

GFF3_PAIR = re.compile(r"\s*[^\s=;\"]+=")
GTF_PAIR = re.compile(r'(\S+)\s+(?:"([^"]*)"|([^\s;"]+))\s*(?:;|$)')


class Feature(NamedTuple):
    """One line: a stretch of a contig, 0-based and half-open."""

    contig: str
    kind: str  # Column 3, such as CDS
    start: int
    end: int
    strand: str  # + or -; . where there is none or it is not known
    phase: int | None  # Bases before the first complete codon: 0, 1 or 2
    attributes: dict[str, tuple[str, ...]]  # Column 9: the values of each key
    line: int  # Its number, from 1

    def first(self, *keys: str) -> str:
        """Return the first value of the first of some keys that column 9 has; empty if it has none."""
        return next((self.attributes[key][0] for key in keys if key in self.attributes), "")


class Gff:
    """The features of a GFF3 or GTF file, in its order; a sequence after ##FASTA is not read.

    Args:
        path: plain or gzip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = 0
        """Lines of features so far, those that cannot be used included."""
        self.left_out: Counter[str] = Counter()
        """Lines that were not used so far, by reason; a user of the features adds to it."""
        self.examples: dict[str, str] = {}
        """The first line of each reason."""

    def __iter__(self) -> Iterator[Feature]:
        """Yield the features; count what is none.

        Raises:
            InputError: if the file is no text, or is damaged.
        """
        self.read = 0
        self.left_out.clear()
        for number, line in read_lines(self.path):
            if line.startswith(("##FASTA", ">")):
                return
            if line.startswith("#") or not line.strip():
                continue
            self.read += 1
            found = _feature(line, number)
            if isinstance(found, Feature):
                yield found
            else:
                self.leave_out(found, number)

    def leave_out(self, reason: str, line: int, count: int = 1) -> None:
        """Count lines that are not used, the first of which is number `line`."""
        self.left_out[reason] += count
        self.examples.setdefault(reason, f"line {line:,}")


def _feature(line: str, number: int) -> Feature | str:
    """Return the feature of a line, or what is wrong with it."""
    cells = line.rstrip().split("\t")
    if len(cells) < 8 or not (cells[3].isdecimal() and cells[4].isdecimal()) or int(cells[3]) < 1:
        return "not eight columns or more by tabs, a start from 1 and an end in columns 4 and 5"
    start, end = int(cells[3]) - 1, int(cells[4])
    if start >= end:
        return "start after end"
    strand = cells[6] if cells[6] in "+-" else "."
    phase = int(cells[7]) if cells[7] in ("0", "1", "2") else None
    attributes = _attributes(cells[8]) if len(cells) > 8 else {}
    return Feature(unquote(cells[0]), cells[2], start, end, strand, phase, attributes, number)


def _attributes(text: str) -> dict[str, tuple[str, ...]]:
    """Return the pairs of column 9."""
    if not GFF3_PAIR.match(text):
        return {key: (quoted or plain,) for key, quoted, plain in GTF_PAIR.findall(text)}
    pairs = (part.partition("=") for part in text.split(";") if "=" in part)
    return {key.strip(): tuple(unquote(v.strip()) for v in value.split(",")) for key, _, value in pairs}
