"""Tables of binding runs, from their records."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnalm.report.binding import kind_of
from dnalm.report.figures import duration
from dnalm.results import decode
from dnalm.results.binding import BindingModelInfo
from docs.make.markdown import Run, figure, hardware, spread, table


def _kind(model: Any) -> str:
    return kind_of(decode(model, BindingModelInfo, Path("record")))


def best_table(evaluated: Mapping[str, Run], most: int = 5) -> str:
    """The highest R of the test part of the blocks split, models and baselines, of one evaluation each."""
    rows: dict[str, tuple[float, list[str]]] = {}
    for run in evaluated.values():
        m = run["metrics"]
        if (m["part"], m["split"]["kind"]) != ("test", "blocks"):
            continue
        for name, entry in (m["models"] | m["baselines"]).items():
            what = _kind(entry["model"]) if "model" in entry else "no training"
            scores = entry["scores"]
            rows[name] = (scores["pearson_r"]["value"] or 0.0, [name, what, spread(scores["pearson_r"])])
    best = sorted(rows.values(), key=lambda row: -row[0])[:most]
    return table(["model", "kind", "Pearson R (95 % interval)"], [row for _, row in best])


def trained_table(records: Mapping[str, Run]) -> str:
    """One row a trained model, with its figures on the part that chose its epoch."""
    rows = []
    for name, run in records.items():
        m = run["metrics"]
        model, training, scores = m["model"], m["training"], m["scores"]
        plain = model["kind"] == "gpt" and not run["recipe"]["model"]["tuning"].get("whiten")
        states = training["states_seconds"]
        rows.append(
            [name, _kind(model) + (", states not whitened" if plain else ""), model["core"] or "none"]
            + [m["split"]["kind"], f"{scores['windows']:,}", spread(scores["pearson_r"])]
            + [figure(scores["pearson_r_batches"]), figure(scores["auprc"])]
            + [f"{training['best_epoch']} of {training['epochs']}"]
            + [duration(training["seconds"]) + (f" and {duration(states)} for states" if states > 5 else "")]
            + [f"{model['trained_parameters']:,} of {model['parameters']:,}", hardware(run)]
        )
    columns = ["run", "model", "core", "split", "validation windows", "Pearson R (95 % interval)"]
    columns += ["R, the published way", "AUPRC", "best epoch", "time", "parameters trained", "hardware"]
    return table(columns, rows)


def evaluated_table(records: Mapping[str, Run]) -> str:
    """One row a model or baseline and evaluation."""
    rows = []
    for run in records.values():
        m = run["metrics"]
        for name, entry in (m["models"] | m["baselines"]).items():
            scores = entry["scores"]
            rows.append(
                [name, _kind(entry["model"]) if "model" in entry else "no training"]
                + [f"{m['part']} part, {m['split']['kind']} split", f"{m['windows']:,}"]
                + [spread(scores["pearson_r"])]
                + [figure(scores[key]) for key in ("mse", "auroc", "auprc", "median_window_r")]
            )
    columns = ["model", "kind", "evaluated on", "windows", "Pearson R (95 % interval)", "MSE", "AUROC"]
    return table([*columns, "AUPRC", "median R of a window"], rows)


def pairs_table(records: Mapping[str, Run]) -> str:
    """One row a pair of models evaluated together."""
    rows = [
        [pair["one"], pair["other"], f"{m['part']} part, {m['split']['kind']} split", spread(pair, "+")]
        for m in (run["metrics"] for run in records.values())
        for pair in m["pairs"]
        if pair["one"] in m["models"] and pair["other"] in m["models"]
    ]
    return table(["one", "other", "evaluated on", "R of one minus R of other (95 % paired interval)"], rows)


def readout_table(records: Mapping[str, Run]) -> str:
    """One row a core and precision: how well a linear map finds the base so far to the left of a state."""
    rows, distances = [], []
    for run in records.values():
        m = run["metrics"]
        distances = m["distances"]
        for name, entry in m["models"].items():
            rows += [
                [name, _kind(entry["model"]), how, *(figure(value, 3) for value in entry[how])]
                for how in ("as made", "in bfloat16")
            ]
        rows.append(["none", "the commonest base", "none", *[figure(m["guess"], 3)] * len(distances)])
    return table(["core of", "what it is", "states", *(f"{each} to the left" for each in distances)], rows)
