"""Tests for dnalm/commands/interact_compare.py."""

import copy
import json
from pathlib import Path

import pytest

from dnalm.commands.interact_compare import Options, run

PROTOCOL = {"split": "scaffold", "negatives": "uniform", "ratio": 2.0, "seed": 0, "digest": "00ff"}
ABOUT = {"kind": "original", "parameters": 1000, "trained_parameters": 1000}
SCORES = {
    "auroc": {"value": 0.7, "low": 0.69, "high": 0.71}, "auprc": {"value": 0.5, "low": 0.49, "high": 0.51},
    "prevalence": 0.333, "auroc_per_gene": {"value": 0.61, "groups": 5},
    "auroc_per_molecule": {"value": 0.62, "groups": 7}, "ef1": 2.5, "brier": 0.2, "ece": 0.04,
    "reliability": {"edges": [0.0, 0.5, 1.0], "predicted": [0.3, None], "observed": [0.4, None],
                    "count": [9, 0]},
    "rows": 900, "positives": 300,
}  # fmt: skip
RESULTS = {
    "format": "dnalm-interaction-results", "format_version": 1, "name": "original", "model": ABOUT,
    **PROTOCOL,
    "training": {"epochs": 1, "best_epoch": 1, "seconds": 9.0,
                 "history": {"epoch": [0, 1], "train_loss": [0.7, 0.6], "val_bce": [0.7, 0.65],
                             "val_auroc": [0.5, 0.7], "elapsed": [0.0, 9.0]}},
    "validation": SCORES, "node_rate_validation": 0.66,
}  # fmt: skip


def rung(auroc):
    return {"scores": SCORES | {"auroc": dict.fromkeys(("value", "low", "high"), auroc)}, "sequenced": SCORES}


EVALUATION = {
    "format": "dnalm-interaction-evaluation", "format_version": 1, "part": "test", **PROTOCOL,
    "rows": 900, "positives": 300, "best_rung": "node rate", "warnings": [],
    "ladder": {"node rate": rung(0.66), "gradient boosting": rung(0.65)},
    "models": {"original": {
        "model": ABOUT, "path": "runs/original", "temperature": 1.0, "scores": SCORES, "sequenced": None,
        "shuffled_genes": SCORES, "shuffled_molecules": SCORES,
        "minus_best_rung": {"rung": "node rate", "value": 0.04, "low": 0.03, "high": 0.05}}},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A folder that holds one trained model; its path holds a space."""
    folder = tmp_path / "my runs"
    (folder / "original").mkdir(parents=True)
    (folder / "original" / "results.json").write_text(json.dumps(RESULTS))
    return folder


def test_results_of_training_say_that_the_part_has_chosen_the_epoch(folder, capsys):
    run(Options((folder,)))
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == (
        "Scores. Validation part, scaffold split, negatives uniform, ratio 2, node rate 0.6600; 900 pairs."
    )
    assert lines[1].endswith(" sequenced")
    assert lines[2].split() == [
        *("original", "0.7000", "(0.6900", "to", "0.7100)", "0.5000", "0.6100", "0.6200"),
        *("2.50", "0.2000", "0.0400", "not", "judged"),
    ]
    assert lines[3].startswith("node rate  0.6600")
    assert "Only the validation part is judged here" in shown.out
    assert "It has chosen the epoch" in shown.out
    assert lines[-1] == str(folder / "report.html")
    assert shown.err.strip() == f"comparing what is in {folder}"


def test_an_evaluation_brings_the_ladder_and_the_finding(folder, capsys):
    (folder / "original" / "evaluation_test.json").write_text(json.dumps(EVALUATION))
    run(Options((folder,), quiet=True))
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "Scores. Test part, scaffold split, negatives uniform, ratio 2, node rate 0.6600" in shown.out
    assert "gradient boosting  0.6500" in shown.out
    finding = (
        "the best rung of the ladder, node rate, 0.6600 (0.6600 to 0.6600), by 0.0400 (0.0300 to 0.0500)"
    )
    assert finding in shown.out
    assert "It has chosen the epoch" not in shown.out
    assert finding in (folder / "report.html").read_text()


def test_columns_are_in_line(folder, capsys):
    (folder / "original" / "evaluation_test.json").write_text(json.dumps(EVALUATION))
    run(Options((folder,), quiet=True))
    table = capsys.readouterr().out.split("\n\n")[0].splitlines()[1:]
    assert len({line.index("0.5000") for line in table[1:]}) == 1
    assert table[0].index("AUPRC") == table[1].index("0.5000")


def test_the_page_goes_into_the_first_of_several_folders(folder, tmp_path):
    other = copy.deepcopy(RESULTS) | {"name": "kmer"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "results.json").write_text(json.dumps(other))
    run(Options((folder, tmp_path / "other"), quiet=True))
    assert "kmer" in (folder / "report.html").read_text()
    assert not (tmp_path / "other" / "report.html").exists()


def test_no_folder_and_no_results(tmp_path):
    for folders, message in (
        ((), "no folder is named"),
        ((tmp_path / "nowhere",), "expected a folder of interaction results, got nothing"),
        ((tmp_path,), "dnalm interact train"),
    ):
        with pytest.raises(ValueError, match=message):
            run(Options(folders, quiet=True))


@pytest.mark.parametrize("text", ["{", "{}", json.dumps(RESULTS | {"validation": {}})])
def test_damaged_results_write_nothing(folder, text):
    (folder / "x").mkdir()
    (folder / "x" / "results.json").write_text(text)
    before = sorted(Path(folder).rglob("*"))
    with pytest.raises(ValueError, match=r"results\.json"):
        run(Options((folder,), quiet=True))
    assert sorted(Path(folder).rglob("*")) == before
