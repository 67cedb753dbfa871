"""Tests for docs/make: pages are made from records and results, and every table has their figures."""

from pathlib import Path

import pytest

import docs.make.__main__ as make
from dnalm.errors import InputError
from dnalm.files import write_json
from docs.make import binding, curves, language, markdown, pairs, performance
from tests.report.invented import make_evaluation, make_results, make_run, model_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def invented_runs_may_have_any_length(monkeypatch):
    monkeypatch.setattr(language, "NON_TRAINING_FIELDS", language.NON_TRAINING_FIELDS | {"steps"})


def cells(table):
    """The rows under the header of a Markdown table, cell by cell."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_the_pages_are_what_the_command_makes(monkeypatch):
    monkeypatch.undo()
    values = make.values(ROOT / "docs" / "records", ROOT / "bench" / "results")
    for page in make.PAGES:
        made = make.render(ROOT / "docs" / f"{page}.md.j2", values)
        assert (ROOT / "docs" / f"{page}.md").read_text() == made, "run: make docs"


def test_records_are_read_by_verb_if_they_are_done_and_a_bar_does_not_break_the_table(tmp_path):
    assert markdown.table(["x"], [["a|b"]]).splitlines()[2] == "| a\\|b |"
    done = make_run("full") | {"verb": "evaluate"}
    for name, run in (("a", done), ("b", done | {"status": "interrupted"}), ("c", make_run("full"))):
        write_json(tmp_path / name / "run.json", run)
    records = markdown.read_records(tmp_path)
    assert list(records) == ["a", "b", "c"]
    assert list(markdown.of_verbs(records, "evaluate")) == ["a"]
    commands = markdown.commands_list(records)
    assert commands.startswith("- a: `dnalm pretrain --data data/full --out 'my outputs'")
    write_json(tmp_path / "d" / "run.json", {})
    for folder in (tmp_path, tmp_path / "no such"):
        with pytest.raises(InputError):
            markdown.read_records(folder)


def test_a_run_is_a_row_and_the_best_of_a_genome_stands_first():
    low, high = make_run("full", 1.945), make_run("vocab4", 1.965)
    stopped = low | {"status": "interrupted"}
    cut = high | {"metrics": {key: value for key, value in high["metrics"].items() if key != "verdict"}}
    runs = language.trained({"low": low, "high": high, "stopped": stopped, "cut": cut})
    assert list(runs) == ["low", "high", "stopped"]  # a run that was not evaluated does not count
    row = cells(language.runs_table(runs))[0]
    assert row[:6] == ["low", "toy.fa", "full", "default", "1,000 of 1,000", "19,200,000"]
    assert row[7:9] == ["1.9450 (1.9410 to 1.9490)", "1.9600 (order 8, both strands)"]
    assert row[10:] == ["1 min 20 s", "cpu (2 threads); A <fast> processor, 2 cores"]
    (best,) = cells(language.best_table(runs))
    assert best[3:] == ["1.9450 (1.9410 to 1.9490)", "1.9600 (order 8, both strands)", "yes"]
    assert cells(language.best_table(language.trained({"high": high})))[0][-1] == "no"


def test_recipes_are_compared_at_equal_tokens_each_default_by_itself():
    # evaluations every 250 steps of 19,200 tokens: 4.8 M (4 % from 5 M) and 19.2 M (4 % from 20 M) are common
    ours, earlier = (make_run("vocab4", 1.94, steps=2500) for _ in range(2))
    earlier["recipe"]["train"]["schedule"] = "cosine"
    theirs = make_run("vocab4", 1.96, steps=2500, recipe="published")
    rows = cells(language.recipes_table(language.trained({"a": ours, "a2": ours, "b": earlier, "c": theirs})))
    assert [row[2:4] for row in rows] == [
        [recipe, tokens]
        for tokens in ("4,800,000", "19,200,000")
        for recipe in ("default", "default with schedule cosine")
    ]
    losses = [run["metrics"]["history"]["val_losses"] for run in (ours, theirs)]
    assert rows[0][5] == f"{losses[1][1]:.4f} (c)"
    assert rows[2][6] == f"{losses[1][4] - losses[0][4]:+.4f}"
    for other in ({"steps": 2400}, {"best": 1.93}, {"mode": "full"}, {"recipe": "default"}):
        theirs = make_run(**({"mode": "vocab4", "steps": 2500, "recipe": "published"} | other))
        assert language.recipes_table(language.trained({"a": ours, "b": theirs})) == markdown.NONE_YET


def test_vocabularies_are_compared_on_the_same_bases():
    runs = {"v": make_run("vocab4", 1.96), "f": make_run("full", 1.945)}
    ((*_, full, four, gain, names),) = cells(language.vocabularies_table(language.trained(runs)))
    assert (full[:8], four[:8], gain, names) == ("1.9450 (", "1.9600 (", "-0.0150", "f, v")
    runs["f"] = make_run("full", 1.945, best=1.93)
    assert language.vocabularies_table(language.trained(runs)) == markdown.NONE_YET


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, "default"),
        ({"eval_every": 7, "accumulate": 4}, "default"),  # trained in the same way
        ({"schedule": "cosine", "lr": 1e-3}, "default with lr 0.001, schedule cosine"),
        ({"schedule": None}, "default with schedule cosine"),  # an older record
    ],
)
@pytest.mark.parametrize("recorded", ["default", "default, changed by flags"])
def test_a_recipe_is_named_with_what_is_other_in_the_run(change, name, recorded):
    run = make_run("vocab4")
    train = {key: value for key, value in (run["recipe"]["train"] | change).items() if value is not None}
    run["recipe"] |= {"name": recorded, "train": train}
    assert language.trained({"a": run})["a"].recipe == name
    run["recipe"] |= {"name": "mine.toml, changed by flags", "train": {"lr": 7.0}}
    assert language.trained({"a": run})["a"].recipe == "mine.toml, changed by flags"


def test_how_soon_a_run_is_where_the_published_recipe_ends():
    def racer(recipe, losses, steps=1000, digest="d", eval_bases=76_800):
        run = make_run("vocab4", recipe=recipe)
        run["data"]["digest"] = digest
        run["recipe"]["task"]["eval_bases"] = eval_bases
        run["recipe"]["train"]["steps"] = steps
        run["timings"]["training_s"] = 90.0
        times = {"iterations": [0, 500, 1000], "val_losses": losses, "elapsed_time": [1.0, 30.0, 90.0]}
        run["metrics"]["history"] |= times | {"train_losses": losses, "bits_per_base": losses}
        return run

    runs = {
        "goal": racer("published", [1.4, 1.36, 1.35]),
        "sooner": racer("default", [1.4, 1.35, 1.36]),  # the same is enough, and once is
        "never": racer("default", [1.4, 1.38, 1.3501]),
        "other_data": racer("default", [1.4, 1.3, 1.3], digest="e"),
        "other_windows": racer("default", [1.4, 1.3, 1.3], eval_bases=9),
        "stopped": racer("default", [1.4, 1.3, 1.3], steps=2000),
    }
    rows = cells(language.race_table(language.trained(runs)))
    assert [[row[0], *row[6:]] for row in rows] == [
        ["goal", "1.3500", "1.3500", "1,000", "1 min 30 s"],
        ["sooner", "1.3600", "1.3500", "500", "30 s"],
        ["never", "1.3501", "1.3500", "not reached", ""],
    ]


SCORES = {
    "pearson_r": {"value": 0.98765, "low": 0.97, "high": 0.99}, "pearson_r_batches": 0.5, "mse": 0.12345,
    "auroc": 0.9, "auprc": None, "median_window_r": 0.8, "windows": 1234, "bases": 370200,
}  # fmt: skip
SPLIT = {"kind": "blocks", "windows": {}, "near_duplicates": {}, "digest": "0"}


def record(metrics, **more):
    recipe = {"model": {"tuning": {"tune": "frozen"}}}
    hardware = {"device": "cpu", "processor": "P", "cores": 2}
    return {"recipe": recipe, "metrics": metrics, "hardware": hardware} | more


def test_binding_tables_have_the_figures_of_the_records():
    model = model_of(random_core=True)
    training = {"best_epoch": 7, "epochs": 9, "seconds": 61.0, "states_seconds": 12.0}
    one = record({"model": model, "split": SPLIT, "training": training, "scores": SCORES})
    (row,) = cells(binding.trained_table({"one": one}))
    assert row[1] == "GPT, untrained core, frozen, states not whitened"
    assert row[4:9] == ["1,234", "0.9877 (0.9700 to 0.9900)", "0.5000", "undefined", "7 of 9"]
    assert row[9:11] == ["1 min 1 s and 12 s for states", "541,697 of 7,739,777"]
    pair = {"one": "a", "other": "b", "value": 0.1, "low": -0.1, "high": 0.3}
    low = SCORES | {"pearson_r": {"value": 0.1, "low": 0.0, "high": 0.2}}
    judged = {name: {"model": model, "scores": one} for name, one in (("b", low), ("a", SCORES))}
    told = {"part": "test", "split": SPLIT, "windows": 55, "pairs": [pair, pair | {"other": "mean score"}]}
    evaluated = record(told | {"models": judged, "baselines": {"mean score": {"scores": SCORES}}})
    _, *rows = cells(binding.evaluated_table({"e": evaluated}))
    assert [row[1] for row in rows] == ["GPT, untrained core, frozen", "no training"]
    assert cells(binding.pairs_table({"e": evaluated})) == [
        ["a", "b", "test part, blocks split", "+0.1000 (-0.1000 to +0.3000)"]
    ]
    assert [row[0] for row in cells(binding.best_table({"e": evaluated}))] == ["a", "mean score", "b"]
    cores = {"a": {"model": model, "as made": [1.0, 0.75], "in bfloat16": [1.0, 0.7]}}
    rows = cells(binding.readout_table({"r": record({"distances": [0, 3], "guess": 0.3, "models": cores})}))
    assert [row[2:] for row in rows[:2]] == [["as made", "1.000", "0.750"], ["in bfloat16", "1.000", "0.700"]]
    assert rows[2][2:] == ["none", "0.300", "0.300"]


def test_seeds_of_a_split_are_one_row_and_models_come_first():
    unknown, cold = (None, None, None), {"split": "cold-gene", "digest": "ee"}
    runs = {"cold": make_evaluation({"x": 0.5}, gain=unknown, ladder={"node rate": 0.6}, **cold)}
    for seed, gain in enumerate([(0.02, 0.01, 0.03), (0.01, -0.01, 0.03), (-0.03, -0.04, -0.02)]):
        models = {f"r{seed}": 0.7 + 0.01 * seed}
        runs[f"random-{seed}"] = make_evaluation(models, gain=gain, seed=seed, digest=f"d{seed}")
    evaluations = {name: record(run) for name, run in runs.items()}
    rows = cells(pairs.scores_table(evaluations))
    names = ["original, model", "matrix factorisation", "gradient boosting", "nearest molecules", "node rate"]
    assert [row[:2] + row[3:5] for row in rows] == [
        *(["random", "test", name, "3"] for name in names),
        *(["cold-gene", "test", name, "1"] for name in ("original, model", "node rate")),
    ]
    model = rows[0]
    assert model[5] == "0.7100"  # mean of 0.70, 0.71 and 0.72
    assert model[6] == "0.7000 (0.6900 to 0.7100); 0.7100 (0.7000 to 0.7200); 0.7200 (0.7100 to 0.7300)"
    assert model[7:] == ["0.5800", "0.7100", "0.500", "0.6100", "0.6200", "1.75", "0.2100", "0.0300"]
    assert rows[5][7] == "0.6000"  # the node rate of its own split
    random, cold = cells(pairs.best_table(evaluations))
    of_model = ["original, 0.7100", "original, 0.7100"]  # neural too
    assert random[1:6] == [*of_model, "matrix factorisation, 0.6800", "0.5800", "+0.0000"]
    assert random[6] == "better in 1, worse in 1 of 3 seeds"
    assert cold[5] == "undefined"
    first, cold = cells(pairs.gains_table(evaluations))
    assert first[3:6] == ["original", "matrix factorisation", "+0.0000"]
    assert first[6].split("; ")[1] == "+0.0100 (-0.0100 to +0.0300)"
    assert first[7:] == ["1 of 3", "1 of 3"]
    assert cold[4:6] == ["node rate", "undefined"]
    shuffled = cells(pairs.shuffles_table(evaluations))[0]
    assert shuffled[3:] == ["original", "3", "0.7100", "0.6000", "0.5200", "0.5800"]
    evaluations["random-1"]["metrics"]["models"]["r1"]["sequenced"] = None
    row = cells(pairs.sequenced_table(evaluations))[0]
    assert row[3:7] == ["original, model", "2", "300", "0.7200"]  # of 0.71 and 0.73
    assert row[8] == "0.5900"  # the node rate there
    for table in (pairs.scores_table, pairs.gains_table, pairs.sequenced_table, pairs.shuffles_table):
        assert table({}) == markdown.NONE_YET


def test_a_ladder_recorded_twice_counts_once_and_models_of_one_kind_have_their_names():
    runs = {name: record(make_evaluation({name: 0.7}, weights=name)) for name in ("a", "b")}
    rows = {row[3]: row[4] for row in cells(pairs.scores_table(runs))}
    assert rows["node rate"] == "1"
    assert rows["a (original), model"] == rows["b (original), model"] == "1"  # no seeds of one
    runs = {"a": record(make_evaluation({"small": 0.6, "large": 0.7}, negatives="given", ratio=None))}
    rows = cells(pairs.gains_table(runs))
    assert [row[2:4] for row in rows] == [["given", "large (original)"], ["given", "small (original)"]]


def test_trained_pair_models_and_pairs_of_them():
    train = {"recipe": {"train": {"batch_size": 64, "lr": 1e-3, "min_lr": 1e-4}}}
    train |= {"data": {"parts": {"train": {"rows": 8000}}}}
    results = {"a": make_results(0.55, split="cold-both"), "b": make_results(0.7)}
    runs = {name: record(one, **train) for name, one in results.items()}
    rows = cells(pairs.trained_table(runs))
    assert rows[0] == [
        "b", "original", "random", "degree-matched", "8,000", "64, 0.001 to 0.0001", "2 of 2", "1 min 5 s",
        "0.7000 (0.6900 to 0.7100)", "0.5800", "1,200,000 of 1,200,000", "cpu; P, 2 cores",
    ]  # fmt: skip
    assert rows[1][2] == "cold-both"
    runs = {}
    for seed, low in ((1, -0.01), (0, 0.01)):
        content = make_evaluation({"a": 0.7, "b": 0.6}, seed=seed, digest=f"d{seed}")
        content["models"]["b"]["model"]["kind"] = "kmer"
        content["pairs"] = [{"one": "a", "other": "b", "value": 0.02 + seed / 100, "low": low, "high": 0.05}]
        runs[f"r{seed}"] = record(content)
    (row,) = cells(pairs.pairs_table(runs))
    assert row[3:6] == ["original", "kmer", "+0.0250"]
    assert row[6] == "+0.0200 (+0.0100 to +0.0500); +0.0300 (-0.0100 to +0.0500)"


def way(time, rate=600.0, **more):
    unknown = {"flop_rate": None, "share_of_peak": None, "facts": {}, "amounts": {}}
    return unknown | {"time": of(time, time, time), "rate": {"median": rate}, "peak_memory_bytes": 5e6} | more


def target(text, reached=True, value=4.0, must=True):
    bounds = {"figure": "ratio", "at_least": 2.0, "at_most": None, "way": "published"}
    return bounds | {"text": text, "must": must, "value": value, "reached": reached}


def of(low, median, high):
    return {"median": median, "low": low, "high": high}


RESULT = {
    "format": "dnalm-bench", "format_version": 1, "case": "step", "title": "Step", "device": "cpu",
    "quick": False, "unit": "tokens", "ours": "dnalm", "threads": 1, "rounds": 3, "load_before": 0.5,
    "missing": ["broken"], "git": {"commit": "0123456789", "changed": True}, "versions": {"torch": "2"},
    "machine": {"processor": "P", "cores": 2, "memory_bytes": 8e9, "system": "Linux"},
    "best": {"plain": "plain, bf16"},
    "targets": [target("twice"), target("aim", False, 1.5, must=False), target("never", None, None)],
    "ways": {
        "dnalm": way(0.01, share_of_peak=of(0.4, 0.5, 0.6), flop_rate={"median": 1e9},
                     amounts={"a run": 1.7}),
        "published": way(0.04, 150.0, ratio=of(1.9, 4.0, 9.0)),
        "plain, bf16": way(0.01, ratio=of(0.5, 0.8, 0.9)),
        "product": way(0.005, 1.0),
    },
}  # fmt: skip


def test_performance_tables_have_the_figures_of_the_files():
    assert cells(performance.step_table([RESULT])) == [
        ["the published step", "4 times (1.9 to 9): ahead"],
        ["transformers' Trainer", "not measured"],
        ["a plain loop", "0.8 times (0.5 to 0.9): behind"],
        ["of the peak", "50% (40% to 60%)"],
    ]
    rows = cells(performance.ways_table(RESULT))
    assert rows[0] == ["dnalm", "0.01 s (0.01 to 0.01)", "600", "", "5", "1", "50% (40% to 60%)"]
    assert rows[1][:4] == ["published", "0.04 s (0.04 to 0.04)", "150", "4 (1.9 to 9)"]
    assert rows[3][2] == ""  # it measures the machine
    assert "| dnalm | 1.7 s |" in performance.amounts_table(RESULT)
    assert "commit 0123456, with changes" in performance.conditions(RESULT)
    rows = [row[1:] for row in cells(performance.targets_table([RESULT]))]
    assert rows == [
        ["twice", "must", "4 times (published)", "1.9 to 9", "yes, not in every round"],
        ["aim", "aim", "1.5 times (published)", "1.9 to 9", "**no**, but in some rounds"],
        ["never", "must", "", "1.9 to 9", "not measured"],
    ]


def test_other_files_are_refused(tmp_path):
    write_json(tmp_path / "toy.json", RESULT)
    assert performance.read_results(tmp_path) == [RESULT]
    for change in ({"quick": True}, {"format": "other"}, {"format_version": 2}):
        write_json(tmp_path / "toy.json", RESULT | change)
        for folder in (tmp_path, tmp_path / "no such"):
            with pytest.raises(InputError):
                performance.read_results(folder)


def test_sizes_are_compared_after_the_same_tokens_of_one_genome():
    small, large, other = (
        make_run("vocab4", 1.94),
        make_run("vocab4", 1.95),
        make_run("vocab4", 1.93, steps=2000),
    )
    small["metrics"]["parameters"] = other["metrics"]["parameters"] = 984_960
    runs = {"large": large, "small": small, "other": other}
    rows = cells(language.sizes_table(language.trained(runs)))
    assert [row[3] for row in rows] == ["1.0 million", "7.1 million"]
    assert [row[4:6] for row in rows] == [
        ["warm-down", "1.9400 (1.9360 to 1.9440)"],
        ["warm-down", "1.9500 (1.9460 to 1.9540)"],
    ]
    assert language.sizes_table(language.trained({"large": large, "other": other})) == markdown.NONE_YET


def test_objectives_are_compared_at_the_masked_positions():
    causal, masked = make_run("vocab4", 1.94), make_run("vocab4", 1.9)
    best = {"order": 8, "strands": 2, "bits": 1.95}
    two_sided = causal["metrics"]["ladder"] | {"best": {"order": 4, "strands": 1, "bits": 1.91}}
    fixed = {"value": 1.93, "low": 1.92, "high": 1.94, "markov": best, "two_sided": two_sided["best"]}
    bits = masked["metrics"].pop("bits_per_base")
    history = masked["metrics"]["history"]
    history["bits_per_masked_base"] = history.pop("bits_per_base")
    masked["metrics"] |= {"objective": "masked", "bits_per_masked_base": bits, "two_sided": two_sided}
    runs = {"old": make_run("vocab4"), "masked": masked}
    runs["causal"] = causal | {"metrics": causal["metrics"] | {"fixed_positions": fixed}}
    rows = cells(language.objectives_table(language.trained(runs)))
    assert [row[:2] for row in rows] == [["masked", "masked"], ["causal", "causal"]]  # `old` does not know
    assert [row[5] for row in rows] == ["1.9000 (1.8960 to 1.9040)", "1.9300 (1.9200 to 1.9400)"]
    assert [row[7] for row in rows] == ["1.9100 (order 4, one strand)"] * 2
    assert rows[1][6] == "1.9500 (order 8, both strands)"


def test_genomes_are_shown_with_what_was_left_out():
    one, several = make_run("vocab4"), make_run("vocab4")
    named = {"name": "ours", "train_bases": 900, "val_bases": 100, "left_out_bases": 0}
    other = {"name": "relative", "train_bases": 600, "val_bases": 0, "left_out_bases": 200}
    several["data"] = several["data"] | {"genomes": [named, other]}
    ((name, genomes, left, _, _, last),) = cells(
        language.genomes_table(language.trained({"one": one, "several": several}))
    )
    assert (name, genomes, left) == ("several", "ours, relative", "relative 25.0%")
    assert last == f"{several['metrics']['ladder']['both_strands'][-1]:.4f}"  # the lower of two


def test_label_curves_and_features_are_tables_of_models():
    about, other = ({"value": r, "low": r - 0.1, "high": r + 0.1} for r in (0.5, 0.3))
    names = ["causal, mix, untrained", "masked, last, pretrained", "masked, last, untrained"]
    scores = {"pretrained": [about], **{name: [other] for name in names}}
    metrics = {"bases": [90_000], "scores": scores, "minus": {name: [about] for name in names}}
    run = {"metrics": metrics, "recipe": {"first": "causal, mix, pretrained"}}
    half, third, lead = (
        "0.5000 (0.4000 to 0.6000)",
        "0.3000 (0.2000 to 0.4000)",
        "+0.5000 (+0.4000 to +0.6000)",
    )
    assert cells(curves.features_table({"a": run})) == [
        ["causal", "mix", half, third, "", lead],
        ["masked", "last", third, third, lead, lead],
    ]
    rows = cells(curves.labels_table({"a": run}, "a"))
    assert [row[0] for row in rows] == list(scores)
    assert rows[0][2] == ""
    assert curves.labels_table({}, "a") == curves.features_table({}) == markdown.NONE_YET
