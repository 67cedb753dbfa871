"""Tables of models of genes and molecules for the documentation, made from run.json files: none is typed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import getitem
from typing import Any

from dnalm.report.binding_words import figure_of
from dnalm.report.interaction_words import figure
from dnalm.report.markdown import Run, hardware_name, markdown
from dnalm.report.plots import duration
from dnalm.report.read import number
from dnalm.report.read_pairs import NODE_RATE, auroc_of

TRAINED, EVALUATED = ("interact train",), ("interact evaluate",)
_SPLITS = ("random", "cold-molecule", "scaffold", "cold-gene", "cold-both")
"""In the order of the rows; others come after."""
_PARTS = ("test", "validation")

Key = tuple[str, str, str, str]
"""Split, part, negatives and ratio: what an AUROC must not stand without."""


@dataclass
class Judged:
    """A model or a rung under one protocol, each seed of the split once."""

    is_model: bool
    entries: dict[tuple[int, str], Mapping[str, Any]] = field(default_factory=dict)
    """What an evaluation says of it, by the split's seed and the digest of the weights."""

    @property
    def in_order(self) -> list[Mapping[str, Any]]:
        """The entries by seed."""
        return [self.entries[key] for key in sorted(self.entries)]


def trained_table(records: Mapping[str, Run]) -> str:
    """One row a trained model: how, how long, and what it reached on the part that chose its epoch."""
    rows = []
    for name, run in sorted(records.items(), key=lambda item: (_split_place(item[1]), item[0])):
        m, recipe = run["metrics"], run["recipe"]["train"]
        model, training = m["model"], m["training"]
        rows.append(
            [name, model["kind"], m["split"], m["negatives"], f"{run['data']['parts']['train']['rows']:,}"]
            + [f"{recipe['batch_size']}, {recipe['lr']:g} to {recipe['min_lr']:g}"]
            + [f"{training['best_epoch']} of {training['epochs']}", duration(training["seconds"])]
            + [figure_of(auroc_of(m["validation"])), figure(number(m["node_rate_validation"]))]
            + [f"{model['trained_parameters']:,} of {model['parameters']:,}", hardware_name(run)]
        )
    columns = [
        "run",
        "model",
        "split",
        "negatives",
        "training pairs",
        "batch, learning rate",
        "best epoch",
        "time",
    ]
    columns += ["validation AUROC (95 % interval)", "node rate there", "parameters trained", "hardware"]
    return markdown(columns, rows)


def _split_place(run: Run) -> int:
    split = run["metrics"]["split"]
    return _SPLITS.index(split) if split in _SPLITS else len(_SPLITS)


def scores_table(records: Mapping[str, Run]) -> str:
    """One row a model or rung and protocol: means over the seeds, and the interval of each seed."""
    rows = []
    for key, judged in _grouped(records).items():
        rate = _mean_auroc(judged[NODE_RATE].in_order, "scores") if NODE_RATE in judged else math.nan
        for name, one in judged.items():
            entries = one.in_order
            rows.append(
                [*_protocol(key), f"{name}, model" if one.is_model else name, str(len(entries))]
                + [figure(_mean_auroc(entries, "scores")), _each(entries, "scores"), figure(rate)]
                + [_mean(entries, "auprc", "value"), _mean(entries, "prevalence", digits=3)]
                + [_mean(entries, f"auroc_per_{node}", "value") for node in ("gene", "molecule")]
                + [_mean(entries, "ef1", digits=2), _mean(entries, "brier"), _mean(entries, "ece")]
            )
    columns = [*_PROTOCOL, "model or rung", "seeds", "AUROC, mean", "AUROC of each seed (95 % interval)"]
    columns += ["node rate", "AUPRC", "prevalence", "AUROC per gene", "AUROC per molecule", "EF at 1 %"]
    return markdown([*columns, "Brier", "ECE"], rows)


def gains_table(records: Mapping[str, Run]) -> str:
    """One row a model and protocol: its AUROC less that of the best rung, seed by seed."""
    rows = []
    for key, judged in _grouped(records).items():
        for name, one in judged.items():
            if not one.is_model:
                continue
            gains = [entry["minus_best_rung"] for entry in one.in_order]
            known = [number(gain["value"]) for gain in gains]
            better = sum(number(gain["low"]) > 0 for gain in gains)
            worse = sum(number(gain["high"]) < 0 for gain in gains)
            rungs = dict.fromkeys(str(gain["rung"]) for gain in gains)
            rows.append(
                [*_protocol(key), name, ", ".join(rungs), _signed(sum(known) / len(known))]
                + ["; ".join(_gain(gain) for gain in gains)]
                + [f"{better} of {len(gains)}", f"{worse} of {len(gains)}"]
            )
    columns = [*_PROTOCOL, "model", "best rung", "AUROC of the model less the rung's, mean"]
    columns += ["of each seed (95 % paired interval)", "seeds where it is better", "seeds where it is worse"]
    return markdown(columns, rows)


def pairs_table(records: Mapping[str, Run]) -> str:
    """One row two models judged on the same pairs: the difference in AUROC, seed by seed."""
    several = _trained_twice(records)
    found: dict[tuple[Key, str, str], dict[int, Mapping[str, Any]]] = {}
    for run in records.values():
        m = run["metrics"]
        for pair in m.get("pairs") or []:
            labels = _labels(m, several)
            names = [labels[pair[side]] for side in ("one", "other")]
            found.setdefault((_key(m), names[0], names[1]), {})[m["seed"]] = pair
    rows = []
    for (key, one, other), by_seed in sorted(
        found.items(), key=lambda item: (_order(item[0][0]), item[0][1:])
    ):
        gains = [by_seed[seed] for seed in sorted(by_seed)]
        mean = sum(number(gain["value"]) for gain in gains) / len(gains)
        rows.append([*_protocol(key), one, other, _signed(mean), "; ".join(_gain(gain) for gain in gains)])
    columns = [*_PROTOCOL, "one", "other", "AUROC of one less the other's, mean"]
    return markdown([*columns, "of each seed (95 % paired interval)"], rows)


def sequenced_table(records: Mapping[str, Run]) -> str:
    """One row a model or rung and protocol, over the pairs whose gene has an mRNA or CDS."""
    rows = []
    for key, judged in _grouped(records).items():
        kept = {name: [e for e in one.in_order if e.get("sequenced")] for name, one in judged.items()}
        rate = _mean_auroc(kept.get(NODE_RATE, []), "sequenced")
        for name, entries in kept.items():
            if not entries:
                continue
            pairs = sum(int(e["sequenced"]["rows"]) for e in entries) / len(entries)
            rows.append(
                [*_protocol(key), f"{name}, model" if judged[name].is_model else name, str(len(entries))]
                + [f"{pairs:,.0f}", figure(_mean_auroc(entries, "sequenced")), _each(entries, "sequenced")]
                + [figure(rate)]
            )
    columns = [*_PROTOCOL, "model or rung", "seeds", "pairs, mean", "AUROC, mean"]
    return markdown([*columns, "AUROC of each seed (95 % interval)", "node rate there"], rows)


def shuffles_table(records: Mapping[str, Run]) -> str:
    """One row a model and protocol: AUROC as it is, and with genes or molecules exchanged."""
    rows = []
    for key, judged in _grouped(records).items():
        rate = _mean_auroc(judged[NODE_RATE].in_order, "scores") if NODE_RATE in judged else math.nan
        for name, one in judged.items():
            if one.is_model:
                kinds = ("scores", "shuffled_genes", "shuffled_molecules")
                found = [figure(_mean_auroc(one.in_order, kind)) for kind in kinds]
                rows.append([*_protocol(key), name, str(len(one.entries)), *found, figure(rate)])
    columns = [*_PROTOCOL, "model", "seeds", "AUROC, mean", "genes exchanged", "molecules exchanged"]
    return markdown([*columns, "node rate"], rows)


_PROTOCOL = ["split", "part", "negatives"]


def _grouped(records: Mapping[str, Run]) -> dict[Key, dict[str, Judged]]:
    """Return models and rungs by protocol; the models first, each kind by mean AUROC."""
    several = _trained_twice(records)
    found: dict[Key, dict[str, Judged]] = {}
    for run in records.values():
        m = run["metrics"]
        home = found.setdefault(_key(m), {})
        labels = _labels(m, several)
        for name, entry in m["models"].items():
            label = labels[name]
            weights = str(entry["model"].get("weights", m["digest"]))
            home.setdefault(label, Judged(True)).entries[m["seed"], weights] = entry
        for name, entry in m["ladder"].items():
            home.setdefault(name, Judged(False)).entries[m["seed"], m["digest"]] = entry
    return {
        key: dict(sorted(found[key].items(), key=lambda item: _place(item[1])))
        for key in sorted(found, key=_order)
    }


def _trained_twice(records: Mapping[str, Run]) -> set[str]:
    """Return the kinds of which one split and seed has several models: names tell these apart."""
    weights: dict[tuple[Key, int, str], set[str]] = {}
    for m in (run["metrics"] for run in records.values()):
        for entry in m["models"].values():
            place = (_key(m), int(m["seed"]), str(entry["model"]["kind"]))
            weights.setdefault(place, set()).add(str(entry["model"].get("weights", m["digest"])))
    return {kind for (_, _, kind), found in weights.items() if len(found) > 1}


def _labels(m: Mapping[str, Any], several: set[str]) -> dict[str, str]:
    """Return what each model of an evaluation is called: its kind, and its name where that is not enough."""
    kinds = {name: str(entry["model"]["kind"]) for name, entry in m["models"].items()}
    return {
        name: f"{name} ({kind})" if kind in several or list(kinds.values()).count(kind) > 1 else kind
        for name, kind in kinds.items()
    }


def _key(m: Mapping[str, Any]) -> Key:
    ratio = "" if m["ratio"] is None or m["negatives"] == "none" else f"{m['ratio']:g}"
    return m["split"], m["part"], m["negatives"], ratio


def _order(key: Key) -> tuple[Any, ...]:
    split, part, *rest = key
    places = [
        known.index(word) if word in known else len(known)
        for word, known in ((split, _SPLITS), (part, _PARTS))
    ]
    return (*places, split, part, *rest)


def _place(judged: Judged) -> tuple[bool, bool, float]:
    mean = _mean_auroc(judged.in_order, "scores")
    return not judged.is_model, math.isnan(mean), -mean


def _protocol(key: Key) -> list[str]:
    split, part, negatives, ratio = key
    return [split, part, f"{negatives}, {ratio} to 1" if ratio else negatives]


def _mean_auroc(entries: Sequence[Mapping[str, Any]], kind: str) -> float:
    values = [auroc_of(entry[kind]).value for entry in entries]
    return sum(values) / len(values) if values else math.nan


def _each(entries: Sequence[Mapping[str, Any]], kind: str) -> str:
    return "; ".join(figure_of(auroc_of(entry[kind])) for entry in entries)


def _mean(entries: Sequence[Mapping[str, Any]], *keys: str, digits: int = 4) -> str:
    """Return the mean of one of the scores, found by its keys."""
    values = [number(reduce(getitem, keys, entry["scores"])) for entry in entries]
    return figure(sum(values) / len(values), digits)


def _gain(gain: Mapping[str, Any]) -> str:
    value, low, high = (number(gain[key]) for key in ("value", "low", "high"))
    return f"{_signed(value)} ({_signed(low)} to {_signed(high)})"


def _signed(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:+.4f}"
