"""A genome file read at any position: FASTA (plain, gzip, bgzip) through an index of samtools, or .2bit.

The index, FILE.fai, stands beside the file, or in a cache where the folder is read-only or the index there
is older than the file. What samtools cannot index (plain gzip, .2bit, lines of unequal length) is copied into
the cache, as plain FASTA. A record without a base is no contig.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pysam
from pysam.utils import SamtoolsError

from dnalm import process
from dnalm.dna import AMBIGUOUS, BASES
from dnalm.errors import InputError, counted
from dnalm.files import atomic_file, need_space
from dnalm.formats import is_twobit, read_blocks
from dnalm.formats.fasta import Source

LINE = 1 << 16
"""Bases in a line of a copy."""
KNOWN = (BASES + AMBIGUOUS).encode()
LETTERS = bytes(code if bytes([code]).upper() in KNOWN else ord("N") for code in range(256)).decode("latin-1")
"""[256]: each IUPAC letter is itself, in its case; any other character is N."""


def default_cache() -> Path:
    """Return the folder of a user's caches: $XDG_CACHE_HOME/dnalm, or ~/.cache/dnalm."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dnalm"


class IndexedGenome:
    """A genome file that can be read at any position.

    Several processes of a run open it together: the first makes the index.

    Args:
        path: FASTA, plain, gzip or bgzip, or .2bit.
        cache: folder for an index or a copy that cannot stand beside the file.

    Raises:
        InputError: if it is no genome, is damaged, has two records of one name, or the cache cannot be used.
    """

    def __init__(self, path: Path, cache: Path | None = None) -> None:
        with Source(path):  # refuses a folder, a pipe, and what is not there
            self.path = path
        place = (cache or default_cache()) / "genomes"
        ready = process.broadcast(self._prepared(place) if process.is_rank_zero() else None)
        if isinstance(ready, InputError):
            raise ready
        assert ready is not None
        path, index, blocks = ready
        self._file = pysam.FastaFile(str(path), str(index), str(blocks) if blocks.exists() else None)
        lengths = zip(self._file.references, self._file.lengths, strict=True)
        self.lengths: dict[str, int] = {str(name): int(length) for name, length in lengths}
        """Bases of each contig, in the order of the file."""

    def letters(self, contig: str, start: int, end: int) -> str:
        """Return the letters of a contig from `start` to before `end`, 0-based, in their case.

        A character that is no IUPAC letter is N.

        Raises:
            InputError: if the genome has no such contig, or it is shorter.
        """
        length = self.lengths.get(contig, 0)
        if not 0 <= start <= end <= length or contig not in self.lengths:
            asked = f"{contig}:{start:,}-{end:,}"
            raise InputError(f"{self.path}: {contig} has {counted(length, 'base')}, got {asked}")
        return str(self._file.fetch(contig, start, end).translate(LETTERS)) if start < end else ""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "IndexedGenome":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def _prepared(self, place: Path) -> tuple[Path, Path, Path] | InputError:
        """Return the file to read, its index, and that of its blocks; or what is wrong, for all processes."""
        try:
            return self._indexed(place) or self._copied(place)
        except InputError as error:
            return error

    def _indexed(self, place: Path) -> tuple[Path, Path, Path] | None:
        """Return the file itself with its index, made if there is none; None if samtools cannot index it."""
        path = self.path
        with Source(path) as source:
            # A bgzip file has a gzip header with an extra field (SAM specification, section 4.1).
            if is_twobit(source) or (source.is_gzip and source.peek(14)[12:14] != b"BC"):
                return None
        beside = [path.with_name(path.name + end) for end in (".fai", ".gzi")]
        cached = [place / f"{self._key()}{end}" for end in (".fai", ".gzi")]
        for index, blocks in (beside, cached):
            if _is_newer(index, path) and (path.suffix not in (".gz", ".bgz") or _is_newer(blocks, path)):
                return path, index, blocks
        lengths = _lengths(path)
        stale = any(each.exists() for each in beside)
        folder = path.parent if os.access(path.parent, os.W_OK) and not stale else place
        with _cache_named(folder):
            folder.mkdir(parents=True, exist_ok=True)
        fresh = [folder / f".{path.name}.{os.getpid()}{end}" for end in (".fai", ".gzi")]
        try:
            with contextlib.suppress(SamtoolsError):
                pysam.faidx(str(path), "--fai-idx", str(fresh[0]), "--gzi-idx", str(fresh[1]))
            if not fresh[0].exists() or _read_index(fresh[0]) != lengths:
                return None
            made = beside if folder == path.parent else cached
            for new, final in zip(fresh, made, strict=True):
                if new.exists():
                    os.replace(new, final)
        finally:
            for new in fresh:
                new.unlink(missing_ok=True)
        return path, made[0], made[1]

    def _copied(self, place: Path) -> tuple[Path, Path, Path]:
        """Return a plain copy of the file in the cache with its index, made if it is not there."""
        copy = place / f"{self._key()}.fa"
        index = Path(f"{copy}.fai")
        if not index.exists():
            with _cache_named(place):
                place.mkdir(parents=True, exist_ok=True)
                lengths = _lengths(self.path)
                need_space(place, sum(lengths.values()))
                with atomic_file(copy) as file, Source(self.path) as source:
                    for text in _lines(source):
                        file.write(text)
                fresh = index.with_name(f".{index.name}.{os.getpid()}")
                pysam.faidx(str(copy), "--fai-idx", str(fresh))
                assert _read_index(fresh) == lengths
                os.replace(fresh, index)
        return copy, index, Path(f"{copy}.gzi")

    def _key(self) -> str:
        """Return a name in the cache, another one when the file has changed."""
        status = self.path.stat()
        identity = f"{self.path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
        return f"{self.path.name}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


@contextlib.contextmanager
def _cache_named(folder: Path) -> Iterator[None]:
    """Turn an error of writing into an InputError that says what the folder is for."""
    try:
        yield
    except PermissionError as error:
        raise InputError(
            f"{folder}: cannot be written, and the genome needs an index there; set XDG_CACHE_HOME to a "
            "folder that can be"
        ) from error


def _is_newer(index: Path, path: Path) -> bool:
    return index.is_file() and index.stat().st_mtime_ns >= path.stat().st_mtime_ns


def _read_index(index: Path) -> dict[str, int]:
    """Return the bases of each contig in an index of samtools."""
    rows = (line.split("\t") for line in index.read_text(encoding="utf-8").splitlines())
    return {row[0]: int(row[1]) for row in rows}


def _lengths(path: Path) -> dict[str, int]:
    """Read a genome file and return the bases of each record that has any.

    Raises:
        InputError: if the file is damaged, holds no sequence, or has two records of one name.
    """
    lengths: dict[str, int] = {}
    name = ""
    with Source(path) as source:
        for block in read_blocks(source):
            if block.name is not None:
                name = block.name
                if name in lengths:
                    raise InputError(f"{path}: two records are named {name}; rename one")
                lengths[name] = 0
            lengths[name] += len(block.text) - block.text.count(b"\n")
    if not any(lengths.values()):
        raise InputError(f"{path}: expected sequences, got none")
    return {name: length for name, length in lengths.items() if length}


def _lines(source: Source) -> Iterator[bytes]:
    """Yield the text of a genome file as FASTA with lines of one length."""
    header = held = b""
    for block in read_blocks(source):
        if block.name is not None:
            yield held + b"\n" if held else b""
            header, held = b">" + block.name.encode("ascii") + b"\n", b""
        if text := block.text.replace(b"\n", b""):
            yield header
            header, held = b"", held + text
        full = len(held) // LINE * LINE
        yield b"".join(held[at : at + LINE] + b"\n" for at in range(0, full, LINE))
        held = held[full:]
    yield held + b"\n" if held else b""
