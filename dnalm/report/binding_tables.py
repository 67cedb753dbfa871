"""Tables of binding runs for the documentation, made from run.json files: no figure in them is typed."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnalm.record import read_record
from dnalm.report.binding import kind_of
from dnalm.report.markdown import Run, hardware_name, markdown
from dnalm.report.plots import duration

TRAINED = ("finetune", "baseline")


def read_binding(folder: Path, verbs: tuple[str, ...]) -> dict[str, Run]:
    """Read the finished runs of some verbs under `folder`, by folder name."""
    records = {path.parent.name: read_record(path) for path in sorted(folder.glob("*/run.json"))}
    return {name: run for name, run in records.items() if run["verb"] in verbs and run["status"] == "done"}


def trained_table(records: Mapping[str, Run]) -> str:
    """One row a trained model: what it is, and what it reached on the part that chose its epoch."""
    rows = []
    for name, run in records.items():
        m = run["metrics"]
        model, training, scores = m["model"], m["training"], m["scores"]
        rows.append(
            [name, kind_of(model) + _plain_states(run), model["core"] or "none", m["split"]["kind"]]
            + [
                f"{scores['windows']:,}",
                _spread(scores),
                _number(scores["pearson_r_batches"]),
                _number(scores["auprc"]),
            ]
            + [f"{training['best_epoch']} of {training['epochs']}", _times(training)]
            + [f"{model['trained_parameters']:,} of {model['parameters']:,}", hardware_name(run)]
        )
    columns = ["run", "model", "core", "split", "validation windows", "Pearson R (95 % interval)"]
    columns += ["R, the published way", "AUPRC", "best epoch", "time", "parameters trained", "hardware"]
    return markdown(columns, rows)


def evaluated_table(records: Mapping[str, Run]) -> str:
    """One row a model and evaluation: its scores, and those of the baselines of the same windows."""
    rows = []
    for run in records.values():
        m = run["metrics"]
        where = [f"{m['part']} part, {m['split']['kind']} split", f"{m['windows']:,}"]
        for name, entry in (m["models"] | m["baselines"]).items():
            scores = entry["scores"]
            what = kind_of(entry["model"]) if "model" in entry else "no training"
            rows.append(
                [name, what, *where, _spread(scores), f"{scores['mse']:.4f}"]
                + [_number(scores[key]) for key in ("auroc", "auprc", "median_window_r")]
            )
    columns = ["model", "kind", "judged on", "windows", "Pearson R (95 % interval)", "MSE", "AUROC", "AUPRC"]
    return markdown([*columns, "median R of a window"], rows)


def readout_table(records: Mapping[str, Run]) -> str:
    """One row a core and precision: how well a linear map finds the base so far to the left of a state."""
    rows, distances = [], []
    for run in records.values():
        m = run["metrics"]
        distances = m["distances"]
        for name, entry in m["models"].items():
            rows += [
                [name, kind_of(entry["model"]), how, *(f"{share:.3f}" for share in entry[how])]
                for how in ("as made", "in bfloat16")
            ]
        rows.append(["none", "the commonest base", "none", *[f"{m['guess']:.3f}"] * len(distances)])
    columns = ["core of", "what it is", "states", *(f"{distance} to the left" for distance in distances)]
    return markdown(columns, rows)


def pairs_table(records: Mapping[str, Run]) -> str:
    """One row a pair of models judged together: the difference in R with its paired interval."""
    rows = [
        [pair["one"], pair["other"], f"{m['part']} part, {m['split']['kind']} split"]
        + [f"{pair['value']:+.4f} ({pair['low']:+.4f} to {pair['high']:+.4f})"]
        for m in (run["metrics"] for run in records.values())
        for pair in m["pairs"]
        if pair["one"] in m["models"] and pair["other"] in m["models"]
    ]
    return markdown(["one", "other", "judged on", "R of one less R of other (95 % paired interval)"], rows)


def commands_list(records: Mapping[str, Run]) -> str:
    """One line a run: the command that made it."""
    return "\n".join(f"- {name}: `{shlex.join(run['command'])}`" for name, run in records.items())


def _plain_states(run: Run) -> str:
    """Return what is said of a GPT whose head was not trained on whitened states."""
    tuning = run["recipe"]["model"]["tuning"]
    gpt = run["metrics"]["model"]["kind"] == "gpt"
    return ", states not whitened" if gpt and not tuning.get("whiten") else ""


def _spread(scores: Mapping[str, Any]) -> str:
    r = scores["pearson_r"]
    return f"{_number(r['value'])} ({_number(r['low'])} to {_number(r['high'])})"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _times(training: Mapping[str, Any]) -> str:
    states = (
        f" and {duration(training['states_seconds'])} for the states"
        if training["states_seconds"] > 5
        else ""
    )
    return duration(training["seconds"]) + states
