"""The page of a screen: the first of the ranking, how far to trust it, where the model looks, what was asked.

Shapes used below
    N  pairs that were ranked
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dnalm.report.attention_plots import CAUTION
from dnalm.report.binding_words import figure_of
from dnalm.report.interaction_plots import CHANCE, probabilities
from dnalm.report.interaction_words import conditions, figure, verdict
from dnalm.report.page import Chapter, Picture, Table, draw, write_page
from dnalm.report.read import number
from dnalm.report.read_pairs import NODE_RATE, Comparison, Judged, auroc_of

SHOWN = 20
"""Of the ranking, how many the page shows."""
UNREAD_SHOWN = 100
"""Rows that could not be read, of which the page gives the reason."""
LONGEST = 40
"""Characters of a name, SMILES or sequence in a table; the ranking's own file has all of them."""
NARROW = 0.02
"""Probabilities that are no further apart say next to nothing."""
FITTING = {
    (True, True): ("random", "cold-molecule", "scaffold", "cold-gene", "cold-both"),
    (True, False): ("cold-molecule", "scaffold", "cold-both"),
    (False, True): ("cold-gene", "cold-both"),
    (False, False): ("cold-both",),
}
"""Splits that say enough of a question, by whether its genes and its molecules were seen in training."""

Side = Literal["gene", "molecule"]


@dataclass(frozen=True)
class Ranked:
    """One of the first of a ranking."""

    name: str
    probability: float
    known: str
    """What the prepared set says of the pair: "positive in training", "no"."""
    training_pairs: int
    """That the one which is ranked is in."""
    shown: str
    """Its SMILES, or how its sequence begins."""
    drawing: bytes | None
    """PNG of a molecule; None for a gene."""


@dataclass(frozen=True)
class Screen:
    """What was asked, and what came of it."""

    asked: Side
    """What one of was given: for a gene molecules are ranked, for a molecule genes."""
    name: str
    """GeneID, or SMILES."""
    drawing: bytes | None
    """PNG of the molecule that was asked about."""
    asked_pairs: int
    """Training pairs that it is in."""
    source: str
    """Where what is ranked comes from."""
    ranking: str
    """The file that holds all of the ranking."""
    probabilities: npt.NDArray[np.float64]
    """[N]."""
    seen: int
    """Of what is ranked, how many are in a training pair."""
    first: Sequence[Ranked]
    unread: Sequence[Sequence[str]]
    """Where it stands, what stands there, and why it could not be read."""
    repeated: int
    """Molecules that were there more than once."""
    attention: Sequence[tuple[str, bytes]]
    """Name and picture of each pair that was looked at."""

    @property
    def ranked(self) -> Side:
        """What is ranked."""
        return "molecule" if self.asked == "gene" else "gene"


def write_screen(
    screen: Screen, results: Mapping[str, Any], judged: Sequence[Comparison], path: Path
) -> None:
    """Write the page of a screen.

    Args:
        screen: what was asked, and what came of it.
        results: of the model's training.
        judged: what the model was judged at, by part.
        path: the page.
    """
    chapters = [
        _first(screen, results, judged),
        _trust(screen, results, judged),
        _looks(screen),
        _asked(screen, results),
    ]
    title = (
        f"{_count(len(screen.probabilities), screen.ranked)} ranked for {screen.asked} {_short(screen.name)}"
    )
    write_page(chapters, path, title)


def trust(judged: Sequence[Comparison]) -> str:
    """Say in a sentence how far a ranking can be trusted: by the test part, or by validation in its place.

    Args:
        judged: what one model was judged at, by part.
    """
    best = next((c for c in judged if c.part == "test"), judged[0])
    model, rate = next(iter(best.models.values())), best.node_rate
    auroc, gain = auroc_of(model.scores), model.gain
    said = f"{conditions(best)}: the model's AUROC is {figure_of(auroc)}"
    if any(map(math.isnan, (*auroc, rate))):
        return f"{said}. It cannot be put beside the node rate: how far to trust this ranking is not known."
    floor = "the node rate, which looks at no feature" if rate > CHANCE else "guessing"
    if auroc.high < max(rate, CHANCE):
        return f"{said}, below {floor}: do not follow this ranking."
    if auroc.low <= max(rate, CHANCE):
        return f"{said}, not to be told apart from {floor}: the ranking may say nothing that it does not."
    if gain is not None and gain.high < 0:
        return (
            f"{said}, above {floor}, but {model.rung}, a baseline, ranks better by {-gain.value:.4f}: trust "
            "that one more."
        )
    return f"{said}, above {floor}: the ranking says something."


def fits(screen: Screen, split: str) -> str:
    """Say whether the split that a model was judged by asks what the screen asks.

    Args:
        screen: what was asked.
        split: by which training and test were parted.
    """
    count = len(screen.probabilities)
    new = screen.seen < count / 2
    known = {screen.asked: screen.asked_pairs > 0, screen.ranked: not new}
    fitting = FITTING[known["gene"], known["molecule"]]
    said = (
        f"The {screen.asked} is in {_count(screen.asked_pairs, 'training pair')}, and {screen.seen:,} of the "
        f"{_count(count, screen.ranked)} {'is' if screen.seen == 1 else 'are'} in any."
    )
    if split in fitting:
        return f"{said} The model's figures are of the {split} split, which asks no less than this."
    return (
        f"{said} The model's figures are of the {split} split, in which training has seen what is new here: "
        f"expect less of this ranking. The split that asks the same is {fitting[0]}."
    )


def _first(screen: Screen, results: Mapping[str, Any], judged: Sequence[Comparison]) -> Chapter:
    best, count = screen.first[0], len(screen.probabilities)
    share = number(results["validation"]["prevalence"])
    top = [each.known for each in screen.first]
    trained = sum(known == "positive in training" for known in top)
    held = sum(known.startswith("positive") for known in top) - trained
    found = [
        f"{screen.ranked.capitalize()} {_short(best.name)} is first of {_count(count, screen.ranked)}, with "
        f"a probability of {best.probability:.3f}.",
        trust(judged),
    ]
    spread = float(np.ptp(screen.probabilities))
    if count > 1 and spread < NARROW:
        found.append(
            f"All probabilities are within {spread:.2g} of each other: the model hardly tells these pairs "
            "apart."
        )
    if trained:
        found.append(
            f"Of the first {len(top)}, {trained} {'was' if trained == 1 else 'were'} shown to the model as "
            "positive in training: what puts such a pair first may be memory."
        )
    if held:
        found.append(
            f"Of the first {len(top)}, {held} {'is a' if held == 1 else 'are'} known positive"
            f"{'' if held == 1 else 's'} of which the model learned nothing in training."
        )
    meaning = (
        f"Probabilities are those of a set in which {share:.0%} of the pairs interact, as in validation, "
        "where they were calibrated. Where fewer pairs do, as in most libraries, they are too high; the "
        "order stays. A known pair is one that the prepared pairs hold; one drawn as negative is only not "
        "known to interact."
    )
    histogram = draw(
        partial(probabilities, screen.probabilities, prevalence=share),
        f"How many of the {count:,} pairs have which probability. A ranking whose pairs all stand close "
        "together hardly tells them apart.",
        "Histogram of the calibrated probabilities",
    )
    return Chapter("The first of the ranking", [meaning], found, [_hits(screen)], [histogram])


def _hits(screen: Screen) -> Table:
    columns = [screen.ranked, "probability", "known pair", f"training pairs of the {screen.ranked}"]
    if drawn := screen.ranked == "molecule":
        columns.insert(1, "structure")
    if named := any(each.name != each.shown for each in screen.first):
        columns.append("SMILES" if drawn else "sequence begins")
    rows = []
    for rank, each in enumerate(screen.first, 1):
        cells: list[str | Picture] = [f"{rank}. {_short(each.name)}", f"{each.probability:.3f}", each.known]
        cells += [f"{each.training_pairs:,}", *([_short(each.shown)] if named else [])]
        if each.drawing is not None:
            cells.insert(1, Picture(each.drawing, "", f"Structure of {each.shown}"))
        rows.append(cells)
    return Table(f"The first {len(rows)}; all are in {screen.ranking}.", columns, rows)


def _trust(screen: Screen, results: Mapping[str, Any], judged: Sequence[Comparison]) -> Chapter:
    asked = screen.asked
    explained = (
        "AUROC is the chance that a pair that interacts is ranked above one that does not; within one "
        f"{asked}, as in this screen, it is the mean over the {asked}s that have pairs of both kinds. The "
        "node rate knows only how often each gene and molecule was positive in training. A model that is "
        "not above it has not been shown to read sequences and structures."
    )
    text = [fits(screen, str(results["split"])), explained]
    if not any(c.part == "test" for c in judged):
        text.append(
            "The test part was not judged. The validation part has chosen the epoch and the temperature, "
            "which flatters the model a little; run dnalm interact evaluate RUN --part test --out "
            "RUN/evaluation_test.json."
        )
    columns = ["part", "pairs", "AUROC (95 % interval)", "AUROC of the node rate", f"within one {asked}"]
    columns += [f"node rate within one {asked}", "model less the best rung of the ladder"]
    rows = [_judged(c, next(iter(c.models.values())), asked) for c in judged]
    split = f"{results['name']}, {results['split']} split, negatives {results['negatives']}"
    return Chapter("How far to trust it", text, tables=[Table(f"What {split}, came to.", columns, rows)])


def _judged(comparison: Comparison, model: Judged, asked: Side) -> list[str]:
    rung = comparison.ladder.get(NODE_RATE)
    key = f"auroc_per_{asked}"
    return [
        comparison.part,
        f"{int(model.scores['rows']):,}",
        figure_of(auroc_of(model.scores)),
        figure(comparison.node_rate),
        figure(number(model.scores[key]["value"])),
        "not judged" if rung is None else figure(number(rung.scores[key]["value"])),
        "not judged" if model.gain is None else f"{verdict(model)} ({model.rung})",
    ]


def _looks(screen: Screen) -> Chapter:
    if not screen.attention:
        return Chapter(
            "Where the model looks",
            [
                "Not drawn here. For a model with cross-attention, --attention FOLDER draws what it attends "
                "to in the first pairs, along the gene and on the atoms."
            ],
        )
    text = (
        f"{CAUTION} A dashed line marks what each range or atom would have were all attended to alike: what "
        "hardly leaves it tells nothing."
    )
    pictures = [
        Picture(
            png,
            f"{name}: along the gene (above) and on the atoms (below).",
            f"Attention in the pair of {name}",
        )
        for name, png in screen.attention
    ]
    return Chapter("Where the model looks", [text], figures=pictures)


def _asked(screen: Screen, results: Mapping[str, Any]) -> Chapter:
    count, model = len(screen.probabilities), results["model"]
    what: str | Picture = screen.name
    if screen.drawing is not None:
        what = Picture(screen.drawing, "", f"Structure of {screen.name}")
    rows: list[list[str | Picture]] = [[screen.asked, what]]
    if screen.drawing is not None:
        rows.append(["its SMILES", _short(screen.name)])
    rows += [
        [f"{screen.ranked}s from", screen.source],
        ["ranked", f"{count:,}"],
        ["of these in training", f"{screen.seen:,}"],
        ["not read", f"{len(screen.unread):,}"],
        ["more than once, ranked once", f"{screen.repeated:,}"],
        ["model", f"{results['name']}: {model['kind']}, {model['parameters']:,} parameters"],
        ["trained on", f"{results['split']} split, seed {results['seed']}, negatives {results['negatives']}"],
        ["digest of the pairs", str(results["digest"])[:12]],
    ]
    shown = [[each[0], _short(each[1]), each[2]] for each in screen.unread[:UNREAD_SHOWN]]
    more = f", the first {len(shown)} of {len(screen.unread):,}" if len(screen.unread) > len(shown) else ""
    details = [Table(f"What could not be read, and why{more}", ["", "", ""], shown)] if shown else []
    return Chapter(
        "What was screened", tables=[Table("Question and model.", ["", ""], rows)], details=details
    )


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
