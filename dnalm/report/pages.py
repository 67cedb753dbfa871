"""Pages: an answer, a table of contents, and chapters of tables, figures and text, in one HTML file."""

import base64
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dnalm.files import write_text
from dnalm.record import read_record
from dnalm.report.figures import DPI, Draw, png
from dnalm.report.sentences import templates

ANSWERS = 5
"""Sentences that a page begins with, at most."""


@dataclass(frozen=True)
class Picture:
    """A PNG with its caption; `alt` is for a reader who cannot see it."""

    png: bytes  # empty if it could not be drawn: the caption says why
    caption: str
    alt: str

    @property
    def data(self) -> str:
        """The PNG in base64, for a data: address."""
        return base64.b64encode(self.png).decode()

    @property
    def width(self) -> int:
        """Width on the page in CSS pixels, 96 an inch, so that letters have one size in every picture."""
        return int.from_bytes(self.png[16:20], "big") * 96 // DPI  # PNG: IHDR's width is at byte 16


@dataclass(frozen=True)
class Table:
    """Rows of text or pictures under named columns; the first column names the row."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Picture]]
    printed: bool = False
    """Shown in the terminal too."""

    def text(self) -> str:
        """Return the table as lines whose columns are aligned."""
        lines = [list(map(str, line)) for line in (self.columns, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
        return "\n".join([self.caption, *("  ".join(line).rstrip() for line in padded)])


@dataclass(frozen=True)
class Chapter:
    """One part of a page.

    The findings answer the reader's question, the most important first; paragraphs say how to read the tables
    and figures; details are folded tables of how the results were made.
    """

    title: str
    findings: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Picture] = ()
    paragraphs: Sequence[str] = ()
    details: Sequence[Table] = ()

    @property
    def sections(self) -> dict[str, str]:
        """Headings of the sections that are not empty, by field."""
        headings = {
            "findings": "Findings",
            "tables": "Results",
            "figures": "Figures",
            "paragraphs": "How to read this",
            "details": "How it was made",
        }
        return {key: name for key, name in headings.items() if getattr(self, key)}


def write_page(chapters: Sequence[Chapter], path: Path, title: str) -> list[str]:
    """Write `chapters` as one self-contained HTML page, complete or not at all.

    The page begins with the first findings of each chapter. A single chapter gives its first figure too, and
    does not repeat what stands there.

    Returns:
        The captions of figures that could not be drawn.
    """
    missing = [figure.caption for chapter in chapters for figure in chapter.figures if not figure.png]
    each = max(1, ANSWERS // max(1, sum(bool(chapter.findings) for chapter in chapters)))
    answer = [(row, text) for row, chapter in enumerate(chapters, 1) for text in chapter.findings[:each]]
    first: Sequence[Picture] = ()
    if len(chapters) == 1:
        (chapter,) = chapters
        first = chapter.figures[:1]
        chapters = [replace(chapter, findings=chapter.findings[each:], figures=chapter.figures[1:])]
    values = {"title": title, "chapters": chapters, "answer": answer, "pictures": first}
    write_text(path, templates().get_template("page.html.j2").render(values))
    return missing


def picture(draw: Draw, caption: str, alt: str) -> Picture:
    """Draw a picture of a page; one that cannot be drawn does not cost the page."""
    try:
        return Picture(png(draw), caption, alt)
    except Exception as error:
        return Picture(b"", f"{alt}: not drawn ({type(error).__name__}: {error})", alt)


def how_made(name: str, run: Path, more: Sequence[Sequence[str]] = ()) -> Table:
    """Return how a run was made, from its record or the run.json in its folder, if any; more rows follow."""
    path, rows = run if run.is_file() else run / "run.json", list[Sequence[str]]()
    if path.is_file():
        record = read_record(path)
        rows += [["command", shlex.join(record["command"])]]
        parts = ("seed", "recipe", "versions", "hardware", "data", "git")
        rows += [[part, _flat(record.get(part))] for part in parts]
        rows.append(["finished", str(record["timings"].get("finished"))])
        if record.get("peak_memory_bytes"):
            rows.append(["peak memory", f"{record['peak_memory_bytes'] / 1e6:,.0f} MB"])
    return Table(f"How {name} was made", ["", ""], [*rows, *more])


def _flat(value: Any) -> str:
    """Return JSON values as one line of text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " ".join(_flat(item) for item in value)
    return "none" if value is None else str(value)
