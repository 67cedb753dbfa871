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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import write_array_header_1_0

from dnalm import __version__, files
from dnalm.dna import AMBIGUOUS
from dnalm.errors import InputError
from dnalm.genome import folder as layout
from dnalm.genome.folder import Int64, offset_of_base, origin, read_meta, same_bases
from dnalm.genome.hold_out import hold_out
from dnalm.genome.plan import Plan
from dnalm.genome.stream import Contig, OnRead, Slice, Stream, stream_genome, stream_published
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
        held = None
        if plan.genome_names and plan.val_contigs:
            held = hold_out(plan, on_read)
            plan = replace(plan, val_contigs=held.val_contigs)
        if plan.published:
            stream = stream_published(plan, folders, on_read)
        else:
            stream = stream_genome(plan, folders, on_read, held.left_out if held else {})
        metas = {mode: _write_tables(mode, folder, plan, stream) for mode, folder in folders.items()}
        for meta in metas.values() if plan.genome_names else ():
            meta["split"]["hold_out"] = held.rule if held else {"genomes": "none"}
        _check_others(plan, metas[plan.modes[0]])
        with ThreadPoolExecutor() as pool:
            digests = pool.map(_seal_files, folders.values(), metas.values())
        for meta, folder, sealed in zip(metas.values(), folders.values(), digests, strict=True):
            files.write_json(folder / "meta.json", meta | {"files": sealed})
    return {mode: plan.out / mode for mode in plan.modes}


def _write_tables(mode: str, folder: Path, plan: Plan, stream: Stream) -> dict[str, Any]:
    """Write the .npy files of a folder, cut train.bin, and return meta.json without the files' digests."""
    slices = stream.slices[mode]
    _write_rows(folder / "segments.npy", _segments(slices, stream.contigs[mode]))
    _write_rows(folder / "repeats.npy", _repeats(slices))
    segments = np.load(folder / "segments.npy", mmap_mode="r")
    for number, name in enumerate(layout.PARTS):
        longest = segments[segments[:, 0] == number, 3].max(initial=0)
        if longest < SHORTEST:
            raise InputError(
                f"{', '.join(map(str, plan.genomes))}: the part {name} has no room for a window of "
                f"{SHORTEST} A/C/G/T: its longest stretch has {longest:,}; use a larger genome or another "
                f"{'`val_contigs`' if plan.val_contigs else '`val_fraction`'}"
            )
    if mode == "full":
        _write_rows(folder / "base_index.npy", _index(slices, folder / "train.bin", not plan.published))
    split: dict[str, Any] = {"kind": "contigs", "val_contigs": list(plan.val_contigs)}
    if not plan.val_contigs:
        _, contig, position, *_ = segments[np.searchsorted(segments[:, 0], 1)].tolist()  # val's first base
        split = {"kind": "fraction", "val_fraction": plan.val_fraction}
        split |= {"contig": stream.contigs[mode][contig].name, "position": position}
        _cut_file(folder, slices[1].of(mode)[0])
    return _meta(mode, plan, stream) | {"split": split}


def _segments(slices: Sequence[Slice], contigs: list[Contig]) -> Iterator[Int64]:
    """Yield the unbroken runs of bases of train and val, [R, 5]."""
    starts = np.cumsum([0, *(contig.length for contig in contigs[:-1])])
    for number, (part, low, high) in enumerate(slices):
        before = 0
        for runs in part.segments:  # [R, 2]
            lengths = runs[:, 1] - runs[:, 0]
            offsets = before + np.cumsum(lengths) - lengths
            before += int(lengths.sum())
            first = np.maximum(offsets, low.vocab4)
            last = np.minimum(offsets + lengths, high.vocab4)
            position = runs[:, 0] + first - offsets
            contig = np.searchsorted(starts, position, side="right") - 1
            position -= starts[contig]
            columns = [np.full_like(first, number), contig, position, last - first, first - low.vocab4]
            yield np.stack(columns, axis=1)[first < last]


def _repeats(slices: Sequence[Slice]) -> Iterator[Int64]:
    """Yield the soft-masked stretches of train and val, [R, 3]."""
    for number, (part, low, high) in enumerate(slices):
        for runs in part.repeats:
            clipped = np.clip(runs, low.vocab4, high.vocab4) - low.vocab4
            rows = np.column_stack([np.full(len(runs), number), clipped])
            yield rows[clipped[:, 0] < clipped[:, 1]]


def _index(slices: Sequence[Slice], text: Path, headers: bool) -> Iterator[Int64]:
    """Yield the sparse index of bases in the text of train and val, [M, 2]; it is not yet cut."""
    for number, (part, low, high) in enumerate(slices):
        offsets = np.array(part.index[: math.ceil(high.vocab4 / layout.STRIDE)], dtype=np.int64)
        if low.vocab4:  # val begins elsewhere in the stream, and so do its strides
            tokens = np.memmap(text, dtype=np.uint8, mode="r")
            bases = range(low.vocab4, high.vocab4, layout.STRIDE)
            where = [offset_of_base(tokens, layout.BYTES, part.index, base, headers) for base in bases]
            offsets = np.array(where, dtype=np.int64) - low.full
        yield np.stack([np.full_like(offsets, number), offsets], axis=1)


def _write_rows(path: Path, pieces: Iterable[Int64]) -> None:
    """Write an int64 .npy file row by row; the number of rows is not known before the last."""
    header = {"descr": "<i8", "fortran_order": False, "shape": (0, layout.COLUMNS[path.name])}
    rows = 0
    with path.open("wb") as file:
        write_array_header_1_0(file, header)
        for piece in pieces:
            file.write(np.ascontiguousarray(piece, dtype="<i8").data)
            rows += len(piece)
        file.seek(0)
        write_array_header_1_0(file, header | {"shape": (rows, layout.COLUMNS[path.name])})


def _check_others(plan: Plan, made: dict[str, Any]) -> None:
    """Refuse to leave full and vocab4 of different genomes or splits side by side."""
    for folder in (plan.out / mode for mode in layout.FILES if mode not in plan.modes):
        try:
            other = read_meta(folder)
        except InputError:
            continue  # nothing that could be read as a genome
        if not same_bases(made, other):
            raise InputError(
                f"{folder} is of {origin(other)}, and {plan.out / made['mode']} would be of {origin(made)}; "
                "choose another `out`, or replace both with `overwrite`"
            )


def _cut_file(folder: Path, at: int) -> None:
    """Move what follows byte `at` of train.bin to val.bin."""
    with (folder / "train.bin").open("r+b") as train, (folder / "val.bin").open("wb") as val:
        train.seek(at)
        shutil.copyfileobj(train, val, files.CHUNK)
        train.truncate(at)


def _seal_files(folder: Path, meta: dict[str, Any]) -> dict[str, Any]:
    """Give the text its ids and return size and SHA-256 of every file."""
    ids = CharacterTokenizer(meta["characters"]).ids.astype("uint8").tobytes()
    in_text = ("train.bin", "val.bin") if meta["mode"] == "full" else ()
    return {
        name: _seal(folder / name, ids if name in in_text else None) for name in layout.FILES[meta["mode"]]
    }


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


def _meta(mode: str, plan: Plan, stream: Stream) -> dict[str, Any]:
    """Return the content of meta.json for one vocabulary."""
    train, val = stream.slices[mode]
    parts = {id(taken.part): taken.part for taken in (train, val)}.values()
    left_out = np.sum([part.left_out for part in parts], axis=0)
    ambiguous = {x: int(left_out[sorted({ord(x), ord(x.lower())})].sum()) for x in f"{AMBIGUOUS}-"}
    characters = VOCAB4.characters
    if mode == "full":
        seen = set().union(*(part.characters for part in parts), np.flatnonzero(left_out).tolist())
        characters = "".join(sorted(map(chr, seen)))
        if not plan.published and plan.alphabet != "file" and set(characters) <= set(HG38_CHARACTERS):
            characters = HG38_CHARACTERS
        elif plan.alphabet == "hg38":
            foreign = "".join(sorted(set(characters) - set(HG38_CHARACTERS)))
            raise InputError(
                f"the genome has {foreign!r}, which hg38 has not; set `alphabet` to auto or file"
            )
    contigs = [_contig_meta(contig, mode, (train, val)) for contig in stream.contigs[mode]]
    named = {"genomes": _genomes_meta(plan, stream, (train, val))} if plan.genome_names else {}
    if named:
        for entry, contig in zip(contigs, stream.contigs[mode], strict=True):
            entry |= {"genome": contig.genome, "left_out_bases": contig.left_out}
    return named | {
        "format": layout.FORMAT,
        "format_version": layout.FORMAT_VERSION,
        "dnalm_version": __version__,
        "mode": mode,
        "vocab_size": len(characters),
        "characters": characters,
        "alphabet": "acgt" if mode == "vocab4" else "hg38" if characters == HG38_CHARACTERS else "file",
        "published": plan.published,
        "sources": stream.sources,
        "contigs": contigs,
        "counts": {
            "bases": sum(part.end.vocab4 for part in parts),
            "soft_masked": sum(part.soft_masked for part in parts),
            "n": ambiguous.pop("N"),
            "other_iupac": {letter: count for letter, count in ambiguous.items() if count},
            "train_bases": train.last.vocab4 - train.first.vocab4,
            "val_bases": val.last.vocab4 - val.first.vocab4,
            "train_tokens": train.of(mode)[1] - train.of(mode)[0],
            "val_tokens": val.of(mode)[1] - val.of(mode)[0],
        },
    }


def _contig_meta(contig: Contig, mode: str, slices: Sequence[Slice]) -> dict[str, Any]:
    """Return what meta.json says of one contig."""
    span = contig.span
    bases = span.last.vocab4 - span.first.vocab4
    entry: dict[str, Any] = {"name": contig.name, "length": contig.length, "bases": bases}
    low, high = span.of(mode)
    for name, taken in zip(layout.PARTS, slices, strict=True):
        first, last = taken.of(mode)
        start, end = max(low, first), min(high, last)
        inside = taken.part is span.part and start < end
        entry[name] = [start - first, end - start] if inside else None
    return entry


def _genomes_meta(plan: Plan, stream: Stream, slices: Sequence[Slice]) -> list[dict[str, Any]]:
    """Return what meta.json says of each named genome: bases of each part, and those left out."""
    genomes: list[dict[str, Any]] = [
        {"name": name, "train_bases": 0, "val_bases": 0, "left_out_bases": 0} for name in plan.genome_names
    ]
    for contig in stream.contigs[plan.modes[0]]:
        genome, spans = genomes[contig.genome], _contig_meta(contig, "vocab4", slices)  # in bases
        for part in layout.PARTS:
            genome[f"{part}_bases"] += spans[part][1] if spans[part] else 0
        genome["left_out_bases"] += contig.left_out
    return genomes
