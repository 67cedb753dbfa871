"""Tables of the yeast battery, from records of runs/yeast_battery.sh."""

from collections.abc import Mapping

from dnalm.results.labels import PRETRAINED
from docs.make.language import Trained
from docs.make.markdown import NONE_YET, Run, spread, table

BATTERY = "yeast-battery-"
CORES = {
    "causal": "causal, one genome",
    "masked": "masked, one genome",
    "nine": "masked, nine genomes",
}
TASKS = {"tss": "TSS", "polya": "polyA", "reb1": "Reb1", "abf1": "Abf1"}


def _of_cores(records: Mapping[str, Run], kind: str) -> dict[str, Run]:
    """Return the records of a kind by the name of their core, of those that there are."""
    named = {words: f"{BATTERY}{kind}-{core}" for core, words in CORES.items()}
    return {words: records[name] for words, name in named.items() if name in records}


def cores_table(runs: Mapping[str, Trained]) -> str:
    """One row a core: what it was trained on, its bits, and those at the bases of masked models."""
    rows = []
    for core, words in CORES.items():
        one = runs.get(f"{BATTERY}core-{core}")
        if one is None or one.metrics.at_fixed is None:
            continue
        m, gain = one.metrics, one.run["metrics"]["gain"]
        rows.append(
            [words, f"{m.ladder.train_bases:,}", f"{m.tokens / 1e6:.1f} million", f"{work(one) / 1e12:.0f}"]
            + [one.bits]
            + [spread(gain, "+"), spread(m.at_fixed._asdict())]
        )
    columns = ["core", "training bases", "tokens", "TFLOP", "bits per base, or per masked base"]
    return table(
        [*columns, "gain over the best count model that sees as much", "bits at the masked bases"], rows
    )


def work(one: Trained) -> float:
    """Return FLOP of a training, forward and backward: 6 N + 6 L S D a token, 12 L S D if not causal."""
    shape = one.run["recipe"]["encoder"]
    attention = shape["n_layer"] * shape["block_size"] * shape["n_embd"] * (12 if one.metrics.masked else 6)
    return float((6 * one.metrics.parameters + attention) * one.metrics.tokens)


def paired_table(records: Mapping[str, Run]) -> str:
    """Differences of the cores' bits at the same positions."""
    run = records.get(f"{BATTERY}paired")
    if run is None:
        return NONE_YET
    rows = [[_in_words(name), spread(gap, "+")] for name, gap in run["metrics"]["minus"].items()]
    return table(["", f"bits at {run['metrics']['bases']:,} masked bases"], rows)


def _in_words(difference: str) -> str:
    return " less ".join(CORES.get(core, core) for core in difference.split(" - "))


def classes_table(records: Mapping[str, Run]) -> str:
    """One row a kind of feature: bits per base that each core saves over the Markov model."""
    scored = _of_cores(records, "score")
    if not scored:
        return NONE_YET
    columns = [f"{words}, {run['metrics']['bases']:,} bases" for words, run in scored.items()]
    found = [{row["name"]: row for row in run["metrics"]["features"]} for run in scored.values()]
    rows = [
        [
            name,
            f"{row['bases']:,}",
            *(spread(each[name]["gain"], "+") if name in each else "" for each in found),
        ]
        for name, row in found[0].items()
    ]
    return table(["", "bases, of the first", *columns], rows)


def substitutions_table(records: Mapping[str, Run]) -> str:
    """One row a core and class of substitutions: AUROC against synonymous ones, of both models."""
    rows = [
        [words, f"{row['name']} against synonymous, {row['codons']:,} codons"]
        + [spread(row["model"]), spread(row["markov"]), spread(row["difference"], "+")]
        for words, run in _of_cores(records, "score").items()
        for row in run["metrics"]["substitutions"]
    ]
    return table(["core", "AUROC", "of the core", "of the Markov model", "difference"], rows)


def variants_table(records: Mapping[str, Run]) -> str:
    """One row a core and class of rare variants: AUROC of each score against common ones."""
    rows, columns = list[list[str]](), dict[str, None]()
    for words, run in _of_cores(records, "variants").items():
        for each in run["metrics"]["contrasts"]:
            columns |= dict.fromkeys(each["scores"])
            cells = [spread(score["auroc"]) for score in each["scores"].values()]
            rows.append([words, f"{each['name']}: {each['rare']:,} against {each['common']:,}", *cells])
    return table(["core", "rare against common", *columns], rows)


def tasks_table(records: Mapping[str, Run]) -> str:
    """One row a task and number of chromosomes: R of each model, and the pretrained model's lead."""
    rows, columns = list[list[str]](), list[str]()
    for task, words in TASKS.items():
        for chromosomes in (1, 4, 14):
            run = records.get(f"{BATTERY}{task}-{chromosomes}")
            if run is None:
                continue
            m = run["metrics"]
            leads = {f"{PRETRAINED} minus {name}": spread(lead, "+") for name, (lead,) in m["minus"].items()}
            cells = {name: spread(score) for name, (score,) in m["scores"].items()} | leads
            columns = list(cells)
            rows.append([words, str(chromosomes), f"{m['windows'][0]:,}", *cells.values()])
    return table(["track", "chromosomes", "training windows", *columns], rows)


def few_labels_table(records: Mapping[str, Run]) -> str:
    """One row a core: R of coding bases at the fewest labels, with its untrained twin."""
    rows = []
    for core, words in CORES.items():
        run = records.get(f"{BATTERY}coding-{core}")
        if run is not None:
            m = run["metrics"]
            rows.append([words, *(spread(m["scores"][name][0]) for name in (PRETRAINED, "untrained"))])
            rows[-1].append(spread(m["minus"]["untrained"][0], "+"))
    return table(["core", "pretrained", "untrained", "difference"], rows)


def expression_table(records: Mapping[str, Run]) -> str:
    """One row a set of features: R of the expression of the test genes, and its lead over k-mers."""
    run = records.get(f"{BATTERY}expression")
    if run is None:
        return NONE_YET
    m = run["metrics"]
    rows = [
        [_of_features(name), spread(each["r"]), "" if name == "k-mers" else spread(each["minus_kmers"], "+")]
        for name, each in m["scores"].items()
    ]
    return table([f"{m['genes']['test']:,} test genes", "R", "minus k-mers"], rows)


def _of_features(name: str) -> str:
    core, _, state = name.partition(", ")
    return CORES.get(core, core) + (f", {state}" if state else "")
