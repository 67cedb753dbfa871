"""The page of a screen: the first of the ranking, how far to trust it, where the model looks.

Shapes used below
    N  pairs that were ranked
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from dnalm.errors import counted
from dnalm.report.comparisons import NODE_RATE, PairComparison
from dnalm.report.figures_predictions import CAUTION
from dnalm.report.figures_scores import probabilities
from dnalm.report.pages import Chapter, Picture, Table, picture, write_page
from dnalm.report.sentences import gain_text, interval, number, paragraphs, trust
from dnalm.results.pairs import PairResults

SHOWN, UNREAD_SHOWN = 20, 100
"""Rows of the ranking on the page, and rows that could not be read."""
LONGEST = 40
"""Characters of a name, SMILES or sequence in a table."""
RANKS_SHOWN = 5
"""Ranks of a scaffold in a cell of the table."""
NEARLY_ONE = 0.9995
"""A probability from here on is not written as 1."""
NARROW = 0.02
"""Probabilities this close to each other say next to nothing."""
FITTING = {
    (True, True): ("random", "cold-molecule", "scaffold", "cold-gene", "cold-both"),
    (True, False): ("cold-molecule", "scaffold", "cold-both"),
    (False, True): ("cold-gene", "cold-both"),
    (False, False): ("cold-both",),
}
"""Splits that test as much as a screen, by whether its genes and its molecules were seen in training."""

Side = Literal["gene", "molecule"]


@dataclass(frozen=True)
class Ranked:
    """One of the first of a ranking."""

    name: str
    probability: float
    known: str  # what the prepared set says of the pair: "positive in training", "no"
    training_pairs: int  # that the ranked gene or molecule is in
    shown: str  # its SMILES, or how its sequence begins
    drawing: bytes | None  # PNG of a molecule; None for a gene
    place: int = 1  # its rank
    same_scaffold: Sequence[int] = ()  # ranks of further molecules of its scaffold
    outside: bool = False  # whether it is outside the chemical range of the training set
    positive: str = ""  # SMILES of the most similar known positive of the gene
    positive_similarity: float = 0.0
    contributions: Mapping[str, float] = field(
        default_factory=dict
    )  # of the members of a combined model, nats


@dataclass(frozen=True)
class Screen:
    """A ranking of molecules for a gene, or of genes for a molecule."""

    query: Side  # what is given; the other side is ranked
    name: str  # of the query: GeneID, or SMILES
    drawing: bytes | None  # PNG of the molecule that is the query
    query_pairs: int  # training pairs that the query is in
    source: str  # where the ranked side comes from
    ranking: str  # the file of the full ranking
    probabilities: npt.NDArray[np.float64]  # [N]
    seen: int  # how many of the ranked are in a training pair
    first: Sequence[Ranked]
    unread: Sequence[Sequence[str]]  # position, content, and why it could not be read
    repeated: int  # molecules that occurred more than once
    attention: Sequence[tuple[str, bytes]]  # name and picture of each pair whose attention was drawn
    prior: float | None = None  # fraction of positives that the probabilities are adjusted to
    outside: int | None = None  # molecules outside the chemical range of the training set
    range_limit: float | None = None  # the similarity below which they are
    grouped: int = 0  # first molecules that are grouped by scaffold

    @property
    def ranked(self) -> Side:
        """The side that is ranked."""
        return "molecule" if self.query == "gene" else "gene"

    @property
    def fitting(self) -> tuple[str, ...]:
        """The splits that test as much as the screen: what is new in one is new in the other."""
        known = {self.query: self.query_pairs > 0, self.ranked: self.seen >= len(self.probabilities) / 2}
        return FITTING[known["gene"], known["molecule"]]


def write_screen(
    screen: Screen, results: PairResults, comparisons: Sequence[PairComparison], path: Path
) -> list[str]:
    """Write the page of a screen; return the captions of figures that could not be drawn.

    Args:
        screen: the ranking.
        results: of the model's training.
        comparisons: scores of the model, by part.
        path: of the page.
    """
    pictures = [
        Picture(png, f"{name}: along the gene (above) and on the atoms (below).", f"Attention of {name}")
        for name, png in screen.attention
    ]
    text = paragraphs("screen_attention", caution=CAUTION, drawn=bool(pictures))
    chapters = [
        _first(screen, results, comparisons),
        _trust(screen, results, comparisons),
        Chapter("Where the model looks", figures=pictures, paragraphs=text),
        _query(screen, results),
    ]
    count = counted(len(screen.probabilities), screen.ranked)
    return write_page(chapters, path, f"{count} ranked for {screen.query} {_short(screen.name)}")


def _first(screen: Screen, results: PairResults, comparisons: Sequence[PairComparison]) -> Chapter:
    """Return the chapter that answers: which candidates come first, and how far to trust it."""
    total, known = len(screen.probabilities), [each.known for each in screen.first]
    findings = paragraphs(
        "screen_findings",
        screen=screen,
        short=_short,
        shown_as=_probability,
        total=total,
        trust=trust(comparisons),
        spread=float(np.ptp(screen.probabilities)),
        narrow=NARROW,
        trained=known.count("positive in training"),
        held_out=sum(what.startswith("positive") and what != "positive in training" for what in known),
    )
    prevalence = screen.prior or results.validation.prevalence
    histogram = picture(
        partial(probabilities, screen.probabilities, prevalence),
        f"How many of the {counted(total, 'pair')} have which probability. A ranking whose pairs are all "
        "close together hardly separates them.",
        "Histogram of the calibrated probabilities",
    )
    text = paragraphs("screen_first", prevalence=f"{100 * prevalence:.3g} %", screen=screen)
    tables = [_hits(screen), *_details(screen)]
    return Chapter("The first of the ranking", findings, tables, [histogram], text)


def _hits(screen: Screen) -> Table:
    """Return the table of the first candidates; molecules of one scaffold share a row."""
    molecules = screen.ranked == "molecule"
    columns = [screen.ranked, "probability", "known pair", f"training pairs of the {screen.ranked}"]
    if molecules:
        columns.insert(1, "structure")
        columns += ["nearest positive of the gene", "same scaffold"]
    rows = []
    for each in screen.first:
        cells: list[str | Picture] = [
            _titled(each),
            _probability(each.probability),
            each.known,
            f"{each.training_pairs:,}",
        ]
        if molecules:
            near = f"similarity {each.positive_similarity:.2f}" if each.positive else "none"
            cells += [near + ("; outside the range" if each.outside else ""), _ranks(each.same_scaffold)]
        if each.drawing is not None:
            cells.insert(1, Picture(each.drawing, "", f"Structure of {each.shown}"))
        rows.append(cells)
    what = "scaffolds, each by its first molecule" if molecules and screen.grouped else screen.ranked + "s"
    return Table(f"The first {len(rows)} {what}; all are in {screen.ranking}.", columns, rows)


def _details(screen: Screen) -> list[Table]:
    """Return the table of their SMILES or sequences, and of what a combined model rests on."""
    first, columns = screen.first, {}
    if any(each.name != each.shown for each in first):
        name = "SMILES" if screen.ranked == "molecule" else "sequence begins"
        columns[name] = [_short(each.shown) for each in first]
    if any(each.positive for each in first):
        columns["nearest positive of the gene"] = [_short(each.positive) for each in first]
    for member in first[0].contributions:
        columns[member] = [f"{each.contributions[member]:+.2f}" for each in first]
    rows: list[list[str | Picture]] = [
        [_titled(each), *cells] for each, *cells in zip(first, *columns.values(), strict=True)
    ]
    caption = "The same, as text"
    if first[0].contributions:
        caption += ", and what each member of the model adds to the log-odds, in nats"
    return [Table(f"{caption}.", [screen.ranked, *columns], rows)] if columns else []


def _probability(value: float) -> str:
    return f"{value:.3f}" if value < NEARLY_ONE else "above 0.999"


def _titled(each: Ranked) -> str:
    return f"{each.place}. {_short(each.name)}"


def _ranks(places: Sequence[int]) -> str:
    """Return further ranks, the first few of them."""
    more = ", ..." if len(places) > RANKS_SHOWN else ""
    return f"ranks {', '.join(map(str, places[:RANKS_SHOWN]))}{more}" if places else ""


def _trust(screen: Screen, results: PairResults, comparisons: Sequence[PairComparison]) -> Chapter:
    """Return the chapter on how well the model ranks pairs that it has not seen."""
    query, rows = screen.query, []
    for c in comparisons:
        model, rate = next(iter(c.models.values())), c.baselines.get(NODE_RATE)
        key, gain = f"auroc_per_{query}", model.minus_best_baseline
        rows.append(
            [c.part, f"{model.scores.rows:,}", interval(model.score), number(c.node_rate)]
            + [number(getattr(model.scores, key).get("value"))]
            + ["not evaluated" if rate is None else number(getattr(rate.scores, key).get("value"))]
            + ["not evaluated" if gain is None else f"{gain_text(model)} ({gain.baseline})"]
        )
    columns = ["part", "pairs", "AUROC (95 % interval)", "AUROC of the node rate", f"within one {query}"]
    columns += [f"node rate within one {query}", "model minus the best baseline"]
    caption = f"Scores of {results.name}, {results.split} split, negatives {results.negatives}."
    text = paragraphs(
        "screen_trust",
        screen=screen,
        query_pairs=counted(screen.query_pairs, "training pair"),
        seen=f"{screen.seen:,} of the {counted(len(screen.probabilities), screen.ranked)}",
        split=results.split,
        fitting=screen.fitting,
        tested=any(c.part == "test" for c in comparisons),
    )
    return Chapter("How far to trust it", tables=[Table(caption, columns, rows)], paragraphs=text)


def _query(screen: Screen, results: PairResults) -> Chapter:
    """Return the chapter on the one gene or molecule that was given."""
    model, rows = results.model, list[list[str | Picture]]()
    if screen.drawing is not None:
        rows += [[screen.query, Picture(screen.drawing, "", f"Structure of {screen.name}")]]
    rows += [
        [screen.query if screen.drawing is None else "its SMILES", _short(screen.name)],
        [f"{screen.ranked}s from", screen.source],
        ["ranked", f"{len(screen.probabilities):,}"],
        ["of these in training", f"{screen.seen:,}"],
        ["not read", f"{len(screen.unread):,}"],
        ["more than once, ranked once", f"{screen.repeated:,}"],
        ["model", f"{results.name}: {model.kind}, {model.parameters:,} parameters"],
        ["trained on", f"{results.split} split, seed {results.seed}, negatives {results.negatives}"],
        ["digest of the pairs", results.digest[:12]],
    ]
    unread = [[each[0], _short(each[1]), each[2]] for each in screen.unread[:UNREAD_SHOWN]]
    more = f", the first {len(unread)} of {len(screen.unread):,}" if len(screen.unread) > len(unread) else ""
    details = [Table(f"What could not be read, and why{more}", ["", "", ""], unread)] if unread else []
    return Chapter("What was screened", tables=[Table("Query and model.", ["", ""], rows)], details=details)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
