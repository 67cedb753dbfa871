"""From genome files to prepared folders: one pass over the input, bounded memory, all folders or none.

Shapes used below
    R  runs in memory at a time
"""

import hashlib
import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import write_array_header_1_0

from dnalm import __version__, files
from dnalm.dna import AMBIGUOUS
from dnalm.errors import InputError
from dnalm.genome.folder import (
    FILES,
    FORMAT,
    FORMAT_VERSION,
    STRIDE,
    offset_of_base,
    origin,
    read_meta,
    same_bases,
)
from dnalm.genome.plan import Plan
from dnalm.genome.stream import Int64, OnRead, Slice, Stream, read_file, stream_genome, stream_published
from dnalm.tokens.characters import HG38_CHARACTERS, VOCAB4, CharacterTokenizer

SHORTEST = 301
"""Bases that one window needs: 300, and the one after it, which is the last target."""


def prepare(plan: Plan, on_read: OnRead | None = None) -> dict[str, Path]:
    """Write the prepared folders of a plan.

    Args:
        plan: what and where.
        on_read: called with a number of bytes each time so many have been read from the inputs.

    Returns:
        The folder of each mode.

    Raises:
        InputError: for any mistake in the input or the plan; the folders are then as they were before, as
            after any other exception.
    """
    plan.check()
    with files.lock(plan.out), ExitStack() as stack:
        for mode in plan.modes:
            files.recover(plan.out / mode)
        plan.check_folders()  # again: another process may have written since, or have been killed
        folders = {mode: stack.enter_context(files.atomic_folder(plan.out / mode)) for mode in plan.modes}
        stream = (stream_published if plan.published else stream_genome)(plan, folders, on_read)
        split = {mode: _write_tables(mode, folder, plan, stream) for mode, folder in folders.items()}
        _check_others(plan, stream, split[plan.modes[0]])
        if not plan.val_contigs:
            for mode, folder in folders.items():
                _cut_file(folder, stream.slices[mode][1].of(mode)[0])
        characters = {mode: _characters(mode, plan, stream) for mode in folders}
        digests = _seal_files(folders, characters)
        for mode, folder in folders.items():
            meta = _meta(mode, plan, stream, characters[mode])
            files.write_json(folder / "meta.json", meta | {"split": split[mode], "files": digests[mode]})
    return {mode: plan.out / mode for mode in plan.modes}


def _write_tables(mode: str, folder: Path, plan: Plan, stream: Stream) -> dict[str, Any]:
    """Write the .npy files of a folder and return how the genome is split."""
    slices = stream.slices[mode]
    longest, first = _write_segments(folder / "segments.npy", slices, stream.starts)
    for part, length in zip(("training", "validation"), longest, strict=True):
        if length < SHORTEST:
            change = "`val_contigs`" if plan.val_contigs else "`val_fraction`"
            raise InputError(
                f"{', '.join(map(str, plan.genomes))}: the {part} part has no room for one window: "
                f"it needs {SHORTEST} A/C/G/T without a break, and its longest stretch has {length:,}; "
                f"use a larger genome or another {change}"
            )
    _write_repeats(folder / "repeats.npy", slices)
    if mode == "full":
        _write_index(folder / "base_index.npy", slices, folder / "train.bin", headers=not plan.published)
    if plan.val_contigs:
        return {"kind": "contigs", "val_contigs": list(plan.val_contigs)}
    contig, position = first
    name = stream.contigs[mode][contig].name
    return {"kind": "fraction", "val_fraction": plan.val_fraction, "contig": name, "position": position}


def _write_segments(path: Path, slices: Sequence[Slice], starts: Int64) -> tuple[list[int], list[int]]:
    """Write the unbroken runs of bases, [S, 5].

    Args:
        path: segments.npy.
        slices: train and val.
        starts: position of each contig's first character in the numbering of `Part.segments`.

    Returns:
        The length of the longest run in train and in val; contig and position of val's first base.
    """
    longest = [0, 0]
    first_of_val: list[int] = []

    def rows(number: int) -> Iterator[Int64]:
        part, low, high, *_ = slices[number]
        before = 0
        for runs in part.segments:  # [R, 2]
            lengths = runs[:, 1] - runs[:, 0]
            offsets = before + np.cumsum(lengths) - lengths
            before += int(lengths.sum())
            first, last = np.maximum(offsets, low), np.minimum(offsets + lengths, high)
            position = runs[:, 0] + first - offsets
            contig = np.searchsorted(starts, position, side="right") - 1
            position -= starts[contig]
            columns = [np.full_like(first, number), contig, position, last - first, first - low]
            table = np.stack(columns, axis=1)[first < last]
            longest[number] = max(longest[number], int(table[:, 3].max(initial=0)))
            if number == 1 and len(table) and not first_of_val:
                first_of_val.extend(table[0, 1:3].tolist())
            yield table

    _write_rows(path, 5, (piece for number in (0, 1) for piece in rows(number)))
    return longest, first_of_val


def _write_repeats(path: Path, slices: Sequence[Slice]) -> None:
    """Write the soft-masked stretches, [R, 3]."""

    def rows() -> Iterator[Int64]:
        for number, (part, low, high, *_) in enumerate(slices):
            for runs in part.repeats:
                first, last = np.maximum(runs[:, 0], low), np.minimum(runs[:, 1], high)
                columns = [np.full_like(first, number), first - low, last - low]
                yield np.stack(columns, axis=1)[first < last]

    _write_rows(path, 3, rows())


def _write_index(path: Path, slices: Sequence[Slice], text: Path, headers: bool) -> None:
    """Write the sparse index of bases in the text, [M, 2]; `text` is the stream, not yet cut."""
    tables = []
    for number, (part, low, high, text_low, _) in enumerate(slices):
        known = part.index_so_far
        offsets = known[: math.ceil(high / STRIDE)]
        if low:  # val begins elsewhere in the stream, and so do its strides
            read = read_file(text)
            where = [offset_of_base(read, known, base, headers) for base in range(low, high, STRIDE)]
            offsets = np.array(where, dtype=np.int64) - text_low
        tables.append(np.stack([np.full_like(offsets, number), offsets], axis=1))
    _write_rows(path, 2, tables)


def _write_rows(path: Path, columns: int, pieces: Iterable[Int64]) -> None:
    """Write an int64 .npy file row by row; the number of rows is not known before the last."""
    header = {"descr": "<i8", "fortran_order": False, "shape": (0, columns)}
    rows = 0
    with path.open("wb") as file:
        write_array_header_1_0(file, header)
        for piece in pieces:
            file.write(np.ascontiguousarray(piece, dtype="<i8").data)
            rows += len(piece)
        file.seek(0)
        write_array_header_1_0(file, header | {"shape": (rows, columns)})


def _check_others(plan: Plan, stream: Stream, split: dict[str, Any]) -> None:
    """Refuse to leave full and vocab4 of different genomes or splits side by side."""
    made = {"sources": stream.sources, "published": plan.published, "split": split}
    for folder in (plan.out / mode for mode in FILES if mode not in plan.modes):
        try:
            other = read_meta(folder)
        except InputError:
            continue  # nothing that could be read as a genome
        if not same_bases(made, other):
            raise InputError(
                f"{folder} is of {origin(other)}, and {plan.out / plan.modes[0]} would be of {origin(made)}, "
                "but both must hold the same bases; choose another `out`, or replace both with `overwrite`"
            )


def _cut_file(folder: Path, at: int) -> None:
    """Move what follows byte `at` of train.bin to val.bin."""
    with (folder / "train.bin").open("r+b") as train, (folder / "val.bin").open("wb") as val:
        train.seek(at)
        shutil.copyfileobj(train, val, files.CHUNK)
        train.truncate(at)


def _characters(mode: str, plan: Plan, stream: Stream) -> str:
    if mode == "vocab4":
        return VOCAB4.characters
    are_hg38 = stream.letters.seen <= set(HG38_CHARACTERS.encode())
    if not plan.published and plan.alphabet != "file" and are_hg38:
        return HG38_CHARACTERS
    return "".join(sorted(map(chr, stream.letters.seen)))


def _seal_files(folders: dict[str, Path], characters: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Give the text its ids and return size and SHA-256 of every file, two files at a time."""
    with ThreadPoolExecutor(2) as pool:
        jobs: dict[str, dict[str, Any]] = {}
        for mode, folder in folders.items():
            ids = CharacterTokenizer(characters[mode]).ids.astype("uint8").tobytes()
            tables = dict.fromkeys(("train.bin", "val.bin"), ids if mode == "full" else None)
            jobs[mode] = {name: pool.submit(_seal, folder / name, tables.get(name)) for name in FILES[mode]}
        return {mode: {name: job.result() for name, job in named.items()} for mode, named in jobs.items()}


def _seal(path: Path, table: bytes | None) -> dict[str, Any]:
    """Replace each byte of a file by `table[byte]`, if given, and return its size and SHA-256."""
    digest, size = hashlib.sha256(), 0
    with path.open("r+b" if table else "rb") as file:
        while data := file.read(files.CHUNK):
            if table:
                data = data.translate(table)
                file.seek(size)
                file.write(data)
            digest.update(data)
            size += len(data)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _meta(mode: str, plan: Plan, stream: Stream, characters: str) -> dict[str, Any]:
    train, val = stream.slices[mode]
    parts = {id(taken.part): taken.part for taken in (train, val)}.values()
    ambiguous = {letter: stream.letters.count(letter) for letter in f"{AMBIGUOUS}-"}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "dnalm_version": __version__,
        "mode": mode,
        "vocab_size": len(characters),
        "characters": characters,
        "alphabet": "acgt" if mode == "vocab4" else "hg38" if characters == HG38_CHARACTERS else "file",
        "published": plan.published,
        "sources": stream.sources,
        "contigs": [contig.in_meta(mode, (train, val)) for contig in stream.contigs[mode]],
        "counts": {
            "bases": sum(part.bases for part in parts),
            "soft_masked": sum(part.soft_masked for part in parts),
            "n": ambiguous.pop("N"),
            "other_iupac": {letter: count for letter, count in ambiguous.items() if count},
            "train_bases": train.high - train.low,
            "val_bases": val.high - val.low,
            "train_tokens": train.of(mode)[1] - train.of(mode)[0],
            "val_tokens": val.of(mode)[1] - val.of(mode)[0],
        },
    }
