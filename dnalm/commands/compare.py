"""`dnalm compare`: the binding models of a folder beside each other, as plots and a page."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dnalm.report.binding import binding_chapter, refresh_comparisons
from dnalm.report.page import write_page

REPORT = "report.html"


@dataclass(frozen=True)
class Options:
    """Compare the binding models of a folder: which is better, by how much, with what certainty."""

    folder: Annotated[Path, tyro.conf.Positional]
    """What was --out of `dnalm finetune` and `dnalm baseline`; the plots and the page go there."""
    quiet: bool = False
    """No progress and no messages."""


def run(options: Options) -> None:
    """Write the two comparison plots and report.html into the folder, and print the findings.

    Raises:
        InputError: if there is no such folder or no result in it, or a file in it is damaged.
    """
    if not options.quiet:
        print(f"comparing the binding models in {options.folder}", file=sys.stderr)
    chapter = binding_chapter(options.folder)  # everything is read and checked before anything is written
    paths = refresh_comparisons(options.folder)
    page = options.folder / REPORT
    write_page([chapter], page, "Binding models compared")
    for finding in chapter.findings:
        print(finding)
    for path in [*paths, page]:
        print(path)
