"""`dnalm prepare`: a genome, in; token files for both vocabularies, out."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from dnalm.commands.progress import aligned, byte_progress
from dnalm.errors import InputError, counted
from dnalm.genome.folder import left_out_words, read_meta
from dnalm.genome.plan import VAL_FRACTION, Plan
from dnalm.genome.prepare import prepare

SPEED = 100e6
"""Characters of FASTA a second, a careful guess for --dry-run (see bench/prepare.py)."""


@dataclass(frozen=True)
class Options:
    """Turn genomes into token files that `dnalm pretrain` reads."""

    genome: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="GENOME [GENOME ...]")]
    """FASTA (plain, gzip or bgzip) or .2bit; several are taken as one genome, unless they are named."""
    out: Path = Path("data")  # Where the folders full/ and vocab4/ go.
    vocab: Literal["full", "vocab4", "both"] = "both"
    """full: the characters of the FASTA, of each header its first word. vocab4: A, C, G, T."""
    alphabet: Literal["auto", "hg38", "file"] = "auto"
    """Of full. hg38: its 40 characters, others are an error. file: the file's own. auto: hg38's if enough."""
    val_fraction: float = VAL_FRACTION
    """Share of the A/C/G/T bases, at the end of the genome, for validation."""
    val_contigs: str | None = None
    """Contigs for validation instead, separated by commas: chr8,chr9; of several genomes cerevisiae:XV."""
    genome_names: str | None = None
    """A name for each file, separated by commas, where they are several genomes: cerevisiae,paradoxus."""
    hold_out: Literal["others", "all", "none"] = "others"
    """Where to leave out of training what is alike to the validation contigs: in the other genomes, in all,
    the own one too, or nowhere, which is a leak."""
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
    plan = Plan(
        genomes=options.genome,
        out=options.out,
        modes=("full", "vocab4") if options.vocab == "both" else (options.vocab,),
        alphabet=options.alphabet,
        val_fraction=options.val_fraction,
        val_contigs=_names(
            options.val_contigs, "--val-contigs", "as in chr8,chr9", "to split by --val-fraction"
        ),
        genome_names=_names(
            options.genome_names, "--genome-names", "one for each file", "if all files are of one genome"
        ),
        hold_out=options.hold_out,
        published=options.published,
        overwrite=options.overwrite,
    )
    if options.dry_run:
        plan.check()
        print(_forecast(plan))
        return
    with byte_progress("preparing", plan.genomes * plan.readings, quiet=options.quiet) as advance:
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
    if "genomes" in (meta := next(iter(metas.values()))):
        print(_genomes(meta))


def _names(text: str | None, flag: str, example: str, why: str) -> tuple[str, ...]:
    """Return the names in a flag, which are separated by commas; none if it is not given."""
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    if text is not None and not names:
        raise InputError(f"{flag} needs names, {example}, got {text!r}; leave it out {why}")
    return names


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


def _genomes(meta: dict[str, Any]) -> str:
    """Return a table of the bases of each genome, with what is left out of training."""
    rows = [("genome", "train", "val", "left out", "of the genome")]
    for genome in meta["genomes"]:
        counts = [genome[f"{key}_bases"] for key in ("train", "val", "left_out")]
        share = f"{counts[2] / max(1, sum(counts)):.1%}"
        rows.append((genome["name"], *(f"{count:,}" for count in counts), share))
    words = left_out_words(meta)
    return aligned(rows) + (f"\n{words}" if words else "")


def _forecast(plan: Plan) -> str:
    """Return what a dry run reports: files, size and place."""
    names = " and ".join(str(plan.out / mode) for mode in plan.modes)
    return (
        f"would write {names} from about {plan.text / 1e6:,.0f} MB of text: "
        f"about {plan.text * plan.readings / SPEED:,.0f} s, less than 500 MB of memory, "
        f"up to {plan.disk / 1e6:,.0f} MB of disk; nothing was written"
    )
