"""The chapter on models of genes and molecules: which is best, by how much, how certainly."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from dnalm.bootstrap import RESAMPLES
from dnalm.errors import counted
from dnalm.report.comparisons import NODE_RATE, PairComparison, PairRuns, ranked, read_pairs
from dnalm.report.figures import duration, epoch_curves
from dnalm.report.figures_scores import (
    MIN_BIN,
    MIN_PAIRS,
    Panel,
    auroc_by_training_pairs,
    auroc_intervals,
    reliability,
)
from dnalm.report.pages import Chapter, Picture, Table, how_made, picture
from dnalm.report.sentences import conditions, gain_text, interval, number, pair_findings, paragraphs

MOST_LINES = 4
"""Models drawn over each other in one figure; more could not be distinguished."""
FEW = 3
"""Comparisons that give all their findings; of more, each gives its first."""
Titled = Mapping[str, PairComparison]


def pair_chapter(folders: Sequence[Path]) -> Chapter:
    """Return the chapter on the pair models in some folders; raises InputError as `read_pairs` does."""
    runs = read_pairs(folders)
    titled = _titled(runs.comparisons)
    tested = {c.protocol.digest for c in runs.comparisons if c.part == "test"}
    untested = {t: c for t, c in titled.items() if c.part == "validation" and c.protocol.digest not in tested}
    findings = []
    for title, c in titled.items():
        if c.part != "validation" or title in untested:  # the test part shows it better
            first = pair_findings(c)[: None if len(titled) <= FEW else 1]
            findings += [f"{title}: {sentence}" for sentence in first]
    tables = [table for title, c in titled.items() for table in (_scores(title, c), _shuffles(title, c))]
    details = [how_made(name, path) for name, path in runs.paths.items()]
    return Chapter(
        title="Genes and molecules",
        findings=findings,
        tables=[table for table in (*tables, _cost(runs)) if table.rows],
        figures=_figures(runs, titled),
        paragraphs=paragraphs(
            "pairs",
            resamples=RESAMPLES,
            tested=tested,
            untested=list(dict.fromkeys(c.protocol.split for c in untested.values())),
            sets=len({c.protocol.digest for c in runs.comparisons}),
            warnings=[f"{title}: {warning}" for title, c in titled.items() for warning in c.warnings],
        ),
        details=[table for table in details if table.rows],
    )


def _titled(comparisons: Sequence[PairComparison]) -> dict[str, PairComparison]:
    """Name the data of each comparison, with the seed where a split has several."""
    plain = [conditions(c).rpartition(", node rate")[0] for c in comparisons]
    several = [plain.count(title) > 1 for title in plain]
    return {conditions(c, seed): c for c, seed in zip(comparisons, several, strict=True)}


def _scores(title: str, comparison: PairComparison) -> Table:
    """Return one row a model and a baseline, the models first, each kind by AUROC."""
    scores = next(iter(comparison.entries.values())).scores  # prevalence and rows are the same in all
    columns = ["", "AUROC (95 % interval)", f"AUPRC (prevalence {number(scores.prevalence, 3)})", "per gene"]
    columns += ["per molecule", "EF1 %", "Brier", "ECE", "sequenced"]
    rows = []
    for name, entry in comparison.entries.items():
        s, sequenced = entry.scores, entry.sequenced
        of_training = entry.model is not None and entry.minus_best_baseline is None
        absent = "not evaluated" if of_training else "no such pairs"
        values = (s.auprc.value, s.auroc_per_gene.get("value"), s.auroc_per_molecule.get("value"))
        rows.append(
            [name, interval(s.auroc), *map(number, values), number(s.ef1, 2), number(s.brier), number(s.ece)]
            + [number(sequenced.auroc.value) if sequenced else absent]
        )
    if not comparison.baselines:
        rows.append([NODE_RATE, number(comparison.node_rate), *["not evaluated"] * (len(columns) - 2)])
    return Table(f"Scores. {title}; {counted(scores.rows, 'pair')}.", columns, rows, printed=True)


def _shuffles(title: str, comparison: PairComparison) -> Table:
    """Return one row a model: beside the best baseline, and with genes or molecules exchanged."""
    rows = []
    for name in ranked(comparison.models):
        one = comparison.models[name]
        if one.minus_best_baseline and one.shuffled_genes and one.shuffled_molecules:
            scores = (one.scores, one.shuffled_genes, one.shuffled_molecules)
            baseline = one.minus_best_baseline.baseline or "none"
            rows.append([name, baseline, gain_text(one), *(interval(s.auroc) for s in scores)])
    columns = ["", "best baseline", "model minus best baseline (95 % paired interval)", "AUROC"]
    columns += ["AUROC, genes exchanged", "AUROC, molecules exchanged"]
    return Table(f"Against the baselines and without the right sequences. {title}.", columns, rows)


def _cost(runs: PairRuns) -> Table:
    """Return the table of what each training took."""
    rows = [
        [name, one.model.kind, f"{one.split}, seed {one.seed}", f"{one.model.parameters:,}"]
        + [f"{one.training.epochs} ({one.training.best_epoch})", duration(one.training.seconds)]
        for name, one in runs.trained.items()
    ]
    columns = ["", "model", "split", "parameters", "epochs (best)", "time"]
    return Table("What each model is and what it cost.", columns, rows)


def _figures(runs: PairRuns, titled: Titled) -> list[Picture]:
    """Draw the figures of all comparisons."""
    names = list(dict.fromkeys(name for c in titled.values() for name in ranked(c.models)))
    panels = [_panel(title, c, sequenced=False) for title, c in titled.items()]
    pictures = [
        picture(
            partial(auroc_intervals, panels, everyone=names),
            "AUROC with its 95 % interval; models in colour, baselines in grey. Panels show different pairs: "
            "compare within a panel only. Counting alone reaches the dashed line.",
            "AUROC of each model and baseline",
        )
    ]
    panels = [_panel(title, c, sequenced=True) for title, c in titled.items()]
    panels = [panel for panel in panels if panel.scores]
    if panels:
        caption = (
            "The same over the pairs whose gene has an mRNA or a CDS, the sequenced part. A model that gains "
            "most here gains from the sequence."
        )
        figure = partial(auroc_intervals, panels, "AUROC where the gene has an mRNA or a CDS", names)
        pictures.append(picture(figure, caption, "AUROC over the sequenced part"))
    return [*pictures, *_by_training_pairs(titled, names), *_reliability(titled, names), *_curves(runs)]


def _panel(title: str, comparison: PairComparison, *, sequenced: bool) -> Panel:
    """Return a panel of scores on the same pairs, with the node rate of these pairs in its heading."""
    every = {name: one.sequenced if sequenced else one.scores for name, one in comparison.entries.items()}
    scores = {name: one for name, one in every.items() if one}
    own = scores[NODE_RATE].auroc.value if NODE_RATE in scores else math.nan
    rate, rows = own if sequenced else comparison.node_rate, max((s.rows for s in scores.values()), default=0)
    heading = f"{title.rpartition(', node rate')[0]}; {counted(rows, 'pair')}, node rate {number(rate)}"
    return Panel(heading, {name: one.auroc for name, one in scores.items()}, node_rate=rate)


def _by_training_pairs(titled: Titled, names: Sequence[str]) -> list[Picture]:
    """Draw where each model ranks well: by how often gene and molecule were in training, of the test part."""
    pictures = []
    for title, c in titled.items():
        shown = [*ranked(c.models)[:MOST_LINES], *c.baselines]
        bins = {name: c.entries[name].by_training_pairs for name in shown}
        known = {name: one for name, one in bins.items() if one}
        if c.part != "test" or not known:
            continue
        pictures.append(
            picture(
                partial(auroc_by_training_pairs, known, names),
                f"{title}. AUROC by the number of training pairs of the gene (left) or the molecule (right); "
                f"models in colour, baselines in grey. Ranges of fewer than {MIN_BIN} pairs are left out.",
                "AUROC by number of training pairs",
            )
        )
    return pictures


def _reliability(titled: Titled, names: Sequence[str]) -> list[Picture]:
    """Draw how reliable the probabilities are: of the test part, or of validation in its absence."""
    pictures, seen = [], set()
    for title, c in titled.items():
        best = ranked(c.models)[:MOST_LINES]
        if c.protocol.digest in seen or not best:
            continue
        seen.add(c.protocol.digest)
        more = f" Only the {MOST_LINES} best models are drawn." if len(c.models) > MOST_LINES else ""
        bins = {name: c.models[name].scores.reliability for name in best}
        pictures.append(
            picture(
                partial(reliability, bins, names),
                f"{title}. Left: of the pairs with a probability, the fraction that is positive, "
                f"{'after' if c.baselines else 'before'} temperature scaling; above the dashed line, a "
                f"probability is too low. Bins of fewer than {MIN_PAIRS} pairs are left out. Right: the "
                f"number of pairs.{more}",
                "Reliability of the predicted probabilities",
            )
        )
    return pictures


def _curves(runs: PairRuns) -> list[Picture]:
    """Draw the training curves of all runs."""
    pictures = []
    for name, one in runs.trained.items():
        rate = one.node_rate_validation
        title = f"Training: {name} ({one.split} split, negatives {one.negatives})"
        caption = (
            f"{name}: cross-entropy (left) and AUROC of the validation part (right) during training; epoch 0 "
            f"is untrained. {one.split.capitalize()} split, negatives {one.negatives}, node rate "
            f"{number(rate)}."
        )
        curves = partial(epoch_curves, one.training, title, rate)
        pictures.append(picture(curves, caption, f"Training curves of {name}"))
    return pictures
