"""Tests of training pretrained encoders with a model of pairs: fully, in part, late, from another run."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dnalm import checkpoint
from dnalm.commands import interact_evaluate
from dnalm.commands.interact_train import run
from dnalm.commands.runs import EvaluationOptions, RunOptions
from dnalm.data.pairs import open_pairs
from dnalm.device import Compute
from dnalm.errors import InputError
from dnalm.files import read_json
from dnalm.models import pretrained
from dnalm.models.core import load_core
from dnalm.models.input_encoder import InputEncoder, open_gene_encoder
from dnalm.models.open import open_interaction
from dnalm.models.pair import predict
from dnalm.models.pair_shape import EncodersConfig, TuningConfig
from dnalm.models.pretrained import PADDING, PretrainedEncoder, encode_windows
from dnalm.train.pairs import InteractionTask

CPU = Compute(device="cpu", precision="fp32")
RUN = RunOptions(compute=CPU, quiet=True)
PREFIX = "model.gene.encoder."
FROZEN = TuningConfig()


@pytest.fixture
def options(foundation):
    """A small model of cross-attention on a core that is trained with it."""
    return replace(
        foundation,
        tuning=TuningConfig(freeze=False),
        attention=replace(foundation.attention, attention_dropout=0.0, head_dropout=0.0),
        train=replace(foundation.train, patience=0),
    )


@pytest.fixture
def losses_of(monkeypatch):
    """A function that sets the validation losses of the next evaluations."""
    evaluate = InteractionTask.evaluate

    def losses_of(*losses):
        losses = iter(losses)
        monkeypatch.setattr(InteractionTask, "evaluate", lambda *a: evaluate(*a) | {"val_loss": next(losses)})

    return losses_of


def named(options, name, **changes):
    """Return the options of another run."""
    return replace(options, out=options.out.with_name(name), **changes)


def core_of(options):
    return load_core(Path(options.encoders.dna_encoder), None).tensors


def last_tensors(options):
    return checkpoint.load(options.out / "last")[0]


def last_encoder(options):
    """Return the tensors of the encoder of genes after the last step."""
    tensors = last_tensors(options)
    return {key.removeprefix(PREFIX): each for key, each in tensors.items() if key.startswith(PREFIX)}


def changed(before, after):
    return {key for key, each in before.items() if not torch.equal(after[key], each)}


def results_of(options):
    return read_json(options.out / "results.json")


def history(options):
    return results_of(options)["training"]["history"]


def opened(options):
    """Return the run's best model, the pairs and the tokens."""
    model, pairs = open_interaction(options.out).model, open_pairs(options.data)
    return model, pairs, InputEncoder(options.store, CPU.processor(), print).tokens(model.shape, pairs)


def logits_of(options):
    """Return the logits of all pairs by the run's best weights."""
    model, pairs, tokens = opened(options)
    return predict(model, tokens, pairs.gene, pairs.molecule)


def test_all_of_an_encoder_is_trained_and_its_own_folder_does_not_change(options):
    before = core_of(options)
    run(options)
    assert last_encoder(options).keys() == before.keys() == changed(before, last_encoder(options))
    assert not changed(before, core_of(options))
    about = results_of(options)["model"]
    assert about["parameters"] == about["trained_parameters"]
    assert not options.store.exists()  # states of an encoder that changes are not cached
    sparing = named(options, "sparing", tuning=TuningConfig(freeze=False, gradient_checkpointing=True))
    run(sparing)
    assert not changed(last_encoder(options), last_encoder(sparing))


def test_the_last_layers_alone(options):
    run(replace(options, tuning=TuningConfig(unfreeze_last=1)))
    before = core_of(options)
    last = max(key.split(".")[1] for key in before if key.startswith("h."))
    wanted = {key for key in before if key.startswith((f"h.{last}.", "ln_f."))}
    assert changed(before, last_encoder(options)) == wanted
    frozen = sum(each.numel() for key, each in before.items() if key not in wanted)
    about = results_of(options)["model"]
    assert about["parameters"] - about["trained_parameters"] == frozen > 0


def test_until_they_are_trained_encoders_are_frozen_and_read_once(options, monkeypatch):
    encoded, encode = [], PretrainedEncoder.encode
    monkeypatch.setattr(PretrainedEncoder, "encode", lambda self, t: encoded.extend(t) or encode(self, t))
    late = named(options, "late", tuning=TuningConfig(unfreeze_at_epoch=1))
    run(late)
    assert sorted(encoded) == sorted(open_pairs(options.data).sequences)
    run(replace(options, tuning=FROZEN))
    # Cached states are bfloat16, those of an encoder in the model are not.
    assert history(late)["val_bce"][:2] == pytest.approx(history(options)["val_bce"][:2], abs=2e-3)
    assert changed(core_of(options), last_encoder(late)) == core_of(options).keys()


def test_low_rank_updates_are_merged_into_the_layers_at_the_end(options, losses_of):
    pytest.importorskip("peft")
    losses_of(3.0, 2.0, 1.0)  # the last weights are the best
    tuned = replace(options, tuning=TuningConfig(lora_rank=2), train=replace(options.train, lr=1e-2))
    run(tuned)
    model, pairs, _ = opened(options)
    before, after = core_of(options), model.gene.encoder.state_dict()
    assert after.keys() == before.keys()
    assert changed(before, after) == {key for key in before if ".c_" in key and key.endswith("weight")}
    for key in changed(before, after):
        assert int(torch.linalg.matrix_rank((after[key] - before[key]).double(), rtol=1e-4)) == 2
    rows = pairs.parts["validation"]
    logits = logits_of(options)[rows]
    bce = float((np.logaddexp(0.0, logits) - pairs.label[rows] * logits).mean())
    assert history(options)["val_bce"][-1] == pytest.approx(bce, abs=1e-5)  # float32, merged
    assert model.shape.gene.lora_rank == 0
    scores = results_of(options)["validation"]
    run(replace(tuned, run=replace(RUN, resume=True)))  # a run that has ended is evaluated again
    assert results_of(options)["validation"] == scores


def test_a_run_on_a_frozen_encoder_is_continued_with_it_trained(options):
    frozen, third = named(options, "frozen", tuning=FROZEN), named(options, "third")
    run(frozen)
    run(replace(options, init_from=frozen.out))
    best = int(np.argmax(history(frozen)["val_auroc"]))
    # Cached states are bfloat16, those of an encoder in the model are not.
    assert history(options)["val_bce"][0] == pytest.approx(history(frozen)["val_bce"][best], abs=2e-3)
    assert results_of(options)["model"]["init_from"] == str(frozen.out)
    full = EncodersConfig(options.encoders.dna_encoder.replace("vocab4", "full"), "morgan")
    narrow = replace(options.attention, feed_forward=8)
    late = TuningConfig(unfreeze_at_epoch=1)
    for start, change, message in (
        (options, {"tuning": FROZEN}, "was trained, .* frozen now"),
        (frozen, {"encoders": full}, "differs in gene"),
        (frozen, {"attention": narrow}, "differs in head"),
        (options, {"tuning": late}, "`unfreeze_at_epoch`"),
        (options, {"tuning": TuningConfig(lora_rank=2)}, "`lora_rank`"),
    ):
        with pytest.raises(InputError, match=message):
            run(replace(third, init_from=start.out, **change))
    assert not third.out.exists()


def test_a_run_that_begins_with_one_on_another_set_gives_a_warning(
    options, pair_set, write_set, tmp_path, capsys
):
    run(options)
    train = pair_set.parts["train"]
    pair_set.parts["train"] = train[pair_set.gene[train] < 8]  # whose states are on another scale
    other = write_set(tmp_path / "other", pair_set)
    loud = replace(RUN, quiet=False)
    second = named(options, "second", data=other, init_from=options.out, run=loud)
    run(second)
    assert "another set of pairs" in capsys.readouterr().err
    assert torch.equal(*(last_tensors(each)["model.gene.mean"] for each in (options, second)))
    with pytest.raises(InputError, match="init_weights was"):
        run(replace(second, init_from=None, run=replace(RUN, resume=True)))
    # What was seen is remembered by a run that begins with this one, and in an evaluation.
    third = named(second, "third", init_from=second.out)
    run(third)
    assert "another set of pairs" in capsys.readouterr().err
    for each in (options, second, third):
        out = tmp_path / f"{each.out.name}.json"
        judging = EvaluationOptions(compute=CPU, quiet=True, out=out)
        interact_evaluate.run(interact_evaluate.Options((each.out,), data=each.data, judging=judging))
        warnings = [warning for warning in read_json(out)["warnings"] if "another set" in warning]
        assert [warning.split(":")[0] for warning in warnings] == [each.out.name] * (each is not options)


def test_patience_counts_from_where_encoders_are_trained(options, losses_of):
    losses_of(0.1, *np.linspace(0.2, 0.9, 19))  # never lower
    train = replace(options.train, epochs=9, patience=2)
    run(replace(options, tuning=TuningConfig(unfreeze_at_epoch=4), train=train))
    assert history(options)["epoch"] == [0, 1, 2, 3, 4, 5, 6]


def test_what_a_tokenizer_loses_is_reported_in_every_run(options, capsys, monkeypatch):
    def lossy(*given):
        return replace(open_gene_encoder(*given), report_losses=lambda texts: f"{len(texts)} lose something")

    monkeypatch.setattr("dnalm.models.input_encoder.open_gene_encoder", lossy)
    loud = replace(RUN, quiet=False, overwrite=True)
    for tuning in (FROZEN, FROZEN, TuningConfig(freeze=False)):
        run(replace(options, tuning=tuning, run=loud))
        assert capsys.readouterr().err.count("16 lose something") == 1


def test_the_rate_falls_where_no_epoch_is_better(options, losses_of):
    losses_of(0.1, 0.2, 0.3, 0.4)  # never lower
    train = replace(options.train, epochs=3, schedule="plateau", plateau_patience=0, plateau_factor=0.5)
    run(replace(options, tuning=FROZEN, train=train))
    lines = map(json.loads, (options.out / "metrics.jsonl").read_text().splitlines())
    rates = {line["lr"] for line in lines if "lr" in line}
    assert sorted(rates, reverse=True) == pytest.approx([1e-3, 1e-3 / 2])  # the first is the best so far


def test_a_stopped_run_resumes_to_the_same_bits(options, stopping):
    options = replace(options, tuning=TuningConfig(unfreeze_at_epoch=1))
    run(options)
    other = named(options, "stopped")
    with stopping(), pytest.raises(KeyboardInterrupt):
        run(other)
    resumed = replace(other, run=replace(RUN, resume=True))
    with pytest.raises(InputError, match="unfreeze_last was 0, is 1"):
        run(replace(resumed, tuning=TuningConfig(unfreeze_at_epoch=1, unfreeze_last=1)))
    run(resumed)
    assert not changed(last_encoder(options), last_encoder(other))


@pytest.mark.parametrize("model", ["foundation", "foundation-pooled", "original"])
def test_a_fingerprint_beside_another_encoder_is_read(options, model):
    pytest.importorskip("rdkit")
    encoders = EncodersConfig("kmer", "lstm", morgan=True)
    run(replace(options, model=model, encoders=encoders, tuning=FROZEN))
    made, pairs, tokens = opened(options)
    assert made.shape.names == ("kmer", "lstm + morgan")
    some = np.arange(40)
    logits = predict(made, tokens, pairs.gene[some], pairs.molecule[some])
    alone = predict(made, tokens, pairs.gene[:1], pairs.molecule[:1])
    np.testing.assert_allclose(alone, logits[:1], atol=1e-5)  # float32, other padding
    if model == "foundation-pooled":  # of one vector it is half, however many bits it has
        letters, real, bits, bits_real = tokens.take_molecules(np.arange(3))
        with torch.no_grad():
            found = made.encode("molecule", letters, real, bits, bits_real).states[:, 0]
            states = made.molecule(letters, real)
            for row in range(3):
                one = states[row][real[row]].mean(0)
                other = made.morgan.embedding.weight[bits[row][bits_real[row]].long()].mean(0)
                torch.testing.assert_close(found[row], made.head.molecule_projection((one + other) / 2))
    with torch.no_grad():
        made.morgan.embedding.weight += 1.0
    moved = predict(made, tokens, pairs.gene[some], pairs.molecule[some])
    assert np.abs(moved - logits).min() > 0


def test_an_encoder_that_is_gone_is_needed_as_a_tokenizer(options, binding, tmp_path):
    gone = tmp_path / "core"
    shutil.copytree(binding.outputs / "vocab4", gone)
    options = replace(options, encoders=replace(options.encoders, dna_encoder=str(gone)))
    run(options)
    before = logits_of(options)
    tensors, about = checkpoint.load(gone)
    del about["sha256"]  # of what was written, which is not what will be
    checkpoint.save(checkpoint.locate(gone), {key: each + 1 for key, each in tensors.items()}, about)
    assert np.array_equal(logits_of(options), before)  # its weights are in the run
    shutil.rmtree(gone)
    with pytest.raises(InputError, match="cannot be opened"):
        logits_of(options)
    shutil.copytree(binding.outputs / "full", gone)
    with pytest.raises(InputError, match="has other .*tokenizer"):
        logits_of(options)


def test_mistakes_are_refused_before_anything_is_written(options):
    bags = EncodersConfig("kmer", "morgan")
    for change, message in (
        ({"encoders": bags}, "for pretrained encoders"),
        ({"tuning": TuningConfig(unfreeze_last=9)}, r"`unfreeze_last` 9: the encoder has \d layers"),
        ({"tuning": TuningConfig(unfreeze_at_epoch=2)}, "`unfreeze_at_epoch` 2"),
        ({"encoders": replace(bags, morgan=True), "tuning": FROZEN}, "reads it already"),
    ):
        with pytest.raises(InputError, match=message):
            run(replace(options, **change))
    assert not options.out.exists()
    for settings in ({"freeze": False, "lora_rank": 4}, {"unfreeze_last": -1}, {"lora_rank": -2}):
        with pytest.raises(InputError):
            TuningConfig(**settings)


def test_micro_batches_are_normalised_each_by_its_own_rows(options):
    pieces = replace(options, train=replace(options.train, accumulate=2, epochs=1), tuning=FROZEN)
    one = named(pieces, "one", train=replace(options.train, epochs=1))
    run(pieces)
    run(one)
    first, second = last_tensors(pieces), last_tensors(one)
    key = "model.head.fusion.1.num_batches_tracked"
    assert int(first[key]) == 2 * int(second[key])
    key = "model.head.classifier.6.weight"
    assert not torch.equal(first[key], second[key])
    with pytest.raises(InputError, match="accumulate was 2, is 1"):
        run(replace(one, out=pieces.out, run=replace(RUN, resume=True)))


def test_in_a_pooled_model_a_gene_is_one_mean_over_its_tokens(options, monkeypatch):
    run(replace(options, model="foundation-pooled"))
    model, pairs, tokens = opened(options)
    ids, state_of = tokens.genes.take(np.arange(4))
    assert set(state_of[state_of >= 0].tolist()) == {0}
    with torch.no_grad():
        states = model.gene.encoder(ids[:, 0], state_of[:, 0] > PADDING)
        means = encode_windows(model.gene.encoder, ids, state_of)[:, 0]
    torch.testing.assert_close(means, states.mean(1))
    # In prediction each gene is encoded once.
    rows, encode = [], pretrained.encode_windows
    monkeypatch.setattr("dnalm.models.pair.ATTEND_BATCH", 7)
    monkeypatch.setattr(pretrained, "encode_windows", lambda *a: rows.append(len(a[1])) or encode(*a))
    logits_of(options)
    assert sum(rows) == len(pairs.sequences)
