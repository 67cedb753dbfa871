"""Tests for dnalm/commands/compare.py."""

import json

import pytest

from dnalm.cli import main

RESULTS = {
    "format": "dnalm-binding-results", "format_version": 1, "name": "vocab4",
    "model": {"kind": "gpt", "tune": "lora", "both_strands": True, "random_core": False, "causal": True,
              "parameters": 1000, "trained_parameters": 100, "core": "outputs/vocab4"},
    "split": {"kind": "published", "part": "validation", "windows": {"train": 8, "validation": 2},
              "near_duplicates": None, "digest": "00ff00ff00ff"},
    "training": {"epochs": 1, "best_epoch": 1, "seconds": 9.0, "states_seconds": 0.0,
                 "history": {"epoch": [1], "train_loss": [1.0], "val_loss": [0.9], "pearson_r": [0.8],
                             "elapsed": [9.0]}},
    "peak_memory_bytes": None, "device": "cpu",
    "scores": {"pearson_r": {"value": 0.9, "low": 0.85, "high": 0.93}, "pearson_r_batches": 0.91, "mse": 0.1,
               "auroc": 0.99, "auprc": None, "median_window_r": 0.9, "windows": 2, "bases": 600},
    "detail": None,
}  # fmt: skip
WRITTEN = ["finetuning_time_comparison.png", "performance_comparison.png", "report.html"]


@pytest.fixture
def folder(tmp_path):
    """A folder with two results, of which no moments were kept; its path holds a space."""
    folder = tmp_path / "my models"
    folder.mkdir()
    other = RESULTS | {"scores": RESULTS["scores"] | {"pearson_r": {"value": 0.7, "low": 0.6, "high": 0.8}}}
    (folder / "results_vocab4.json").write_text(json.dumps(RESULTS))
    (folder / "results_full.json").write_text(json.dumps(other))
    return folder


def test_writes_plots_and_page_and_prints_findings_and_paths(folder, capsys):
    assert main(["compare", str(folder)]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == "Validation part: vocab4 has the highest Pearson R, 0.9000 (0.8500 to 0.9300)."
    assert "no paired interval" in lines[1]
    assert lines[2:] == [str(folder / name) for name in WRITTEN]
    assert all((folder / name).stat().st_size > 1000 for name in WRITTEN)
    assert lines[0] in (folder / "report.html").read_text()
    assert shown.err.strip() == f"comparing the binding models in {folder}"


def test_quiet_keeps_to_the_result(folder, capsys):
    assert main(["compare", str(folder), "--quiet"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "report.html" in shown.out


def test_no_folder_and_no_results(tmp_path, capsys):
    assert main(["compare", str(tmp_path / "nowhere")]) == 2
    assert "expected a folder of binding results, got nothing" in capsys.readouterr().err
    (tmp_path / "file").write_text("x")
    assert main(["compare", str(tmp_path / "file")]) == 2
    assert "got a file" in capsys.readouterr().err
    assert main(["compare", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    for word in ("results_NAME.json", "evaluation_NAME.json", "dnalm finetune", "dnalm baseline"):
        assert word in message


@pytest.mark.parametrize("text", ["{", "{}", json.dumps(RESULTS | {"scores": {}})])
def test_damaged_results_write_nothing(folder, capsys, text):
    (folder / "results_x.json").write_text(text)
    before = sorted(folder.iterdir())
    assert main(["compare", str(folder), "--quiet"]) == 2
    message = capsys.readouterr().err
    assert "results_x.json" in message
    assert "Traceback" not in message
    assert sorted(folder.iterdir()) == before
