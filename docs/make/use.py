"""Figures of runs that use a trained model, from their records."""

from collections.abc import Sequence

from docs.make.markdown import Run, figure, spread, table


def gains_table(run: Run, names: Sequence[str]) -> str:
    """Return the gain over the Markov model by feature, of a record of `dnalm score`."""
    found = {row["name"]: row for row in run["metrics"]["features"]}
    rows = [
        [name, f"{row['bases']:,}", figure(row["model"]), figure(row["markov"]), spread(row["gain"], "+")]
        for name, row in ((name, found[name]) for name in names)
    ]
    return table(["", "bases", "model", "Markov", "gain (95 % interval)"], rows)


def substitutions_table(run: Run) -> str:
    """Return AUROC by class of substitutions, of a record of `dnalm score`."""
    rows = [
        [f"{row['name']} against synonymous", f"{row['codons']:,}"]
        + [spread(row["model"]), spread(row["markov"]), spread(row["difference"], "+")]
        for row in run["metrics"]["substitutions"]
    ]
    return table(["substitutions", "codons", "model, AUROC", "Markov, AUROC", "difference"], rows)


def contrasts_table(run: Run) -> str:
    """Return AUROC of rare against common variants, of a record of `dnalm variants`."""
    rows = [
        [f"{each['name']}: {each['rare']:,} against {each['common']:,}"]
        + [spread(scores["auroc"]) for scores in each["scores"].values()]
        for each in run["metrics"]["contrasts"]
    ]
    return table(["rare", *run["metrics"]["contrasts"][0]["scores"]], rows)
