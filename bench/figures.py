"""Arithmetic of the bench: medians, ratios by round, FLOPs, and whether what was asked for is reached."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.work import Case, Target


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median of the rounds, the lowest and the highest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def quotients(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """Return median and range of the quotients of each round: both met the same noise."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def model_flops(parameters: int, layers: int, length: int, width: int) -> int:
    """Return the FLOPs of training on one token, forward and backward.

    6 for each of the `parameters` without embeddings, and 6 L S E (layers, tokens of a sequence, width) for
    the attention products, of which a causal model needs half of what a full one does (Chowdhery et al. 2022,
    PaLM, appendix B, halved).
    """
    return 6 * parameters + 6 * layers * length * width


def figures(case: Case, ways: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return all that is worked out from what was measured.

    Args:
        case: what was run.
        ways: for each way `seconds` of every round, `units` and `flops` of a call, `precision`.
    """
    rates = {name: [way["units"] / each for each in way["seconds"]] for name, way in ways.items()}
    for name, way in ways.items():
        way["time"], way["rate"] = spread(way["seconds"]), spread(rates[name])
        way["flop_rate"] = spread([way["flops"] / each for each in way["seconds"]]) if way["flops"] else None
        peak = ways.get(case.peaks.get(way["precision"], ""))
        way["share_of_peak"] = None
        if peak and way["flops"] and peak is not way:
            scale = way["flops"] / peak["flops"]
            share = quotients(peak["seconds"], way["seconds"])
            way["share_of_peak"] = {key: value * scale for key, value in share.items()}
        if name != case.ours and peak is not way:
            way["ratio"] = quotients(rates[case.ours], rates[name])
        if peak is not way:
            way["amounts"] = {text: much / way["rate"]["median"] for text, much in case.amounts.items()}
    present = {group: [name for name in names if name in ways] for group, names in case.groups.items()}
    rate = lambda name: ways[name]["rate"]["median"]  # noqa: E731
    return {"ways": ways, "best": {group: max(names, key=rate) for group, names in present.items() if names}}


def answers(targets: Sequence[Target], found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each target with the figure that was measured; None where there is none."""
    return [
        {
            "text": target.text,
            "must": target.must,
            "figure": target.figure,
            "at_least": target.at_least,
            "at_most": target.at_most,
            "way": found["best"].get(target.of, target.of),
            "value": (value := _value(target, found)),
            "reached": None if value is None else _reached(target, value),
        }
        for target in targets
    ]


def _value(target: Target, found: Mapping[str, Any]) -> float | None:
    way = found["ways"].get(found["best"].get(target.of, target.of))
    figure = way and way.get("time" if target.figure == "seconds" else target.figure)
    if not figure:
        return None
    return float(figure["median"] if isinstance(figure, Mapping) else figure)


def _reached(target: Target, value: float) -> bool:
    low = target.at_least is None or value >= target.at_least
    return low and (target.at_most is None or value <= target.at_most)
