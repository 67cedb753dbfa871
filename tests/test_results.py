"""Tests for dnalm/results/: a file fits the schema, or the field that does not is named."""

import copy
import json
import math
import re
from pathlib import Path

import pytest

from dnalm import results
from dnalm.errors import InputError
from dnalm.files import FieldError, read_json, write_json
from dnalm.record import read_record
from dnalm.results.binding import BindingEvaluation, BindingResults
from dnalm.results.language import LanguageMetrics
from dnalm.results.pairs import PairEvaluation, PairResults
from tests.report.invented import add, evaluate, guess, make_evaluation, make_results, make_run, model_of

RECORDS = Path(__file__).parents[1] / "docs" / "records"


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """A file of each kind, as JSON, with the class that reads it."""
    folder = tmp_path_factory.mktemp("results")
    add(folder, "vocab4", 2.0)
    evaluate(folder, {"vocab4": (guess(1.0, 1), model_of())})
    return {
        "binding": (read_json(folder / "results_vocab4.json"), BindingResults),
        "binding evaluation": (read_json(folder / "evaluation_test.json"), BindingEvaluation),
        "pairs": (make_results(), PairResults),
        "pair evaluation": (make_evaluation({"a": 0.7}), PairEvaluation),
    }


MISSING = ...
FIELDS = [
    ("binding", "scores.pearson_r.low", "0.5"),
    ("binding", "model.causal", None),
    ("binding", "training.history.val_loss", [1.0]),
    ("binding", "training.history.epoch", []),
    ("binding", "detail.density.counts", [[1]]),
    ("binding", "detail.tracks.1.predicted", [1.0]),
    ("binding evaluation", "baselines.motif scan.scores.mse", "1"),
    ("binding evaluation", "models.vocab4.detail.density", MISSING),
    ("binding evaluation", "pairs", [{"one": "a", "value": 0.1}]),
    ("pairs", "digest", MISSING),
    ("pairs", "training.history.val_bce", [0.7]),
    ("pairs", "validation.reliability.edges", [0.0, 1.0]),
    ("pairs", "node_rate_validation", MISSING),
    ("pair evaluation", "ladder.node rate.scores.prevalence", MISSING),
    ("pair evaluation", "models.a.minus_best_baseline.low", MISSING),
    ("pair evaluation", "models.a.shuffled_molecules.reliability.edges", [0.0]),
]


@pytest.mark.parametrize(("kind", "field", "value"), FIELDS)
def test_a_damaged_file_and_its_field_are_named(contents, tmp_path, kind, field, value):
    content, schema = contents[kind]
    content = inner = copy.deepcopy(content)
    *outer, last = [int(key) if key.isdigit() else key for key in field.split(".")]
    for key in outer:
        inner = inner[key]
    if value is MISSING:
        del inner[last]
    else:
        inner[last] = value
    write_json(tmp_path / "x.json", content)
    with pytest.raises(InputError, match=re.escape(f"x.json: damaged: {field}")):
        results.read(tmp_path / "x.json", schema)


def test_a_file_reads_back_with_what_the_schema_does_not_know_and_others_are_refused(contents, tmp_path):
    path = tmp_path / "x.json"
    for content, schema in contents.values():
        results.write(path, content | {"more": 1})
        assert results.read(path, schema) == results.decode(content, schema, path)
        assert read_json(path) == content | {"more": 1}
        with pytest.raises(FieldError):
            results.write(path, {"format": content["format"], "more": 1})
        others = (content | {"format": "dnalm-run"}, content | {"format_version": 2})
        for text in (*map(json.dumps, others), "[1]", '{"format": '):
            path.write_text(text)
            with pytest.raises(InputError, match=r"x\.json"):
                results.read(path, schema)


def test_records_of_earlier_versions_still_read_and_null_is_nan(contents):
    content = copy.deepcopy(contents["binding"][0])
    content["scores"]["mse"] = None
    assert math.isnan(results.decode(content, BindingResults, RECORDS).scores.mse)
    schemas = {"pretrain": LanguageMetrics, "finetune": BindingResults, "evaluate": BindingEvaluation}
    for path in sorted(RECORDS.glob("*/run.json")):
        run = read_record(path)
        if run["verb"] in schemas and (run["verb"] != "pretrain" or "verdict" in run["metrics"]):
            schema = results.SCHEMAS.get(run["metrics"].get("format"), schemas[run["verb"]])
            results.decode(run["metrics"], schema, path)
    results.decode(make_run("full")["metrics"], LanguageMetrics, Path("run.json"))
