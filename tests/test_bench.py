"""Tests for bench/ and for the page that is made of its files."""

import itertools
import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench import harness
from bench.cases import CASES, load
from bench.cases.step import dnalm_step, flops, recipe, setup
from bench.figures import answers, figures, model_flops, quotients, spread
from bench.products import product
from bench.work import Settings, Target
from docs.make import performance
from tests import bench_toy

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The result of the toy case, and the folder it was made in."""
    folder = tmp_path_factory.mktemp("bench")
    path = harness.run_case("tests.bench_toy", Settings(str(folder), threads=1), rounds=3, results=folder)
    return json.loads(path.read_text()), folder


def test_flops_by_hand():
    # 4 layers of 12 * 384^2 weights, 9 LayerNorms of 384; 6 * 4 * 300 * 384 for attention
    inside = 4 * 12 * 384**2 + 9 * 384
    assert inside == 7_081_344
    assert model_flops(inside, 4, 300, 384) == 42_488_064 + 2_764_800
    assert flops(recipe(Settings(""), "default")) == 45_252_864 * 64 * 300


def test_figures_by_hand():
    assert spread([5.0, 1.0, 2.0]) == {"median": 2.0, "low": 1.0, "high": 5.0}
    # by round: 2, 1 and 10; the quotient of the medians would be 3 / 2
    assert quotients([2.0, 3.0, 30.0], [1.0, 3.0, 3.0]) == {"median": 2.0, "low": 1.0, "high": 10.0}
    groups, peaks = {"peer": ("b", "c", "absent")}, {"bf16": "product"}
    case = replace(bench_toy.CASE, ours="a", groups=groups, peaks=peaks)
    plain = {"units": 12.0, "flops": 0.0, "precision": ""}
    measured = {
        "a": {"seconds": [1.0, 2.0, 4.0], "units": 6.0, "flops": 100.0, "precision": "bf16"},
        "b": {"seconds": [4.0, 4.0, 4.0], **plain},
        "c": {"seconds": [2.0, 3.0, 2.0], **plain},
        "product": {"seconds": [0.25, 0.5, 0.25], "units": 1.0, "flops": 50.0, "precision": "bf16"},
    }
    found = figures(case, measured)
    ways = found["ways"]
    assert ways["a"]["rate"] == {"median": 3.0, "low": 1.5, "high": 6.0}
    assert ways["b"]["ratio"] == {"median": 1.0, "low": 0.5, "high": 2.0}  # 6, 3, 1.5 over 3
    assert ways["a"]["flop_rate"] == {"median": 50.0, "low": 25.0, "high": 100.0}
    # 100 / 200, 50 / 100, 25 / 200
    assert ways["a"]["share_of_peak"] == {"median": 0.5, "low": 0.125, "high": 0.5}
    assert ways["product"]["share_of_peak"] is None
    assert "ratio" not in ways["product"]
    assert "ratio" not in ways["a"]
    assert found["best"] == {"peer": "c"}
    targets = [
        Target("met", "peer", "ratio", at_least=0.4),
        Target("missed", "peer", "ratio", at_least=1.1),
        Target("slow", "a", "seconds", at_most=1.9),
        Target("none", "absent", "rate", at_least=1.0),
    ]
    # c: 6, 4 and 6 a second, so a is 1, 0.75 and 0.25 times as fast
    assert [each["value"] for each in answers(targets, found)] == [0.75, 0.75, 2.0, None]
    assert [each["reached"] for each in answers(targets, found)] == [True, False, False, None]


def test_the_harness_takes_turns_and_counts_and_names_no_machine_and_no_path(measured):
    result, folder = measured
    turns = (folder / "turns").read_text().split()
    turn = [way for way in ("short", "long", "product") for _ in range(3)]  # the third of which counts
    assert turns == ["short", "long", "product"] + turn * 3
    assert result["ways"]["short"]["seconds"] == [0.01] * 3
    assert result["ways"]["short"]["rate"]["median"] == 600.0
    assert result["ways"]["short"]["flop_rate"]["median"] == 1200.0
    assert result["ways"]["short"]["share_of_peak"]["median"] == 0.5  # product: 12 in 0.005 s
    assert result["ways"]["long"]["ratio"] == {"median": 4.0, "low": 4.0, "high": 4.0}
    assert result["ways"]["long"]["peak_memory_bytes"] > 1e6
    assert result["missing"] == ["broken"]
    assert [each["reached"] for each in result["targets"]] == [True, False, None]
    text = json.dumps(result)
    assert not [name for name in (str(folder), str(ROOT), socket.gethostname()) if name in text]
    assert result["machine"]["cores"] >= 1
    assert result["versions"]["python"]


def test_our_own_way_must_run(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "_free_memory", lambda: 1e7)
    with pytest.raises(RuntimeError, match=r"needs about 0 GB of free memory.*0\.0 GB are free"):
        harness.run_case("tests.bench_toy", Settings(str(tmp_path)), results=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", CASES)
def test_cases_hold_together(name):
    case, settings = load(name), Settings("", compile=True, long=True)
    ways = case.ways(settings)
    assert case.name == name
    assert case.ours in ways
    everywhere = {*ways, *case.ways(Settings("", device="cuda", compile=True))}
    assert {way for group in case.groups.values() for way in group} <= everywhere
    assert {target.of for target in case.targets(settings)} <= {*ways, *case.groups}
    assert len({target.text for target in case.targets(settings)}) == len(case.targets(settings))


def test_the_tables_of_the_docs_read_what_the_bench_writes(measured):
    result, _ = measured
    memory = [f"{way['peak_memory_bytes'] / 1e6:,.0f}" for way in result["ways"].values()]
    assert performance.ways_table(result).splitlines()[2:] == [
        f"| short | 0.01 s (0.01 to 0.01) | 600 |  | {memory[0]} | 1.2e-06 | 50% (50% to 50%) |",
        f"| long | 0.04 s (0.04 to 0.04) | 150 | 4 (4 to 4) | {memory[1]} | 3e-07 | 12% (12% to 12%) |",
        f"| product | 0.005 s (0.005 to 0.005) |  |  | {memory[2]} | 2.4e-06 |  |",
    ]
    assert performance.targets_table([result]).splitlines()[2:] == [
        "| Waiting | twice the others | must | 4 times (long) | 4 to 4 | yes |",
        "| Waiting | under a millisecond | aim | 0.01 s (short) | 0.01 to 0.01 | **no** |",
        "| Waiting | never measured | must |  |  | not measured |",
    ]


def test_a_case_is_known_without_torch():
    code = "import sys; from bench.cases import CASES, load; list(map(load, CASES)); "
    code += "sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_peak_is_the_best_of_several_products(monkeypatch):
    work = product("fp32")(Settings("", quick=True))
    assert work.flops == 2.0 * 256**3
    assert 0 < work.run() < 1
    clock = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    assert work.run() == 1.0  # all take a second: the largest is the best


def test_the_step_that_is_measured_is_that_of_the_loop(tmp_path):
    settings = Settings(str(tmp_path), threads=torch.get_num_threads(), quick=True)
    setup(settings)
    work = dnalm_step("fp32")(settings)
    assert work.run() > 0
