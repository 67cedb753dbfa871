"""Tests for dnalm/commands/interact_encoders.py, and for models on kept states from training to results."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from dnalm.commands import interact_evaluate as judge
from dnalm.commands.interact_train import run
from dnalm.commands.runs import EvaluationOptions, RunOptions
from dnalm.data.pairs import open_pairs
from dnalm.device import Compute
from dnalm.errors import InputError
from dnalm.models.cross_attention import CrossAttentionConfig
from dnalm.models.input_encoder import InputEncoder, attention_of, shape_of, store_of
from dnalm.models.open import open_interaction
from dnalm.models.pair import predict
from dnalm.models.pair_shape import EncodersConfig
from dnalm.models.pretrained import PretrainedConfig, PretrainedEncoder
from dnalm.train.optim import EpochConfig
from dnalm.train.pairs import InteractionTask

CPU = Compute(device="cpu", precision="fp32")
RUN = RunOptions(compute=CPU, quiet=True)
QUICK = EpochConfig(epochs=2, batch_size=16, lr=1e-3, warmup_share=0.0)
SMALL = CrossAttentionConfig(width=16, heads=2, feed_forward=16)


@pytest.fixture
def encoded(monkeypatch):
    """What frozen encoders are asked to encode, in order."""
    asked = []
    encode = PretrainedEncoder.encode

    def counted(self, texts):
        asked.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(PretrainedEncoder, "encode", counted)
    return asked


@pytest.fixture
def options(foundation):
    """What most of these tests train."""
    return foundation


@pytest.mark.parametrize(
    ("dna", "mol", "poolings", "characters"),
    [("kmer", "lstm", ("mean", "attention"), "CO"), ("cnn", "morgan", ("max", "mean"), "")],
)
def test_each_encoder_brings_its_pooling(dna, mol, poolings, characters):
    shape, backbones = shape_of(EncodersConfig(dna, mol, 50, 20), lambda: "CO", None)
    assert (shape.head.gene_pooling, shape.head.molecule_pooling) == poolings
    assert (shape.names, shape.kind, shape.characters) == ((dna, mol), f"{dna}-{mol}", characters)
    assert (shape.dna_length, shape.smiles_length) == (50, 20)
    assert not backbones


def test_each_gene_is_encoded_once_ever(options, pair_folder, encoded):
    run(options)
    assert sorted(encoded) == sorted(open_pairs(pair_folder).sequences)  # training, validation, two epochs
    run(replace(options, out=options.out.with_name("pooled"), model="foundation-pooled"))
    judged = EvaluationOptions(compute=CPU, quiet=True, out=options.out.parent / "evaluation.json")
    runs = (options.out, options.out.with_name("pooled"))
    judge.run(judge.Options(runs, pair_folder, store=options.store, judging=judged))
    assert len(encoded) == 16
    found = json.loads((options.out.parent / "evaluation.json").read_text())["models"]
    assert found["mine"]["model"]["kind"] == "foundation (vocab4 + morgan)"
    assert found["pooled"]["model"]["kind"] == "foundation-pooled (vocab4 + morgan)"


def test_kept_states_are_scaled_by_those_of_training_genes(options, pair_folder):
    run(options)
    opened, pairs = open_interaction(options.out), open_pairs(pair_folder)
    tokens = InputEncoder(options.store, CPU.resolve(), print).tokens(opened.model.shape, pairs)
    genes = np.unique(pairs.gene[pairs.parts["train"]])
    states, real = tokens.genes.take(genes)
    scaled = opened.model.gene(states, real)[real]
    np.testing.assert_allclose(scaled.mean(0), 0.0, atol=1e-4)
    assert float(scaled.std(0).max()) == pytest.approx(1.0, abs=0.01)


def test_the_scale_is_of_the_genes_that_are_named_and_of_no_other(options, pair_folder):
    run(options)
    opened, pairs = open_interaction(options.out), open_pairs(pair_folder)
    tokens = InputEncoder(options.store, CPU.resolve(), print).tokens(opened.model.shape, pairs)
    few = np.arange(4)
    opened.model.calibrate(tokens, few, few)
    for genes, is_centred in ((few, True), (np.arange(4, 16), False)):
        states, real = tokens.genes.take(genes)
        assert np.allclose(opened.model.gene(states, real)[real].mean(0), 0.0, atol=1e-4) == is_centred


def test_a_pooled_model_is_given_one_state_a_gene_the_mean_of_all(options, pair_folder):
    pairs, reading = open_pairs(pair_folder), InputEncoder(options.store, CPU.resolve(), print)
    found = {}
    for name in ("foundation", "foundation-pooled"):
        shape, backbones = shape_of(options.encoders, lambda: "", attention_of(name, SMALL))
        found[name] = reading.tokens(shape, pairs, backbones).genes.take(np.arange(16))[0]
    assert found["foundation"].shape[1] == 30  # bases of a gene
    assert found["foundation-pooled"].shape[1] == 1
    # bfloat16, rounded before and after the mean
    mean = found["foundation"].float().mean(1, keepdim=True)
    np.testing.assert_allclose(found["foundation-pooled"].float(), mean, atol=0.02)


def test_results_tell_frozen_parameters_and_are_what_the_opened_model_predicts(options, pair_folder):
    run(options)
    opened, pairs = open_interaction(options.out), open_pairs(pair_folder)
    frozen = opened.model.shape.gene
    assert isinstance(frozen, PretrainedConfig)
    assert frozen.causal
    results = json.loads((options.out / "results.json").read_text())
    assert results["model"]["trained_parameters"] == opened.model.parameter_count
    assert results["model"]["parameters"] == opened.model.parameter_count + frozen.parameters
    assert frozen.parameters > 0
    reading = InputEncoder(options.store, CPU.resolve(), print)
    tokens = reading.tokens(opened.model.shape, pairs)
    rows = pairs.parts["validation"]
    logits = predict(opened.model, tokens, pairs.gene[rows], pairs.molecule[rows])
    won = logits[pairs.label[rows] == 1][:, None] - logits[pairs.label[rows] == 0]
    area = ((won > 0) + 0.5 * (won == 0)).mean()
    assert results["validation"]["auroc"]["value"] == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize("model", ["foundation", "foundation-pooled"])
def test_it_learns_pairs_by_heart(options, pair_folder, model):
    train = EpochConfig(epochs=30, patience=0, batch_size=16, lr=3e-3, warmup_share=0.1)
    attention = CrossAttentionConfig(32, 2, 32, attention_dropout=0.0, head_dropout=0.0)
    encoders = EncodersConfig("kmer", "morgan")
    run(replace(options, model=model, train=train, attention=attention, encoders=encoders))
    history = json.loads((options.out / "results.json").read_text())["training"]["history"]
    assert min(history["train_loss"]) < 0.2 < history["train_loss"][0]


def test_an_encoder_that_is_gone_is_missed_only_where_states_are(options, pair_folder, binding, tmp_path):
    gone = tmp_path / "core"
    shutil.copytree(binding.outputs / "vocab4", gone)
    run(replace(options, encoders=replace(options.encoders, dna_encoder=str(gone))))
    shutil.rmtree(gone)
    shape, pairs = open_interaction(options.out).model.shape, open_pairs(pair_folder)
    InputEncoder(options.store, CPU.resolve(), print).tokens(shape, pairs)
    with pytest.raises(ValueError, match="the encoder that the model was trained with cannot be opened"):
        InputEncoder(tmp_path / "empty", CPU.resolve(), print).tokens(shape, pairs)
    shutil.copytree(binding.outputs / "full", gone)
    with pytest.raises(ValueError, match="has other weights than the encoder"):
        InputEncoder(tmp_path / "empty", CPU.resolve(), print).tokens(shape, pairs)


@pytest.mark.parametrize(
    ("encoders", "message"),
    [
        (EncodersConfig("kmers", "morgan"), "`dna_encoder`: .*mean kmer"),
        (EncodersConfig("cnn", "lstn"), "`mol_encoder`: .*mean lstm"),
        (EncodersConfig("a/b/none", "lstm"), "'a/b/none'"),
        (EncodersConfig("outputs/none", "lstm"), "outputs/none: "),
        (EncodersConfig("dnabert2", "lstm"), "give its revision"),
    ],
)
def test_an_encoder_that_does_not_exist_is_refused_with_the_nearest_name(encoders, message):
    with pytest.raises(InputError, match=message):
        shape_of(encoders, lambda: "CO", None)


def test_a_mistyped_folder_of_two_parts_may_be_a_hub_name(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "vocab4").mkdir(parents=True)

    def refused(encoders):
        with pytest.raises(InputError, match="owner/name|outputs/vocb4") as refusal:
            shape_of(encoders, lambda: "CO", None)
        return str(refusal.value)

    mistyped = refused(EncodersConfig("outputs/vocb4", "morgan"))
    assert "did you mean vocab4?" in mistyped
    assert "`dna_revision`" in mistyped
    assert "`mol_revision`" in refused(EncodersConfig("cnn", "outputs/vocb4"))
    other = EncodersConfig("owner/name", "morgan")  # no such folder: it may be the hub's
    assert "pinned commit" in refused(other)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "check the path" in refused(other)
    assert f"owner/name at {'0' * 40}" in refused(replace(other, dna_revision="0" * 40))
    (tmp_path / "hub" / "models--owner--name").mkdir(parents=True)
    assert "give its revision" in refused(other)


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(ValueError, match="config.json: missing"):
        shape_of(EncodersConfig(str(tmp_path), "morgan"), lambda: "CO", None)


def test_states_lie_beside_the_pairs_unless_told(tmp_path):
    assert store_of(None, tmp_path / "data" / "ctd") == tmp_path / "data" / "states"
    assert store_of(tmp_path / "s", tmp_path / "data" / "ctd") == tmp_path / "s"


def test_a_gene_in_several_pairs_of_a_batch_is_in_it_once(options, pair_folder):
    shape, _ = shape_of(EncodersConfig("kmer", "morgan"), lambda: "", SMALL)
    assert shape.tokens(open_pairs(pair_folder)).distinct_genes
    shape, _ = shape_of(EncodersConfig("cnn", "morgan"), lambda: "", None)
    assert not shape.tokens(open_pairs(pair_folder)).distinct_genes  # batch normalisation counts pairs


def test_prediction_does_not_depend_on_what_is_predicted_together(options, pair_folder, monkeypatch):
    run(options)
    opened, pairs = open_interaction(options.out), open_pairs(pair_folder)
    tokens = InputEncoder(options.store, CPU.resolve(), print).tokens(opened.model.shape, pairs)
    whole = predict(opened.model, tokens, pairs.gene, pairs.molecule)
    monkeypatch.setattr("dnalm.models.pair.ATTEND_BATCH", 7)
    parts = predict(opened.model, tokens, pairs.gene, pairs.molecule)
    np.testing.assert_allclose(parts, whole, atol=1e-5)  # float32


def test_a_run_is_not_resumed_on_a_core_of_other_weights(options, binding, tmp_path):
    core = tmp_path / "core"
    shutil.copytree(binding.outputs / "vocab4", core)
    options = replace(options, encoders=replace(options.encoders, dna_encoder=str(core)))
    run(options)
    shutil.rmtree(core)
    shutil.copytree(binding.outputs / "full", core)
    with pytest.raises(ValueError, match="resume"):
        run(replace(options, run=replace(RUN, resume=True)))


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(("size", "accumulate", "smallest"), [(16, 16, 16), (18, 9, 8), (76, 38, 4)])
def test_micro_batches_of_one_pair_are_refused_before_anything_is_written(
    options, size, accumulate, smallest, dry_run
):
    run(replace(options, out=options.out.with_name("other")))  # of its 80 pairs all is encoded
    train = replace(QUICK, batch_size=size, accumulate=accumulate)
    with pytest.raises(ValueError, match=f"has {smallest} rows, too few for {accumulate} shares"):
        run(replace(options, train=train, run=replace(RUN, dry_run=dry_run)))
    assert not options.out.exists()


def test_a_dry_run_says_what_does_not_fit_in_memory(options, monkeypatch):
    run(options)  # the genes and molecules are encoded

    def greedy(*_args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(InteractionTask, "loss", greedy)
    dry = replace(options, out=options.out.with_name("other"), run=replace(RUN, dry_run=True))
    with pytest.raises(ValueError, match="memory ran out: a batch does not fit; use a lower --batch-size"):
        run(dry)


def test_a_dry_run_encodes_nothing(options, capsys, encoded):
    dry = replace(options, run=replace(RUN, dry_run=True))
    run(dry)
    assert "would encode 16 genes and molecules" in capsys.readouterr().out
    assert not encoded
    assert not options.store.exists()
    run(options)
    run(replace(dry, out=options.out.with_name("other")))
    assert "min an epoch" in capsys.readouterr().out
    assert len(encoded) == 16
