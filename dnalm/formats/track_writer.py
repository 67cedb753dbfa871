"""Tracks written, a number at each base of a genome: bigWig, bedGraph, table or arrays, by the ending.

Shapes: n stretches of bases that follow each other without a gap; V values in all of them; C contigs.
"""

import contextlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, islice, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pysam

from dnalm.errors import InputError, import_extra
from dnalm.files import atomic_file

Array = npt.NDArray[np.float32]
Piece = tuple[str, int, Array]
"""Contig, the first base from 0, and the value at each base from there on; NaN at bases without one."""
ROWS = 1 << 12
"""Rows of text written at a time."""
HEADER = "contig\tposition\tvalue\n"


def check_track(path: Path) -> "Writer":
    """Return what writes a file of this name: from a path, lengths of contigs, and pieces without NaN.

    Raises:
        InputError: if the ending is of no format, or a package for it is not installed.
    """
    name = path.name.lower()
    for ending, write in WRITERS.items():
        if name.endswith(ending):
            if write is _write_bigwig:
                import_extra("pybigtools", "tracks", f"{path}: bigWig")
            return write
    raise InputError(f"{path}: expected a file name that ends in {', '.join(WRITERS)}, got {path.name!r}")


def write_track(path: Path, lengths: Mapping[str, int], pieces: Iterable[Piece]) -> None:
    """Write a track, in full or not at all. A base whose value is NaN, or that no piece holds, is a gap.

    bigWig and bedGraph join neighbours of one value. A text has six digits of a value; `.gz` is bgzip. The
    table has a row a base, counted from 1. An .npz holds `contigs` [C], and of each stretch `contig` [n],
    an index into these, `start` and `end` [n], from 0 and half-open; `values` [V] of all, one after another.

    Args:
        path: the file; its ending is the format: .bw, .bedgraph, .bedgraph.gz, .tsv, .tsv.gz or .npz.
        lengths: bases of each contig of the genome.
        pieces: in the order of the genome, none overlapping another.

    Raises:
        InputError: if the ending is of no format, a package is missing, or a bigWig would have no value.
    """
    write = check_track(path)
    with atomic_file(path) as file:
        write(Path(file.name), lengths, _stretches(pieces))


def _stretches(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield the parts of pieces without NaN."""
    for contig, start, values in pieces:
        known = np.concatenate([[False], ~np.isnan(values), [False]])
        edges = np.flatnonzero(known[1:] != known[:-1])
        for first, end in edges.reshape(-1, 2).tolist():
            yield contig, start + first, values[first:end]


def _rows(stretches: Iterable[Piece]) -> Iterator[tuple[str, int, int, float]]:
    """Yield contig, start, end and value of each longest run of one value in a stretch."""
    for contig, start, values in stretches:
        first = np.concatenate([[True], values[1:] != values[:-1]])
        edges = [*np.flatnonzero(first).tolist(), len(values)]
        for (begin, end), value in zip(pairwise(edges), values[first].tolist(), strict=True):
            yield contig, start + begin, start + end, value


def _write_bigwig(path: Path, lengths: Mapping[str, int], stretches: Iterator[Piece]) -> None:
    """Write a bigWig; what pybigtools 0.3 leaves out without an error is found by its count of bases."""
    pybigtools = import_extra("pybigtools", "tracks", "bigWig")
    errors: list[BaseException] = []
    bases = 0

    def rows() -> Iterator[tuple[str, int, int, float]]:
        nonlocal bases
        try:
            for row in _rows(stretches):
                bases += row[2] - row[1]
                yield row
        except (Exception, KeyboardInterrupt) as error:  # pybigtools would end the file here
            errors.append(error)

    fresh = Path(f"{path}.bw")  # pybigtools goes by the ending
    try:
        covered = 0
        with contextlib.suppress(pybigtools.BBIReadError):  # it did not finish the file, and said so
            pybigtools.open(str(fresh), "w").write(dict(lengths), rows())
            with pybigtools.open(str(fresh)) as made:
                covered = made.info()["summary"]["basesCovered"]
        if errors:
            raise errors[0]
        if not bases:
            raise InputError("no base has a value, and a bigWig needs one; choose another ending of `out`")
        if covered != bases:
            raise OSError(f"{fresh}: pybigtools could not write all of it; is the disk full?")
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _write_bedgraph(path: Path, _lengths: object, stretches: Iterator[Piece], *, packed: bool) -> None:
    rows = (f"{contig}\t{start}\t{end}\t{value:.6g}\n" for contig, start, end, value in _rows(stretches))
    _write_lines(path, rows, packed)


def _write_table(path: Path, _lengths: object, stretches: Iterator[Piece], *, packed: bool) -> None:
    rows = (
        f"{contig}\t{position}\t{value:.6g}\n"
        for contig, start, values in stretches
        for position, value in enumerate(values.tolist(), start + 1)
    )
    _write_lines(path, chain([HEADER], rows), packed)


def _write_lines(path: Path, lines: Iterator[str], packed: bool) -> None:
    """Write lines, `packed` with bgzip, whose files tabix indexes."""
    with pysam.BGZFile(str(path), "wb", None) if packed else path.open("wb") as file:
        while some := list(islice(lines, ROWS)):
            file.write("".join(some).encode("ascii"))


def _write_arrays(path: Path, _lengths: object, stretches: Iterator[Piece]) -> None:
    """Write an .npz; its arrays wait in unnamed files, so that memory stays flat."""
    kinds = {"contig": "<i4", "start": "<i8", "end": "<i8", "values": "<f4"}
    contigs: list[str] = []
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for name in kinds}

        def add(name: str, value: npt.ArrayLike) -> None:
            files[name].write(np.asarray(value, kinds[name]).tobytes())

        before = ("", 0)  # contig and end of the stretch so far
        for contig, start, values in stretches:
            if before != (contig, start):
                if contigs:
                    add("end", before[1])
                if before[0] != contig:
                    contigs.append(contig)
                add("contig", len(contigs) - 1)
                add("start", start)
            add("values", values)
            before = contig, start + len(values)
        if contigs:
            add("end", before[1])
        archive = stack.enter_context(zipfile.ZipFile(path, "w"))
        with archive.open(zipfile.ZipInfo("contigs.npy"), "w") as entry:
            np.lib.format.write_array(entry, np.array(contigs, dtype=np.str_))
        for name, file in files.items():
            shape = (file.tell() // np.dtype(kinds[name]).itemsize,)
            about = {"descr": kinds[name], "fortran_order": False, "shape": shape}
            file.seek(0)
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array_header_1_0(entry, about)
                shutil.copyfileobj(file, entry)


Writer = Callable[[Path, Mapping[str, int], Iterator[Piece]], None]
WRITERS: dict[str, Writer] = {
    ".bw": _write_bigwig,
    ".bigwig": _write_bigwig,
    ".bedgraph": partial(_write_bedgraph, packed=False),
    ".bedgraph.gz": partial(_write_bedgraph, packed=True),
    ".tsv": partial(_write_table, packed=False),
    ".tsv.gz": partial(_write_table, packed=True),
    ".npz": _write_arrays,
}
"""What writes a track, by the ending of its name in lower case."""
