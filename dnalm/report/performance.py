"""docs/performance.md, made from the files that the bench writes: no figure in it is typed.

    python -m dnalm.report.performance bench/results docs/performance.md

fills the template docs/performance.md.j2 with bench/results/*.json and writes docs/performance.md.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from dnalm.errors import InputError
from dnalm.files import read_json
from dnalm.report.docs import fill, write_page
from dnalm.report.markdown import markdown
from dnalm.report.plots import duration

FORMAT, FORMAT_VERSION = "dnalm-bench", 1
TRIALS_VERSION = 2
"""Of the files of `bench.learning`."""
Result = Mapping[str, Any]
"""The content of one file of the bench."""

SIZES = {"seconds": " s", "ratio": " times", "rate": " {unit}/s", "share_of_peak": " of the peak"}
"""What stands behind a figure."""


def read_results(folder: Path) -> list[Result]:
    """Read every result under `folder`, CPU before CUDA, by name.

    Raises:
        InputError: if there is no such folder, or a file in it is not the bench's, or of toy sizes.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of the bench's JSON files, got none; check the path")
    results = []
    for path in sorted(folder.glob("*.json")):
        content = read_json(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError(f"{path}: expected a file written by the bench, got another JSON file")
        if content.get("format_version") != FORMAT_VERSION:
            raise InputError(
                f"{path}: of format {content.get('format_version')}, this dnalm reads {FORMAT_VERSION}; "
                "run the bench again"
            )
        if content["quick"]:
            raise InputError(f"{path}: measured at toy sizes; run the bench again without --quick")
        results.append(content)
    return sorted(results, key=lambda result: (result["device"] != "cpu", result["case"]))


def read_trials(folder: Path) -> list[Result]:
    """Read what `bench.learning` has written under `folder`; none if it is not there.

    Raises:
        InputError: if a file in it is another, or the trials are of different data or lengths.
    """
    trials = [read_json(path) for path in sorted((folder / "learning").glob("*.json"))]
    for trial in trials:
        if trial.get("format") != "dnalm-learning" or trial.get("format_version") != TRIALS_VERSION:
            raise InputError(
                f"{folder / 'learning'}: holds another file than those of bench.learning; remove it"
            )
    if len({(trial["steps"], trial["lr"], trial["data"]["digest"]) for trial in trials}) > 1:
        raise InputError(
            f"{folder / 'learning'}: trials of different data, steps or rates; run all of them again"
        )
    return trials


def trials_table(trials: Sequence[Result]) -> str:
    """One row for each way to train that was tried, the lowest validation loss first.

    Beside its loss, the mean over its seeds, stands how much lower it is than that of the trial `adamw` with
    the same seed: the mean over the seeds that both have.
    """
    about = {trial["trial"]: trial["about"] for trial in trials}
    losses: dict[str, dict[int, float]] = {name: {} for name in about}
    for trial in trials:
        losses[trial["trial"]][trial["seed"]] = float(trial["scores"]["val_loss"])
    plain, rows = losses.get("adamw", {}), []
    for name, by_seed in sorted(losses.items(), key=lambda item: fmean(item[1].values())):
        gains = [plain[seed] - loss for seed, loss in by_seed.items() if seed in plain and name != "adamw"]
        rows.append([about[name], str(len(by_seed)), _mean(list(by_seed.values()), "")])
        rows[-1].append(_mean(gains, "+") if gains else "")
    return markdown(
        [
            "way",
            "seeds",
            "validation loss (nats per token)",
            "lower than AdamW with a cosine, of the same seed, by",
        ],
        rows,
    )


def _mean(values: Sequence[float], sign: str) -> str:
    """Say a mean of losses, with the range where there are several."""
    mean = f"{fmean(values):{sign}.4f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):{sign}.4f} to {max(values):{sign}.4f})"


def targets_table(results: Sequence[Result]) -> str:
    """One row for each thing asked for: what was measured, and whether that is enough."""
    rows = []
    for result in results:
        for target in result["targets"]:
            measured = "" if target["value"] is None else _figure(target, result["unit"])
            low, high = _rounds(target, result)
            within = low != high and any(
                bound is not None and low < bound < high for bound in (target["at_least"], target["at_most"])
            )
            rows.append(
                [result["title"] + ("" if result["device"] == "cpu" else f", {result['device']}")]
                + [target["text"], "must" if target["must"] else "aim"]
                + [
                    measured and f"{measured} ({target['way']})",
                    f"{_short(low)} to {_short(high)}" if high else "",
                ]
                + [{True: "yes", False: "**no**", None: "not measured"}[target["reached"]]]
            )
            if within:
                rows[-1][-1] += ", not in every round" if target["reached"] else ", but in some rounds"
    return markdown(["case", "asked for", "", "median (way)", "rounds", "reached"], rows)


def ways_table(result: Result) -> str:
    """One row for each way: time of a round, rate, how many times as fast ours is, memory, FLOPs."""
    with_flops = any(way["flop_rate"] for way in result["ways"].values())
    rows = []
    for name, way in result["ways"].items():
        ratio = way.get("ratio")
        counted = ratio or name == result["ours"]  # the others measure the machine
        row = [name, _range(way["time"], " s")]
        row += [_short(way["rate"]["median"]) if counted else "", _range(ratio, "") if ratio else ""]
        row += [f"{way['peak_memory_bytes'] / 1e6:,.0f}"]
        if with_flops:
            row += [_short(way["flop_rate"]["median"] / 1e9) if way["flop_rate"] else ""]
            row += [_share(way["share_of_peak"]) if way["share_of_peak"] else ""]
        rows.append(row)
    columns = ["way", "time of a round (range)", f"{result['unit']}/s"]
    columns += [f"times as fast is {result['ours']} (range)", "peak memory (MB)"]
    return markdown(columns + (["GFLOP/s", "share of the peak (range)"] if with_flops else []), rows)


def amounts_table(result: Result) -> str:
    """What each way would take for amounts that one would want to know; empty if there are none."""
    texts = list(result["ways"][result["ours"]].get("amounts", {}))
    rows = [
        [name, *(duration(way["amounts"][text]) for text in texts)]
        for name, way in result["ways"].items()
        if way.get("amounts")
    ]
    return "At these rates:\n\n" + markdown(["way", *texts], rows) + "\n" if texts else ""


def profile_table(result: Result) -> str:
    """Where the time of each way that has a profile goes; empty if none has."""
    with_profile = {name: way["profile"] for name, way in result["ways"].items() if way["profile"]}
    kinds = list(dict.fromkeys(kind for shares in with_profile.values() for kind in shares))
    rows = [
        [name, *(f"{shares[kind]:.1%}" if kind in shares else "" for kind in kinds)]
        for name, shares in with_profile.items()
    ]
    return "Where the time goes:\n\n" + markdown(["way", *kinds], rows) + "\n" if rows else ""


def conditions(result: Result) -> str:
    """Machine, versions and rounds, in a sentence or two."""
    machine, versions = result["machine"], result["versions"]
    device = "" if result["device"] == "cpu" else f"{result['device']}; "
    words = [
        f"{device}{machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB, "
        f"{machine['system']}; {result['threads']} threads; {result['rounds']} rounds; load of the machine "
        f"before: {result['load_before']:.1f}.",
        ", ".join(f"{name} {version}" for name, version in versions.items()) + f"; {_source(result['git'])}.",
    ]
    if result["missing"]:
        words.append(f"Could not run here: {'; '.join(result['missing'])}.")
    facts = [
        f"{name}: {what} {value}"
        for name, way in result["ways"].items()
        for what, value in way["facts"].items()
    ]
    if facts:
        words.append(f"{'; '.join(facts)}.")
    return "\n".join(words)


def render(results: Path, template: Path) -> str:
    """Return the text of `template` (Jinja, Markdown) filled with the results in a folder."""
    return fill(
        template,
        {
            "results": read_results(results),
            "trials": read_trials(results),
            "trials_table": trials_table,
            "targets_table": targets_table,
            "ways_table": ways_table,
            "amounts_table": amounts_table,
            "profile_table": profile_table,
            "conditions": conditions,
        },
    )


def main(argv: Sequence[str]) -> int:
    """Write PAGE.md from RESULTS and the template PAGE.md.j2; return the exit code."""
    return write_page(argv, "python -m dnalm.report.performance RESULTS PAGE.md", render)


def _rounds(target: Mapping[str, Any], result: Result) -> tuple[float, float]:
    """Return the lowest and the highest of what a target's median is of; zeros where it is of none."""
    way = result["ways"].get(target["way"], {})
    figure = way.get("time" if target["figure"] == "seconds" else target["figure"])
    return (figure["low"], figure["high"]) if isinstance(figure, Mapping) else (0.0, 0.0)


def _figure(target: Mapping[str, Any], unit: str) -> str:
    value, figure = target["value"], target["figure"]
    if figure == "peak_memory_bytes":
        return f"{value / 1e6:,.0f} MB"
    return _short(value) + SIZES[figure].format(unit=unit)


def _range(spread: Mapping[str, float], unit: str) -> str:
    return f"{_short(spread['median'])}{unit} ({_short(spread['low'])} to {_short(spread['high'])})"


def _share(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.0%} ({spread['low']:.0%} to {spread['high']:.0%})"


def _source(git: Mapping[str, Any] | None) -> str:
    """Return of which source something was measured, in words."""
    if not git:
        return "source not told"
    return f"commit {git['commit'][:7]}" + (", with changes" if git["changed"] else "")


def _short(value: float) -> str:
    """Return three digits, and all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
