"""Tests for `dnalm compare` and `dnalm interact compare`: one page of the runs of any kind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dnalm
from dnalm.cli import main
from dnalm.files import write_json
from tests.report.invented import CNN, add, change, make_evaluation, make_results, make_run, write_outputs

PLOTS = ["finetuning_time_comparison.png", "performance_comparison.png"]


@pytest.fixture
def models(tmp_path):
    """A folder of two binding models; its path holds a space."""
    folder = tmp_path / "my models"
    folder.mkdir()
    add(folder, "vocab4", 4.0)
    add(folder, "baseline", 1.0, **CNN)
    for name in ("vocab4", "baseline"):
        change(folder / f"results_{name}.json", "detail", to=None)
    return folder


@pytest.fixture
def outputs(tmp_path):
    return write_outputs(tmp_path / "my outputs", make_run("full", 1.945), make_run("vocab4", 1.972))


@pytest.fixture
def runs(tmp_path):
    write_json(tmp_path / "my runs" / "original" / "results.json", make_results())
    write_json(tmp_path / "my runs" / "original" / "evaluation_test.json", make_evaluation({"original": 0.7}))
    return tmp_path / "my runs"


def test_pretraining_runs_have_a_page(outputs, tmp_path, capsys):
    assert main(["compare", str(outputs), "--out", str(tmp_path / "folder")]) == 0
    lines = capsys.readouterr().out.splitlines()
    page = (tmp_path / "folder" / "report.html").read_text()
    assert page.count("<img ") == 4  # Markov models, two curves, times
    assert lines[-1] == str(tmp_path / "folder" / "report.html")
    assert any(line.startswith("full: better") and line in page for line in lines)
    assert ["bits", "per", "base", "1.9450", "1.9720"] in [line.split() for line in lines]


def test_pair_models_have_a_table_and_a_page(runs, tmp_path, capsys):
    shown = []
    for verb in (["compare"], ["interact", "compare"]):
        assert main([*verb, str(runs), "--quiet"]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    test, validation, rest = shown[0].split("\n\n")
    for part in ("Test part", "random split", "negatives degree-matched", "ratio 1", "node rate"):
        assert part in test
    assert "Validation part" in validation
    _, _, *rows = test.splitlines()
    assert rows[0].split()[:2] == ["original", "0.7000"]
    assert {row.index(")") for row in rows} == {rows[0].index(")")}  # columns are aligned
    assert rest.splitlines()[-1] == str(runs / "report.html")
    assert "It beats the best baseline" in (runs / "report.html").read_text()
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "file", "empty"):
        assert main(["compare", str(tmp_path / name)]) == 2
        assert name in capsys.readouterr().err
    assert not list((tmp_path / "empty").iterdir())


def test_binding_models_have_two_figures_and_runs_of_several_kinds_a_chapter_each(
    models, outputs, runs, tmp_path, capsys
):
    folders = [str(folder) for folder in (models, outputs, runs)]
    assert main(["compare", *folders, "--out", str(tmp_path / "pages" / "all.html"), "--quiet"]) == 0
    text = (tmp_path / "pages" / "all.html").read_text()
    assert text.count("<section ") == 3
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == sorted([*PLOTS, "all.html"])
    assert not (models / "report.html").exists()
    capsys.readouterr()
    assert main(["compare", folders[0], "--quiet"]) == 0
    shown = capsys.readouterr()
    finding, *paths = shown.out.splitlines()
    assert finding.startswith("Validation part: baseline has the highest Pearson R")
    assert finding in (models / "report.html").read_text()
    assert paths == [str(models / name) for name in (*PLOTS, "report.html")]
    assert all((models / name).is_file() for name in PLOTS)
    assert shown.err == ""


@pytest.mark.parametrize("text", ["{", "{}", json.dumps(make_results() | {"validation": {}})])
def test_a_damaged_file_is_named_and_nothing_is_written(models, runs, text, capsys):
    for folder, name in ((models, "results_x.json"), (runs, "results.json"), (runs, "evaluation_x.json")):
        (folder / name).write_text(text)
        before = sorted(folder.rglob("*"))
        assert main(["compare", str(folder), "--quiet"]) == 2
        message = capsys.readouterr().err
        assert name in message
        assert "Traceback" not in message
        assert sorted(folder.rglob("*")) == before
        (folder / name).unlink()


def test_figures_that_fail_cost_neither_the_page_nor_the_exit_code(models, outputs, monkeypatch, capsys):
    for module in ("figures", "pages"):
        monkeypatch.setattr(f"dnalm.report.{module}.png", lambda draw: 1 / 0)
    assert main(["compare", str(models), str(outputs)]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("warning: ") == 8 + len(PLOTS)  # four pictures of each chapter, two files
    assert shown.out.splitlines()[-1] == str(models / "report.html")
    assert "not drawn" in (models / "report.html").read_text()


def test_a_notebooks_backend_a_users_settings_and_the_locale_do_not_decide(tmp_path):
    """In a process of its own, which starts as a notebook's shell, or one of another alphabet, starts it."""
    folder = write_outputs(tmp_path / "Ωutputs", make_run("full", 1.945))
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    env = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    env |= {"PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(Path(dnalm.__file__).parents[1])}
    command = [sys.executable, "-m", "dnalm", "compare", folder.name]
    ended = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, b"?utputs/report.html"), ended.stderr
    assert b"warning" not in ended.stderr
    assert (folder / "report.html").read_text().count("<img ") == 2
