"""Tables of models of genes and molecules, from the records of their evaluations."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import getitem
from statistics import fmean
from typing import Any, NamedTuple

from dnalm.report.comparisons import NODE_RATE
from dnalm.report.figures import duration
from docs.make.markdown import Run, figure, hardware, spread, table

SPLITS = ("random", "cold-molecule", "scaffold", "cold-gene", "cold-both")
PARTS = ("test", "validation")
COLUMNS = ["split", "part", "negatives"]
PUBLISHED = "published-"
"""What records of the published recipes begin with: of one seed, in tables of their own."""
Entry = Mapping[str, Any]


class Protocol(NamedTuple):
    """What an AUROC must not stand without."""

    split: str
    part: str
    negatives: str

    @property
    def order(self) -> tuple[Any, ...]:
        """Key to sort by: known splits and parts first."""
        at = [k.index(w) if w in k else len(k) for k, w in ((SPLITS, self.split), (PARTS, self.part))]
        return (*at, *self)


class Row(NamedTuple):
    """A model or baseline under one protocol, with an entry for each seed of the split."""

    protocol: Protocol
    name: str
    is_model: bool
    entries: list[Entry]

    @property
    def label(self) -> list[str]:
        """Protocol and name, as cells."""
        return [*self.protocol, f"{self.name}, model" if self.is_model else self.name]


def rows_of(records: Mapping[str, Run]) -> list[Row]:
    """Return all rows by protocol; the models first, each kind by mean AUROC."""
    several = _trained_twice(records)
    groups: dict[tuple[Protocol, bool, str], dict[tuple[int, str], Entry]] = {}
    for m in (run["metrics"] for run in records.values()):
        labels = _labels(m, several)
        for name, entry in m["models"].items():
            weights = str(entry["model"].get("weights", m["digest"]))
            groups.setdefault((_protocol(m), True, labels[name]), {})[m["seed"], weights] = entry
        for name, entry in m["ladder"].items():
            groups.setdefault((_protocol(m), False, name), {})[m["seed"], m["digest"]] = entry
    rows = [
        Row(protocol, name, is_model, [entries[key] for key in sorted(entries)])
        for (protocol, is_model, name), entries in groups.items()
    ]

    def order(row: Row) -> tuple[Any, ...]:
        auroc = mean(row.entries, _auroc)
        return row.protocol.order, not row.is_model, math.isnan(auroc), -auroc

    return sorted(rows, key=order)


def mean(entries: Sequence[Any], value: Callable[[Any], float | None]) -> float:
    """Return the mean of a figure over the seeds; NaN where it is not known."""
    values = [value(entry) for entry in entries]
    return fmean(math.nan if each is None else each for each in values) if values else math.nan


def best_table(records: Mapping[str, Run]) -> str:
    """One row a split of the test part: the best model, the best neural one, the best baseline, the gain."""
    rows = rows_of(records)
    lines = []
    for protocol in dict.fromkeys(row.protocol for row in rows if row.protocol.part == "test"):
        models = [row for row in rows if row.protocol == protocol and row.is_model]
        baselines = [row for row in rows if row.protocol == protocol and not row.is_model]
        if not models or not baselines:
            continue
        neural = next((_best(row) for row in models if not row.entries[0].get("members")), "none")
        gains = [entry["minus_best_baseline"] for entry in models[0].entries]
        better, worse = (sum(_sign(gain) == sign for gain in gains) for sign in (1, -1))
        lines.append(
            [protocol.split, _best(models[0]), neural, _best(baselines[0])]
            + [figure(node_rate(rows, protocol)), figure(mean(gains, lambda gain: gain["value"]), sign="+")]
            + [f"better in {better}, worse in {worse} of {len(gains)} seeds"]
        )
    columns = ["split", "best model, AUROC", "best neural model, AUROC", "best baseline, AUROC"]
    columns += ["node rate", "best model minus best baseline"]
    return table([*columns, "95 % paired interval"], lines)


def scores_table(records: Mapping[str, Run]) -> str:
    """One row a model or baseline and protocol: means over the seeds, and the interval of each seed."""
    rows = rows_of(records)
    lines = [
        [*row.label, str(len(row.entries)), _mean(row, "auroc", "value")]
        + ["; ".join(spread(entry["scores"]["auroc"]) for entry in row.entries)]
        + [figure(node_rate(rows, row.protocol)), _mean(row, "auprc", "value")]
        + [_mean(row, "prevalence", digits=3)]
        + [_mean(row, f"auroc_per_{node}", "value") for node in ("gene", "molecule")]
        + [_mean(row, "ef1", digits=2), _mean(row, "brier"), _mean(row, "ece")]
        for row in rows
    ]
    columns = [*COLUMNS, "model or baseline", "seeds", "AUROC, mean", "AUROC of each seed (95 % interval)"]
    columns += ["node rate", "AUPRC", "prevalence", "AUROC per gene", "AUROC per molecule", "EF at 1 %"]
    return table([*columns, "Brier", "ECE"], lines)


def gains_table(records: Mapping[str, Run]) -> str:
    """One row a model and protocol: its AUROC minus that of the best baseline, seed by seed."""
    lines = []
    for row in (row for row in rows_of(records) if row.is_model):
        gains = [entry["minus_best_baseline"] for entry in row.entries]
        lines.append(
            [*row.protocol, row.name, ", ".join(dict.fromkeys(str(gain["baseline"]) for gain in gains))]
            + [figure(mean(gains, lambda gain: gain["value"]), sign="+")]
            + ["; ".join(spread(gain, "+") for gain in gains)]
            + [f"{sum(_sign(gain) == sign for gain in gains)} of {len(gains)}" for sign in (1, -1)]
        )
    columns = [*COLUMNS, "model", "best baseline", "AUROC minus the baseline's, mean"]
    return table([*columns, "of each seed (95 % paired interval)", "better in", "worse in"], lines)


def members_table(records: Mapping[str, Run]) -> str:
    """One row a combined model and protocol: its AUROC and that of each member, means over the seeds."""
    rows = [row for row in rows_of(records) if row.entries[0].get("members")]
    names = list(dict.fromkeys(name for row in rows for name in row.entries[0]["members"]))
    lines = [
        [
            *row.protocol,
            *(figure(mean(row.entries, _member(name))) for name in names),
            _mean(row, "auroc", "value"),
        ]
        + ["; ".join(figure(entry["scores"]["ece"]) for entry in row.entries)]
        + ["; ".join(figure(entry["scores"]["brier"]) for entry in row.entries)]
        for row in rows
    ]
    return table([*COLUMNS, *names, "combined", "its ECE, by seed", "its Brier score, by seed"], lines)


def pairs_table(records: Mapping[str, Run]) -> str:
    """One row two models evaluated on the same pairs: the difference in AUROC, seed by seed."""
    several = _trained_twice(records)
    groups: dict[tuple[Protocol, str, str], dict[int, Entry]] = {}
    for m in (run["metrics"] for run in records.values()):
        labels = _labels(m, several)
        for pair in m.get("pairs") or []:
            key = (_protocol(m), labels[pair["one"]], labels[pair["other"]])
            groups.setdefault(key, {})[m["seed"]] = pair
    lines = []
    for (protocol, one, other), by_seed in sorted(
        groups.items(), key=lambda item: (item[0][0].order, item[0][1:])
    ):
        gaps = [by_seed[seed] for seed in sorted(by_seed)]
        lines.append(
            [*protocol, one, other, figure(mean(gaps, lambda gap: gap["value"]), sign="+")]
            + ["; ".join(spread(gap, "+") for gap in gaps)]
        )
    columns = [*COLUMNS, "one", "other", "AUROC of one minus the other's, mean"]
    return table([*columns, "of each seed (95 % paired interval)"], lines)


def sequenced_table(records: Mapping[str, Run]) -> str:
    """One row a model or baseline, over the pairs whose gene has an mRNA or CDS."""
    rows = [
        row._replace(entries=[entry["sequenced"] for entry in row.entries if entry.get("sequenced")])
        for row in rows_of(records)
    ]
    rates = {row.protocol: mean(row.entries, _value) for row in rows if row.name == NODE_RATE}
    lines = [
        [*row.label, str(len(row.entries)), f"{mean(row.entries, lambda scores: scores['rows']):,.0f}"]
        + [figure(mean(row.entries, _value)), "; ".join(spread(scores["auroc"]) for scores in row.entries)]
        + [figure(rates.get(row.protocol))]
        for row in rows
        if row.entries
    ]
    columns = [*COLUMNS, "model or baseline", "seeds", "pairs, mean", "AUROC, mean"]
    return table([*columns, "AUROC of each seed (95 % interval)", "node rate there"], lines)


def shuffles_table(records: Mapping[str, Run]) -> str:
    """One row a model and protocol: AUROC as it is, and with genes or molecules exchanged."""
    rows = rows_of(records)
    kinds = ("scores", "shuffled_genes", "shuffled_molecules")
    lines = [
        [*row.protocol, row.name, str(len(row.entries))]
        + [figure(mean([entry[kind] for entry in row.entries], _value)) for kind in kinds]
        + [figure(node_rate(rows, row.protocol))]
        for row in rows
        if row.is_model
    ]
    columns = [*COLUMNS, "model", "seeds", "AUROC, mean", "genes exchanged", "molecules exchanged"]
    return table([*columns, "node rate"], lines)


def trained_table(records: Mapping[str, Run]) -> str:
    """One row a trained model: how, how long, and its AUROC on the part that chose its epoch."""
    lines = []
    at = {split: row for row, split in enumerate(SPLITS)}
    for name, run in sorted(
        records.items(), key=lambda item: (at.get(item[1]["metrics"]["split"], 9), item[0])
    ):
        m, recipe = run["metrics"], run["recipe"].get("train")
        model, training = m["model"], m["training"]
        lines.append(
            [name, model["kind"], m["split"], m["negatives"], f"{run['data']['parts']['train']['rows']:,}"]
            + ["" if recipe is None else f"{recipe['batch_size']}, {recipe['lr']:g} to {recipe['min_lr']:g}"]
            + ["" if recipe is None else f"{training['best_epoch']} of {training['epochs']}"]
            + [duration(training["seconds"])]
            + [spread(m["validation"]["auroc"]), figure(m["node_rate_validation"])]
            + [f"{model['trained_parameters']:,} of {model['parameters']:,}", hardware(run)]
        )
    columns = ["run", "model", "split", "negatives", "training pairs", "batch, learning rate", "best epoch"]
    columns += ["time", "validation AUROC (95 % interval)", "node rate there", "parameters trained"]
    return table([*columns, "hardware"], lines)


def node_rate(rows: Sequence[Row], protocol: Protocol) -> float:
    """Return the mean AUROC of the node rate of a protocol."""
    return next(
        (mean(row.entries, _auroc) for row in rows if (row.protocol, row.name) == (protocol, NODE_RATE)),
        math.nan,
    )


def _best(row: Row) -> str:
    return f"{row.name}, {figure(mean(row.entries, _auroc))}"


def _member(name: str) -> Callable[[Entry], float | None]:
    """Return what gives the AUROC of a member of an evaluated model."""
    return lambda entry: entry["members"].get(name, {}).get("value")


def _sign(gain: Entry) -> int:
    low, high = (math.nan if gain[key] is None else gain[key] for key in ("low", "high"))
    return 1 if low > 0 else -1 if high < 0 else 0


def _auroc(entry: Entry) -> float | None:
    return _value(entry["scores"])


def _value(scores: Entry) -> float | None:
    value: float | None = scores["auroc"]["value"]
    return value


def _mean(row: Row, *keys: str, digits: int = 4) -> str:
    """Return the mean of one of the scores, by its keys."""
    return figure(mean([reduce(getitem, keys, entry["scores"]) for entry in row.entries], _known), digits)


def _protocol(m: Entry) -> Protocol:
    ratio = "" if m["ratio"] is None or m["negatives"] == "none" else f", {m['ratio']:g} to 1"
    return Protocol(m["split"], m["part"], m["negatives"] + ratio)


def _trained_twice(records: Mapping[str, Run]) -> set[str]:
    """Return the kinds of which one split and seed has several models: names tell these apart."""
    weights: dict[tuple[Protocol, int, str], set[str]] = {}
    for m in (run["metrics"] for run in records.values()):
        for entry in m["models"].values():
            key = (_protocol(m), int(m["seed"]), str(entry["model"]["kind"]))
            weights.setdefault(key, set()).add(str(entry["model"].get("weights", m["digest"])))
    return {kind for (_, _, kind), digests in weights.items() if len(digests) > 1}


def _labels(m: Entry, several: set[str]) -> dict[str, str]:
    """Return what each model of an evaluation is called: its kind, and its name where that is not enough."""
    kinds = {name: str(entry["model"]["kind"]) for name, entry in m["models"].items()}
    return {
        name: f"{name} ({kind})" if kind in several or list(kinds.values()).count(kind) > 1 else kind
        for name, kind in kinds.items()
    }


def _known(value: float | None) -> float | None:
    return value
