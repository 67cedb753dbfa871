"""The chapter on models of genes and molecules: which is best, by how much, how certainly."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dnalm.bootstrap import RESAMPLES
from dnalm.record import read_record
from dnalm.report.figures import duration, pair_curves
from dnalm.report.figures_scores import MIN_PAIRS, Panel, auroc_intervals, reliability
from dnalm.report.pages import Chapter, Picture, Table, paragraphs, picture, run_facts
from dnalm.report.read_pairs import NODE_RATE, PairComparison, PairRuns, ranked, read_pairs
from dnalm.report.sentences import conditions, gain_text, interval, number, pair_findings
from dnalm.results import PairEntry, PairScores

MOST_LINES = 4
"""Models drawn over each other in one figure; more could not be distinguished."""
FEW = 3
"""Comparisons that give all their findings; of more, each gives its first."""


def pair_chapter(folders: Sequence[Path]) -> Chapter:
    """Return the chapter on the models of genes and molecules in some folders.

    Args:
        folders: each was `out` of `dnalm interact train`, or holds such folders.

    Raises:
        InputError: if there are no results, or a file is damaged.
    """
    runs = read_pairs(folders)
    comparisons = runs.comparisons
    titled = list(zip(_headings(comparisons), comparisons, strict=True))
    findings, tables = [], []
    for title, comparison in titled:
        tables += [_scores(title, comparison), *_shuffles(title, comparison)]
        if comparison.part == "validation" and _is_tested(comparisons, comparison):
            continue  # the test part shows it better
        sentences = pair_findings(comparison)[: None if len(comparisons) <= FEW else 1]
        findings += [f"{title}: {sentence}" for sentence in sentences]
    untested = [c for c in comparisons if c.part == "validation" and not _is_tested(comparisons, c)]
    return Chapter(
        title="Genes and molecules",
        findings=findings,
        tables=[*tables, *_cost(runs)],
        figures=_figures(runs, titled),
        paragraphs=paragraphs(
            "pairs",
            resamples=RESAMPLES,
            tested=any(c.part == "test" for c in comparisons),
            untested=list(dict.fromkeys(c.protocol.split for c in untested)),
            sets=len({c.protocol.digest for c in comparisons}),
            warnings=[f"{title}: {warning}" for title, c in titled for warning in c.warnings],
        ),
        details=[
            run_facts(name, read_record(path / "run.json"))
            for name, path in runs.paths.items()
            if (path / "run.json").is_file()
        ],
    )


def _headings(comparisons: Sequence[PairComparison]) -> list[str]:
    """Name the data of each comparison, with the seed where a split has several."""
    kinds = [(c.protocol.split, c.protocol.negatives, c.protocol.ratio, c.part) for c in comparisons]
    return [conditions(c, kinds.count(kind) > 1) for c, kind in zip(comparisons, kinds, strict=True)]


def _is_tested(comparisons: Sequence[PairComparison], one: PairComparison) -> bool:
    return any(c.part == "test" and c.protocol.digest == one.protocol.digest for c in comparisons)


def _scores(title: str, comparison: PairComparison) -> Table:
    """Return one row a model and a baseline, the models first, each kind by AUROC."""
    chance = number(comparison.scores.prevalence, 3)
    columns = ["", "AUROC (95 % interval)", f"AUPRC (prevalence {chance})", "per gene", "per molecule"]
    columns += ["EF1 %", "Brier", "ECE", "sequenced"]
    rows = [[name, *_cells(entry)] for name, entry in _ordered(comparison).items()]
    if not comparison.ladder:
        rows.append([NODE_RATE, number(comparison.node_rate), *["not evaluated"] * (len(columns) - 2)])
    return Table(f"Scores. {title}; {comparison.scores.rows:,} pairs.", columns, rows, printed=True)


def _cells(entry: PairEntry) -> list[str]:
    s, sequenced = entry.scores, entry.sequenced
    of_training = entry.model is not None and entry.minus_best_rung is None
    absent = "not evaluated" if of_training else "no such pairs"
    values = (s.auprc.value, s.auroc_per_gene.value, s.auroc_per_molecule.value)
    return [
        interval(s.auroc),
        *map(number, values),
        number(s.ef1, 2),
        *map(number, (s.brier, s.ece)),
        number(sequenced.auroc.value) if sequenced else absent,
    ]


def _ordered(comparison: PairComparison) -> dict[str, PairEntry]:
    """Return the models and then the baselines, each kind by AUROC."""
    models, ladder = comparison.models, comparison.ladder
    return {name: models[name] for name in ranked(models)} | {name: ladder[name] for name in ranked(ladder)}


def _shuffles(title: str, comparison: PairComparison) -> list[Table]:
    """Return one row a model: beside the best baseline, and with genes or molecules exchanged."""
    rows = []
    for name in ranked(comparison.models):
        one = comparison.models[name]
        if one.minus_best_rung and one.shuffled_genes and one.shuffled_molecules:
            scores = (one.scores, one.shuffled_genes, one.shuffled_molecules)
            baseline = one.minus_best_rung.rung or "none"
            rows.append([name, baseline, gain_text(one), *(interval(s.auroc) for s in scores)])
    columns = ["", "best baseline", "model minus best baseline (95 % paired interval)", "AUROC"]
    columns += ["AUROC, genes exchanged", "AUROC, molecules exchanged"]
    caption = f"Against the baselines and without the right sequences. {title}."
    return [Table(caption, columns, rows)] if rows else []


def _cost(runs: PairRuns) -> list[Table]:
    rows = [
        [name, one.model.kind, f"{one.split}, seed {one.seed}", f"{one.model.parameters:,}"]
        + [f"{one.training.epochs} ({one.training.best_epoch})", duration(one.training.seconds)]
        for name, one in runs.trained.items()
    ]
    columns = ["", "model", "split", "parameters", "epochs (best)", "time"]
    return [Table("What each model is and what it cost.", columns, rows)] if rows else []


def _figures(runs: PairRuns, titled: Sequence[tuple[str, PairComparison]]) -> list[Picture]:
    names = list(dict.fromkeys(name for _, c in titled for name in ranked(c.models)))
    entries = [(title, c, _ordered(c)) for title, c in titled]
    panels = [
        _panel(title, {name: one.scores for name, one in every.items()}, c.node_rate)
        for title, c, every in entries
    ]
    pictures = [
        picture(
            auroc_intervals(panels, everyone=names),
            "AUROC with its 95 % interval; models in colour, baselines in grey. Panels show different pairs: "
            "compare within a panel only. Counting alone reaches the dashed line.",
            "AUROC of each model and baseline",
        )
    ]
    panels = []
    for title, _, every in entries:
        scores = {name: one.sequenced for name, one in every.items() if one.sequenced}
        if scores:
            rate = scores[NODE_RATE].auroc.value if NODE_RATE in scores else float("nan")
            panels.append(_panel(title, scores, rate))
    if panels:
        title = "AUROC where the gene has an mRNA or a CDS"
        caption = (
            "The same over the pairs whose gene has an mRNA or a CDS, the sequenced part. A model that gains "
            "most here gains from the sequence."
        )
        figure = auroc_intervals(panels, title, names)
        pictures.append(picture(figure, caption, "AUROC over the sequenced part"))
    return [*pictures, *_reliability(titled, names), *_curves(runs)]


def _panel(title: str, scores: Mapping[str, PairScores], node_rate: float) -> Panel:
    """Return a panel of scores on the same pairs, with the node rate of these pairs in its heading."""
    rows = next(iter(scores.values())).rows
    heading = f"{title.rpartition(', node rate')[0]}; {rows:,} pairs, node rate {number(node_rate)}"
    return Panel(heading, {name: one.auroc for name, one in scores.items()}, node_rate=node_rate)


def _reliability(titled: Sequence[tuple[str, PairComparison]], names: Sequence[str]) -> list[Picture]:
    """Draw how reliable the probabilities are: of the test part, or of validation in its absence."""
    pictures, seen = [], set()
    for title, comparison in titled:
        best = ranked(comparison.models)[:MOST_LINES]
        if comparison.protocol.digest in seen or not best:
            continue
        seen.add(comparison.protocol.digest)
        calibrated = "after" if comparison.ladder else "before"
        more = f" Only the {MOST_LINES} best models are drawn." if len(comparison.models) > MOST_LINES else ""
        bins = {name: comparison.models[name].scores.reliability for name in best}
        pictures.append(
            picture(
                reliability(bins, names),
                f"{title}. Left: of the pairs with a probability, the fraction that is positive, "
                f"{calibrated} temperature scaling; above the dashed line, a probability is too low. Bins of "
                f"fewer than {MIN_PAIRS} pairs are left out. Right: the number of pairs.{more}",
                "Reliability of the predicted probabilities",
            )
        )
    return pictures


def _curves(runs: PairRuns) -> list[Picture]:
    pictures = []
    for name, one in runs.trained.items():
        rate = one.node_rate_validation
        title = f"Training: {name} ({one.split} split, negatives {one.negatives})"
        caption = (
            f"{name}: cross-entropy (left) and AUROC of the validation part (right) during training; epoch 0 "
            f"is untrained. {one.split.capitalize()} split, negatives {one.negatives}, node rate "
            f"{number(rate)}."
        )
        pictures.append(
            picture(pair_curves(one.training, title, rate), caption, f"Training curves of {name}")
        )
    return pictures
