"""Tests for dnalm/commands/interact_train.py."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import dnalm.commands.interact_train
import dnalm.train.loop
from dnalm.checkpoint import weights_digest
from dnalm.commands.interact_train import Options, default_options, run
from dnalm.commands.runs import RunOptions
from dnalm.data.pairs import open_pairs
from dnalm.device import Compute
from dnalm.evaluate.pair_scores import fit_temperature, interaction_scores, probability
from dnalm.models.open import open_interaction
from dnalm.models.pair import predict
from dnalm.models.pair_shape import EncodersConfig
from dnalm.train.optim import EpochConfig

QUICK = EpochConfig(epochs=2, batch_size=16, lr=1e-3, min_lr=1e-3, warmup_share=0.0, weight_decay=1e-4)
RUN = RunOptions(compute=Compute(device="cpu", precision="fp32"), quiet=True)


@pytest.fixture(scope="module")
def data(pair_folder):
    return pair_folder


def options(data, out, *, train=QUICK, encoders=None, **run_options):
    encoders = encoders or EncodersConfig()
    return Options(data=data, out=out, train=train, encoders=encoders, run=replace(RUN, **run_options))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "original"
    run(options(data, out))
    return out


def test_the_recipe_is_the_published_one():
    found = default_options("original")
    train = found.train
    assert (train.lr, train.min_lr, train.warmup_share) == (1e-4, 1e-4, 0.0)  # a constant rate
    assert {dnalm.fit.learning_rate(step, train.in_steps(10)) for step in (0, 7, 499)} == {1e-4}
    assert (train.weight_decay, train.clip, train.patience, train.beta2) == (1e-4, 1.0, 10, 0.999)
    assert found.encoders == EncodersConfig("cnn", "lstm", 1000, 200)
    with pytest.raises(ValueError, match=r"no table \[tuning\]|there is no such file"):
        default_options("no-such-recipe")


def test_the_interval_draws_what_the_split_holds_out(data, tmp_path, monkeypatch):
    cold = open_pairs(data)
    cold.meta["split"] = "cold-both"
    monkeypatch.setattr(dnalm.commands.interact_train, "open_pairs", lambda _folder: cold)
    run(options(data, tmp_path / "r"))
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    assert results["drawn"] == "genes and molecules"
    rows = cold.parts["validation"]
    model = open_interaction(tmp_path / "r").model
    tokens = model.shape.tokens(cold)
    gene, molecule = cold.gene[rows], cold.molecule[rows]
    score = probability(predict(model, tokens, gene, molecule))
    wanted = interaction_scores(cold.label[rows], score, gene, molecule, cold.drawn(rows)[1])["auroc"]
    assert results["validation"]["auroc"] == pytest.approx(wanted)


def test_every_file_is_there_and_says_what_was_done(trained, data):
    pairs = open_pairs(data)
    results = json.loads((trained / "results.json").read_text())
    record = json.loads((trained / "run.json").read_text())
    assert (results["format"], results["format_version"]) == ("dnalm-interaction-results", 1)
    assert record["status"] == "done"
    assert record["metrics"]["validation"] == results["validation"]
    assert (results["name"], results["digest"]) == ("original", pairs.digest)
    told = {key: results[key] for key in ("split", "negatives", "ratio", "seed")}
    assert told == {key: pairs.meta[key] for key in told}
    history = results["training"]["history"]
    assert history["epoch"] == [0, 1, 2]
    assert all(len(history[key]) == 3 for key in ("train_loss", "val_bce", "val_auroc", "elapsed"))
    assert results["training"]["epochs"] == 2
    assert (trained / "metrics.jsonl").exists()
    assert (trained / "last").is_dir()
    assert record["data"]["digest"] == pairs.digest


def test_the_model_opens_and_is_the_one_that_was_judged(trained, data):
    pairs, opened = open_pairs(data), open_interaction(trained)
    results = json.loads((trained / "results.json").read_text())
    assert results["model"] == opened.about | {"weights": weights_digest(opened.model)}
    # CCBr is in no training pair: 8 characters of C O N c 1 ( = ) and the unknown one
    count = 296_896 + 9 * 128 + 264_192 + 395_264 + 33_024 + 172_545
    assert opened.about == {
        "kind": "original",
        "parameters": count,
        "trained_parameters": count,
        "set": pairs.digest,
        "split": "random",
        "seed": 0,
    }
    assert opened.model.shape.characters == "()1=CNOc"
    rows = pairs.parts["validation"]
    logits = predict(opened.model, opened.model.shape.tokens(pairs), pairs.gene[rows], pairs.molecule[rows])
    label = pairs.label[rows]
    won = logits[label == 1][:, None] - logits[label == 0]
    area = ((won > 0) + 0.5 * (won == 0)).mean()
    assert results["validation"]["auroc"]["value"] == pytest.approx(area, abs=1e-12)
    assert max(results["training"]["history"]["val_auroc"]) == pytest.approx(area, abs=1e-12)


def test_the_temperature_is_the_one_that_fits_the_validation_part(trained, data):
    pairs, opened = open_pairs(data), open_interaction(trained)
    rows = pairs.parts["validation"]
    tokens = opened.model.shape.tokens(pairs)
    logits = predict(opened.model, tokens, pairs.gene[rows], pairs.molecule[rows])
    found = json.loads((trained / "results.json").read_text())["temperature"]
    assert found == pytest.approx(fit_temperature(logits, pairs.label[rows]), rel=1e-6)
    assert found != 1.0


def test_node_rate_is_worked_out_on_the_same_rows(trained, data):
    from dnalm.evaluate.baselines.node_rate import node_rate

    pairs = open_pairs(data)
    rows = pairs.parts["validation"]
    score, label = node_rate(pairs, pairs.parts["train"], rows), pairs.label[rows]
    won = score[label == 1][:, None] - score[label == 0]
    found = json.loads((trained / "results.json").read_text())["node_rate_validation"]
    assert found == pytest.approx(((won > 0) + 0.5 * (won == 0)).mean(), abs=1e-12)


def test_no_auroc_without_split_negatives_ratio_and_node_rate(data, tmp_path, capsys):
    run(options(data, tmp_path / "r"))
    shown = capsys.readouterr()
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    (line,) = [each for each in shown.out.splitlines() if "AUROC" in each]
    assert f"AUROC {results['validation']['auroc']['value']:.4f}" in line
    assert f"node rate, which sees no feature, {results['node_rate_validation']:.4f}" in line
    assert "split random, negatives degree-matched, ratio 1" in line
    assert "AUROC" not in shown.err


def test_parameters_are_said(data, tmp_path, capsys):
    run(options(data, tmp_path / "r", quiet=False, dry_run=True))
    shown = capsys.readouterr()
    assert "1,163,073 parameters" in shown.err
    assert "would train 2 epochs of 80 pairs" in shown.out
    assert not (tmp_path / "r").exists()


def test_two_runs_are_equal_to_the_bit_and_another_seed_is_not(trained, data, tmp_path):
    run(options(data, tmp_path / "a"))
    run(options(data, tmp_path / "b", seed=1))
    first, same, other = (
        open_interaction(x).model.state_dict() for x in (trained, tmp_path / "a", tmp_path / "b")
    )
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["head.classifier.0.weight"], other["head.classifier.0.weight"])
    first, other = (json.loads((x / "results.json").read_text()) for x in (trained, tmp_path / "b"))
    begun, begun_other = (each["training"]["history"]["val_bce"][0] for each in (first, other))
    assert begun != begun_other  # the first weights too, not the order of batches alone


def test_a_stopped_run_resumes_to_the_same_bits(trained, data, tmp_path, stopping):
    out = tmp_path / "r"
    with stopping(), pytest.raises(KeyboardInterrupt):
        run(options(data, out))
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    with pytest.raises(ValueError, match="use --resume, --overwrite"):
        run(options(data, out))
    with pytest.raises(ValueError, match="dna_length was 1000, is 20"):
        run(options(data, out, encoders=EncodersConfig(dna_length=20), resume=True))
    run(options(data, out, resume=True))
    first, resumed = (open_interaction(x).model.state_dict() for x in (trained, out))
    assert all(torch.equal(first[key], resumed[key]) for key in first)


def test_the_best_weights_are_kept_not_the_last(data, tmp_path):
    ruin = replace(QUICK, epochs=6, lr=0.1, min_lr=0.0, patience=2)
    run(options(data, tmp_path / "r", train=ruin))
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    areas = results["training"]["history"]["val_auroc"]
    best = int(np.argmax(areas))
    assert results["training"]["best_epoch"] == best
    assert len(areas) == best + 3 < 7  # patience of two epochs
    assert results["validation"]["auroc"]["value"] == pytest.approx(areas[best], abs=1e-12)


def test_other_encoders_by_the_same_command(data, tmp_path):
    pytest.importorskip("rdkit")
    run(options(data, tmp_path / "bags", encoders=EncodersConfig("kmer", "morgan")))
    opened = open_interaction(tmp_path / "bags")
    assert opened.about["kind"] == "kmer-morgan"
    assert opened.about["parameters"] == 256 * 256 + 2048 * 256 + 172_545


def test_the_test_part_is_not_looked_at(trained, tmp_path, pair_set, write_set):
    pairs = pair_set
    pairs.label[pairs.parts["test"]] ^= 1
    run(options(write_set(tmp_path / "other", pairs), tmp_path / "r"))
    one, other = (json.loads((x / "results.json").read_text()) for x in (trained, tmp_path / "r"))
    assert one["validation"] == other["validation"]
    assert one["digest"] != other["digest"]


def test_a_validation_part_of_one_class_is_said_before_training(tmp_path, pair_set, write_set):
    pairs = pair_set
    pairs.label[pairs.parts["validation"]] = 1
    with pytest.raises(ValueError, match="the validation part has .* AUROC is not defined without both"):
        run(options(write_set(tmp_path / "set", pairs), tmp_path / "r"))
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": replace(QUICK, batch_size=1)}, "at least 2 pairs"),
        ({"resume": True}, "nothing to resume"),
        ({"resume": True, "overwrite": True}, "choose one"),
    ],
)
def test_mistakes_are_said_before_anything_is_written(data, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        run(options(data, tmp_path / "r", **change))
    assert not (tmp_path / "r").exists()


def test_overwrite_replaces_a_run_and_nothing_else(data, tmp_path):
    out = tmp_path / "r"
    run(options(data, out))
    (out / "notes.txt").write_text("mine")
    run(options(data, out, overwrite=True, train=replace(QUICK, epochs=1)))
    assert (out / "notes.txt").read_text() == "mine"
    assert json.loads((out / "results.json").read_text())["training"]["epochs"] == 1


def test_a_core_that_is_untrained_is_refused_and_one_of_a_stopped_run_is_told(
    foundation, stopped_core, capsys
):
    def on(core):
        encoders = replace(foundation.encoders, dna_encoder=str(core / "vocab4"))
        return replace(foundation, encoders=encoders, run=replace(foundation.run, quiet=False))

    with pytest.raises(ValueError, match="got one that is untrained"):
        run(on(stopped_core(0)))
    assert not foundation.out.exists()
    begun = stopped_core(2)
    capsys.readouterr()
    run(on(begun))
    caution = f"{begun / 'vocab4'}: its pretraining is unfinished (2 steps, status interrupted)"
    assert capsys.readouterr().err.count(caution) == 1
    (kept,) = json.loads((foundation.out / "results.json").read_text())["model"]["cautions"]
    assert kept.startswith(caution)


def test_a_run_is_not_replaced_by_one_that_goes_on_from_it(trained, data):
    for overwrite in (False, True):
        again = options(data, trained, overwrite=overwrite)
        with pytest.raises(ValueError, match="would begin from it and write over it; choose another --out"):
            run(replace(again, init_from=trained))
    assert (trained / "results.json").exists()


def test_a_core_is_not_replaced_by_what_is_trained_on_it(foundation, stopped_core):
    core = stopped_core(2) / "vocab4"
    encoders = replace(foundation.encoders, dna_encoder=str(core))
    for how in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(
            ValueError, match="holds a run of dnalm pretrain, which dnalm interact train does"
        ):
            run(replace(foundation, encoders=encoders, out=core, run=replace(RUN, **how)))
    assert (core / "checkpoint").exists()
