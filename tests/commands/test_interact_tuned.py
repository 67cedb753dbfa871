"""Tests of training pretrained encoders with a model of pairs: fully, in part, late, from another run."""

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
from dnalm.models.core import load_core
from dnalm.models.input_encoder import InputEncoder, open_gene_encoder
from dnalm.models.open import open_interaction
from dnalm.models.pair import predict
from dnalm.models.pair_shape import EncodersConfig, TuningConfig
from dnalm.models.pretrained import PretrainedEncoder
from dnalm.train.pairs import InteractionTask

CPU = Compute(device="cpu", precision="fp32")
RUN = RunOptions(compute=CPU, quiet=True)
PREFIX = "model.gene.encoder."
FROZEN = TuningConfig()
LATE = TuningConfig(unfreeze_at_epoch=1)


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


def trained(options, name="mine", **changes):
    """Train with changed options under another name; return the options, and the results."""
    options = replace(options, out=options.out.with_name(name), **changes)
    run(options)
    return options, read_json(options.out / "results.json")


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


def opened(options):
    """Return the run's best model, the pairs and the tokens."""
    model, pairs = open_interaction(options.out).model, open_pairs(options.data)
    return model, pairs, InputEncoder(options.store, CPU.processor(), print).tokens(model, pairs)


def logits_of(options):
    """Return the logits of all pairs by the run's best weights."""
    model, pairs, tokens = opened(options)
    return predict(model, tokens, pairs.gene, pairs.molecule)


def test_all_of_an_encoder_is_trained_or_the_last_layers_and_its_own_folder_does_not_change(options):
    before = core_of(options)
    options, results = trained(options)
    assert last_encoder(options).keys() == before.keys() == changed(before, last_encoder(options))
    assert not changed(before, core_of(options))
    about = results["model"]
    assert about["parameters"] == about["trained_parameters"]
    assert not options.store.exists()  # states of an encoder that changes are not cached
    sparing, _ = trained(options, "sparing", tuning=TuningConfig(freeze=False, gradient_checkpointing=True))
    assert not changed(last_encoder(options), last_encoder(sparing))
    some, results = trained(options, "some", tuning=TuningConfig(unfreeze_last=1))
    last = max(key.split(".")[1] for key in before if key.startswith("h."))
    wanted = {key for key in before if key.startswith((f"h.{last}.", "ln_f."))}
    assert changed(before, last_encoder(some)) == wanted
    frozen = sum(each.numel() for key, each in before.items() if key not in wanted)
    assert results["model"]["parameters"] - results["model"]["trained_parameters"] == frozen > 0


def test_until_they_are_trained_encoders_are_frozen_and_read_once(options, monkeypatch):
    encoded, encode = [], PretrainedEncoder.encode
    monkeypatch.setattr(PretrainedEncoder, "encode", lambda self, t: encoded.extend(t) or encode(self, t))
    late, results = trained(options, "late", tuning=LATE)
    assert sorted(encoded) == sorted(open_pairs(options.data).sequences)
    _, wanted = trained(options, tuning=FROZEN)
    # Cached states are bfloat16, those of an encoder in the model are not.
    found, wanted = (each["training"]["history"]["val_bce"][:2] for each in (results, wanted))
    assert found == pytest.approx(wanted, abs=2e-3)
    assert changed(core_of(options), last_encoder(late)) == core_of(options).keys()


def test_low_rank_updates_are_merged_into_the_layers_at_the_end(options, losses_of):
    pytest.importorskip("peft")
    losses_of(3.0, 2.0, 1.0)  # the last weights are the best
    tuned = replace(options, tuning=TuningConfig(lora_rank=2), train=replace(options.train, lr=1e-2))
    tuned, results = trained(tuned)
    model, pairs, _ = opened(tuned)
    before, after = core_of(tuned), model.gene.encoder.state_dict()
    assert after.keys() == before.keys()
    assert changed(before, after) == {key for key in before if ".c_" in key and key.endswith("weight")}
    for key in changed(before, after):
        assert int(torch.linalg.matrix_rank((after[key] - before[key]).double(), rtol=1e-4)) == 2
    rows = pairs.parts["validation"]
    logits = logits_of(tuned)[rows]
    bce = float((np.logaddexp(0.0, logits) - pairs.label[rows] * logits).mean())
    assert results["training"]["history"]["val_bce"][-1] == pytest.approx(bce, abs=1e-5)  # float32, merged
    assert model.shape.gene.lora_rank == 0
    _, again = trained(tuned, run=replace(RUN, resume=True))  # a run that has ended is evaluated again
    assert again["validation"] == results["validation"]


def test_a_run_on_a_frozen_encoder_is_continued_with_it_trained(
    options, pair_set, write_set, tmp_path, capsys
):
    frozen, first = trained(options, "frozen", tuning=FROZEN)
    begun, second = trained(options, init_from=frozen.out)
    best = int(np.argmax(first["training"]["history"]["val_auroc"]))
    first, after = (each["training"]["history"]["val_bce"] for each in (first, second))
    assert after[0] == pytest.approx(first[best], abs=2e-3)  # as above, bfloat16
    assert second["model"]["init_from"] == str(frozen.out)
    full = EncodersConfig(options.encoders.dna_encoder.replace("vocab4", "full"), "morgan")
    narrow = replace(options.attention, feed_forward=8)
    for start, change, message in (
        (begun, {"tuning": FROZEN}, "was trained, .* frozen now"),
        (frozen, {"encoders": full}, "differs in gene"),
        (frozen, {"attention": narrow}, "differs in head"),
        (begun, {"tuning": LATE}, "`unfreeze_at_epoch`"),
        (begun, {"tuning": TuningConfig(lora_rank=2)}, "`lora_rank`"),
    ):
        with pytest.raises(InputError, match=message):
            trained(options, "third", init_from=start.out, **change)
    assert not options.out.with_name("third").exists()
    # On another set of pairs, whose states are on another scale, it gives a warning, which is remembered.
    train = pair_set.parts["train"]
    pair_set.parts["train"] = train[pair_set.gene[train] < 8]
    other = write_set(tmp_path / "other", pair_set)
    loud = {"data": other, "run": replace(RUN, quiet=False)}
    capsys.readouterr()
    moved, _ = trained(options, "moved", init_from=begun.out, **loud)
    assert "another set of pairs" in capsys.readouterr().err
    assert torch.equal(*(last_tensors(each)["model.gene.mean"] for each in (begun, moved)))
    with pytest.raises(InputError, match="init_weights was"):
        run(replace(moved, init_from=None, run=replace(RUN, resume=True)))
    later, _ = trained(options, "later", init_from=moved.out, **loud)
    assert "another set of pairs" in capsys.readouterr().err
    for each in (begun, later):
        out = tmp_path / f"{each.out.name}.json"
        judging = EvaluationOptions(compute=CPU, quiet=True, out=out)
        interact_evaluate.run(interact_evaluate.Options((each.out,), data=each.data, judging=judging))
        warnings = [warning for warning in read_json(out)["warnings"] if "another set" in warning]
        assert [warning.split(":")[0] for warning in warnings] == ["later"] * (each is later)


def test_patience_counts_from_where_encoders_are_trained(options, losses_of):
    losses_of(0.1, *np.linspace(0.2, 0.9, 19))  # never lower
    train = replace(options.train, epochs=6, patience=1)
    _, results = trained(options, tuning=TuningConfig(unfreeze_at_epoch=2), train=train)
    assert results["training"]["history"]["epoch"] == [0, 1, 2, 3]


def test_what_a_tokenizer_loses_is_reported_in_every_run(options, capsys, monkeypatch):
    def lossy(*given):
        return replace(open_gene_encoder(*given), report_losses=lambda texts: f"{len(texts)} lose something")

    monkeypatch.setattr("dnalm.models.input_encoder.open_gene_encoder", lossy)
    loud = replace(RUN, quiet=False, overwrite=True)
    for tuning in (FROZEN, FROZEN, TuningConfig(freeze=False)):
        trained(options, tuning=tuning, run=loud, train=replace(options.train, epochs=1))
        assert capsys.readouterr().err.count("16 lose something") == 1


@pytest.mark.parametrize("model", ["foundation", "foundation-pooled", "original"])
def test_a_fingerprint_beside_another_encoder_is_read(options, model):
    pytest.importorskip("rdkit")
    encoders = EncodersConfig("kmer", "lstm", morgan=True)
    options, _ = trained(options, model=model, encoders=encoders, tuning=FROZEN)
    made, pairs, tokens = opened(options)
    assert made.shape.names == ("kmer", "lstm + morgan")
    some = np.arange(40)
    logits = predict(made, tokens, pairs.gene[some], pairs.molecule[some])
    alone = predict(made, tokens, pairs.gene[:1], pairs.molecule[:1])
    np.testing.assert_allclose(alone, logits[:1], atol=1e-5)  # float32, other padding
    if model == "foundation-pooled":  # of one vector it is half, however many bits it has
        letters, real, bits, bits_real, _ = tokens.take("molecule", np.arange(3))
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
    options, _ = trained(options, encoders=replace(options.encoders, dna_encoder=str(gone)))
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
        ({"tuning": TuningConfig(unfreeze_last=9)}, r"`unfreeze_last` 9: the encoder has 1 layer"),
        ({"tuning": TuningConfig(unfreeze_at_epoch=2)}, "`unfreeze_at_epoch` 2"),
        ({"encoders": replace(bags, morgan=True), "tuning": FROZEN}, "reads it already"),
    ):
        with pytest.raises(InputError, match=message):
            trained(options, **change)
    assert not options.out.exists()
    for settings in ({"freeze": False, "lora_rank": 4}, {"unfreeze_last": -1}, {"lora_rank": -2}):
        with pytest.raises(InputError):
            TuningConfig(**settings)
