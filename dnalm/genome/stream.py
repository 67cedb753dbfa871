"""One pass over the genome files: every block goes to disk, and what must be known of it is noted."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from dnalm.formats import read_blocks
from dnalm.formats.fasta import read_text
from dnalm.formats.source import Source
from dnalm.genome.finish import Contig, Slice, TextFile
from dnalm.genome.letters import Letters
from dnalm.genome.part import CODES, Part, code_table
from dnalm.genome.plan import Plan
from dnalm.genome.runs import Int64
from dnalm.genome.text import base_at_offset, offset_of_base

OnRead = Callable[[int], None]


class Stream(NamedTuple):
    """What one pass has found; everything by mode is the same in both unless published."""

    sources: list[dict[str, Any]]
    letters: Letters
    slices: dict[str, tuple[Slice, Slice]]
    contigs: dict[str, list[Contig]]
    starts: Int64
    """Position of each contig's first character in the numbering of `Part.segments`."""


def stream_genome(plan: Plan, folders: dict[str, Path], on_read: OnRead | None) -> Stream:
    """Write train.bin (and val.bin, when whole contigs are held out) of every folder, still uncut.

    Raises:
        ValueError: if an input is no genome, or the plan asks for contigs that it does not have.
    """
    letters = Letters(only_hg38=plan.alphabet == "hg38" and "full" in folders)
    contigs: list[Contig] = []
    sources = []
    with ExitStack() as stack:
        names = ("train.bin", "val.bin") if plan.val_contigs else ("train.bin",)
        parts = [_part(folders, name, stack) for name in names]
        files_of: dict[str, Path] = {}
        position = 0
        for path in plan.genomes:
            source = stack.enter_context(closing(Source(path, on_read)))
            for name, text in read_blocks(source):
                if name is not None:
                    if name in files_of:
                        raise ValueError(_duplicate(name, path, files_of[name]))
                    files_of[name] = path
                    contigs.append(_begin(name, parts[-1 if name in plan.val_contigs else 0], letters, path))
                contig = contigs[-1]
                length, left_out = contig.part.add(text, position)
                letters.sequence(text, left_out, path, contig.name, contig.length)
                contig.length += length
                position += length
                contig.high, contig.text_high = contig.part.bases, contig.part.text_length
            sources.append(source.summary)
        if position == 0:
            raise ValueError(
                f"{', '.join(map(str, plan.genomes))}: there are headers but no sequence; is the file whole?"
            )
    _check_val_contigs(plan, files_of)
    slices = _split(plan, parts, folders)
    starts = np.cumsum([0] + [contig.length for contig in contigs[:-1]])
    return Stream(sources, letters, dict.fromkeys(folders, slices), dict.fromkeys(folders, contigs), starts)


def stream_published(plan: Plan, folders: dict[str, Path], on_read: OnRead | None) -> Stream:
    """Write train.bin of every folder, still uncut, the published way; for comparison only.

    vocab4 is every upper-case A, C, G or T of the files' text, headers included, joined, so that soft-masked
    bases are dropped and distant pieces meet. full is the text itself. Both are split by token.
    """
    letters = Letters(only_hg38=False)
    parts, slices, contigs, sources = {}, {}, {}, []
    with ExitStack() as stack:
        for mode, folder in folders.items():
            codes = code_table(soft_masked=mode == "full")
            parts[mode] = _part({mode: folder}, "train.bin", stack, codes)
        for path in plan.genomes:
            source = stack.enter_context(closing(Source(path, on_read)))
            for text in read_text(source):
                for mode, part in parts.items():
                    left_out = part.add(text, 0)[1]
                    if mode == "full" or len(parts) == 1:
                        letters.published(text, left_out, path)
            sources.append(source.summary)
    for mode, part in parts.items():
        part.segments.clear()
        part.segments.add(np.array([[0, part.bases]]))
        contigs[mode] = [Contig("published", part, 0, 0)]
        contigs[mode][0].length = contigs[mode][0].high = part.bases
        contigs[mode][0].text_high = part.text_length
        cut = int((part.text_length if mode == "full" else part.bases) * plan.train_share)
        base = cut
        if mode == "full":
            with TextFile(folders[mode] / "train.bin") as read:
                base = base_at_offset(read, part.index_so_far, cut, headers=False)
        slices[mode] = _cut(part, base, cut)
    return Stream(sources, letters, slices, contigs, np.zeros(1, dtype=np.int64))


def _part(folders: dict[str, Path], name: str, stack: ExitStack, codes: bytes = CODES) -> Part:
    handles: dict[str, BinaryIO | None] = {
        mode: stack.enter_context((folder / name).open("wb")) for mode, folder in folders.items()
    }
    return Part(next(iter(folders.values())), handles.get("full"), handles.get("vocab4"), codes)


def _begin(name: str, part: Part, letters: Letters, path: Path) -> Contig:
    contig = Contig(name, part, part.bases, part.text_length)
    line = f">{name}\n"
    letters.header(line, path, name)
    part.segments.close()  # contigs do not join
    part.add_header(line.encode("ascii"))
    return contig


def _split(plan: Plan, parts: list[Part], folders: dict[str, Path]) -> tuple[Slice, Slice]:
    if plan.val_contigs:
        train, val = parts
        return (
            Slice(train, 0, train.bases, 0, train.text_length),
            Slice(val, 0, val.bases, 0, val.text_length),
        )
    base = int(parts[0].bases * plan.train_share)
    token = 0
    if "full" in folders and base < parts[0].bases:
        with TextFile(folders["full"] / "train.bin") as read:
            token = offset_of_base(read, parts[0].index_so_far, base, headers=True)
    return _cut(parts[0], base, token)


def _cut(part: Part, base: int, token: int) -> tuple[Slice, Slice]:
    return Slice(part, 0, base, 0, token), Slice(part, base, part.bases, token, part.text_length)


def _duplicate(name: str, path: Path, first: Path) -> str:
    where = f"twice in {path}" if path == first else f"in {first} and again in {path}"
    return f"contig {name!r} is {where}; each name may be there once: rename one or leave one out"


def _check_val_contigs(plan: Plan, there: dict[str, Path]) -> None:
    unknown = [name for name in plan.val_contigs if name not in there]
    if not unknown:
        return
    near = get_close_matches(unknown[0], there, n=3, cutoff=0.5)
    shown = ", ".join(list(there)[:30]) + (f", ... ({len(there):,} in all)" if len(there) > 30 else "")
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(
        f"--val-contigs: no contig {', '.join(map(repr, unknown))} in the genome; {hint}There are: {shown}"
    )
