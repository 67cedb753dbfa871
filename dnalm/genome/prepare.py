"""What `prepare` is asked to do, checked before anything is read or written.

From genome files to prepared folders: one pass over the input, bounded memory, all folders or none.
"""

import errno
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dnalm import __version__, files
from dnalm.errors import InputError
from dnalm.genome.folder import FILES, FORMAT, FORMAT_VERSION, origin, read_meta, same_bases
from dnalm.genome.parts import SHORTEST, cut_file, seal, write_index, write_repeats, write_segments
from dnalm.genome.plan import Plan
from dnalm.genome.stream import OnRead, Stream, stream_genome, stream_published
from dnalm.tokens.characters import HG38_CHARACTERS, VOCAB4, CharacterTokenizer


def prepare(plan: Plan, on_read: OnRead | None = None) -> dict[str, Path]:
    """Write the folders that a plan asks for.

    Args:
        plan: what and where.
        on_read: called with a number of bytes each time so many have been read from the inputs.

    Returns:
        The folder of each mode.

    Raises:
        InputError: for any mistake in the input or the plan, and when the disk is full; whatever was at the
            folders' place before is still there then, and nothing else.
    """
    plan.check()
    with files.lock(plan.out), _full_disk_is_said(plan.out), ExitStack() as stack:
        for mode in plan.modes:
            files.recover(plan.out / mode)
        plan.check_folders()  # again: another process may have written since, or have been killed
        folders = {mode: stack.enter_context(files.atomic_folder(plan.out / mode)) for mode in plan.modes}
        stream = (stream_published if plan.published else stream_genome)(plan, folders, on_read)
        split = {mode: _write_tables(mode, folder, plan, stream) for mode, folder in folders.items()}
        _check_others(plan, stream, split[plan.modes[0]])
        if not plan.val_contigs:
            for mode, folder in folders.items():
                cut_file(folder, stream.slices[mode][1].of(mode)[0])
        characters = {mode: _characters(mode, plan, stream) for mode in folders}
        digests = _seal(folders, characters)
        for mode, folder in folders.items():
            meta = _meta(mode, plan, stream, characters[mode]) | {
                "split": split[mode],
                "files": digests[mode],
            }
            files.write_json(folder / "meta.json", meta)
    return {mode: plan.out / mode for mode in plan.modes}


def _write_tables(mode: str, folder: Path, plan: Plan, stream: Stream) -> dict[str, Any]:
    """Write the .npy files of a folder and return how the genome is split."""
    slices = stream.slices[mode]
    longest, first = write_segments(folder / "segments.npy", slices, stream.starts)
    for part, length in zip(("training", "validation"), longest, strict=True):
        if length < SHORTEST:
            change = "--val-contigs" if plan.val_contigs else "--val-fraction"
            raise InputError(
                f"{', '.join(map(str, plan.genomes))}: the {part} part has no room for one window: "
                f"it needs {SHORTEST} A/C/G/T without a break, and its longest stretch has {length:,}; "
                f"use a larger genome or another {change}"
            )
    write_repeats(folder / "repeats.npy", slices)
    if mode == "full":
        write_index(folder / "base_index.npy", slices, folder / "train.bin", headers=not plan.published)
    if plan.val_contigs:
        return {"kind": "contigs", "val_contigs": list(plan.val_contigs)}
    contig, position = first
    name = stream.contigs[mode][contig].name
    return {"kind": "fraction", "val_fraction": plan.val_fraction, "contig": name, "position": position}


def _check_others(plan: Plan, stream: Stream, split: dict[str, Any]) -> None:
    """Refuse to leave full and vocab4 of different genomes or splits side by side."""
    made = {"sources": stream.sources, "published": plan.published, "split": split}
    for folder in (plan.out / mode for mode in FILES if mode not in plan.modes):
        try:
            other = read_meta(folder)
        except ValueError:
            continue  # nothing that could be read as a genome
        if not same_bases(made, other):
            raise InputError(
                f"{folder} is of {origin(other)}, and {plan.out / plan.modes[0]} would be of {origin(made)}, "
                "but both must hold the same bases; choose another --out, "
                "or --vocab both --overwrite to replace both"
            )


def _characters(mode: str, plan: Plan, stream: Stream) -> str:
    if mode == "vocab4":
        return VOCAB4.characters
    if not plan.published and plan.alphabet != "file" and stream.letters.are_hg38:
        return HG38_CHARACTERS
    return "".join(sorted(map(chr, stream.letters.seen)))


def _seal(folders: dict[str, Path], characters: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Give the text its ids and return size and SHA-256 of every file, two files at a time."""
    tables = {"full": None, "vocab4": None} | {
        mode: CharacterTokenizer(letters).ids.astype("uint8").tobytes()
        for mode, letters in characters.items()
        if mode == "full"
    }
    with ThreadPoolExecutor(2) as pool:
        jobs = {
            mode: {
                name: pool.submit(seal, folder / name, tables[mode] if name.endswith(".bin") else None)
                for name in FILES[mode]
            }
            for mode, folder in folders.items()
        }
        return {mode: {name: job.result() for name, job in named.items()} for mode, named in jobs.items()}


def _meta(mode: str, plan: Plan, stream: Stream, characters: str) -> dict[str, Any]:
    train, val = stream.slices[mode]
    parts = {id(taken.part): taken.part for taken in (train, val)}.values()
    tokens = [last - first for first, last in (train.of(mode), val.of(mode))]
    own = "acgt" if mode == "vocab4" else "hg38" if characters == HG38_CHARACTERS else "file"
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "dnalm_version": __version__,
        "mode": mode,
        "vocab_size": len(characters),
        "characters": characters,
        "alphabet": own,
        "published": plan.published,
        "sources": stream.sources,
        "contigs": [contig.in_meta(mode, (train, val)) for contig in stream.contigs[mode]],
        "counts": {
            "bases": sum(part.bases for part in parts),
            "soft_masked": sum(part.soft_masked for part in parts),
            "n": stream.letters.n,
            "other_iupac": stream.letters.other_iupac,
            "train_bases": train.high - train.low,
            "val_bases": val.high - val.low,
            "train_tokens": tokens[0],
            "val_tokens": tokens[1],
        },
    }


@contextmanager
def _full_disk_is_said(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"{out}: the disk is full; what was being written is gone and what was there before is kept; "
            "free some space or choose another --out"
        ) from error
