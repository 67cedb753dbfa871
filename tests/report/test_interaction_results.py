"""Tests for dnalm/report/interaction_results.py."""

import math
import subprocess
import sys
from copy import deepcopy

import pytest

from dnalm.files import write_json
from dnalm.report.read_pairs import auroc_of, read_results


def test_a_folder_of_runs_is_read_by_split_the_test_part_first(make_results, make_evaluation, tmp_path):
    runs = tmp_path / "my runs"
    write_json(runs / "original" / "results.json", make_results(0.71))
    write_json(runs / "original" / "evaluation_test.json", make_evaluation({"original": 0.7}))
    other = {"split": "cold-gene", "digest": "ee"}
    write_json(runs / "cold" / "results.json", make_results(0.6, name="cold", **other))
    results = read_results([runs])
    assert [(c.protocol.split, c.part) for c in results.comparisons] == [
        ("cold-gene", "validation"),
        ("random", "test"),
        ("random", "validation"),
    ]
    cold, test, validation = results.comparisons
    assert list(results.trained) == ["cold", "original"]
    assert auroc_of(test.models["original"].scores).value == 0.7
    assert auroc_of(validation.models["original"].scores).value == 0.71
    assert test.models["original"].gain == (0.02, 0.01, 0.03)
    assert test.models["original"].rung == "matrix factorisation"
    assert test.node_rate == validation.node_rate == 0.58
    assert cold.models["cold"].gain is None
    assert not cold.ladder
    assert test.ranked(test.ladder)[0] == "matrix factorisation"


def test_a_file_reached_by_two_folders_counts_once(make_results, tmp_path):
    write_json(tmp_path / "original" / "results.json", make_results())
    results = read_results([tmp_path, tmp_path / "original"])
    assert list(results.trained) == ["original"]
    assert list(results.comparisons[0].models) == ["original"]


def test_unfinished_folders_are_not_read(make_results, tmp_path):
    write_json(tmp_path / "original" / "results.json", make_results())
    write_json(tmp_path / ".original.x.part" / "results.json", {"cut": "short"})
    assert list(read_results([tmp_path]).trained) == ["original"]


def test_trainings_of_one_name_are_told_apart_by_folder(make_results, make_evaluation, tmp_path):
    for seed, auroc in ((0, 0.7), (1, 0.72)):
        run = tmp_path / f"seed{seed}" / "original"
        write_json(run / "results.json", make_results(auroc))
        judged = make_evaluation({"original": auroc - 0.01})
        write_json(run / "evaluation_test.json", judged)
    results = read_results([tmp_path])
    names = ["seed0/original", "seed1/original"]
    assert list(results.trained) == names
    for comparison, less in zip(results.comparisons, (0.01, 0.0), strict=True):
        found = {name: auroc_of(one.scores).value for name, one in comparison.models.items()}
        assert found == {names[0]: pytest.approx(0.7 - less), names[1]: pytest.approx(0.72 - less)}


def test_evaluations_of_the_same_pairs_stand_beside_each_other(make_evaluation, tmp_path):
    write_json(tmp_path / "a" / "evaluation_test.json", make_evaluation({"a": 0.7}))
    write_json(tmp_path / "b" / "evaluation_test.json", make_evaluation({"b": 0.71}))
    (comparison,) = read_results([tmp_path]).comparisons
    assert set(comparison.models) == {"a", "b"}
    assert len(comparison.ladder) == 4
    assert not comparison.warnings
    other = make_evaluation({"c": 0.7}, rungs={"node rate": 0.59})
    write_json(tmp_path / "c" / "evaluation_test.json", other)
    (comparison,) = read_results([tmp_path]).comparisons
    assert "its ladder differs" in comparison.warnings[0]
    assert comparison.node_rate == 0.58


def test_an_evaluation_of_the_validation_part_takes_the_place_of_the_training_s_own(
    make_results, make_evaluation, tmp_path
):
    write_json(tmp_path / "original" / "results.json", make_results(0.7))
    judged = make_evaluation({"original": 0.7}, part="validation")
    write_json(tmp_path / "original" / "evaluation_validation.json", judged)
    (comparison,) = read_results([tmp_path]).comparisons
    assert list(comparison.models) == ["original"]
    assert comparison.models["original"].gain is not None
    older = make_evaluation({"original": 0.65}, part="validation")  # of weights that are there no more
    write_json(tmp_path / "original" / "evaluation_validation.json", older)
    (comparison,) = read_results([tmp_path]).comparisons
    assert [auroc_of(one.scores).value for one in comparison.models.values()] == [0.7, 0.65]
    assert all(name.startswith("original") for name in comparison.models)


def test_weights_tell_a_model_whatever_its_name(make_results, make_evaluation, tmp_path):
    write_json(tmp_path / "a" / "results.json", make_results(name="a", weights="w1"))
    write_json(tmp_path / "evaluation_test.json", make_evaluation({"moved": 0.7}, weights="w1"))
    assert list(read_results([tmp_path]).comparisons[0].models) == ["a"]
    write_json(tmp_path / "evaluation_test.json", make_evaluation({"a": 0.7}, weights="w0"))
    assert list(read_results([tmp_path]).comparisons[0].models) == ["a (before it was trained anew)"]


def test_null_is_nan_and_ranks_last(make_evaluation, tmp_path):
    write_json(tmp_path / "evaluation.json", make_evaluation({"a": None, "b": 0.6}, gain=(None, None, None)))
    (comparison,) = read_results([tmp_path]).comparisons
    assert comparison.ranked(comparison.models) == ["b", "a"]
    assert math.isnan(auroc_of(comparison.models["a"].scores).value)


def test_no_folder_a_file_and_nothing_in_it(tmp_path):
    with pytest.raises(ValueError, match="nowhere: expected a folder of interaction results, got nothing"):
        read_results([tmp_path / "nowhere"])
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="got a file"):
        read_results([tmp_path / "file"])
    with pytest.raises(ValueError, match=r"results.json or evaluation\*.json.*dnalm interact train"):
        read_results([tmp_path])


def without(content, *keys):
    """`content` with one of its values left out."""
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return content


@pytest.mark.parametrize(
    "keys",
    [
        ("name",),
        ("split",),
        ("digest",),
        ("model", "kind"),
        ("training", "history", "val_auroc"),
        ("validation", "auroc", "low"),
        ("validation", "ef1"),
        ("validation", "reliability", "count"),
        ("node_rate_validation",),
    ],
)
def test_damaged_results_are_named(keys, make_results, tmp_path):
    write_json(tmp_path / "results.json", without(make_results(), *keys))
    where = r"\.".join(keys if keys[-1] != "count" else keys[:-1])
    with pytest.raises(ValueError, match=rf"results\.json: damaged: {where}"):
        read_results([tmp_path])


@pytest.mark.parametrize(
    "keys",
    [
        ("part",),
        ("negatives",),
        ("ladder", "node rate", "scores"),
        ("ladder", "node rate", "scores", "prevalence"),
        ("ladder", "node rate", "sequenced", "auroc"),
        ("models", "a", "model"),
        ("models", "a", "path"),
        ("models", "a", "shuffled_genes"),
        ("models", "a", "minus_best_rung", "low"),
    ],
)
def test_damaged_evaluations_are_named(keys, make_evaluation, tmp_path):
    write_json(tmp_path / "evaluation_x.json", without(make_evaluation({"a": 0.7}), *keys))
    where = r"\.".join(keys)
    with pytest.raises(ValueError, match=rf"evaluation_x\.json: damaged: {where}"):
        read_results([tmp_path])


def test_lists_that_do_not_match_are_damage(make_results, make_evaluation, tmp_path):
    results = make_results()
    results["training"]["history"]["val_bce"] = [0.7]
    write_json(tmp_path / "results.json", results)
    with pytest.raises(ValueError, match=r"damaged: training\.history\.val_bce"):
        read_results([tmp_path])
    results = make_results()
    results["validation"]["reliability"]["edges"] = [0.0, 1.0]
    write_json(tmp_path / "results.json", results)
    with pytest.raises(ValueError, match=r"damaged: validation\.reliability"):
        read_results([tmp_path])
    (tmp_path / "results.json").unlink()
    for scores in ("scores", "sequenced", "shuffled_genes", "shuffled_molecules"):
        evaluation = deepcopy(make_evaluation({"a": 0.7}))
        evaluation["models"]["a"][scores] = deepcopy(evaluation["models"]["a"]["scores"])
        evaluation["models"]["a"][scores]["reliability"]["edges"] = [0.0, 1.0]
        write_json(tmp_path / "evaluation.json", evaluation)
        with pytest.raises(ValueError, match=rf"damaged: models\.a\.{scores}\.reliability missing"):
            read_results([tmp_path])
    write_json(tmp_path / "evaluation.json", make_evaluation({"a": 0.7}) | {"ladder": {}})
    with pytest.raises(ValueError, match="damaged: ladder"):
        read_results([tmp_path])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "expected the format dnalm-interaction-results, got list"),
        ('{"format": "dnalm-binding-results"}', "got dnalm-binding-results; move the file"),
        ('{"format": "dnalm-interaction-results", "format_version": 2}', "version 1 of its format, got 2"),
    ],
)
def test_foreign_files_are_named(text, message, tmp_path):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match=rf"results\.json: .*{message}"):
        read_results([tmp_path])


def test_the_report_needs_no_torch():
    modules = "dnalm.report.interaction, dnalm.report.interaction_tables"
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
