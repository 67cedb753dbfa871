"""VCF, plain or gzip: the first eight columns of each record are read, genotypes are passed on unread.

Format: VCF 4.2 (samtools.github.io/hts-specs). Positions in a file count from 1, here from 0.
"""

import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pysam

from dnalm.errors import InputError, shortened
from dnalm.files import atomic_file
from dnalm.formats.text import gzip_errors, unpacked

FIXED = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
FORMAT = "##fileformat=VCFv4.2"
LEAST = 5  # columns of a record that can be read: what comes after ALT may be missing
SORT_BYTES = 64 << 20
"""Text that is sorted in memory; more goes through temporary files of this size."""
TABIX_LONGEST = 1 << 29  # bases of a contig that a .tbi index can hold; a .csi has no such limit


class VcfRecord(NamedTuple):
    """A record: its fixed columns as text, and the rest of its line."""

    fields: tuple[str, ...]  # Of `FIXED`, 8
    rest: str  # FORMAT and samples, with the tab before them; empty where there are none
    start: int  # First base of REF, from 0

    @property
    def contig(self) -> str:
        """As the file names it."""
        return self.fields[0]

    @property
    def ref(self) -> str:
        """Letters of the reference allele, in upper case."""
        return self.fields[3].upper()

    @property
    def alts(self) -> tuple[str, ...]:
        """The alternative alleles, as they stand there; none for a dot."""
        return () if self.fields[4] == "." else tuple(self.fields[4].split(","))

    @property
    def info(self) -> dict[str, str]:
        """INFO by key; a flag is empty."""
        pairs = (item.partition("=") for item in self.fields[7].split(";") if item not in (".", ""))
        return {key: value for key, _, value in pairs}

    def line(self, info: str) -> str:
        """Return the line with another INFO."""
        return "\t".join((*self.fields[:7], info)) + self.rest


class VcfFile:
    """A VCF, to be read any number of times; lines that are no record are counted.

    Args:
        path: plain, gzip or bgzip. A header may be missing.

    Raises:
        InputError: if it is BCF, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: list[str] = []
        """Lines that begin with ##, as far as they were read."""
        self.columns = ""
        """The line that begins with #CHROM; empty where there is none."""
        self.unreadable = 0
        """Lines that are no record, in the last reading."""
        self.example = ""
        """The first of them, with its number."""

    def __iter__(self) -> Iterator[VcfRecord]:
        """Yield the records in the order of the file.

        Raises:
            InputError: if the file is damaged, or BCF, or no line is a record though there are some.
        """
        self.header, self.columns, self.unreadable = [], "", 0
        found = False
        for number, line in _lines(self.path):
            if line.startswith("#"):
                if not found and line.startswith("##"):
                    self.header.append(line)
                elif not found:
                    self.columns = line
            elif record := read_record(line):
                found = True
                yield record
            elif line.strip():
                self.example = self.example or f"line {number:,}, {shortened(line, 60)!r}"
                self.unreadable += 1
        if self.unreadable and not found:
            raise InputError(f"{self.path}: expected VCF, got no record in it: {self.example}")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if path.is_dir():
        raise InputError(f"{path}: expected a VCF, got a folder")
    with path.open("rb") as raw, gzip_errors(path):
        file = unpacked(raw, path)
        if file.peek(3)[:3] == b"BCF":
            raise InputError(f"{path}: expected VCF, got BCF; convert it: bcftools view -O z -o NEW.vcf.gz")
        for number, line in enumerate(file, 1):
            yield number, line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def read_record(line: str) -> VcfRecord | None:
    """Return the record of a line, or None if it is none; columns after ALT may be missing."""
    fields = line.split("\t", len(FIXED))
    if len(fields) < LEAST or not fields[1].isdecimal() or not (fields[0] and fields[3] and fields[4]):
        return None
    rest = "".join(f"\t{cell}" for cell in fields[len(FIXED) :])
    fixed = [*fields[: len(FIXED)], *["."] * (len(FIXED) - len(fields))]
    return VcfRecord(tuple(fixed), rest, int(fields[1]) - 1)


def header_text(vcf: VcfFile, info: Iterable[str], contigs: dict[str, int], samples: int) -> str:
    """Return the header of a VCF that was read, with further lines.

    Args:
        vcf: read once, so that its header is known.
        info: ##INFO lines; they replace those of the same ID.
        contigs: contigs of the records with their lengths, 0 for unknown; those not declared yet are added.
        samples: columns after the fixed ones, for a file without a line of columns.
    """
    new = {line.partition(",")[0]: line for line in info}
    old = [line for line in vcf.header if line.partition(",")[0] not in new]
    if not old or not old[0].startswith("##fileformat="):
        old.insert(0, FORMAT)
    declared = declared_contigs(vcf)
    added = [
        f"##contig=<ID={name},length={length}>" if length else f"##contig=<ID={name}>"
        for name, length in contigs.items()
        if name not in declared
    ]
    names = ["FORMAT", *(f"SAMPLE{number}" for number in range(1, samples))][: max(samples, 0)]
    columns = vcf.columns or "\t".join([*FIXED, *names])
    return "\n".join([*old, *added, *new.values(), columns]) + "\n"


def declared_contigs(vcf: VcfFile) -> list[str]:
    """Return the contigs that a header declares, in order."""
    lines = (line[len("##contig=<") : -1] for line in vcf.header if line.startswith("##contig=<"))
    fields = (dict(part.partition("=")[::2] for part in line.split(",")) for line in lines)
    return [each["ID"] for each in fields if "ID" in each]


def sorted_records(
    records: Iterable[VcfRecord], order: dict[str, int], sort_bytes: int = SORT_BYTES
) -> Iterator[VcfRecord]:
    """Yield records by contig and position; those of one position stay in the order of the file.

    Args:
        records: in any order.
        order: the rank of each contig.
        sort_bytes: text in memory at a time.
    """

    def key(record: VcfRecord) -> tuple[int, int]:
        return order[record.contig], record.start

    with ExitStack() as stack:
        runs: list[Iterator[VcfRecord]] = []
        held: list[VcfRecord] = []
        size = 0
        for record in records:
            held.append(record)
            size += sum(map(len, record.fields)) + len(record.rest)
            if size >= sort_bytes:
                file = stack.enter_context(
                    tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape", newline="\n")
                )
                file.writelines("\t".join(each.fields) + each.rest + "\n" for each in sorted(held, key=key))
                file.seek(0)
                runs.append(each for line in file if (each := read_record(line.rstrip("\n"))))
                held, size = [], 0
        yield from heapq.merge(*runs, sorted(held, key=key), key=key)


@contextmanager
def table_writer(path: Path, longest: int, *, index: bool) -> Iterator[Callable[[str], None]]:
    """Open a text for writing that replaces `path` when the block ends without an error.

    Args:
        path: compressed by bgzip if its name ends with .gz.
        longest: bases of the longest contig.
        index: write an index beside it too; it must be a sorted VCF.
    """
    with atomic_file(path) as file:
        if path.suffix != ".gz":
            yield lambda text: file.writelines([encoded(text)])
            return
        with pysam.BGZFile(file.name, "wb", None) as packed:

            def write(text: str) -> None:
                packed.write(encoded(text))

            yield write
        if index:
            suffix = index_suffix(longest)
            with atomic_file(path.with_name(path.name + suffix)) as beside:
                is_long = suffix == ".csi"
                pysam.tabix_index(file.name, preset="vcf", index=beside.name, csi=is_long, force=True)


def encoded(text: str) -> bytes:
    """Return the bytes of a text that was read from a VCF, those that are no UTF-8 as they were."""
    return text.encode("utf-8", "surrogateescape")


def index_suffix(longest: int) -> str:
    """Return the ending of an index: .tbi, or .csi where a contig is too long for it."""
    return ".tbi" if longest < TABIX_LONGEST else ".csi"
