"""What kind of genomic file a file is, by its first bytes; only motifs are read to the end."""

import codecs
import contextlib
import gzip
import io
import itertools
import re
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from dnalm.dna import AMBIGUOUS, BASES
from dnalm.formats import bed, bigwig, twobit
from dnalm.formats.motif import is_meme, read_motifs
from dnalm.formats.text import GZIP_MAGIC, Gunzip, check_text

HEAD = 1 << 20
"""Bytes of a file, and of its decompressed text, that are read."""
NAMES = 5  # contigs named at most
DNA = frozenset(f"{BASES}{AMBIGUOUS}U" + f"{BASES}{AMBIGUOUS}U".lower())
TABLES = {
    r"sequence\twindow_name$": "table of sequences and the windows they come from",
    r"sequence,label$": "table of sequences and their classes",
    r"\S+_\d+_\d+(\t\S+_\d+_\d+)*(\t|$)": "table of scores, a window in each column",
}
"""What the first line of a table looks like, and what the table is."""


class Detected(NamedTuple):
    """What a file is."""

    kind: str  # one word: fasta, 2bit, vcf, bed, bedgraph, bigwig, motif, table
    title: str  # the same in words
    facts: dict[str, Any]  # JSON values


class Head(NamedTuple):
    """The beginning of a file, unpacked."""

    raw: bytes
    text: bytes  # without a byte order mark
    packing: str  # plain, gzip or bgzip
    whole: bool  # whether `text` is all there is


def read_head(path: Path) -> Head:
    """Read the beginning of a file."""
    with path.open("rb") as file:
        raw = file.read(HEAD)
        whole = not file.read(1)
    if not raw.startswith(GZIP_MAGIC):
        return Head(raw, raw.removeprefix(codecs.BOM_UTF8), "plain", whole)
    packing = "bgzip" if raw[12:14] == b"BC" else "gzip"  # SAM specification, section 4.1
    text, ended = bytearray(), False
    unpacked = io.BufferedReader(Gunzip(io.BytesIO(raw), path))
    with contextlib.suppress(EOFError, gzip.BadGzipFile, zlib.error):
        while len(text) < HEAD and (piece := unpacked.read1(1 << 16)):
            text += piece
        ended = not unpacked.read(1)
    return Head(raw, bytes(text).removeprefix(codecs.BOM_UTF8), packing, whole and ended)


def detect(path: Path, head: Head) -> Detected | None:
    """Return what a file is, or None for an unknown kind.

    Raises:
        InputError: if it begins like a file of motifs and is damaged.
    """
    if head.raw[:4] in twobit.MAGIC:
        return _twobit(head.raw)
    if head.raw[:4] in bigwig.MAGIC:
        return Detected("bigwig", "bigWig track", {})
    check_text(head.text[:4], path)
    text = head.text.decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if "\0" in text or not lines:
        return None
    if lines[0].startswith("##fileformat=VCF"):
        return _vcf(lines, head)
    if lines[0].startswith(">") and (found := _fasta(lines, head)):
        return found
    for first, title in TABLES.items():
        if re.match(first, lines[0]):
            return Detected("table", title, {"packing": head.packing})
    return _motifs(path, lines) or _bed(lines if head.whole else lines[:-1], head)  # the last one may be cut


def _fasta(lines: list[str], head: Head) -> Detected | None:
    """Recognise FASTA by its first lines."""
    headers = [line for line in lines if line.startswith(">")]
    if not head.whole and lines[-1] is headers[-1]:
        headers.pop()  # it may be cut
    sequence = [line.strip() for line in lines if not line.startswith(">")]
    if not sequence or not re.fullmatch(r"[A-Za-z*.\-]+", sequence[0]):
        return None  # motif matrices begin with '>' too
    names = [(header[1:].split() or [""])[0] for header in headers]
    facts: dict[str, Any] = {"packing": head.packing}
    if head.whole:
        facts |= {"contigs": names[:NAMES], "contig_count": len(names), "length_bp": sum(map(len, sequence))}
    else:
        facts["first_contigs"] = names[:NAMES]
    letters = set("".join(sequence))
    if strange := letters - DNA:
        facts["letters_not_of_dna"] = "".join(sorted(strange))
        return Detected("fasta-other", "FASTA, but not of DNA", facts)
    facts["soft_masked"] = bool(letters & set("acgt"))
    facts["note"] = "from the whole file" if head.whole else "from the beginning of the file"
    return Detected("fasta", "FASTA of DNA", facts)


def _twobit(raw: bytes) -> Detected:
    """Return the facts of a 2bit file."""
    names, count = list[str](), 0
    with contextlib.suppress(struct.error):  # cut short
        _, count, index = twobit.read_index(io.BytesIO(raw))
        names += [name.decode("ascii", "replace") for name, _ in itertools.islice(index, NAMES)]
    return Detected("2bit", ".2bit genome", {"contigs": names, "contig_count": count})


def _vcf(lines: list[str], head: Head) -> Detected:
    """Return the facts of a VCF file."""
    contigs = [match[1] for line in lines if (match := re.match(r"##contig=<.*?ID=([^,>]+)", line))]
    columns = next((line.split("\t") for line in lines if line.startswith("#CHROM")), [])
    record = next((line.split("\t") for line in lines if not line.startswith("#")), [])
    facts: dict[str, Any] = {"packing": head.packing, "version": lines[0].removeprefix("##fileformat=")}
    facts |= {"samples": max(0, len(columns) - 9), "contigs": contigs[:NAMES]}
    if len(record) > 4:
        facts["first_variant"] = f"{record[0]}:{record[1]} {record[3]}>{record[4]} (1-based)"
    return Detected("vcf", "VCF, variants", facts)


def _motifs(path: Path, lines: list[str]) -> Detected | None:
    """Describe a file of motifs: MEME, HOMER or JASPAR."""
    first = r"\s*([ACGT]\s*)?\[?\s*[\d.]|A\s+C\s+G\s+T\s*$"  # line of a matrix
    matrix = len(lines) > 1 and lines[0][0] == ">" and re.match(first, lines[1])
    if not matrix and not is_meme(lines):
        return None
    found = list(read_motifs(path))
    facts: dict[str, Any] = {"motifs": len(found), "names": [motif.name for motif in found[:NAMES]]}
    if found[0].threshold is not None:
        facts["threshold_nats"] = found[0].threshold
    return Detected("motif", "motifs, as matrices of probabilities", facts)


def _bed(lines: list[str], head: Head) -> Detected | None:
    """Recognise BED, narrowPeak and bedGraph by their first lines."""
    rows = [cells for line in lines[: bed.HEAD] if (cells := bed.split_row(line))]
    if not rows or not all(map(bed.is_interval, rows)):
        return None
    interval = f"{rows[0][0]}:{rows[0][1]}-{rows[0][2]} (0-based)"
    facts = {"packing": head.packing, "columns": len(rows[0]), "first_interval": interval}
    if bed.is_bedgraph(lines[: bed.HEAD]):
        return Detected("bedgraph", "bedGraph, a track", facts)
    return Detected("bed", "BED, intervals", facts)
