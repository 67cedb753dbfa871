"""Tests for dnalm/report/read*.py: what is read from folders, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest

from dnalm.errors import InputError
from dnalm.files import write_json
from dnalm.report.comparisons import ranked, read_binding, read_moments, read_pair_run, read_pairs
from dnalm.report.read import kinds_of, read_language, use_records
from dnalm.results import read
from dnalm.results.pairs import PairEvaluation
from tests.report.invented import add, evaluate, make_evaluation, make_results, make_run, write_outputs


def aurocs(entries):
    return {name: entry.scores.auroc.value for name, entry in entries.items()}


def test_the_kind_of_a_run_follows_from_its_files(tmp_path):
    write_outputs(tmp_path / "outputs", make_run("full"))
    predicted = add(tmp_path / "models", "vocab4", 2.0)
    evaluate(tmp_path / "tested", {"vocab4": (predicted, {})})
    write_json(tmp_path / "runs" / "original" / "results.json", make_results())
    write_json(tmp_path / "judged" / "evaluation_test.json", make_evaluation({"original": 0.7}))
    kinds = {folder.name: kinds_of([folder]) for folder in tmp_path.iterdir()}
    expected = {"outputs": "language"} | dict.fromkeys(("models", "tested"), "binding")
    expected |= dict.fromkeys(("runs", "judged"), "pairs")
    assert kinds == {name: [kind] for name, kind in expected.items()}
    assert kinds_of([tmp_path / "outputs" / "full"]) == ["language"]
    assert kinds_of([tmp_path / "runs", tmp_path / "outputs"]) == ["language", "pairs"]


def test_records_of_verbs_that_use_a_model_are_found_beside_files_of_others(tmp_path):
    run = make_run("full")
    write_json(tmp_path / "run_track.bw.json", run | {"verb": "predict"})
    write_json(tmp_path / "explained" / "run.json", run | {"verb": "explain"})
    write_json(tmp_path / "run_stopped.bw.json", run | {"verb": "predict", "status": "failed"})
    (tmp_path / "run_of_another_program.json").write_text("[1")
    assert kinds_of([tmp_path]) == ["predict", "explain"]
    assert [path.name for path in use_records([tmp_path], "predict")] == ["run_track.bw.json"]


def test_what_holds_no_run_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    run = make_run("full") | {"status": "interrupted", "metrics": {"mode": "full"}}
    write_json(tmp_path / "unfinished" / "full" / "run.json", run)
    for folders in ([], *([tmp_path / name] for name in ("nowhere", "file", "unfinished"))):
        for reader in (kinds_of, read_language, read_binding, read_pairs):
            with pytest.raises(InputError):
                reader(folders)
    readers = {"results_x.json": read_binding, "results.json": read_pairs, "evaluation_x.json": read_pairs}
    for name, reader in readers.items():
        for text in ("{", "[]", '{"format": "dnalm-run"}', '{"format": "dnalm-binding-results"}'):
            (tmp_path / name).write_text(text)
            with pytest.raises(InputError, match=name.replace(".", r"\.")):
                reader([tmp_path])
        (tmp_path / name).unlink()


def test_language_runs_of_one_mode_are_named_by_folder(tmp_path):
    folders = [write_outputs(tmp_path / name, make_run("full", 1.9)) for name in "ab"]
    assert list(read_language(folders)) == [(folder / "full").as_posix() for folder in folders]
    stopped = make_run("vocab4") | {"status": "interrupted"}  # by --stop-at: it was evaluated
    assert list(read_language([write_outputs(tmp_path / "c", stopped)])) == ["vocab4"]


def test_an_evaluation_of_the_same_windows_joins_the_results(tmp_path):
    predicted = add(tmp_path, "vocab4", 2.0, weights="new")
    models = {"vocab4": (predicted, {"weights": "new"}), "cnn": (predicted, {"kind": "cnn"})}
    evaluate(tmp_path, models, part="validation")
    (comparison,) = read_binding([tmp_path]).comparisons
    assert list(comparison.entries) == ["cnn", "vocab4", "motif scan", "mean score"]
    evaluate(tmp_path, models | {"vocab4": (predicted, {"weights": "old"})}, part="validation")
    (comparison,) = read_binding([tmp_path]).comparisons
    stale = f"vocab4 ({tmp_path.name}/evaluation_validation, other weights)"
    assert set(comparison.models) == {"cnn", "vocab4", stale}


def test_folders_are_read_together_and_splits_and_parts_stand_apart(tmp_path):
    predicted = add(tmp_path / "one", "vocab4", 1.0)
    add(tmp_path / "two", "vocab4", 4.0)
    (comparison,) = read_binding([tmp_path / "one", tmp_path / "two"]).comparisons
    best, other = ranked(comparison.models)
    assert (best, other) == ((tmp_path / "one/vocab4").as_posix(), (tmp_path / "two/vocab4").as_posix())
    assert comparison.difference(best, other).low > 0
    for part in ("all", "test"):
        evaluate(tmp_path / "one", {"vocab4": (predicted, {})}, part=part)
    assert [c.part for c in read_binding([tmp_path / "one"]).comparisons] == ["test", "validation", "all"]
    path = tmp_path / "two" / "results_vocab4.json"
    path.write_text(path.read_text().replace('"01ab"', '"other"'))
    assert len({c.split.digest for c in read_binding([tmp_path]).comparisons}) == 2


def test_a_difference_matches_windows_by_name_and_checks_their_truth(tmp_path):
    for name, noise in (("a", 1.0), ("b", 4.0), ("flat", None)):
        add(tmp_path, name, noise)
    (comparison,) = read_binding([tmp_path]).comparisons
    assert ranked(comparison.models) == ["a", "b", "flat"]  # an undefined score is last
    assert isinstance(comparison.difference("a", "flat"), str)
    path = tmp_path / "b" / "moments.npz"
    with np.load(path) as arrays:
        names, sums = arrays["names"], arrays["moments"]

    def difference(names, sums):
        np.savez(path, names=names, moments=sums)
        return read_binding([tmp_path]).comparisons[0].difference("a", "b")

    assert difference(names[::-1], sums[::-1]) == comparison.difference("a", "b")
    assert isinstance(difference(names, sums + [0, 1, 0, 1, 0, 0]), str)  # another truth
    assert isinstance(difference(names[1:], sums[1:]), str)  # other windows
    path.unlink()
    assert isinstance(read_binding([tmp_path]).comparisons[0].difference("a", "b"), str)


def test_damaged_moments_are_named(tmp_path):
    path = tmp_path / "moments.npz"
    for sums in (None, np.zeros((2, 6)), np.full((1, 6), np.nan), np.array([["x"] * 6]), "cut"):
        arrays = {} if sums is None else {"moments": np.zeros((1, 6)) if isinstance(sums, str) else sums}
        np.savez(path, names=np.array(["a"]), **arrays)
        if isinstance(sums, str):
            path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(InputError, match=r"moments\.npz"):
            read_moments(path)


def test_pair_runs_are_read_by_split_the_test_part_first(tmp_path):
    runs = tmp_path / "my runs"
    write_json(runs / "original" / "results.json", make_results(0.71))
    write_json(runs / "original" / "evaluation_test.json", make_evaluation({"original": 0.7}))
    other = {"split": "cold-gene", "digest": "ee"}
    write_json(runs / "cold" / "results.json", make_results(0.6, name="cold", **other))
    write_json(runs / ".original.x.part" / "results.json", {"cut": "short"})  # unfinished
    results = read_pairs([runs, runs / "original"])  # a file reached twice counts once
    assert sorted(results.trained) == ["cold", "original"]
    cold, test, validation = results.comparisons
    parts = [(c.protocol.split, c.part) for c in (cold, test, validation)]
    assert parts == [("cold-gene", "validation"), ("random", "test"), ("random", "validation")]
    assert (aurocs(test.models), aurocs(validation.models)) == ({"original": 0.7}, {"original": 0.71})
    assert test.models["original"].minus_best_baseline == ("matrix factorisation", 0.02, 0.01, 0.03)
    assert test.node_rate == validation.node_rate == 0.58
    assert cold.models["cold"].minus_best_baseline is None
    assert not cold.baselines


def test_evaluations_of_the_same_pairs_stand_together_and_replace_the_result_of_training(tmp_path):
    for name, auroc, more in (("a", None, {}), ("b", 0.71, {}), ("c", 0.7, {"ladder": {"node rate": 0.59}})):
        write_json(tmp_path / name / "evaluation_test.json", make_evaluation({name: auroc}, **more))
    (comparison,) = read_pairs([tmp_path]).comparisons
    assert ranked(comparison.models) == ["b", "c", "a"]  # null is NaN, and last
    assert len(comparison.baselines) == 4
    assert comparison.node_rate == 0.58
    write_json(tmp_path / "b" / "results.json", make_results(0.7, "b"))
    write_json(tmp_path / "b" / "evaluation_validation.json", make_evaluation({"b": 0.7}, part="validation"))
    validation = read_pairs([tmp_path]).comparisons[1]
    assert list(validation.models) == ["b"]
    assert validation.models["b"].minus_best_baseline is not None


def test_an_evaluation_with_the_field_names_of_0_1_reads_the_same(tmp_path):
    content = make_evaluation({"rung": 0.7})  # a name of a model stays
    now, before = tmp_path / "now.json", tmp_path / "before.json"
    write_json(now, content)
    text = now.read_text()
    for name, former in (("minus_best_baseline", "minus_best_rung"), ("best_baseline", "best_rung")):
        assert f'"{name}":' in text
        text = text.replace(f'"{name}":', f'"{former}":')
    before.write_text(text.replace('"baseline":', '"rung":'))
    assert read(before, PairEvaluation) == read(now, PairEvaluation)
    assert list(read(before, PairEvaluation).models) == ["rung"]


def test_a_model_has_the_name_of_its_training(tmp_path):
    for seed, auroc in ((0, 0.7), (1, 0.72)):
        run = tmp_path / f"seed{seed}" / "original"
        write_json(run / "results.json", make_results(auroc))
        write_json(run / "evaluation_test.json", make_evaluation({"original": auroc - 0.01}))
    for comparison, less in zip(read_pairs([tmp_path]).comparisons, (0.01, 0.0), strict=True):
        expected = {"seed0/original": 0.7 - less, "seed1/original": 0.72 - less}
        assert aurocs(comparison.models) == pytest.approx(expected)
    folder = tmp_path / "seed0" / "original"  # known by its weights, whatever its name
    write_json(folder / "results.json", make_results(name="a", weights="w1"))
    other = "a (original/evaluation_test, other weights)"
    for name, weights, label in (("moved", "w1", "a"), ("a", "w0", other)):
        write_json(folder / "evaluation_test.json", make_evaluation({name: 0.7}, weights=weights))
        assert list(read_pairs([folder]).comparisons[0].models) == [label]


def test_a_run_is_read_with_evaluations_of_its_weights_and_pairs_in_it_and_beside_it(tmp_path):
    run = tmp_path / "mine"
    write_json(run / "results.json", make_results(0.66, "mine", weights="w1"))

    def parts(folder, name="mine", **protocol):
        path = folder / "evaluation_test.json"
        write_json(path, make_evaluation({name: 0.7}, **protocol))
        found = {c.part: c.models["mine"].scores.auroc.value for c in read_pair_run(run)[1]}
        path.unlink()
        return found

    for folder in (run, tmp_path):
        assert parts(folder, weights="w2") == {"validation": 0.66}  # of other weights
        assert parts(folder, weights="w1", digest="0bad") == {"validation": 0.66}  # of other pairs
        assert parts(folder, "by another name", weights="w1") == {"validation": 0.66, "test": 0.7}
    write_json(run / "results.json", make_results(0.66, "mine"))
    assert parts(run) == {"validation": 0.66}  # nobody knows whose they are
    (run / "results.json").unlink()
    with pytest.raises(InputError, match=r"results\.json"):
        read_pair_run(run)


def test_the_report_never_imports_torch():
    modules = "dnalm.report.screen, dnalm.report.language, dnalm.commands.compare"
    code = f"import {modules}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
