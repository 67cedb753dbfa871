"""Tables of the documentation, made from run.json files: no figure in them is typed.

    python -m dnalm.report.tables docs/records docs/results.md

fills the template docs/results.md.j2 with the runs in docs/records/NAME/run.json and writes docs/results.md;
docs/interaction.md is made in the same way.
"""

import sys
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path

from dnalm.config import MODIFIED_SUFFIX, NON_TRAINING_FIELDS, read_recipe, recipe_names
from dnalm.errors import InputError
from dnalm.record import read_record
from dnalm.report import binding_tables as binding
from dnalm.report import interaction_tables as interaction
from dnalm.report.docs import fill, write_page
from dnalm.report.markdown import Run, hardware_name, markdown
from dnalm.report.plots import duration, same_bases

AT_TOKENS = (5_000_000, 20_000_000)
"""Where the recipes are compared, in tokens trained on."""
NEAR = 0.05
"""How far from them, as a share, the two runs' common evaluation may lie."""
TABLES = ("encoder", "train", "task")
"""What a recipe of pretraining holds."""
EARLIER = {"schedule": "cosine"}
"""Settings of the runs whose records do not tell them."""


def read_records(folder: Path) -> dict[str, Run]:
    """Read every pretraining run under `folder` that was judged, at its end or at --stop-at, by folder name.

    Raises:
        InputError: if there is no such folder, or a run.json in it is not one of dnalm's.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of records (NAME/run.json), got none; check the path")
    records: dict[str, Run] = {}
    for path in sorted(folder.glob("*/run.json")):
        run = read_record(path)
        if run["verb"] == "pretrain" and "verdict" in run["metrics"]:
            records[path.parent.name] = run
    return records


def runs_table(records: Mapping[str, Run]) -> str:
    """One row a run: what it was, what it reached, and the Markov model it is judged against."""
    rows = []
    for name, run in records.items():
        m = run["metrics"]
        bits, best = m["bits_per_base"], m["ladder"]["best"]
        strands = "both strands" if best["strands"] == 2 else "one strand"
        rows.append(
            [name, data_name(run), m["mode"], recipe_name(run), _progress(run), f"{m['tokens']:,}"]
            + [f"{m['best_val_loss']:.4f}", f"{bits['value']:.4f} ({bits['low']:.4f} to {bits['high']:.4f})"]
            + [f"{best['bits']:.4f} (order {best['order']}, {strands})"]
            + [duration(_seconds(run)), hardware_name(run)]
        )
    columns = [
        "run",
        "data",
        "mode",
        "recipe",
        "steps taken",
        "tokens",
        "lowest validation loss (nats per token)",
    ]
    columns += ["bits per base (95 % interval)", "best Markov model on the same bases (bits per base)"]
    return markdown([*columns, "time", "hardware"], rows)


def verdicts(records: Mapping[str, Run]) -> str:
    """One line a run: what its own verdict says."""
    return "\n".join(f"- {name}: {run['metrics']['verdict']}" for name, run in records.items())


def recipes_table(records: Mapping[str, Run]) -> str:
    """The default recipe against the published one after the same number of tokens, from the runs' histories.

    Two runs are compared where both were evaluated after exactly the same number of tokens, at the evaluation
    nearest to each of `AT_TOKENS`; nothing is interpolated. A run recorded at several stops counts once.
    """
    rows: dict[tuple[str, str, str, int], list[str]] = {}
    for at, (name, run), (other_name, other) in product(AT_TOKENS, records.items(), records.items()):
        recipe = recipe_name(run)
        if not recipe.startswith("default") or recipe_name(other) != "published":
            continue
        if not _alike(run, other, "mode"):
            continue
        ours, theirs = _losses(run), _losses(other)
        common = [tokens for tokens in ours if tokens in theirs and abs(tokens - at) <= NEAR * at]
        if not common:
            continue
        tokens = min(common, key=lambda count: abs(count - at))
        gain = theirs[tokens] - ours[tokens]
        lower = "default" if gain > 0 else "published" if gain < 0 else "neither"
        rows[data_name(run), run["metrics"]["mode"], recipe, at] = [
            *(data_name(run), run["metrics"]["mode"], recipe, f"{tokens:,}", f"{ours[tokens]:.4f} ({name})"),
            *(f"{theirs[tokens]:.4f} ({other_name})", f"{gain:+.4f}", lower),
        ]
    columns = ["data", "mode", "recipe", "tokens", "its loss (nats per token)", "published (nats per token)"]
    return markdown([*columns, "published less default", "lower"], list(rows.values()))


def vocabularies_table(records: Mapping[str, Run]) -> str:
    """The full vocabulary against vocab4: same recipe, same steps, same bases."""
    rows = []
    for (name, run), (other_name, other) in combinations(records.items(), 2):
        m, n = run["metrics"], other["metrics"]
        if {m["mode"], n["mode"]} != {"full", "vocab4"} or recipe_name(run) != recipe_name(other):
            continue
        if not _alike(run, other, "step"):
            continue
        full, four = (m, n) if m["mode"] == "full" else (n, m)
        one, two = full["bits_per_base"], four["bits_per_base"]
        overlap = one["low"] <= two["high"] and two["low"] <= one["high"]
        rows.append(
            [data_name(run), recipe_name(run), f"{m['step']:,}"]
            + [f"{b['value']:.4f} ({b['low']:.4f} to {b['high']:.4f})" for b in (one, two)]
            + [f"{one['value'] - two['value']:+.4f}", "yes" if overlap else "no", f"{name}, {other_name}"]
        )
    columns = ["data", "recipe", "steps", "full (bits per base, 95 % interval)"]
    columns += ["vocab4 (bits per base, 95 % interval)", "full less vocab4", "intervals overlap", "runs"]
    return markdown(columns, rows)


def race_table(records: Mapping[str, Run]) -> str:
    """Complete runs beside one of the published recipe on the same data: how soon they are where it ends.

    An evaluation counts once its validation loss, on the same fixed windows, is not above the last one of the
    published recipe's run. Times are of training and evaluation, compiling included.
    """
    rows = []
    for goal, (name, run) in product(records.values(), records.items()):
        if recipe_name(goal) != "published" or not all(_complete(each) for each in (goal, run)):
            continue
        if _fixed_windows(goal) != _fixed_windows(run):
            continue
        history, last = run["metrics"]["history"], goal["metrics"]["history"]["val_losses"][-1]
        there = next((at for at, loss in enumerate(history["val_losses"]) if loss <= last), None)
        soonest = ["not reached", ""]
        if there is not None:
            soonest = [f"{history['iterations'][there]:,}", duration(history["elapsed_time"][there])]
        rows.append(
            [name, data_name(run), recipe_name(run), hardware_name(run), _progress(run)]
            + [duration(float(run["timings"]["training_s"])), f"{history['val_losses'][-1]:.4f}"]
            + [f"{last:.4f}", *soonest]
        )
    columns = ["run", "data", "recipe", "hardware", "steps", "time", "last validation loss (nats per token)"]
    return markdown([*columns, "that of the published recipe", "reached by step", "after"], rows)


def data_name(run: Run) -> str:
    """Name the genome of a run by the files it was prepared from."""
    return ", ".join(source["name"] for source in run["data"]["sources"])


def recipe_name(run: Run) -> str:
    """Name the recipe of a run, and what it has other than the recipe of that name that comes with dnalm now.

    Flags changed it, or the recipe has changed since. A recipe from a file is named as the run names it.
    """
    told = run["recipe"]
    name = told["name"].removesuffix(MODIFIED_SUFFIX)
    if name not in recipe_names():
        return str(told["name"])
    settings = EARLIER | {key: value for table in TABLES for key, value in told.get(table, {}).items()}
    other = {
        key: settings[key]
        for table in read_recipe(name).values()
        for key, value in table.items()
        if key not in NON_TRAINING_FIELDS and settings.get(key, value) != value
    }
    return f"{name} with {', '.join(f'{key} {value}' for key, value in other.items())}" if other else name


def _progress(run: Run) -> str:
    return f"{run['metrics']['step']:,} of {run['recipe']['train']['steps']:,}"


def _seconds(run: Run) -> float:
    """Return the time of training, over all sittings, and of scoring."""
    times = run["timings"]
    return float(times.get("training_s", times["elapsed_s"])) + float(times.get("scoring_s", 0.0))


def render(records: Path, template: Path) -> str:
    """Return the text of `template` (Jinja, Markdown) filled with the runs under `records`."""
    tables = {
        "runs_table": runs_table,
        "verdicts": verdicts,
        "recipes_table": recipes_table,
        "vocabularies_table": vocabularies_table,
        "race_table": race_table,
    }
    tables |= {
        "trained_table": binding.trained_table,
        "evaluated_table": binding.evaluated_table,
        "pairs_table": binding.pairs_table,
        "readout_table": binding.readout_table,
        "commands_list": binding.commands_list,
        "interaction_trained_table": interaction.trained_table,
        "interaction_scores_table": interaction.scores_table,
        "interaction_gains_table": interaction.gains_table,
        "interaction_pairs_table": interaction.pairs_table,
        "interaction_sequenced_table": interaction.sequenced_table,
        "interaction_shuffles_table": interaction.shuffles_table,
    }
    runs = {
        "records": read_records(records),
        "trained": binding.read_binding(records, binding.TRAINED),
        "evaluated": binding.read_binding(records, ("evaluate",)),
        "readouts": binding.read_binding(records, ("readout",)),
        "judged": binding.read_binding(records, interaction.EVALUATED),
        "taught": binding.read_binding(records, interaction.TRAINED),
    }
    return fill(template, runs | tables)


def main(argv: Sequence[str]) -> int:
    """Write RESULT.md from RECORDS and the template RESULT.md.j2; return the exit code."""
    return write_page(argv, "python -m dnalm.report.tables RECORDS RESULT.md", render)


def _alike(run: Run, other: Run, metric: str) -> bool:
    """Whether two runs saw and were judged on the same bases, and agree in one of their metrics."""
    m, n = run["metrics"], other["metrics"]
    return bool(m[metric] == n[metric]) and len(same_bases({"one": m, "other": n})) == 1


def _complete(run: Run) -> bool:
    """Whether a run went to the end of its schedule."""
    return bool(run["metrics"]["step"] == run["recipe"]["train"]["steps"])


def _fixed_windows(run: Run) -> tuple[str, int]:
    """What decides the windows that a run is evaluated on."""
    return str(run["data"]["digest"]), int(run["recipe"]["task"]["eval_bases"])


def _losses(run: Run) -> dict[int, float]:
    """Validation loss in nats per token, by tokens trained on."""
    history = run["metrics"]["history"]
    return dict(zip(history["tokens"], history["val_losses"], strict=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
