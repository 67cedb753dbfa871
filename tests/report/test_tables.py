"""Tests for dnalm/report/tables.py."""

import json
from pathlib import Path

import pytest

from dnalm.report import tables
from dnalm.report.markdown import NONE_YET
from dnalm.report.markdown import markdown as markdown_table

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def made_up_runs_may_have_any_length(monkeypatch):
    monkeypatch.setattr(tables, "FREE", tables.FREE | {"steps"})


def cells(markdown):
    """The rows under the header of a Markdown table, cell by cell."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines()[2:]]


def test_docs_are_what_the_command_makes_from_the_records():
    made = tables.render(DOCS / "records", DOCS / "results.md.j2")
    assert (DOCS / "results.md").read_text() == made, "run: make docs"


def test_no_runs_is_said(tmp_path):
    assert tables.read_records(tmp_path) == {}
    for table in (tables.runs_table, tables.recipes_table, tables.vocabularies_table, tables.race_table):
        assert table({}) == NONE_YET


def test_a_row_a_run(make_run):
    (row,) = cells(tables.runs_table({"toy-full": make_run("full", 1.945)}))
    assert row[:6] == ["toy-full", "toy.fa", "full", "default", "1,000 of 1,000", "19,200,000"]
    assert row[7:9] == ["1.9450 (1.9410 to 1.9490)", "1.9600 (order 8, both strands)"]
    assert (
        tables.verdicts({"toy-full": make_run("full", 1.945)})
        == "- toy-full: The model beats Markov by 0.0150."
    )
    assert row[9] == "1 min 20 s"
    assert row[10] == "cpu (2 threads); A <fast> processor, 2 cores"


def test_recipes_are_compared_at_equal_tokens(make_run):
    # evaluations every 250 steps of 19,200 tokens: 4.8 M (4 % from 5 M) and 19.2 M (4 % from 20 M) are common
    ours = make_run("vocab4", 1.94, steps=2500)
    theirs = make_run("vocab4", 1.96, steps=2500, recipe="published")
    first, second = cells(tables.recipes_table({"a": ours, "b": theirs}))
    losses = [run["metrics"]["history"]["val_losses"] for run in (ours, theirs)]
    assert first[2:4] == ["default", "4,800,000"]
    assert first[4:6] == [f"{losses[0][1]:.4f} (a)", f"{losses[1][1]:.4f} (b)"]
    assert second[3] == "19,200,000"
    assert second[6] == f"{losses[1][4] - losses[0][4]:+.4f}"
    assert (first[7], second[7]) == ("default", "default")


@pytest.mark.parametrize(
    "other",
    [
        {"steps": 2400},  # evaluated at other numbers of tokens
        {"best": 1.93},  # judged on other bases
        {"mode": "full"},
        {"recipe": "default"},
    ],
    ids=["other evaluations", "other bases", "other mode", "same recipe"],
)
def test_recipes_that_do_not_compare_are_not(make_run, other):
    theirs = make_run(**({"mode": "vocab4", "steps": 2500, "recipe": "published"} | other))
    assert tables.recipes_table({"a": make_run("vocab4", steps=2500), "b": theirs}) == NONE_YET


@pytest.mark.parametrize(("bits", "overlap"), [(1.960, "no"), (1.949, "yes"), (1.930, "no")])
def test_vocabularies_are_compared_on_the_same_bases(make_run, bits, overlap):
    records = {"v": make_run("vocab4", bits), "f": make_run("full", 1.945)}
    (row,) = cells(tables.vocabularies_table(records))
    assert row[:3] == ["toy.fa", "default", "1,000"]
    assert row[3].startswith("1.9450 (")
    assert row[4].startswith(f"{bits:.4f} (")
    assert row[5:] == [f"{1.945 - bits:+.4f}", overlap, "v, f"]
    records["f"] = make_run("full", 1.945, best=1.93)
    assert tables.vocabularies_table(records) == NONE_YET


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, "default"),
        ({"eval_every": 7, "accumulate": 4}, "default"),  # trained in the same way
        ({"schedule": "cosine", "lr": 1e-3}, "default with lr 0.001, schedule cosine"),
        ({"schedule": None}, "default with schedule cosine"),  # a record of before it was told
        ({"warmup": None}, "default"),
    ],
)
@pytest.mark.parametrize("said", ["default", "default, changed by flags"])
def test_a_recipe_is_named_with_what_is_other_in_the_run(make_run, change, name, said):
    run = make_run("vocab4")
    run["recipe"]["name"] = said
    train = {key: value for key, value in (run["recipe"]["train"] | change).items() if value is not None}
    run["recipe"]["train"] = train
    assert tables.recipe_name(run) == name


def test_a_recipe_of_ones_own_is_named_as_the_run_names_it(make_run):
    run = make_run("vocab4")
    run["recipe"] |= {"name": "mine.toml, changed by flags", "train": {"lr": 7.0}}
    assert tables.recipe_name(run) == "mine.toml, changed by flags"


def test_each_default_recipe_is_compared_by_itself(make_run):
    ours, earlier = (make_run("vocab4", 1.94, steps=2500) for _ in range(2))
    earlier["recipe"]["train"]["schedule"] = "cosine"
    theirs = make_run("vocab4", 1.96, steps=2500, recipe="published")
    rows = cells(tables.recipes_table({"a": ours, "b": earlier, "c": theirs}))
    assert [row[2] for row in rows] == ["default", "default with schedule cosine"] * 2


def test_a_bar_in_a_name_does_not_break_the_table():
    assert markdown_table(["x"], [["a|b"]]).splitlines()[2] == "| a\\|b |"


def test_command_writes_the_page(make_run, tmp_path, capsys):
    (tmp_path / "records" / "one").mkdir(parents=True)
    (tmp_path / "records" / "one" / "run.json").write_text(json.dumps(make_run("full")))
    (tmp_path / "r.md.j2").write_text("{{ runs_table(records) }}\n")
    assert tables.main([str(tmp_path / "records"), str(tmp_path / "r.md")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "r.md")
    assert cells((tmp_path / "r.md").read_text())[0][0] == "one"


def test_command_refuses_what_is_no_record(tmp_path, capsys):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "run.json").write_text("{}")
    (tmp_path / "r.md.j2").write_text("")
    assert tables.main([str(tmp_path), str(tmp_path / "r.md")]) == 2
    assert "expected a run record written by dnalm" in capsys.readouterr().err
    assert not (tmp_path / "r.md").exists()
    assert tables.main([str(tmp_path / "no such"), "r.md"]) == 2
    assert tables.main([]) == 2


def test_a_run_stopped_on_purpose_counts_and_one_that_was_not_judged_does_not(make_run, tmp_path):
    stopped = make_run("vocab4") | {"status": "interrupted"}
    cut = make_run("full") | {"status": "interrupted"}
    cut["metrics"] = {key: value for key, value in cut["metrics"].items() if key != "verdict"}
    for name, run in (("stopped", stopped), ("cut", cut)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(run))
    assert list(tables.read_records(tmp_path)) == ["stopped"]


def test_a_run_recorded_at_several_stops_is_compared_once(make_run):
    ours, theirs = (
        make_run("vocab4", 1.95, steps=2500),
        make_run("vocab4", 1.96, steps=2500, recipe="published"),
    )
    once = cells(tables.recipes_table({"a": ours, "b": theirs}))
    assert len(cells(tables.recipes_table({"a": ours, "a2": ours, "b": theirs}))) == len(once) == 2


def racer(make_run, recipe, losses, steps=1000, digest="d", eval_bases=76_800):
    run = make_run("vocab4", recipe=recipe, steps=steps)
    run["data"]["digest"] = digest
    run["recipe"]["task"]["eval_bases"] = eval_bases
    run["timings"]["training_s"] = 90.0
    run["metrics"]["history"] |= {
        "iterations": [0, 500, 1000], "val_losses": losses, "elapsed_time": [1.0, 30.0, 90.0],
    }  # fmt: skip
    return run


def test_how_soon_a_run_is_where_the_published_recipe_ends(make_run):
    goal = racer(make_run, "published", [1.4, 1.36, 1.35])
    runs = {
        "goal": goal,
        "sooner": racer(make_run, "default", [1.4, 1.35, 1.36]),  # the same is enough, and once is
        "never": racer(make_run, "default", [1.4, 1.38, 1.3501]),
        "other data": racer(make_run, "default", [1.4, 1.3, 1.3], digest="e"),
        "other windows": racer(make_run, "default", [1.4, 1.3, 1.3], eval_bases=9),
    }
    stopped = racer(make_run, "default", [1.4, 1.3, 1.3])
    stopped["recipe"]["train"]["steps"] = 2000
    rows = cells(tables.race_table(runs | {"stopped": stopped}))
    assert [row[0] for row in rows] == ["goal", "sooner", "never"]
    assert [row[5:] for row in rows] == [
        ["1 min 30 s", "1.3500", "1.3500", "1,000", "1 min 30 s"],
        ["1 min 30 s", "1.3600", "1.3500", "500", "30 s"],
        ["1 min 30 s", "1.3501", "1.3500", "not reached", ""],
    ]
