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
from dnalm.evaluate.pair_scores import fit_temperature
from dnalm.files import read_json
from dnalm.models.open import open_interaction
from dnalm.models.pair import predict
from dnalm.models.pair_shape import EncodersConfig
from dnalm.train.optim import EpochConfig, learning_rate

QUICK = EpochConfig(epochs=2, batch_size=16, lr=1e-3, min_lr=1e-3, warmup_share=0.0, weight_decay=1e-4)


def options(data, out, *, train=QUICK, quiet=True, **how):
    compute = Compute(device="cpu", precision="fp32")
    return Options(data=data, out=out, train=train, run=RunOptions(compute=compute, quiet=quiet, **how))


def results_of(run_folder):
    return read_json(run_folder / "results.json")


def validation(folder, pairs):
    """Return the logits of a run's best model and the labels of the validation pairs."""
    model, rows = open_interaction(folder).model, pairs.parts["validation"]
    return predict(model, model.shape.tokens(pairs), pairs.gene[rows], pairs.molecule[rows]), pairs.label[
        rows
    ]


def area_under(score, label):
    """AUROC by its definition: over all pairs of a positive and a negative."""
    won = score[label == 1][:, None] - score[label == 0]
    return ((won > 0) + 0.5 * (won == 0)).mean()


@pytest.fixture(scope="module")
def trained(pair_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "original"
    run(options(pair_folder, out))
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


def test_every_file_is_written_and_the_model_opens_as_the_one_that_was_evaluated(trained, pair_folder):
    pairs, results, record = open_pairs(pair_folder), results_of(trained), read_json(trained / "run.json")
    assert (results["format"], results["format_version"]) == ("dnalm-interaction-results", 1)
    assert record["status"] == "done"
    assert record["metrics"]["validation"] == results["validation"]
    assert results["digest"] == record["data"]["digest"] == pairs.digest
    assert all(results[key] == pairs.meta[key] for key in ("split", "negatives", "ratio", "seed"))
    history = results["training"]["history"]
    assert (results["name"], results["training"]["epochs"], history["epoch"]) == ("original", 2, [0, 1, 2])
    assert all(len(history[key]) == 3 for key in ("train_loss", "val_bce", "val_auroc", "elapsed"))
    assert (trained / "metrics.jsonl").exists()
    assert (trained / "last").is_dir()
    opened = open_interaction(trained)
    assert results["model"] == opened.about | {"weights": checkpoint.weights_digest(opened.model)}
    # CCBr is in no training pair: 8 characters of C O N c 1 ( = ) and the unknown one
    count = 296_896 + 9 * 128 + 264_192 + 395_264 + 33_024 + 172_545
    about = {"kind": "original", "parameters": count, "trained_parameters": count}
    assert opened.about == about | {"set": pairs.digest, "split": "random", "seed": 0}
    assert opened.model.shape.characters == "()1=CNOc"
    area = area_under(*validation(trained, pairs))
    assert results["validation"]["auroc"]["value"] == pytest.approx(area, abs=1e-12)
    assert max(history["val_auroc"]) == pytest.approx(area, abs=1e-12)


def test_the_checkpoint_holds_the_temperature_that_fits_the_validation_part(trained, pair_folder, tmp_path):
    wanted = fit_temperature(*validation(trained, open_pairs(pair_folder)))
    found = open_interaction(trained).temperature
    assert found == results_of(trained)["temperature"] == pytest.approx(wanted, rel=1e-6)
    assert found != 1.0
    # dnalm 0.1.0 had it in results.json alone, and an unfinished run has none.
    tensors, content = checkpoint.load(trained)
    for key in ("temperature", "sha256"):
        del content[key]
    checkpoint.save(tmp_path / "old" / "checkpoint", tensors, content)
    assert open_interaction(tmp_path / "old").temperature is None
    (tmp_path / "old" / "results.json").write_text('{"temperature": 1.5}')
    assert open_interaction(tmp_path / "old").temperature == 1.5


def test_two_runs_are_equal_to_the_bit_and_another_seed_is_not(trained, pair_folder, tmp_path, capsys):
    out = tmp_path / "r"
    run(options(pair_folder, out, quiet=False, dry_run=True))
    assert "1,163,073 parameters" in capsys.readouterr().err
    assert not out.exists()
    run(options(pair_folder, out))
    shown, same, pairs = capsys.readouterr(), results_of(out), open_pairs(pair_folder)
    rows = pairs.parts["validation"]
    area = area_under(node_rate(pairs, pairs.parts["train"], rows), pairs.label[rows])
    assert same["node_rate_validation"] == pytest.approx(area, abs=1e-12)
    (line,) = [each for each in shown.out.splitlines() if "AUROC" in each]
    for part in (f"AUROC {same['validation']['auroc']['value']:.4f}", f"{area:.4f}"):
        assert part in line  # no AUROC is printed without the node rate
    assert "split random, negatives degree-matched, ratio 1" in line
    assert "AUROC" not in shown.err
    first, second = (open_interaction(each).model.state_dict() for each in (trained, out))
    assert all(torch.equal(first[key], second[key]) for key in first)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="begin from it"):
        run(replace(options(pair_folder, out, overwrite=True), init_from=out))
    run(options(pair_folder, out, seed=1, overwrite=True))  # replaces the run and nothing else
    assert (out / "notes.txt").read_text() == "mine"
    other = open_interaction(out).model.state_dict()
    assert not torch.equal(first["head.classifier.0.weight"], other["head.classifier.0.weight"])
    begun, other = (results_of(each)["training"]["history"]["val_bce"][0] for each in (trained, out))
    assert begun != other  # the first weights differ too, not the order of batches alone


def test_the_best_weights_are_saved_not_the_last(pair_folder, tmp_path):
    diverging = replace(QUICK, epochs=6, lr=0.1, min_lr=0.0, patience=2)
    run(options(pair_folder, tmp_path / "r", train=diverging))
    results = results_of(tmp_path / "r")
    areas = results["training"]["history"]["val_auroc"]
    best = int(np.argmax(areas))
    assert results["training"]["best_epoch"] == best
    assert len(areas) == best + 3 < 7  # patience of two epochs
    assert results["validation"]["auroc"]["value"] == pytest.approx(areas[best], abs=1e-12)


def test_the_test_part_is_not_used_and_mistakes_write_nothing(
    trained, pair_folder, tmp_path, pair_set, write_set
):
    pair_set.label[pair_set.parts["test"]] ^= 1
    run(options(write_set(tmp_path / "other", pair_set), tmp_path / "r"))
    one, other = results_of(trained), results_of(tmp_path / "r")
    assert one["validation"] == other["validation"]
    assert one["digest"] != other["digest"]
    pair_set.label[pair_set.parts["validation"]] = 1
    one_class = write_set(tmp_path / "set", pair_set)
    small = {"train": replace(QUICK, batch_size=1)}
    for folder, change in ((one_class, {}), (pair_folder, small), (pair_folder, {"resume": True})):
        with pytest.raises(InputError):
            run(options(folder, tmp_path / "s", **change))
        assert not (tmp_path / "s").exists()
