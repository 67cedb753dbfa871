"""Tests for dnalm/commands/interact_train.py and dnalm/train/pairs.py: runs of the published model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dnalm import checkpoint
from dnalm.commands.interact_train import Options, default_options, run
from dnalm.commands.runs import RunOptions
from dnalm.data.pairs import open_pairs
from dnalm.device import Compute
from dnalm.errors import InputError
from dnalm.evaluate.baselines.node_rate import node_rate
from dnalm.evaluate.pair_scores import fit_temperature, interaction_scores, probability
from dnalm.files import read_json
from dnalm.models.open import open_interaction
from dnalm.models.pair import predict
from dnalm.models.pair_shape import EncodersConfig
from dnalm.train.optim import EpochConfig, learning_rate

QUICK = EpochConfig(epochs=2, batch_size=16, lr=1e-3, min_lr=1e-3, warmup_share=0.0, weight_decay=1e-4)
RUN = RunOptions(compute=Compute(device="cpu", precision="fp32"), quiet=True)


@pytest.fixture(scope="module")
def data(pair_folder):
    return pair_folder


def options(data, out, *, train=QUICK, encoders=None, **run_options):
    encoders = encoders or EncodersConfig()
    return Options(data=data, out=out, train=train, encoders=encoders, run=replace(RUN, **run_options))


def results_of(run_folder):
    return read_json(run_folder / "results.json")


def validation(model, pairs):
    """Return the logits and the labels of the validation pairs."""
    rows = pairs.parts["validation"]
    tokens = model.shape.tokens(pairs)
    return predict(model, tokens, pairs.gene[rows], pairs.molecule[rows]), pairs.label[rows]


def area_under(score, label):
    """AUROC by its definition: over all pairs of a positive and a negative."""
    won = score[label == 1][:, None] - score[label == 0]
    return ((won > 0) + 0.5 * (won == 0)).mean()


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "original"
    run(options(data, out))
    return out


def test_the_recipe_is_the_published_one():
    found = default_options("original")
    train = found.train
    assert (train.lr, train.min_lr, train.warmup_share) == (1e-4, 1e-4, 0.0)  # a constant rate
    assert {learning_rate(step, train.in_steps(10)) for step in (0, 7, 499)} == {1e-4}
    assert (train.weight_decay, train.clip, train.patience, train.beta2) == (1e-4, 1.0, 10, 0.999)
    assert found.encoders == EncodersConfig("cnn", "lstm", 1000, 200)
    with pytest.raises(InputError):
        default_options("no-such-recipe")


def test_the_interval_resamples_what_the_split_holds_out(data, tmp_path, monkeypatch):
    cold = open_pairs(data)
    cold.meta["split"] = "cold-both"
    monkeypatch.setattr("dnalm.train.pairs.open_pairs", lambda _folder: cold)
    run(options(data, tmp_path / "r"))
    results, rows = results_of(tmp_path / "r"), cold.parts["validation"]
    assert results["drawn"] == "genes and molecules"
    logits, label = validation(open_interaction(tmp_path / "r").model, cold)
    pairs = (label, probability(logits), cold.gene[rows], cold.molecule[rows])
    wanted = interaction_scores(*pairs, cold.resampling_units(rows)[1])["auroc"]
    assert results["validation"]["auroc"] == pytest.approx(wanted)


def test_every_file_is_written_with_what_was_done(trained, data):
    pairs, results, record = open_pairs(data), results_of(trained), read_json(trained / "run.json")
    assert (results["format"], results["format_version"]) == ("dnalm-interaction-results", 1)
    assert record["status"] == "done"
    assert record["metrics"]["validation"] == results["validation"]
    assert results["digest"] == record["data"]["digest"] == pairs.digest
    for key in ("split", "negatives", "ratio", "seed"):
        assert results[key] == pairs.meta[key]
    training = results["training"]
    assert (results["name"], training["epochs"], training["history"]["epoch"]) == ("original", 2, [0, 1, 2])
    assert all(
        len(training["history"][key]) == 3 for key in ("train_loss", "val_bce", "val_auroc", "elapsed")
    )
    assert (trained / "metrics.jsonl").exists()
    assert (trained / "last").is_dir()


def test_the_model_opens_and_is_the_one_that_was_evaluated(trained, data):
    pairs, opened, results = open_pairs(data), open_interaction(trained), results_of(trained)
    assert results["model"] == opened.about | {"weights": checkpoint.weights_digest(opened.model)}
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
    area = area_under(*validation(opened.model, pairs))
    assert results["validation"]["auroc"]["value"] == pytest.approx(area, abs=1e-12)
    assert max(results["training"]["history"]["val_auroc"]) == pytest.approx(area, abs=1e-12)


def test_the_checkpoint_holds_the_temperature_that_fits_the_validation_part(trained, data, tmp_path):
    opened = open_interaction(trained)
    wanted = fit_temperature(*validation(opened.model, open_pairs(data)))
    assert opened.temperature == results_of(trained)["temperature"] == pytest.approx(wanted, rel=1e-6)
    assert opened.temperature != 1.0
    # dnalm 0.1.0 had it in results.json alone, and an unfinished run has none.
    tensors, content = checkpoint.load(trained)
    for key in ("temperature", "sha256"):
        del content[key]
    checkpoint.save(tmp_path / "old" / "checkpoint", tensors, content)
    assert open_interaction(tmp_path / "old").temperature is None
    (tmp_path / "old" / "results.json").write_text('{"temperature": 1.5}')
    assert open_interaction(tmp_path / "old").temperature == 1.5


def test_node_rate_is_computed_on_the_same_rows_and_no_auroc_is_printed_without_it(data, tmp_path, capsys):
    run(options(data, tmp_path / "r"))
    shown, results, pairs = capsys.readouterr(), results_of(tmp_path / "r"), open_pairs(data)
    rows = pairs.parts["validation"]
    area = area_under(node_rate(pairs, pairs.parts["train"], rows), pairs.label[rows])
    assert results["node_rate_validation"] == pytest.approx(area, abs=1e-12)
    (line,) = [each for each in shown.out.splitlines() if "AUROC" in each]
    assert f"AUROC {results['validation']['auroc']['value']:.4f}" in line
    assert f"{results['node_rate_validation']:.4f}" in line
    assert "split random, negatives degree-matched, ratio 1" in line
    assert "AUROC" not in shown.err


def test_a_dry_run_writes_nothing(data, tmp_path, capsys):
    run(options(data, tmp_path / "r", quiet=False, dry_run=True))
    assert "1,163,073 parameters" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_two_runs_are_equal_to_the_bit_and_another_seed_is_not(trained, data, tmp_path):
    run(options(data, tmp_path / "a"))
    run(options(data, tmp_path / "b", seed=1))
    runs = (trained, tmp_path / "a", tmp_path / "b")
    first, same, other = (open_interaction(each).model.state_dict() for each in runs)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["head.classifier.0.weight"], other["head.classifier.0.weight"])
    begun, _, other = (results_of(each)["training"]["history"]["val_bce"][0] for each in runs)
    assert begun != other  # the first weights differ too, not the order of batches alone


def test_a_stopped_run_resumes_to_the_same_bits(trained, data, tmp_path, stopping):
    out = tmp_path / "r"
    with stopping(), pytest.raises(KeyboardInterrupt):
        run(options(data, out))
    assert read_json(out / "run.json")["status"] == "interrupted"
    with pytest.raises(InputError, match="`resume`"):
        run(options(data, out))
    with pytest.raises(InputError, match="dna_length was 1000, is 20"):
        run(options(data, out, encoders=EncodersConfig(dna_length=20), resume=True))
    run(options(data, out, resume=True))
    first, resumed = (open_interaction(x).model.state_dict() for x in (trained, out))
    assert all(torch.equal(first[key], resumed[key]) for key in first)


def test_the_best_weights_are_saved_not_the_last(data, tmp_path):
    diverging = replace(QUICK, epochs=6, lr=0.1, min_lr=0.0, patience=2)
    run(options(data, tmp_path / "r", train=diverging))
    results = results_of(tmp_path / "r")
    areas = results["training"]["history"]["val_auroc"]
    best = int(np.argmax(areas))
    assert results["training"]["best_epoch"] == best
    assert len(areas) == best + 3 < 7  # patience of two epochs
    assert results["validation"]["auroc"]["value"] == pytest.approx(areas[best], abs=1e-12)


def test_the_test_part_is_not_used(trained, tmp_path, pair_set, write_set):
    pair_set.label[pair_set.parts["test"]] ^= 1
    run(options(write_set(tmp_path / "other", pair_set), tmp_path / "r"))
    one, other = results_of(trained), results_of(tmp_path / "r")
    assert one["validation"] == other["validation"]
    assert one["digest"] != other["digest"]


def test_mistakes_are_refused_before_anything_is_written(data, tmp_path, pair_set, write_set):
    pair_set.label[pair_set.parts["validation"]] = 1
    one_class = write_set(tmp_path / "set", pair_set)
    for folder, change in (
        (one_class, {}),
        (data, {"train": replace(QUICK, batch_size=1)}),
        (data, {"resume": True}),
    ):
        with pytest.raises(InputError):
            run(options(folder, tmp_path / "r", **change))
        assert not (tmp_path / "r").exists()


def test_overwrite_replaces_a_run_and_nothing_else(data, tmp_path):
    out = tmp_path / "r"
    run(options(data, out))
    (out / "notes.txt").write_text("mine")
    run(options(data, out, overwrite=True, train=replace(QUICK, epochs=1)))
    assert (out / "notes.txt").read_text() == "mine"
    assert results_of(out)["training"]["epochs"] == 1


def test_an_untrained_core_is_refused_and_one_of_a_stopped_run_gives_a_caution(
    foundation, stopped_core, capsys
):
    def on(core):
        encoders = replace(foundation.encoders, dna_encoder=str(core / "vocab4"))
        return replace(foundation, encoders=encoders, run=replace(foundation.run, quiet=False))

    with pytest.raises(InputError, match="untrained"):
        run(on(stopped_core(0)))
    assert not foundation.out.exists()
    begun = stopped_core(2)
    capsys.readouterr()
    run(on(begun))
    (caution,) = results_of(foundation.out)["model"]["cautions"]
    assert caution.startswith(str(begun / "vocab4"))
    assert "2 steps, status interrupted" in caution
    assert capsys.readouterr().err.count(caution) == 1


def test_what_training_begins_from_is_not_replaced(trained, data, foundation, stopped_core):
    for overwrite in (False, True):
        again = options(data, trained, overwrite=overwrite)
        with pytest.raises(InputError, match="begin from it"):
            run(replace(again, init_from=trained))
    assert (trained / "results.json").exists()
    core = stopped_core(2) / "vocab4"
    encoders = replace(foundation.encoders, dna_encoder=str(core))
    for how in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(InputError, match="a run of dnalm pretrain"):
            run(replace(foundation, encoders=encoders, out=core, run=replace(RUN, **how)))
    assert (core / "checkpoint").exists()
