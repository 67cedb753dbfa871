"""`dnalm label`: a genome and labels of it in, windows with a score at each base out."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from dnalm.commands.progress import byte_progress
from dnalm.data.labelling import (
    NOTES,
    SEQUENCES,
    LabelPlan,
    LabelSettings,
    plan_labels,
    reasons,
    write_labels,
)
from dnalm.errors import counted

SPEED = 20e6
"""Bases a second, a careful guess for --dry-run."""


@dataclass(frozen=True)
class Options(LabelSettings):
    """Cut a genome into windows with a score at each base, from a motif, peaks, tracks or an annotation."""

    genome: Annotated[Path, tyro.conf.Positional]  # FASTA (plain, gzip or bgzip) or .2bit.
    dry_run: bool = False  # Say what would be done, with the time, memory and disk it needs, and stop.
    quiet: bool = False  # No progress bar and no summary.


def run(options: Options) -> None:
    """Label, with a progress bar on a terminal and a summary on stdout.

    Raises:
        InputError: for a mistake in the options or the input.
    """
    plan = plan_labels(options)
    if options.dry_run:
        print(_forecast(plan))
        return
    with byte_progress("labelling", [options.genome], quiet=options.quiet) as advance:
        metrics = write_labels(plan, advance)
    for name in NOTES:
        for note in metrics[name].values():
            print(note, file=sys.stderr)
    if not options.quiet:
        print(_summary(plan, metrics))


def _summary(plan: LabelPlan, metrics: dict[str, Any]) -> str:
    """Return what was written, in a few lines."""
    shares = ", ".join(
        f"{share:.2%} not zero" + (f" in {name}" if len(plan.labels) > 1 else "")
        for name, share in metrics["share_not_zero"].items()
    )
    lines = [
        f"{plan.settings.out}: {counted(metrics['windows'], 'window')} of {metrics['window']:,} bases "
        f"({metrics['bases']:,} bases), {shares}"
    ]
    what, more = "peak", ""
    if plan.settings.annotation is not None:
        what, more = f"{plan.settings.feature} feature", f" on strand {plan.settings.strand}"
    elif plan.settings.motif is not None:
        what = "site"
        more = f" of {plan.settings.name}, scoring {plan.settings.threshold:.3f} or more,"
    contigs, bases = metrics["genome"].values()
    of = f"{bases:,} bases of {counted(contigs, 'contig')}"
    lines += [f"{counted(count, what)}{more} in {of}" for count in metrics["sites"].values()]
    if metrics["left_out"]:
        lines.append(f"left out: {reasons(metrics['left_out'])}")
    return "\n".join(lines)


def _forecast(plan: LabelPlan) -> str:
    """Return what a dry run reports: windows, size and place."""
    bases, tables = plan.bases, len(plan.labels)
    return (
        f"would write {', '.join([SEQUENCES, *plan.labels])} into {plan.settings.out} from a genome of about "
        f"{bases / 1e6:,.0f} million bases in windows of {plan.windows.length:,}: about "
        f"{max(1, bases / SPEED):,.0f} s, {4 * bases / 1e6 + 200:,.0f} MB of memory and up to "
        f"{bases * (4 * tables + 1) / 1e6:,.0f} MB for the windows that are kept, up to "
        f"{bases * tables / 1e6:,.0f} MB of disk; nothing was written"
    )
