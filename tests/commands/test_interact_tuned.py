"""Tests of training pretrained encoders with a model of pairs: whole, in part, late, from another run."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dnalm import checkpoint
from dnalm.commands import interact_evaluate as judge
from dnalm.commands.interact_train import run
from dnalm.commands.runs import EvaluationOptions, RunOptions
from dnalm.data.pairs import open_pairs
from dnalm.device import Compute
from dnalm.files import read_json
from dnalm.models import pretrained
from dnalm.models.core import load_core
from dnalm.models.input_encoder import InputEncoder
from dnalm.models.open import open_interaction
from dnalm.models.pair import predict
from dnalm.models.pair_shape import EncodersConfig, TuningConfig
from dnalm.models.pretrained import PADDING, PretrainedEncoder, encode_windows
from dnalm.models.pretrained_open import open_gene_encoder
from dnalm.train.pairs import InteractionTask

CPU = Compute(device="cpu", precision="fp32")
RUN = RunOptions(compute=CPU, quiet=True)
PREFIX = "model.gene.encoder."


@pytest.fixture
def options(foundation):
    """A small model of cross-attention on a core that is trained with it."""
    return replace(
        foundation,
        tuning=TuningConfig(freeze=False),
        attention=replace(foundation.attention, attention_dropout=0.0, head_dropout=0.0),
        train=replace(foundation.train, patience=0),
    )


def core_of(options):
    return load_core(Path(options.encoders.dna_encoder), None).tensors


def last_encoder(options):
    """Return the tensors of the encoder of genes after the last step."""
    tensors, _ = checkpoint.load(options.out / "last")
    return {key.removeprefix(PREFIX): each for key, each in tensors.items() if key.startswith(PREFIX)}


def history(options):
    return json.loads((options.out / "results.json").read_text())["training"]["history"]


def logits_of(options):
    """Return the logits of all pairs by the run's best weights."""
    opened, pairs = open_interaction(options.out), open_pairs(options.data)
    tokens = InputEncoder(options.store, CPU.resolve(), print).tokens(opened.model.shape, pairs)
    return predict(opened.model, tokens, pairs.gene, pairs.molecule)


def test_all_of_an_encoder_is_trained_and_its_own_folder_is_left_alone(options):
    before = core_of(options)
    run(options)
    after = last_encoder(options)
    assert after.keys() == before.keys()
    assert all(not torch.equal(after[key], each) for key, each in before.items())
    assert all(torch.equal(each, before[key]) for key, each in core_of(options).items())
    about = json.loads((options.out / "results.json").read_text())["model"]
    assert about["parameters"] == about["trained_parameters"]
    assert not options.store.exists()  # nothing is kept of an encoder that changes


def test_the_last_layers_alone(options):
    run(replace(options, tuning=TuningConfig(unfreeze_last=1)))
    before, after = core_of(options), last_encoder(options)
    last = max(key.split(".")[1] for key in before if key.startswith("h."))
    wanted = {key for key in before if key.startswith((f"h.{last}.", "ln_f."))}
    assert {key for key, each in before.items() if not torch.equal(after[key], each)} == wanted
    about = json.loads((options.out / "results.json").read_text())["model"]
    trained = sum(before[key].numel() for key in wanted)
    frozen = sum(each.numel() for each in before.values()) - trained
    assert about["parameters"] - about["trained_parameters"] == frozen > 0


def test_until_they_are_trained_encoders_are_frozen_and_read_once(options, monkeypatch):
    asked = []
    encode = PretrainedEncoder.encode
    monkeypatch.setattr(
        PretrainedEncoder, "encode", lambda self, texts: asked.extend(texts) or encode(self, texts)
    )
    late = replace(options, tuning=TuningConfig(unfreeze_at_epoch=1), out=options.out.with_name("late"))
    run(late)
    assert sorted(asked) == sorted(open_pairs(options.data).sequences)
    run(replace(options, tuning=TuningConfig()))
    found, frozen = history(late), history(options)
    # Kept states are bfloat16, those of an encoder that is in the model are not.
    assert found["val_bce"][:2] == pytest.approx(frozen["val_bce"][:2], abs=2e-3)
    assert all(not torch.equal(last_encoder(late)[key], each) for key, each in core_of(late).items())


def test_low_rank_updates_are_added_into_the_layers_at_the_end(options, monkeypatch):
    pytest.importorskip("peft")
    whole = InteractionTask.evaluate
    losses = iter([3.0, 2.0, 1.0])  # so that the last weights are the best
    monkeypatch.setattr(InteractionTask, "evaluate", lambda *a: whole(*a) | {"val_loss": next(losses)})
    tuned = replace(options, tuning=TuningConfig(lora_rank=2), train=replace(options.train, lr=1e-2))
    run(tuned)
    opened = open_interaction(options.out)
    before, after = core_of(options), opened.model.gene.encoder.state_dict()
    assert after.keys() == before.keys()
    ranks = {
        key: int(torch.linalg.matrix_rank((after[key] - each).double(), rtol=1e-4))
        for key, each in before.items()
        if not torch.equal(after[key], each)
    }
    assert set(ranks) == {key for key in before if ".c_" in key and key.endswith("weight")}
    assert set(ranks.values()) == {2}
    pairs = open_pairs(options.data)
    rows = pairs.parts["validation"]
    logits = logits_of(options)[rows]
    bce = float((np.logaddexp(0.0, logits) - pairs.label[rows] * logits).mean())
    assert history(options)["val_bce"][-1] == pytest.approx(bce, abs=1e-5)  # float32, merged
    assert opened.model.shape.gene.lora_rank == 0
    scores = json.loads((options.out / "results.json").read_text())["validation"]
    run(replace(tuned, run=replace(RUN, resume=True)))  # of a run that has ended: judged again
    assert json.loads((options.out / "results.json").read_text())["validation"] == scores


def test_a_frozen_run_goes_on_with_its_encoder_trained(options):
    frozen = replace(options, tuning=TuningConfig(), out=options.out.with_name("frozen"))
    run(frozen)
    run(replace(options, init_from=frozen.out))
    best = int(np.argmax(history(frozen)["val_auroc"]))
    # Kept states are bfloat16, those of an encoder that is in the model are not.
    assert history(options)["val_bce"][0] == pytest.approx(history(frozen)["val_bce"][best], abs=2e-3)
    about = json.loads((options.out / "results.json").read_text())["model"]
    assert about["init_from"] == str(frozen.out)
    with pytest.raises(ValueError, match="encoder of genes .it was trained there, and is frozen here"):
        run(replace(frozen, init_from=options.out, out=options.out.with_name("third")))
    full = EncodersConfig(options.encoders.dna_encoder.replace("vocab4", "full"), "morgan")
    with pytest.raises(ValueError, match="another encoder of genes than the options ask for"):
        run(replace(options, encoders=full, init_from=frozen.out, out=options.out.with_name("third")))
    narrow = replace(options.attention, feed_forward=8)
    with pytest.raises(ValueError, match="another head than the options ask for"):
        run(replace(options, attention=narrow, init_from=frozen.out, out=options.out.with_name("third")))


def test_a_run_on_another_set_is_gone_on_from_with_a_warning(options, pair_set, write_set, tmp_path, capsys):
    run(options)
    train = pair_set.parts["train"]
    pair_set.parts["train"] = train[pair_set.gene[train] < 8]  # whose states are on another scale
    other = write_set(tmp_path / "other", pair_set)
    loud = replace(RUN, quiet=False)
    run(replace(options, data=other, init_from=options.out, out=options.out.with_name("second"), run=loud))
    assert "was trained on another set of pairs" in capsys.readouterr().err
    first, second = (checkpoint.load(options.out.with_name(name) / "last")[0] for name in ("mine", "second"))
    assert torch.equal(first["model.gene.mean"], second["model.gene.mean"])
    again = replace(options, data=other, out=options.out.with_name("second"), run=replace(RUN, resume=True))
    with pytest.raises(ValueError, match="init_weights was"):
        run(again)
    # What was seen is not forgotten where the next one goes on, nor where it is judged.
    third = replace(options, data=other, init_from=options.out.with_name("second"), run=loud)
    run(replace(third, out=options.out.with_name("third")))
    assert "it, or what it went on from, was trained on another set of pairs" in capsys.readouterr().err
    for name in ("second", "third"):
        judging = EvaluationOptions(compute=CPU, quiet=True, out=tmp_path / f"{name}.json")
        judge.run(judge.Options((options.out.with_name(name),), data=other, judging=judging))
        (told,) = [each for each in read_json(tmp_path / f"{name}.json")["warnings"] if "another set" in each]
        assert told.startswith(f"{name}: went on from a run on another set of pairs")
    judging = EvaluationOptions(compute=CPU, quiet=True, out=tmp_path / "first.json")
    judge.run(judge.Options((options.out,), data=options.data, judging=judging))
    assert not any("another set" in each for each in read_json(tmp_path / "first.json")["warnings"])


def test_states_of_before_an_encoder_was_trained_are_not_read_after(options):
    run(options)
    late = replace(options, init_from=options.out, out=options.out.with_name("late"))
    late = replace(late, tuning=TuningConfig(unfreeze_at_epoch=1))
    with pytest.raises(ValueError, match="its encoders were trained, so that they have no kept states"):
        run(late)
    with pytest.raises(ValueError, match="its encoders were trained, and --lora-rank begins on frozen ones"):
        run(replace(late, tuning=TuningConfig(lora_rank=2)))
    assert not late.out.exists()


def test_encoders_that_would_never_be_trained_are_refused(options):
    with pytest.raises(ValueError, match="--unfreeze-at-epoch 2: there are 2 epochs, so that the encoders"):
        run(replace(options, tuning=TuningConfig(unfreeze_at_epoch=2)))
    assert not options.out.exists()


def test_patience_counts_from_where_encoders_are_trained(options, monkeypatch):
    whole = InteractionTask.evaluate
    losses = iter([0.1, *np.linspace(0.2, 0.9, 19)])  # never lower
    monkeypatch.setattr(InteractionTask, "evaluate", lambda *a: whole(*a) | {"val_loss": next(losses)})
    train = replace(options.train, epochs=9, patience=2)
    run(replace(options, tuning=TuningConfig(unfreeze_at_epoch=4), train=train))
    assert history(options)["epoch"] == [0, 1, 2, 3, 4, 5, 6]


def test_what_a_tokenizer_loses_is_said_in_every_run(options, capsys, monkeypatch):
    def lossy(*given):
        opened = open_gene_encoder(*given)
        return replace(opened, report_losses=lambda texts: f"{len(texts)} texts lose something")

    monkeypatch.setattr("dnalm.models.input_encoder.open_gene_encoder", lossy)
    loud = replace(RUN, quiet=False, overwrite=True)
    for tuning in (TuningConfig(), TuningConfig(), TuningConfig(freeze=False)):
        run(replace(options, tuning=tuning, run=loud))
        assert capsys.readouterr().err.count("16 texts lose something") == 1


def test_the_rate_falls_where_no_epoch_is_better(options, monkeypatch):
    losses = iter([0.1, 0.2, 0.3, 0.4])  # never lower
    whole = InteractionTask.evaluate
    monkeypatch.setattr(InteractionTask, "evaluate", lambda *a: whole(*a) | {"val_loss": next(losses)})
    train = replace(options.train, epochs=3, schedule="plateau", plateau_patience=0, plateau_factor=0.5)
    run(replace(options, tuning=TuningConfig(), train=train))
    lines = map(json.loads, (options.out / "metrics.jsonl").read_text().splitlines())
    rates = [line["lr"] for line in lines if "lr" in line]
    assert sorted(set(rates), reverse=True) == pytest.approx([1e-3, 1e-3 / 2])  # the first is the best so far


def test_checkpointing_changes_no_weight(options):
    run(options)
    sparing = replace(options, tuning=TuningConfig(freeze=False, gradient_checkpointing=True))
    sparing = replace(sparing, out=options.out.with_name("sparing"))
    run(sparing)
    one, other = last_encoder(options), last_encoder(sparing)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_stopped_run_resumes_to_the_same_bits(options, stopping):
    options = replace(options, tuning=TuningConfig(unfreeze_at_epoch=1))
    run(options)
    other = replace(options, out=options.out.with_name("stopped"))
    with stopping(), pytest.raises(KeyboardInterrupt):
        run(other)
    resumed = replace(other, run=replace(RUN, resume=True))
    with pytest.raises(ValueError, match="unfreeze_last was 0, is 1"):
        run(replace(resumed, tuning=TuningConfig(unfreeze_at_epoch=1, unfreeze_last=1)))
    run(resumed)
    one, two = last_encoder(options), last_encoder(other)
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("model", ["foundation", "foundation-pooled", "original"])
def test_a_fingerprint_beside_another_encoder_is_read(options, model):
    pytest.importorskip("rdkit")
    encoders = EncodersConfig("kmer", "lstm", morgan=True)
    run(replace(options, model=model, encoders=encoders, tuning=TuningConfig()))
    opened, pairs = open_interaction(options.out), open_pairs(options.data)
    assert opened.model.shape.names == ("kmer", "lstm + morgan")
    tokens = InputEncoder(options.store, CPU.resolve(), print).tokens(opened.model.shape, pairs)
    some = np.arange(40)
    logits = predict(opened.model, tokens, pairs.gene[some], pairs.molecule[some])
    alone = predict(opened.model, tokens, pairs.gene[:1], pairs.molecule[:1])
    np.testing.assert_allclose(alone, logits[:1], atol=1e-5)  # float32, other padding
    with torch.no_grad():
        opened.model.morgan.embedding.weight += 1.0
    moved = predict(opened.model, tokens, pairs.gene[some], pairs.molecule[some])
    assert np.abs(moved - logits).min() > 0


def test_an_encoder_that_is_gone_cannot_be_read_with(options, binding, tmp_path):
    gone = tmp_path / "core"
    shutil.copytree(binding.outputs / "vocab4", gone)
    run(replace(options, encoders=replace(options.encoders, dna_encoder=str(gone))))
    options = replace(options, encoders=replace(options.encoders, dna_encoder=str(gone)))
    before = logits_of(options)
    tensors, about = checkpoint.load(gone)
    del about["sha256"]  # of what was written, which is not what will be
    checkpoint.save(checkpoint.locate(gone), {key: each + 1 for key, each in tensors.items()}, about)
    assert np.array_equal(logits_of(options), before)  # its weights are in the run
    shutil.rmtree(gone)
    with pytest.raises(ValueError, match="cannot be opened"):
        logits_of(options)
    shutil.copytree(binding.outputs / "full", gone)
    with pytest.raises(ValueError, match="has other .*tokenizer.* than the encoder"):
        logits_of(options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoders": EncodersConfig("kmer", "morgan")}, "are for pretrained encoders, but kmer and morgan"),
        ({"tuning": TuningConfig(unfreeze_last=9)}, r"`unfreeze_last` 9: the encoder has \d layers"),
    ],
)
def test_mistakes_are_said_before_anything_is_written(options, change, message):
    with pytest.raises(ValueError, match=message):
        run(replace(options, **change))
    assert not options.out.exists()


def test_settings_that_contradict_each_other():
    with pytest.raises(ValueError, match="`lora_rank` trains updates of frozen encoders"):
        TuningConfig(freeze=False, lora_rank=4)
    with pytest.raises(ValueError, match=r"unfreeze_last must be at least 0, got -1; lora_rank .* got -2"):
        TuningConfig(unfreeze_last=-1, lora_rank=-2)


def test_a_fingerprint_is_not_read_twice(options):
    encoders = replace(options.encoders, morgan=True)
    with pytest.raises(ValueError, match="reads it already"):
        run(replace(options, encoders=encoders))


def test_micro_batches_are_normalised_each_by_its_own_rows(options):
    pieces = replace(options, train=replace(options.train, accumulate=2, epochs=1), tuning=TuningConfig())
    run(pieces)
    whole = replace(pieces, out=options.out.with_name("whole"), train=replace(options.train, epochs=1))
    run(whole)
    counts, found = [], []
    for each in (pieces, whole):
        tensors, _ = checkpoint.load(each.out / "last")
        counts.append(int(tensors["model.head.fusion.1.num_batches_tracked"]))
        found.append(tensors["model.head.classifier.6.weight"])
    assert counts[0] == 2 * counts[1]
    assert not torch.equal(*found)
    with pytest.raises(ValueError, match="accumulate was 2, is 1"):
        run(replace(whole, out=pieces.out, run=replace(RUN, resume=True)))


def test_in_prediction_each_gene_is_encoded_once(options, monkeypatch):
    run(options)
    rows = []
    encode = pretrained.encode_windows
    monkeypatch.setattr("dnalm.models.pair.ATTEND_BATCH", 7)
    monkeypatch.setattr(pretrained, "encode_windows", lambda *a: rows.append(len(a[1])) or encode(*a))
    logits_of(options)
    assert sum(rows) == len(open_pairs(options.data).sequences)


def test_of_one_vector_a_fingerprint_is_half_however_many_bits_it_has(options):
    pytest.importorskip("rdkit")
    encoders = EncodersConfig("kmer", "lstm", morgan=True)
    run(replace(options, model="foundation-pooled", encoders=encoders, tuning=TuningConfig()))
    model, pairs = open_interaction(options.out).model, open_pairs(options.data)
    tokens = InputEncoder(options.store, CPU.resolve(), print).tokens(model.shape, pairs)
    letters, real, bits, bits_real = tokens.take_molecules(np.arange(3))
    with torch.no_grad():
        found = model.molecule_side(letters, real, bits, bits_real).states[:, 0]
        states = model.molecule(letters, real)
        for row in range(3):
            one, other = (
                states[row][real[row]].mean(0),
                model.morgan.embedding.weight[bits[row][bits_real[row]].long()],
            )
            wanted = model.head.molecule_projection((one + other.mean(0)) / 2)
            torch.testing.assert_close(found[row], wanted)


def test_of_a_pooled_model_each_gene_is_one_mean_over_its_tokens(options):
    run(replace(options, model="foundation-pooled"))
    model, pairs = open_interaction(options.out).model, open_pairs(options.data)
    tokens = InputEncoder(options.store, CPU.resolve(), print).tokens(model.shape, pairs)
    ids, places = tokens.genes.take(np.arange(4))
    assert set(places[places >= 0].tolist()) == {0}
    with torch.no_grad():
        states = model.gene.encoder(ids[:, 0], places[:, 0] > PADDING)
        torch.testing.assert_close(encode_windows(model.gene.encoder, ids, places)[:, 0], states.mean(1))
