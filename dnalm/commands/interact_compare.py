"""`dnalm interact compare`: models of genes and molecules beside each other and the ladder, with a page."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dnalm.errors import InputError
from dnalm.report.interaction import chosen, headings, interaction_chapter, scores_table
from dnalm.report.page import Table, write_page
from dnalm.report.read_pairs import read_results

REPORT = "report.html"


@dataclass(frozen=True)
class Options:
    """Compare models of genes and molecules: which is best, by how much, and does it beat the baselines."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER [FOLDER ...]")]
    """Folders of `dnalm interact train`, or one that holds them; the page goes into the first."""
    quiet: bool = False
    """No progress and no messages."""


def run(options: Options) -> None:
    """Write report.html into the first folder; print a table of each part and the findings.

    Raises:
        InputError: if there is no such folder or no result in it, or a file in it is damaged.
    """
    if not options.folders:
        raise InputError("no folder is named; name those of dnalm interact train, or one that holds them")
    if not options.quiet:
        print(f"comparing what is in {', '.join(map(str, options.folders))}", file=sys.stderr)
    comparisons = read_results(options.folders).comparisons
    chapter = interaction_chapter(options.folders)  # all is read and checked before anything is written
    page = options.folders[0] / REPORT
    write_page([chapter], page, "Genes and molecules: models compared")
    for title, comparison in zip(headings(comparisons), comparisons, strict=True):
        print(_text(scores_table(title, comparison)))
        print()
    for sentence in chosen(comparisons):
        print(sentence)
    for finding in chapter.findings:
        print(finding)
    print(page)


def _text(table: Table) -> str:
    """Return a table as lines whose columns are in line."""
    lines = [list(map(str, line)) for line in (table.columns, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([table.caption, *(line.rstrip() for line in shown)])
