"""`dnalm prepare`: a genome, in; token files for both vocabularies, out."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from dnalm.commands.progress import byte_progress
from dnalm.errors import InputError, counted
from dnalm.genome.folder import read_meta
from dnalm.genome.plan import VAL_FRACTION, Plan
from dnalm.genome.prepare import prepare

SPEED = 100e6
"""Characters of FASTA a second, a careful guess for --dry-run (see bench/prepare.py)."""


@dataclass(frozen=True)
class Options:
    """Turn genomes into token files that `dnalm pretrain` reads."""

    genome: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="GENOME [GENOME ...]")]
    """FASTA (plain, gzip or bgzip) or .2bit; several files are taken as one genome."""
    out: Path = Path("data")  # Where the folders full/ and vocab4/ go.
    vocab: Literal["full", "vocab4", "both"] = "both"
    """full: the characters of the FASTA, of each header its first word. vocab4: A, C, G, T."""
    alphabet: Literal["auto", "hg38", "file"] = "auto"
    """Of full. hg38: its 40 characters, others are an error. file: the file's own. auto: hg38's if enough."""
    val_fraction: float = VAL_FRACTION
    """Share of the A/C/G/T bases, at the end of the genome, for validation."""
    val_contigs: str | None = None  # Contigs for validation instead, separated by commas: chr8,chr9.
    published: bool = False
    """Make the published scripts' text: headers are bases, soft-masked bases are not; to compare only."""
    overwrite: bool = False  # Replace a genome prepared earlier in the same place.
    dry_run: bool = False  # Say what would be done, with the time, memory and disk it needs, and stop.
    quiet: bool = False  # No progress bar and no summary.


def run(options: Options) -> None:
    """Prepare, with a progress bar on a terminal and a summary on stdout.

    Raises:
        InputError: for a mistake in the options or the input.
    """
    contigs = tuple(name.strip() for name in (options.val_contigs or "").split(",") if name.strip())
    if options.val_contigs is not None and not contigs:
        raise InputError(
            f"--val-contigs needs names, as in chr8,chr9, got {options.val_contigs!r}; "
            "leave it out to split by --val-fraction"
        )
    plan = Plan(
        genomes=options.genome,
        out=options.out,
        modes=("full", "vocab4") if options.vocab == "both" else (options.vocab,),
        alphabet=options.alphabet,
        val_fraction=options.val_fraction,
        val_contigs=contigs,
        published=options.published,
        overwrite=options.overwrite,
    )
    if options.dry_run:
        plan.check()
        print(_forecast(plan))
        return
    with byte_progress("preparing", plan.genomes, quiet=options.quiet) as advance:
        metas = {mode: read_meta(folder) for mode, folder in prepare(plan, advance).items()}
    full = metas.get("full", {})
    if options.alphabet == "auto" and not options.published and full.get("alphabet") == "file":
        shown = full["characters"].replace("\n", "")
        print(
            "full: the genome has characters that hg38 has not; the vocabulary is its own "
            f"{full['vocab_size']}: newline and {shown}",
            file=sys.stderr,
        )
    if options.quiet:
        return
    if options.published:
        print("published text, for comparison only: headers count as bases, vocab4 has no soft-masked ones")
    print("\n".join(_summary(options.out / mode, meta) for mode, meta in metas.items()))


def _summary(folder: Path, meta: dict[str, Any]) -> str:
    """Return what a prepared folder holds, in a few lines."""
    counts = meta["counts"]
    left_out = counts["n"] + sum(counts["other_iupac"].values())
    return (
        f"{folder}: {meta['vocab_size']} characters; train {counts['train_tokens']:,} tokens "
        f"({counts['train_bases']:,} bases), val {counts['val_tokens']:,} ({counts['val_bases']:,}); "
        f"{counted(len(meta['contigs']), 'contig')}, {counts['soft_masked']:,} bases soft-masked, "
        f"{left_out:,} N and the like"
    )


def _forecast(plan: Plan) -> str:
    """Return what a dry run reports: files, size and place."""
    names = " and ".join(str(plan.out / mode) for mode in plan.modes)
    return (
        f"would write {names} from about {plan.text / 1e6:,.0f} MB of text: "
        f"about {plan.text / SPEED:,.0f} s, less than 500 MB of memory, "
        f"up to {plan.disk / 1e6:,.0f} MB of disk; nothing was written"
    )
