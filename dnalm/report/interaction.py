"""The report's chapter on genes and molecules: which model or rung is best, by how much, how certainly."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dnalm.bootstrap import RESAMPLES
from dnalm.report.binding_words import figure_of
from dnalm.report.interaction_plots import LEAST_PAIRS, Panel, auroc_intervals, reliability, training_curves
from dnalm.report.interaction_words import conditions, figure, findings, verdict
from dnalm.report.page import Chapter, Picture, Table, draw
from dnalm.report.plots import duration
from dnalm.report.read import number
from dnalm.report.read_pairs import (
    NODE_RATE,
    Comparison,
    InteractionResults,
    Judged,
    Scores,
    auroc_of,
    read_results,
)

MOST_LINES = 4
"""Models drawn over each other in one picture; more could not be told apart."""
FEW = 3
"""Comparisons of which all findings are told; of more, the first of each."""

EXPLAINED = (
    "Each model is given a gene's sequence and a molecule's structure and says how likely the two are to "
    "interact. AUROC is the chance that a pair that interacts is scored above one that does not: 1 is "
    "perfect, 0.5 is guessing. How high it can be without any knowledge of genes or molecules depends on "
    "the split and on how the negatives were made, so that no AUROC stands here without them and without "
    "the node rate, which knows only how often each gene and each molecule was positive in training.",
    "The ladder is what a model must climb to have shown that it reads sequences and structures: node rate "
    "(no feature), matrix factorisation (who pairs with whom in training), nearest molecules (chemistry "
    "alone), gradient boosting (fingerprints and 4-mers).",
    f"Intervals are 95 % bootstrap intervals, of {RESAMPLES:,} resamples: whole molecules are drawn again, "
    "or what the split holds out: scaffolds, genes, or genes and molecules both. A model less the best rung "
    "is paired, the same being drawn for both, so that it can be certain though their own intervals "
    "overlap. The best rung is chosen on the pairs it is judged on, which favours the ladder a little.",
    "AUPRC of guessing is the share of positives. Per gene and per molecule: the mean AUROC within a gene, "
    "or a molecule, that has pairs of both kinds, where being a busy one cannot help. EF is the share of "
    "positives in the first 1 % of the list over their share in all. Brier and ECE ask whether 0.8 means 8 "
    "of 10; the temperature was fitted on the validation part. Sequenced: AUROC over the pairs whose gene "
    "has an mRNA or a CDS; the other genes have a short promoter only, which says little of the protein.",
)


def interaction_chapter(folders: Sequence[Path]) -> Chapter:
    """Tell what the models of genes and molecules in some folders came to.

    Args:
        folders: those that were --out of `dnalm interact train`, or folders that hold them.

    Returns:
        Findings, tables of scores, shuffles and cost, pictures, and how each model was made.

    Raises:
        InputError: if there are no results, or one of the files is damaged.
    """
    results = read_results(folders)
    titles = headings(results.comparisons)
    told = []
    for title, comparison in zip(titles, results.comparisons, strict=True):
        if comparison.part == "validation" and _tested(results.comparisons, comparison):
            continue  # the test part says it better
        sentences = findings(comparison)
        if len(results.comparisons) > FEW:
            sentences = sentences[:1]  # who is best; the rest stands in the tables
        told += [f"{title}: {sentence}" for sentence in sentences]
    tables = []
    for title, comparison in zip(titles, results.comparisons, strict=True):
        tables += [scores_table(title, comparison), *_shuffles(title, comparison)]
    return Chapter(
        title="Genes and molecules",
        findings=told,
        paragraphs=[*chosen(results.comparisons), *EXPLAINED, *_warnings(titles, results.comparisons)],
        tables=[*tables, *_cost(results)],
        figures=_figures(results, titles),
        details=[_how(name, content) for name, content in results.trained.items()],
    )


def headings(comparisons: Sequence[Comparison]) -> list[str]:
    """Name what each comparison was judged on, with the seed where a split has several."""
    kinds = [(c.protocol[:3], c.part) for c in comparisons]
    return [conditions(c, kinds.count((c.protocol[:3], c.part)) > 1) for c in comparisons]


def chosen(comparisons: Sequence[Comparison]) -> list[str]:
    """Say where only the part was judged that has chosen the epoch, and where another one was."""
    text = []
    if any(c.part == "test" for c in comparisons):
        text.append(
            "The test part had no say in training, nor in the choice of the epoch or the temperature. It is "
            "to be read once: who chooses a model by it has turned it into a validation part."
        )
    untested = [c for c in comparisons if c.part == "validation" and not _tested(comparisons, c)]
    if untested:
        splits = ", ".join(dict.fromkeys(c.protocol.split for c in untested))
        text.append(
            f"Only the validation part is judged here for the split: {splits}. It has chosen the epoch "
            "whose weights were kept, which flatters every model a little; run dnalm interact evaluate RUN "
            "--part test --out RUN/evaluation_test.json."
        )
    digests = {c.protocol.digest for c in comparisons}
    if len(digests) > 1:
        text.append(
            f"The results are of {len(digests)} different sets of pairs or splits. Figures of different ones "
            "do not compare: each is told by itself."
        )
    return text


def scores_table(title: str, comparison: Comparison) -> Table:
    """Return one row a model and a rung, the models first, each kind by AUROC."""
    some = comparison.scores
    chance = figure(number(some["prevalence"]), 3)
    columns = ["", "AUROC (95 % interval)", f"AUPRC (prevalence {chance})", "per gene", "per molecule"]
    columns += ["EF1 %", "Brier", "ECE", "sequenced"]
    rows = [
        [name, *_cells(one)]
        for name in comparison.ranked(comparison.models)
        for one in [comparison.models[name]]
    ]
    rows += [
        [name, *_cells(comparison.ladder[name])] for name in comparison.ranked(comparison.ladder)
    ] or _node_rate_alone(comparison, len(columns))
    return Table(f"Scores. {title}; {int(some['rows']):,} pairs.", columns, rows)


def _node_rate_alone(comparison: Comparison, columns: int) -> list[list[str]]:
    """Return the row of the node rate where the ladder was not judged."""
    return [[NODE_RATE, figure(comparison.node_rate), *["not judged"] * (columns - 2)]]


def _cells(one: Judged) -> list[str]:
    scores = one.scores
    absent = "not judged" if one.model is not None and one.gain is None else "no such pairs"
    auprc = figure(number(scores["auprc"]["value"]))
    groups = [figure(number(scores[f"auroc_per_{node}"]["value"])) for node in ("gene", "molecule")]
    return [
        figure_of(auroc_of(scores)),
        auprc,
        *groups,
        figure(number(scores["ef1"]), 2),
        *(figure(number(scores[key])) for key in ("brier", "ece")),
        figure(auroc_of(one.sequenced).value) if one.sequenced is not None else absent,
    ]


def _tested(comparisons: Sequence[Comparison], one: Comparison) -> bool:
    return any(c.part == "test" and c.protocol.digest == one.protocol.digest for c in comparisons)


def _shuffles(title: str, comparison: Comparison) -> list[Table]:
    """Return a row a model: beside the best rung, and with genes or molecules exchanged."""
    rows = []
    for name in comparison.ranked(comparison.models):
        one = comparison.models[name]
        if one.gain is None or one.shuffled_genes is None or one.shuffled_molecules is None:
            continue
        shuffled = [figure_of(auroc_of(s)) for s in (one.scores, one.shuffled_genes, one.shuffled_molecules)]
        rows.append([name, one.rung or "none", verdict(one), *shuffled])
    columns = ["", "best rung", "model less best rung (95 % paired interval)", "AUROC"]
    columns += ["AUROC, genes exchanged", "AUROC, molecules exchanged"]
    return (
        [Table(f"Against the ladder and without the right sequences. {title}.", columns, rows)]
        if rows
        else []
    )


def _cost(results: InteractionResults) -> list[Table]:
    rows = []
    for name, content in results.trained.items():
        training, model = content["training"], content["model"]
        rows.append(
            [name, model["kind"], f"{content['split']}, seed {content['seed']}", f"{model['parameters']:,}"]
            + [f"{training['epochs']} ({training['best_epoch']})", duration(training["seconds"])]
        )
    columns = ["", "model", "split", "parameters", "epochs (best)", "time"]
    return [Table("What each model is and what it cost.", columns, rows)] if rows else []


def _warnings(titles: Sequence[str], comparisons: Sequence[Comparison]) -> list[str]:
    return [
        f"Mind, {title}: {warning}."
        for title, comparison in zip(titles, comparisons, strict=True)
        for warning in comparison.warnings
    ]


def _figures(results: InteractionResults, titles: Sequence[str]) -> list[Picture]:
    names = list(dict.fromkeys(name for c in results.comparisons for name in c.ranked(c.models)))
    both = list(zip(titles, results.comparisons, strict=True))
    panels = [_panel(title, c, {name: one.scores for name, one in _everyone(c).items()}) for title, c in both]
    figures = [
        draw(
            partial(auroc_intervals, panels, models=names),
            "AUROC with its 95 % interval; models in colour, rungs of the ladder in grey. Panels are of "
            "different pairs: compare within a panel only. Right of the dashed line is more than counting "
            "can tell.",
            "AUROC of each model and baseline",
        )
    ]
    parts = [(title, c, _sequenced(c)) for title, c in both]
    panels = [_panel(title, c, scores) for title, c, scores in parts if scores]
    if panels:
        title = "AUROC where the gene has an mRNA or a CDS"
        figures.append(
            draw(
                partial(auroc_intervals, panels, title=title, models=names),
                "The same over the pairs whose gene has an mRNA or a CDS, the sequenced part. Where a model "
                "gains most here, it gains from what a sequence says.",
                "AUROC of each model and baseline over the sequenced part",
            )
        )
    figures += _reliability(both, names)
    for name, content in results.trained.items():
        figures.append(_training(name, content))
    return figures


def _everyone(comparison: Comparison) -> dict[str, Judged]:
    models, ladder = comparison.models, comparison.ladder
    return {name: models[name] for name in comparison.ranked(models)} | {
        name: ladder[name] for name in comparison.ranked(ladder)
    }


def _sequenced(comparison: Comparison) -> dict[str, Scores]:
    found = {name: one.sequenced for name, one in _everyone(comparison).items() if one.sequenced is not None}
    return dict(sorted(found.items(), key=lambda item: item[0] not in comparison.models))


def _panel(title: str, comparison: Comparison, scores: Mapping[str, Scores]) -> Panel:
    """Return a panel of some scores; its node rate is the one of the same pairs."""
    whole = _everyone(comparison)
    rate = comparison.node_rate
    if NODE_RATE in scores:
        rate = auroc_of(scores[NODE_RATE]).value
    elif any(scores[name] is not whole[name].scores for name in scores):
        rate = float("nan")
    some = next(iter(scores.values()))
    heading = f"{title.rpartition(', node rate')[0]}; {int(some['rows']):,} pairs, node rate {figure(rate)}"
    return Panel(heading, {name: auroc_of(one) for name, one in scores.items()}, rate)


def _reliability(both: Sequence[tuple[str, Comparison]], names: Sequence[str]) -> list[Picture]:
    """Draw how far probabilities can be believed: of the test part, or of what was judged in its place."""
    figures, drawn = [], set()
    for title, comparison in both:
        digest = comparison.protocol.digest
        best = comparison.ranked(comparison.models)[:MOST_LINES]
        if digest in drawn or not best:
            continue
        drawn.add(digest)
        bins = {name: comparison.models[name].scores["reliability"] for name in best}
        temperature = "after the temperature" if comparison.ladder else "before any temperature is fitted"
        more = f" Only the {MOST_LINES} best models are drawn." if len(comparison.models) > MOST_LINES else ""
        figures.append(
            draw(
                partial(reliability, bins, everyone=names),
                f"{title}. Of the pairs given a probability, the share that is positive, {temperature}: on "
                "the dashed line, the probability can be believed; above it, it is too low. Bins of fewer "
                f"than {LEAST_PAIRS} pairs are left out. Right: how many pairs.{more}",
                "Reliability of the predicted probabilities",
            )
        )
    return figures


def _training(name: str, content: Mapping[str, Any]) -> Picture:
    training = content["training"]
    rate = number(content["node_rate_validation"])
    plot = partial(
        training_curves,
        training["history"],
        title=f"Training: {name} ({content['split']} split, negatives {content['negatives']})",
        best_epoch=int(training["best_epoch"]),
        node_rate=rate,
    )
    caption = (
        f"{name}: cross-entropy (left) and AUROC of the validation part (right) as training went on; epoch "
        f"0 is untrained. {content['split'].capitalize()} split, negatives {content['negatives']}, node "
        f"rate {figure(rate)}."
    )
    return draw(plot, caption, f"Training curves of {name}")


def _how(name: str, content: Mapping[str, Any]) -> Table:
    model = content["model"]
    rows = [[key.replace("_", " "), str(value)] for key, value in model.items()]
    rows += [["pairs", f"{content['split']} split, seed {content['seed']}, digest {content['digest']}"]]
    return Table(f"How {name} was made", ["", ""], rows)
