"""Tables of the bench's results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dnalm.errors import InputError
from dnalm.files import read_json
from dnalm.report.figures import duration
from docs.make.markdown import table

VERSION = 1
"""Of the files of the bench."""
UNITS = {"seconds": " s", "ratio": " times", "rate": " {unit}/s", "share_of_peak": " of the peak"}
Result = Mapping[str, Any]
"""The content of one file of the bench."""


def read_results(folder: Path) -> list[Result]:
    """Read every result under `folder`, CPU before CUDA, by name.

    Raises:
        InputError: if there is no such folder, or a file in it is not the bench's, or of toy sizes.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of the bench's JSON files, got none; check the path")
    results = {path: _read(path) for path in sorted(folder.glob("*.json"))}
    for path, result in results.items():
        if result["quick"]:
            raise InputError(f"{path}: measured at toy sizes; run the bench again without --quick")
    return sorted(results.values(), key=lambda result: (result["device"] != "cpu", result["case"]))


def _read(path: Path) -> Result:
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != "dnalm-bench":
        raise InputError(f"{path}: expected a file written by the bench, got another JSON file")
    if content.get("format_version") != VERSION:
        raise InputError(
            f"{path}: of format {content.get('format_version')}, this dnalm reads {VERSION}; run the "
            "bench again"
        )
    return content


def step_table(results: Sequence[Result]) -> str:
    """The pretraining step beside its peers, a row a peer; the ratios are how many times as fast dnalm is."""
    peers = {"published": "the published step", "transformers": "transformers' Trainer"}
    peers |= {"plain": "a plain loop"}
    steps = [result for result in results if result["case"] == "step"]
    rows = []
    for group, what in peers.items():
        ways = [result["ways"].get(result["best"].get(group, group), {}) for result in steps]
        rows.append([what, *(_ahead(way["ratio"]) if way.get("ratio") else "not measured" for way in ways)])
    shares = [result["ways"][result["ours"]].get("share_of_peak") for result in steps]
    rows.append(["of the peak", *(_percent(share) if share else "not measured" for share in shares)])
    columns = ["dnalm against", *(result["device"].replace("cpu", "CPU") for result in steps)]
    return table(columns, rows if steps else [])


def _ahead(ratio: Mapping[str, float]) -> str:
    verdict = "ahead" if ratio["low"] > 1 else "behind" if ratio["high"] < 1 else "equal"
    return f"{_range(ratio, ' times')}: {verdict}"


def targets_table(results: Sequence[Result]) -> str:
    """One row for each target: what was measured, and whether that is enough."""
    rows = []
    for result in results:
        for target in result["targets"]:
            measured = "" if target["value"] is None else _measured(target, result["unit"])
            way = result["ways"].get(target["way"], {})
            figure = way.get("time" if target["figure"] == "seconds" else target["figure"])
            rounds = (figure["low"], figure["high"]) if isinstance(figure, Mapping) else ()
            reached = {True: "yes", False: "**no**", None: "not measured"}[target["reached"]]
            bounds = [bound for bound in (target["at_least"], target["at_most"]) if bound is not None]
            mixed = rounds and any(rounds[0] < bound < rounds[1] for bound in bounds)
            if mixed and target["value"] is not None:
                reached += ", not in every round" if target["reached"] else ", but in some rounds"
            rows.append(
                [_title(result), target["text"], "must" if target["must"] else "aim"]
                + [measured and f"{measured} ({target['way']})", " to ".join(map(_short, rounds)), reached]
            )
    return table(["case", "target", "", "median (way)", "rounds", "reached"], rows)


def ways_table(result: Result) -> str:
    """One row for each way: time of a round, rate, how many times as fast ours is, memory, FLOPs."""
    with_flops = any(way["flop_rate"] for way in result["ways"].values())
    rows = []
    for name, way in result["ways"].items():
        ratio = way.get("ratio")
        rate = _short(way["rate"]["median"]) if ratio or name == result["ours"] else ""
        row = [name, _range(way["time"], " s"), rate, _range(ratio) if ratio else ""]
        row += [f"{way['peak_memory_bytes'] / 1e6:,.0f}"]
        if with_flops:
            row += [_short(way["flop_rate"]["median"] / 1e9) if way["flop_rate"] else ""]
            row += [_percent(way["share_of_peak"]) if way["share_of_peak"] else ""]
        rows.append(row)
    columns = ["way", "time of a round (range)", f"{result['unit']}/s"]
    columns += [f"times as fast is {result['ours']} (range)", "peak memory (MB)"]
    return table(columns + (["GFLOP/s", "of the peak (range)"] if with_flops else []), rows)


def amounts_table(result: Result) -> str:
    """What each way would take for amounts of interest; empty if there are none."""
    texts = list(result["ways"][result["ours"]].get("amounts", {}))
    rows = [
        [name, *(duration(way["amounts"][text]) for text in texts)]
        for name, way in result["ways"].items()
        if way.get("amounts")
    ]
    return "At these rates:\n\n" + table(["way", *texts], rows) + "\n" if texts else ""


def conditions(result: Result) -> str:
    """Machine, versions and rounds, in a sentence or two."""
    machine, git = result["machine"], result["git"]
    device = "" if result["device"] == "cpu" else f"{result['device']}; "
    source = "unknown source"
    if git:
        source = f"commit {git['commit'][:7]}" + (", with changes" if git["changed"] else "")
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    facts = [
        f"{name}: {what} {value}"
        for name, way in result["ways"].items()
        for what, value in way["facts"].items()
    ]
    lines = [
        f"{device}{machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB, "
        f"{machine['system']}; {result['threads']} threads; {result['rounds']} rounds; load of the machine "
        f"before: {result['load_before']:.1f}.",
        f"{versions}; {source}.",
        *([f"Could not run: {'; '.join(result['missing'])}."] if result["missing"] else []),
        *([f"{'; '.join(facts)}."] if facts else []),
    ]
    return "\n".join(lines)


def _title(result: Result) -> str:
    return str(result["title"]) + ("" if result["device"] == "cpu" else f", {result['device']}")


def _measured(target: Mapping[str, Any], unit: str) -> str:
    if target["figure"] == "peak_memory_bytes":
        return f"{target['value'] / 1e6:,.0f} MB"
    return _short(target["value"]) + UNITS[target["figure"]].format(unit=unit)


def _range(spread: Mapping[str, float], unit: str = "") -> str:
    return f"{_short(spread['median'])}{unit} ({_short(spread['low'])} to {_short(spread['high'])})"


def _percent(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.0%} ({spread['low']:.0%} to {spread['high']:.0%})"


def _short(value: float) -> str:
    """Return three digits, and all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
