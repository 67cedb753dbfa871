"""Measures: `python -m bench [CASE ...]`, all of them without a name; `make bench` does it in .venv."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from bench.cases import CASES
from bench.harness import RESULTS, run_case
from bench.work import Settings


def main() -> None:
    """Run the cases asked for, print a table of each, and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; a beginning stands for all with it")
    parser.add_argument("--rounds", type=int, default=0, help="0: as many as the case needs")
    parser.add_argument("--threads", type=int, default=0, help="of each contestant; 0: as many as cores")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compile", action="store_true", help="with torch.compile too: minutes on a CPU")
    parser.add_argument("--long", action="store_true", help="with a genome of 1000 MB too")
    parser.add_argument("--quick", action="store_true", help="toy sizes: does it run at all?")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON files go")
    options = parser.parse_args()
    names = [name for name in CASES if not options.cases or name.startswith(tuple(options.cases))]
    if not names:
        parser.error(f"no such case; there are {', '.join(CASES)}")
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(
            scratch, options.device, options.threads, options.quick, options.compile, options.long
        )
        for name in names:
            path = run_case(name, settings, rounds=options.rounds, results=options.results)
            show(json.loads(path.read_text(encoding="utf-8")))


def show(result: dict[str, Any]) -> None:
    """Print what was measured."""
    print(f"{result['case']}: {result['title']} ({result['rounds']} rounds, {result['minutes']} min)")
    for name, way in result["ways"].items():
        time, rate, ratio = way["time"], way["rate"], way.get("ratio")
        line = f"  {name:38} {time['median']:9.3f} s ({time['low']:.3f} to {time['high']:.3f})"
        if ratio or name == result["ours"]:  # not a matrix product
            line += f" {rate['median']:11,.1f} {result['unit']}/s"
        line += f" {way['peak_memory_bytes'] / 1e6:8,.0f} MB"
        if way["flop_rate"]:
            line += f" {way['flop_rate']['median'] / 1e9:9,.1f} GFLOP/s"
        if way["share_of_peak"]:
            line += f" {way['share_of_peak']['median']:6.1%} of the peak"
        if ratio:
            line += f"; {result['ours']} is {ratio['median']:.2f} times as fast"
            line += f" ({ratio['low']:.2f} to {ratio['high']:.2f})"
        print(line)
    for target in result["targets"]:
        value = target["value"]
        reached = {True: "reached", False: "not reached", None: "not measured"}[target["reached"]]
        print(f"  {target['text']}: {reached}" + ("" if value is None else f" ({value:,.5g})"))


if __name__ == "__main__":
    main()
