"""Tests for dnalm/report/interaction_tables.py and docs/interaction.md."""

import json
from pathlib import Path

import pytest

from dnalm.report import interaction_tables as made
from dnalm.report import tables
from dnalm.report.binding_tables import read_binding
from dnalm.report.markdown import NONE_YET

DOCS = Path(__file__).parents[2] / "docs"
TABLES = [made.scores_table, made.gains_table, made.sequenced_table, made.shuffles_table]


def without_bins(value):
    """Results as a record keeps them."""
    if isinstance(value, dict):
        return {key: without_bins(inner) for key, inner in value.items() if key != "reliability"}
    return value


def record(metrics, verb="interact evaluate", status="done"):
    return {
        "format": "dnalm-run", "format_version": 1, "verb": verb, "status": status, "recipe": {},
        "metrics": without_bins(metrics), "command": ["dnalm", "interact", "evaluate", "my run"],
        "hardware": {"device": "cpu", "processor": "P", "cores": 2},
    }  # fmt: skip


def cells(table):
    """The rows under the header of a Markdown table, cell by cell."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


@pytest.fixture
def records(make_evaluation):
    """Three seeds of the random split and one of cold-gene, each an evaluation of its own."""
    gains = [(0.02, 0.01, 0.03), (0.01, -0.01, 0.03), (-0.03, -0.04, -0.02)]
    runs = {
        f"random-{seed}": record(
            make_evaluation({f"r{seed}": 0.7 + 0.01 * seed}, gain=gain, seed=seed, digest=f"d{seed}")
        )
        for seed, gain in enumerate(gains)
    }
    cold = make_evaluation(
        {"x": 0.5}, gain=(None, None, None), rungs={"node rate": 0.6}, split="cold-gene", digest="ee"
    )
    return {"cold": record(cold)} | runs


def test_docs_are_what_the_command_makes_from_the_records():
    text = tables.render(DOCS / "records", DOCS / "interaction.md.j2")
    assert (DOCS / "interaction.md").read_text() == text, "run: make docs"


def test_docs_cite_the_source_and_say_what_a_promoter_is_worth():
    text = (DOCS / "interaction.md.j2").read_text()
    for word in ("Davis et al.", "Comparative Toxicogenomics Database", "CC BY-NC", "core promoter", "60"):
        assert word in text


def test_seeds_of_a_split_are_one_row_and_models_come_first(records):
    rows = cells(made.scores_table(records))
    assert [row[:5] for row in rows] == [
        ["random", "test", "degree-matched, 1 to 1", "original, model", "3"],
        ["random", "test", "degree-matched, 1 to 1", "matrix factorisation", "3"],
        ["random", "test", "degree-matched, 1 to 1", "gradient boosting", "3"],
        ["random", "test", "degree-matched, 1 to 1", "nearest molecules", "3"],
        ["random", "test", "degree-matched, 1 to 1", "node rate", "3"],
        ["cold-gene", "test", "degree-matched, 1 to 1", "original, model", "1"],
        ["cold-gene", "test", "degree-matched, 1 to 1", "node rate", "1"],
    ]
    model = rows[0]
    assert model[5] == "0.7100"  # mean of 0.70, 0.71 and 0.72
    assert model[6] == "0.7000 (0.6900 to 0.7100); 0.7100 (0.7000 to 0.7200); 0.7200 (0.7100 to 0.7300)"
    assert model[7] == "0.5800"
    assert model[8:] == ["0.7100", "0.500", "0.6100", "0.6200", "1.75", "0.2100", "0.0300"]
    assert rows[5][7] == "0.6000"  # the node rate of its own split


def test_gains_are_told_seed_by_seed_and_counted(records):
    first, cold = cells(made.gains_table(records))
    assert first[3:6] == ["original", "matrix factorisation", "+0.0000"]
    assert first[6].split("; ")[1] == "+0.0100 (-0.0100 to +0.0300)"
    assert first[7:] == ["1 of 3", "1 of 3"]
    assert cold[4:] == [
        "node rate", "undefined", "undefined (undefined to undefined)", "0 of 1", "0 of 1",
    ]  # fmt: skip


def test_the_sequenced_part_has_its_own_node_rate(records):
    records["random-1"]["metrics"]["models"]["r1"]["sequenced"] = None
    row = cells(made.sequenced_table(records))[0]
    assert row[3:7] == ["original, model", "2", "300", "0.7200"]  # of 0.71 and 0.73
    assert row[8] == "0.5900"
    for run in records.values():
        for entry in (run["metrics"]["models"] | run["metrics"]["ladder"]).values():
            entry["sequenced"] = None
    assert made.sequenced_table(records) == NONE_YET


def test_shuffles_stand_beside_the_figure_they_lower(records):
    row = cells(made.shuffles_table(records))[0]
    assert row[3:] == ["original", "3", "0.7100", "0.6000", "0.5200", "0.5800"]


def test_a_ladder_recorded_twice_counts_once(make_evaluation):
    runs = {name: record(make_evaluation({name: 0.7}, weights=name)) for name in ("a", "b")}
    rows = {row[3]: row[4] for row in cells(made.scores_table(runs))}
    assert rows["node rate"] == "1"
    assert rows["a (original), model"] == rows["b (original), model"] == "1"  # no seeds of one


def test_models_of_one_kind_in_one_evaluation_keep_their_names(make_evaluation):
    runs = {"a": record(make_evaluation({"small": 0.6, "large": 0.7}))}
    assert [row[3] for row in cells(made.gains_table(runs))] == ["large (original)", "small (original)"]


def test_labelled_negatives_have_no_ratio(make_evaluation):
    runs = {"a": record(make_evaluation({"m": 0.7}, negatives="given", ratio=None))}
    assert cells(made.scores_table(runs))[0][2] == "given"


def test_only_finished_evaluations_of_interactions_are_read(records, tmp_path):
    runs = records | {
        "stopped": record({}, status="interrupted"),
        "binding": record({}, verb="evaluate"),
    }
    for name, run in runs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(run))
    assert set(read_binding(tmp_path, made.EVALUATED)) == set(records)
    text = tables.render(tmp_path, DOCS / "interaction.md.j2")
    assert "0.7000 (0.6900 to 0.7100)" in text
    assert "- random-0: `dnalm interact evaluate 'my run'`" in text


@pytest.mark.parametrize("table", TABLES)
def test_no_records_are_said(table):
    assert table({}) == NONE_YET


def taught(results, rows=8_000, batch_size=64):
    """A record of `dnalm interact train`."""
    train = {"batch_size": batch_size, "lr": 1e-3, "min_lr": 1e-4}
    return record(results, "interact train") | {
        "recipe": {"train": train}, "data": {"parts": {"train": {"rows": rows}}}
    }  # fmt: skip


def test_a_trained_model_stands_with_its_protocol_its_node_rate_and_its_cost(make_results):
    cold = taught(make_results(0.55, split="cold-both", seed=2), rows=90, batch_size=128)
    random = taught(make_results(0.7, negatives="uniform"))
    rows = cells(made.trained_table({"a": cold, "b": random}))
    assert rows == [
        ["b", "original", "random", "uniform", "8,000", "64, 0.001 to 0.0001", "2 of 2", "1 min 5 s",
         "0.7000 (0.6900 to 0.7100)", "0.5800", "1,200,000 of 1,200,000", "cpu; P, 2 cores"],
        ["a", "original", "cold-both", "degree-matched", "90", "128, 0.001 to 0.0001", "2 of 2", "1 min 5 s",
         "0.5500 (0.5400 to 0.5600)", "0.5800", "1,200,000 of 1,200,000", "cpu; P, 2 cores"],
    ]  # fmt: skip
    assert made.trained_table({}) == NONE_YET


def test_models_judged_together_are_compared_seed_by_seed(make_evaluation):
    runs = {}
    for seed, low in ((1, -0.01), (0, 0.01)):
        found = make_evaluation({"a": 0.7, "b": 0.6}, seed=seed, digest=f"d{seed}")
        found["models"]["b"]["model"] = found["models"]["b"]["model"] | {"kind": "foundation (kmer + morgan)"}
        found["pairs"] = [{"one": "a", "other": "b", "value": 0.02 + seed / 100, "low": low, "high": 0.05}]
        runs[f"r{seed}"] = record(found)
    rows = cells(made.pairs_table(runs))
    assert rows == [
        ["random", "test", "degree-matched, 1 to 1", "original", "foundation (kmer + morgan)", "+0.0250",
         "+0.0200 (+0.0100 to +0.0500); +0.0300 (-0.0100 to +0.0500)"]
    ]  # fmt: skip
    assert made.pairs_table({"old": record(make_evaluation({"a": 0.7}))}) == NONE_YET
