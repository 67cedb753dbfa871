"""`dnalm compare`: the runs in some folders side by side, of any kind, as a page."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from dnalm.process import Say, silent
from dnalm.report.binding import binding_chapter, comparison_figures
from dnalm.report.explain import explain_chapter
from dnalm.report.figures import Draw, save_all
from dnalm.report.label_curve import label_chapter
from dnalm.report.language import language_chapter
from dnalm.report.pages import Chapter, write_page
from dnalm.report.pairs import pair_chapter
from dnalm.report.predict import predict_chapter
from dnalm.report.read import Kind, kinds_of
from dnalm.report.score import score_chapter
from dnalm.report.variants import variants_chapter

REPORT = "report.html"
CHAPTERS: dict[Kind, Callable[[Sequence[Path]], Chapter]] = {
    "language": language_chapter,
    "binding": binding_chapter,
    "labels": label_chapter,
    "pairs": pair_chapter,
    "predict": predict_chapter,
    "explain": explain_chapter,
    "variants": variants_chapter,
    "score": score_chapter,
}
TITLES: dict[Kind, str] = {
    "language": "Language models compared",
    "binding": "Binding models compared",
    "labels": "How many labels pretraining saves",
    "pairs": "Models of genes and molecules compared",
    "predict": "Tracks predicted",
    "explain": "Models explained",
    "variants": "Variants scored",
    "score": "What language models know of a genome",
}


@dataclass(frozen=True)
class Options:
    """Compare the runs in some folders: which model is better, by how much, how certainly; with a page."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER [FOLDER ...]")]
    """Folders written by `dnalm pretrain`, `finetune`, `baseline` or `interact train`, or that hold such."""
    out: Path | None = None
    """The page, FILE.html, or a folder for it; report.html in the first folder unless given."""
    quiet: bool = False  # No progress and no messages.


def run(options: Options) -> None:
    """Write the page and, for binding models, two figures; print the findings and the paths.

    Raises:
        InputError: if a folder does not exist, none holds a run, or a file in them is damaged.
    """
    folders = options.folders
    say: Say = silent if options.quiet else partial(print, file=sys.stderr)
    say(f"comparing the runs in {', '.join(map(str, folders))}")
    kinds = kinds_of(folders)
    chapters = [CHAPTERS[kind](folders) for kind in kinds]  # all is read before any is written
    page = options.out or folders[0] / REPORT
    page = page if page.suffix == ".html" else page / REPORT
    figures: dict[Path, Draw] = comparison_figures(folders, page.parent) if "binding" in kinds else {}
    missing = write_page(chapters, page, TITLES[kinds[0]] if len(kinds) == 1 else "Runs compared")
    for chapter in chapters:
        for table in chapter.tables:
            if table.printed:
                print(table.text(), end="\n\n")
        for finding in chapter.findings:
            print(finding)
    for caption in missing:
        say(f"warning: {caption}")
    for path in [*save_all(figures, say), page]:
        print(path)
