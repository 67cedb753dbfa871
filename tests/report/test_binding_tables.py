"""Tests for dnalm/report/binding_tables.py."""

import json

import pytest

from dnalm.report.binding_tables import (
    TRAINED,
    commands_list,
    evaluated_table,
    pairs_table,
    read_binding,
    readout_table,
    trained_table,
)
from dnalm.report.markdown import NONE_YET

SCORES = {
    "pearson_r": {"value": 0.98765, "low": 0.97, "high": 0.99}, "pearson_r_batches": 0.5, "mse": 0.12345,
    "auroc": 0.9, "auprc": None, "median_window_r": 0.8, "windows": 1234, "bases": 370200,
}  # fmt: skip
MODEL = {
    "kind": "gpt", "tune": "frozen", "both_strands": False, "random_core": True, "causal": True,
    "parameters": 2000, "trained_parameters": 100, "core": "outputs/vocab4, pretrained on a.fa",
}  # fmt: skip
TRAINING = {"best_epoch": 7, "epochs": 9, "seconds": 61.0, "states_seconds": 12.0}
SPLIT = {"kind": "blocks", "windows": {}, "near_duplicates": {}, "digest": "0"}


def record(verb, metrics, status="done"):
    return {
        "format": "dnalm-run", "format_version": 1, "verb": verb, "status": status, "metrics": metrics,
        "recipe": {"model": {"tuning": {"tune": "frozen"}}},
        "command": ["dnalm", verb, "my model"], "hardware": {"device": "cpu", "processor": "P", "cores": 2},
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    trained = {"model": MODEL, "split": SPLIT, "training": TRAINING, "scores": SCORES}
    pair = {"one": "a", "other": "b", "value": 0.1, "low": -0.1, "high": 0.3}
    judged = {
        "part": "test", "split": SPLIT, "windows": 55, "pairs": [pair, pair | {"other": "mean score"}],
        "models": {"a": {"model": MODEL, "scores": SCORES}, "b": {"model": MODEL, "scores": SCORES}},
        "baselines": {"mean score": {"scores": SCORES}},
    }  # fmt: skip
    runs = {
        "one": record("finetune", trained),
        "stopped": record("finetune", {}, "interrupted"),
        "judged": record("evaluate", judged),
    }
    for name, run in runs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(run))
    return tmp_path


def test_a_trained_model_is_one_row_of_its_own_figures(folder):
    records = read_binding(folder, TRAINED)
    assert list(records) == ["one"]
    (row,) = trained_table(records).splitlines()[2:]
    for cell in ("GPT, untrained core, frozen", "0.9877 (0.9700 to 0.9900)", "undefined", "7 of 9", "1,234"):
        assert cell in row
    assert "1 min 1 s and 12 s for the states" in row
    assert "100 of 2,000" in row
    assert "states not whitened" in row
    records["one"]["recipe"]["model"]["tuning"]["whiten"] = True
    assert "whitened" not in trained_table(records)


def test_an_evaluation_is_a_row_a_model_and_baseline_and_pairs_of_models_alone(folder):
    records = read_binding(folder, ("evaluate",))
    rows = evaluated_table(records).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| a", "| b", "| mean score"]
    assert "no training" in rows[2]
    (pair,) = pairs_table(records).splitlines()[2:]
    assert "| a | b | test part, blocks split | +0.1000 (-0.1000 to +0.3000) |" in pair
    assert commands_list(records) == "- judged: `dnalm evaluate 'my model'`"


def test_a_readout_is_a_row_a_core_and_precision():
    cores = {"a": {"model": MODEL, "as made": [1.0, 0.75], "in bfloat16": [1.0, 0.7]}}
    table = readout_table({"r": record("readout", {"distances": [0, 3], "guess": 0.3, "models": cores})})
    head, _, first, second, guess = table.splitlines()
    assert "0 to the left | 3 to the left" in head
    assert "| a | GPT, untrained core, frozen | as made | 1.000 | 0.750 |" in first
    assert "in bfloat16 | 1.000 | 0.700" in second
    assert "the commonest base | none | 0.300 | 0.300" in guess


def test_no_records_are_said():
    assert trained_table({}) == evaluated_table({}) == pairs_table({}) == NONE_YET
