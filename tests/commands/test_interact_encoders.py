"""Tests of models of pairs on frozen encoders, from training to results."""

import shutil
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from dnalm.commands import interact_evaluate
from dnalm.commands.interact_train import run
from dnalm.commands.runs import EvaluationOptions, RunOptions
from dnalm.data.pairs import open_pairs
from dnalm.device import Compute
from dnalm.errors import InputError
from dnalm.files import read_json
from dnalm.models.cross_attention import CrossAttentionConfig
from dnalm.models.input_encoder import InputEncoder, attention_of, shape_of, store_of
from dnalm.models.open import open_interaction
from dnalm.models.pair import predict
from dnalm.models.pair_shape import EncodersConfig
from dnalm.models.pretrained import PretrainedEncoder
from dnalm.train.optim import EpochConfig
from dnalm.train.pairs import InteractionTask

CPU = Compute(device="cpu", precision="fp32")
RUN = RunOptions(compute=CPU, quiet=True)
SMALL = CrossAttentionConfig(width=16, heads=2, feed_forward=16)


@pytest.fixture
def encoded(monkeypatch):
    """Texts that frozen encoders encode, in order."""
    texts = []
    encode = PretrainedEncoder.encode
    monkeypatch.setattr(PretrainedEncoder, "encode", lambda self, t: texts.extend(t) or encode(self, t))
    return texts


@pytest.fixture
def options(foundation):
    """What most of these tests train."""
    assert store_of(None, foundation.data) == foundation.data.parent / "states"  # where no other is given
    assert store_of(foundation.store, foundation.data) == foundation.store
    return foundation


def inputs(folder):
    return InputEncoder(folder, CPU.processor(), print)


def trained(options):
    """Train; return the opened model, the pairs and the tokens."""
    run(options)
    model, pairs = open_interaction(options.out).model, open_pairs(options.data)
    return model, pairs, inputs(options.store).tokens(model.shape, pairs)


@pytest.mark.parametrize(
    ("dna", "mol", "poolings", "characters"),
    [("kmer", "lstm", ("mean", "attention"), "CO"), ("cnn", "morgan", ("max", "mean"), "")],
)
def test_each_encoder_has_its_pooling(dna, mol, poolings, characters):
    shape, pretrained = shape_of(EncodersConfig(dna, mol, 50, 20), lambda: "CO", None)
    assert (shape.head.gene_pooling, shape.head.molecule_pooling) == poolings
    assert (shape.names, shape.kind, shape.characters) == ((dna, mol), f"{dna}-{mol}", characters)
    assert (shape.dna_length, shape.smiles_length, bool(pretrained)) == (50, 20, False)


def test_each_gene_is_encoded_once_ever(options, pair_folder, encoded):
    run(options)
    assert sorted(encoded) == sorted(open_pairs(pair_folder).sequences)  # of all parts, in two epochs
    pooled = replace(options, out=options.out.with_name("pooled"), model="foundation-pooled")
    run(pooled)
    out = options.out.parent / "evaluation.json"
    judging = EvaluationOptions(compute=CPU, quiet=True, out=out)
    runs = (options.out, pooled.out)
    interact_evaluate.run(interact_evaluate.Options(runs, pair_folder, store=options.store, judging=judging))
    assert len(encoded) == 16
    kinds = {name: each["model"]["kind"] for name, each in read_json(out)["models"].items()}
    mine = "foundation (vocab4 + morgan)"
    assert kinds == {"mine": mine, "pooled": mine.replace("foundation", "foundation-pooled")}


def test_cached_states_are_scaled_by_those_of_training_genes_alone(options):
    model, pairs, tokens = trained(options)

    def scaled(genes):
        states, real = tokens.genes.take(genes)
        return model.gene(states, real)[real]

    of_training = scaled(np.unique(pairs.gene[pairs.parts["train"]]))
    np.testing.assert_allclose(of_training.mean(0), 0.0, atol=1e-4)
    assert float(of_training.std(0).max()) == pytest.approx(1.0, abs=0.01)
    few = np.arange(4)
    model.calibrate(tokens, few, few)
    assert np.allclose(scaled(few).mean(0), 0.0, atol=1e-4)
    assert not np.allclose(scaled(np.arange(4, 16)).mean(0), 0.0, atol=1e-4)


def test_a_pooled_model_reads_one_state_a_gene_the_mean_of_all(options, pair_folder):
    found = {}
    for name in ("foundation", "foundation-pooled"):
        shape, pretrained = shape_of(options.encoders, lambda: "", attention_of(name, SMALL))
        tokens = inputs(options.store).tokens(shape, open_pairs(pair_folder), pretrained)
        found[name] = tokens.genes.take(np.arange(16))[0].float()
    assert found["foundation"].shape[1] == 30  # bases of a gene
    assert found["foundation-pooled"].shape[1] == 1
    mean = found["foundation"].mean(1, keepdim=True)
    np.testing.assert_allclose(found["foundation-pooled"], mean, atol=0.02)  # bfloat16, before and after


def test_results_count_frozen_parameters_and_are_those_of_the_opened_model(options, monkeypatch):
    model, pairs, tokens = trained(options)
    frozen, results = model.shape.gene, read_json(options.out / "results.json")
    assert frozen.frozen
    assert frozen.causal
    assert results["model"]["trained_parameters"] == model.parameter_count
    assert results["model"]["parameters"] == model.parameter_count + frozen.parameters
    assert frozen.parameters > 0
    rows = pairs.parts["validation"]
    logits = predict(model, tokens, pairs.gene, pairs.molecule)
    label = pairs.label[rows]
    won = logits[rows][label == 1][:, None] - logits[rows][label == 0]
    area = ((won > 0) + 0.5 * (won == 0)).mean()
    assert results["validation"]["auroc"]["value"] == pytest.approx(area, abs=1e-12)
    monkeypatch.setattr("dnalm.models.pair.ATTEND_BATCH", 7)  # what is predicted together does not matter
    parts = predict(model, tokens, pairs.gene, pairs.molecule)
    np.testing.assert_allclose(parts, logits, atol=1e-5)  # float32


@pytest.mark.parametrize("model", ["foundation", "foundation-pooled"])
def test_it_learns_pairs_by_heart(options, model):
    train = EpochConfig(epochs=30, patience=0, batch_size=16, lr=3e-3, warmup_share=0.1)
    attention = CrossAttentionConfig(32, 2, 32, attention_dropout=0.0, head_dropout=0.0)
    encoders = EncodersConfig("kmer", "morgan")
    run(replace(options, model=model, train=train, attention=attention, encoders=encoders))
    losses = read_json(options.out / "results.json")["training"]["history"]["train_loss"]
    assert min(losses) < 0.2 < losses[0]


def test_an_encoder_that_is_gone_is_needed_only_where_states_are_missing(options, binding, tmp_path):
    gone = tmp_path / "core"
    shutil.copytree(binding.outputs / "vocab4", gone)
    options = replace(options, encoders=replace(options.encoders, dna_encoder=str(gone)))
    run(options)
    shutil.rmtree(gone)
    shape, pairs = open_interaction(options.out).model.shape, open_pairs(options.data)
    inputs(options.store).tokens(shape, pairs)
    with pytest.raises(InputError, match="cannot be opened"):
        inputs(tmp_path / "empty").tokens(shape, pairs)
    shutil.copytree(binding.outputs / "full", gone)
    with pytest.raises(InputError, match="other weights"):
        inputs(tmp_path / "empty").tokens(shape, pairs)
    with pytest.raises(InputError, match="resume"):
        run(replace(options, run=replace(RUN, resume=True)))


def test_an_encoder_that_does_not_exist_is_refused_with_the_nearest_name(tmp_path):
    for encoders, message in (
        (EncodersConfig("kmers", "morgan"), "`dna_encoder`: .*mean kmer"),
        (EncodersConfig("cnn", "lstn"), "`mol_encoder`: .*mean lstm"),
        (EncodersConfig("a/b/none", "lstm"), "`dna_encoder`: a/b/none: expected a folder, or a hub name"),
        (
            EncodersConfig("cnn", "outputs/none"),
            "`mol_encoder`: outputs/none: no such folder; .*pinned commit",
        ),
        (EncodersConfig("dnabert2", "lstm"), "give its revision"),
        (EncodersConfig(str(tmp_path), "morgan"), "config.json: missing"),
    ):
        with pytest.raises(InputError, match=message):
            shape_of(encoders, lambda: "CO", None)


def test_a_batch_holds_a_gene_of_several_pairs_once_unless_normalisation_counts_them(pair_folder):
    for dna, attention in (("kmer", SMALL), ("cnn", None)):
        shape, _ = shape_of(EncodersConfig(dna, "morgan"), lambda: "", attention)
        assert shape.tokens(open_pairs(pair_folder)).distinct_genes == (dna == "kmer")


def test_micro_batches_of_one_pair_are_refused_before_anything_is_written(options):
    run(replace(options, out=options.out.with_name("other")))  # all is encoded
    for size, accumulate, smallest in ((16, 16, 16), (18, 9, 8), (76, 38, 4)):  # of 80 pairs
        train = replace(options.train, batch_size=size, accumulate=accumulate)
        for dry_run in (False, True):
            with pytest.raises(InputError, match=f"has {smallest} rows"):
                run(replace(options, train=train, run=replace(RUN, dry_run=dry_run)))
    assert not options.out.exists()


def test_a_dry_run_encodes_nothing_and_reports_what_does_not_fit(options, capsys, encoded, monkeypatch):
    dry = replace(options, run=replace(RUN, dry_run=True))
    run(dry)
    assert "would encode 16 genes and molecules" in capsys.readouterr().out
    assert not encoded
    assert not options.store.exists()
    run(options)
    other = replace(dry, out=options.out.with_name("other"))
    run(other)
    assert "min an epoch" in capsys.readouterr().out
    assert len(encoded) == 16
    greedy = Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory"))
    monkeypatch.setattr(InteractionTask, "loss", greedy)
    with pytest.raises(InputError, match="memory ran out"):
        run(other)
